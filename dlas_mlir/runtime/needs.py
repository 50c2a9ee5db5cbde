"""What the kernels of an artifact need of a GPU, read from the artifact itself, and what of it a GPU has not.

Needs are words: `sm_80` is compute capability 8.0 or later, `sm_90a` 9.0 and no other, `cuda-12.4` what a driver of
NVIDIA's has to know, `gfx942` an architecture of AMD's, `vulkan-1.3` IREE's least, `subgroup-32` subgroups of so many
threads at least, `metal` an Apple GPU; others are features of Vulkan by the names of its specification (shaderFloat16).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.archive import opened
from dlas_mlir.runtime.gpus import Gpu

# Features, by the number of the capability that SPIR-V declares where a kernel uses them.
_SPIRV = {
    9: "shaderFloat16",
    11: "shaderInt64",
    22: "shaderInt16",
    39: "shaderInt8",
    4433: "storageBuffer16BitAccess",
    4434: "storageBuffer16BitAccess",
    4448: "storageBuffer8BitAccess",
    4449: "storageBuffer8BitAccess",
    5116: "shaderBFloat16Type",
    **dict.fromkeys(range(6016, 6020), "shaderIntegerDotProduct"),
    6022: "cooperativeMatrix",
    # Votes, sums and shuffles of a subgroup: iree-compile makes them for devices whose subgroups have 32 threads.
    **dict.fromkeys(range(62, 66), "subgroup-32"),
}
_MAGIC = struct.pack("<I", 0x07230203)
_CAPABILITY = 17
_TARGET = re.compile(rb"\.version (\d+)\.(\d+)\s+\.target (sm_\d+a?)")
_PORTABLE = "the target `vulkan`, which is for any device"
_FLOAT32 = "a recipe in float32, such as vulkan/auto"
_AMD = "a preset of the architecture that it has"
# What a feature is, and which presets do without it.
_WORDS = {
    "shaderFloat16": ("arithmetic in f16", _FLOAT32),
    "storageBuffer16BitAccess": ("16-bit elements in memory", _FLOAT32),
    "shaderInt8": ("arithmetic in i8", _FLOAT32),
    "shaderInt16": ("arithmetic in i16", _FLOAT32),
    "shaderInt64": ("64-bit integers", "a network of float32 and int32"),
    "storageBuffer8BitAccess": ("8-bit elements in memory", _FLOAT32),
    "shaderBFloat16Type": ("bf16", _FLOAT32),
    "shaderIntegerDotProduct": ("dot products of integers", _FLOAT32),
    "cooperativeMatrix": ("cooperative matrices", _PORTABLE),
}


def needs_of(vmfb: Path) -> tuple[str, ...]:
    """What an artifact's kernels for GPUs need; nothing for one without any. Raises DlasError for no artifact."""
    found: dict[str, None] = {}
    with opened(vmfb) as archive:
        for name in archive.namelist():
            for kind, read in _READERS.items():
                if name.endswith(f"_{kind}_fb.fb"):
                    found |= dict.fromkeys(read(archive.read(name)))
    return tuple(found)


def missing(needs: Sequence[str], gpu: Gpu) -> str:
    """What of `needs` is not there, and what to choose instead; empty where all of it is."""
    found = [said for need in needs if (said := _missing(need, gpu))]
    lacks = list(dict.fromkeys(what for what, _ in found))
    instead = list(dict.fromkeys(instead for _, instead in found))
    return f"{', '.join(lacks)}; choose {' or '.join(instead)}" if found else ""


def check(vmfb: Path, gpu: Gpu) -> None:
    """Raise DlasError where `gpu` has not what the kernels of an artifact need."""
    if said := missing(needs_of(vmfb), gpu):
        raise DlasError(f"`{vmfb}` cannot run on {gpu}: {said}")


