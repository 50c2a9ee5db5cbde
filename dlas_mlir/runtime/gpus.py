"""The GPUs of this machine, as IREE's drivers tell of them, and what is missing where there is none."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.process import python

# Each of IREE's drivers for GPUs, what has to be installed for it, and what it is for.
_INSTALLED = {
    "cuda": ("NVIDIA's driver, which brings libcuda.so (nvidia-smi shows whether it works)", "NVIDIA GPU"),
    "hip": ("AMD's ROCm, which brings libamdhip64.so (rocminfo shows whether it works)", "AMD GPU that ROCm knows"),
    "vulkan": (
        "a Vulkan 1.3 driver (vulkaninfo lists them; Debian's mesa-vulkan-drivers has one for CPUs too)",
        "Vulkan 1.3 device",
    ),
}
# Seconds that a driver may take to say what it has.
_LIMIT = 60.0
INSTEAD = "`dlas presets` shows what runs here"
# What is said of a device that is no GPU.
FUNCTION_ONLY = "a CPU does as the GPU: for function only, its times say nothing"
# What drivers say where they are there, and devices are not.
_NO_DEVICE = ("CUDA_ERROR_NO_DEVICE", "hipErrorNoDevice", "no physical devices")
_NO_DRIVER = ("library", "libvulkan", "VK_ERROR_INCOMPATIBLE_DRIVER", "CUDA_ERROR_STUB_LIBRARY")
_PLACE = re.compile(r"\bc?/?runtime/src/\S+:\d+: *")


class NoGpu(DlasError):
    """There is no driver, or it has no device: the `reason`, and what to do instead."""

    def __init__(self, driver: str, reason: str) -> None:
        super().__init__(f"device `{driver}` cannot be opened: {reason}; {INSTEAD}")
        self.reason = reason


@dataclass(frozen=True)
class Gpu:
    """A device of a driver: its name, its `path` (which tells it from others), and the driver's `facts` by their keys,
    as text."""

    driver: str
    name: str
    path: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def software(self) -> bool:
        """Whether it is no GPU, but a CPU that does as one: right numbers, and times that say nothing."""
        return self.facts.get("type") == "cpu"

    @property
    def capability(self) -> tuple[int, int] | None:
        """CUDA's compute capability; None where it has none."""
        major, dot, minor = self.facts.get("gpu-compute-capability", "").partition(".")
        return (int(major), int(minor)) if dot and self.driver == "cuda" else None

    @property
    def architecture(self) -> str:
        """AMD's name of the architecture (gfx942); empty for others."""
        return self.facts.get("gpu-arch-name", "").partition(":")[0]

    def number(self, key: str) -> int | None:
        """A fact that is a number, with or without its unit."""
        found = re.match(r"\d+", self.facts.get(key, ""))
        return int(found.group()) if found else None

    def __str__(self) -> str:
        more = f", compute capability {'.'.join(map(str, self.capability))}" if self.capability else ""
        return f"{self.name}{more}"


def gpus(driver: str) -> tuple[Gpu, ...]:
    """The devices of `driver` (cuda, hip, vulkan), that which it takes first; at least one. Raises NoGpu, which says
    what is missing. It is asked once in a process."""
    return told(driver, _asked(driver))


def told(driver: str, said: Mapping[str, Any]) -> tuple[Gpu, ...]:
    """The devices in what `gpu_query.answer` says of a driver. Raises NoGpu."""
    if devices := said.get("devices"):
        return tuple(_gpu(driver, one) for one in devices)
    raise NoGpu(driver, _missing(driver, said))


def _gpu(driver: str, one: Mapping[str, str]) -> Gpu:
    facts = read_facts(one["text"])
    return Gpu(driver, facts.get("name", one["name"]), one["path"], facts)


def _missing(driver: str, said: Mapping[str, Any]) -> str:
    """Why there is no device."""
    if driver not in said.get("drivers", _INSTALLED):
        return "the IREE runtime that is installed has no such driver: it is for other machines"
    wanted, kind = _INSTALLED.get(driver, ("its driver", "device"))
    why = plain(said.get("error", ""))
    if not why or any(word in why for word in _NO_DEVICE):
        return f"there is no {kind} here"
    if any(word in why for word in _NO_DRIVER):
        return f"no driver is installed here: it takes {wanted}"
    return f"{why}; it takes {wanted}"


def plain(error: object) -> str:
    """The first line of an error of IREE's, without the places in its sources."""
    line = str(error).strip().partition("\n")[0]
    head, _, rest = line.partition(": ")
    text = rest if head.startswith("Error ") else line
    return re.sub(r"^[A-Z_]+; ", "", _PLACE.sub("", text)).strip()


def read_facts(text: str) -> dict[str, str]:
    """What `dump_device_info` prints: lines `key: value`; the value may be words `key=value`, as it is for features."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.strip().removeprefix("- ").partition(": ")
        if not colon:
            continue
        words = [word.partition("=") for word in value.split()]
        if key == "features" or (words and all(sign for _, sign, _ in words)):
            found |= {name: answer for name, sign, answer in words if sign}
        else:
            found[key] = value.strip()
    return found


@cache
def _asked(driver: str) -> dict[str, Any]:
    """What the driver's process answers; `error` also for one that crashes or hangs."""
    command = [*python("dlas_mlir.runtime.gpu_query"), driver]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        return {"error": f"the driver did not say within {_LIMIT:.0f} s what it has"}
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines()
        return {"error": f"asking the driver ended with exit code {done.returncode}{': ' + said[-1] if said else ''}"}