def _missing(need: str, gpu: Gpu) -> tuple[str, str] | None:
    """What is missing, and what to choose."""
    own = _driver_of(need)
    if own != gpu.driver:
        return f"its kernels are for {own}, not for {gpu.driver}", f"a preset whose device is {gpu.driver}"
    if need.startswith("sm_"):
        return _of_capability(need, gpu)
    if need.startswith("cuda-"):
        return _of_driver(need.removeprefix("cuda-"), gpu)
    if need.startswith("gfx"):
        if gpu.architecture == need:
            return None
        return (f"it is compiled for AMD's {need}" + (f", not {gpu.architecture}" if gpu.architecture else "")), _AMD
    if need == "vulkan-1.3":
        if gpu.facts.get("feature_tier[vulkan-1.3]", "supported") == "supported":
            return None
        return f"its Vulkan is {gpu.facts.get('api', 'older')}, not 1.3 with what IREE needs", "a newer driver"
    if need.startswith("subgroup-"):
        own, wanted = gpu.number("maxSubgroupSize"), int(need.removeprefix("subgroup-"))
        if own is None or own >= wanted:
            return None
        return f"its subgroups have {own} threads, and kernels are for {wanted}", _PORTABLE
    if gpu.facts.get(need) != "no":
        return None  # it has it, or the driver does not say
    what, instead = _WORDS.get(need, (need, "another target"))
    return f"it has no {what} ({need})", instead


def _driver_of(need: str) -> str:
    """The driver that can have it."""
    known = {"sm": "cuda", "cuda": "cuda", "metal": "metal"}
    return "hip" if need.startswith("gfx") else known.get(re.split(r"[_-]", need)[0], "vulkan")


def _of_capability(need: str, gpu: Gpu) -> tuple[str, str] | None:
    own = gpu.capability
    exact = need.endswith("a")
    number = int(need.removeprefix("sm_").removesuffix("a"))
    wanted = (number // 10, number % 10)
    if own is None or own == wanted or (not exact and own > wanted):
        return None  # it has it, or the driver does not say
    what = f"its code is for compute capability {wanted[0]}.{wanted[1]}" + (" alone" if exact else " or later")
    if own >= (8, 0):
        return what, "the target cuda-sm80, which runs on 8.0 and all that came after it"
    return what, "a target that is no cuda: those of ours begin at 8.0"


def _of_driver(version: str, gpu: Gpu) -> tuple[str, str] | None:
    """The newest CUDA that the driver knows has to be `version` at least."""
    own = gpu.facts.get("driver-max-cuda-version", "")
    if not re.fullmatch(r"\d+\.\d+", own) or _pair(own) >= _pair(version):
        return None
    return f"its driver knows CUDA {own}, and its code is of CUDA {version}", "a newer driver, or the target cuda-sm80"


def _pair(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _of_ptx(data: bytes) -> Iterator[str]:
    for major, minor, target in _TARGET.findall(data):
        yield target.decode()
        # PTX 7.0 came with CUDA 11.0, 8.4 with 12.4; from 8.6 on some later.
        yield f"cuda-{int(major) + 4}.{int(minor)}"


def _of_spirv(data: bytes) -> Iterator[str]:
    at = data.find(_MAGIC)
    while at >= 0:
        yield from _capabilities(data, at + 20)
        at = data.find(_MAGIC, at + 20)


def _capabilities(data: bytes, at: int) -> Iterator[str]:
    """Those that are declared at the head of a module, before all other instructions."""
    while at + 8 <= len(data):
        word, number = struct.unpack_from("<II", data, at)
        if word & 0xFFFF != _CAPABILITY:
            return
        if number in _SPIRV:
            yield _SPIRV[number]
        at += 4 * (word >> 16)


def _of_hsaco(data: bytes) -> Iterator[str]:
    yield from (name.decode() for name in dict.fromkeys(re.findall(rb"amdhsa-\w*-?(gfx\w+)", data)))


_READERS = {
    "cuda_nvptx": _of_ptx,
    "vulkan_spirv": _of_spirv,
    "rocm_hsaco": _of_hsaco,
    "metal_msl": lambda _: iter(("metal",)),
}
