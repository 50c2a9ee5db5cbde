"""What machine this is, as far as a preset cares: which target file fits it, and its cache sizes."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from dlas_mlir import pipelines, toml
from dlas_mlir.errors import DlasError

# Targets of which the first is taken whose `needs` this CPU has.
_ORDER = (
    "x86-64-zen5",
    "x86-64-sapphirerapids",
    "x86-64-avx512-bf16",
    "x86-64-avx512-vnni",
    "x86-64-avx512",
    "x86-64-avx2",
    "aarch64-i8mm",
    "aarch64-neon",
)
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def target_name() -> str:
    """The name of the target file for this CPU. Raises DlasError when none fits."""
    features = cpu_features()
    for name in _ORDER:
        target = shipped(name)["target"]
        if target["triple"].startswith(f"{machine()}-") and features >= set(target.get("needs", ())):
            return name
    raise DlasError(f"no target is known for this CPU ({machine()}): name one in place of `host`, see `dlas presets`")


def machine() -> str:
    """The machine as the first part of triples names it."""
    name = platform.machine().lower()
    return _SAME.get(name, name)


def shipped(name: str) -> dict[str, Any]:
    """The tables of a target's file of the package: a user's own of that name does not say what is recognised."""
    return toml.read(Path(pipelines.__path__[0]) / f"{name}.toml")[1]


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The feature flags that the kernel reports for the CPU; nothing where there is no such file."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    names = ("flags", "Features")  # x86-64, Arm
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith(names)), set())


def cache_sizes(root: Path = _CACHES) -> dict[str, int]:
    """`l1d_bytes` and `l2_bytes` of one core, as far as the system tells."""
    sizes: dict[str, int] = {}
    for index in sorted(root.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        field = {("1", "Data"): "l1d_bytes", ("2", "Unified"): "l2_bytes"}.get((level, kind))
        if field and size.endswith("K") and size[:-1].isdigit():
            sizes[field] = int(size[:-1]) * 1024
    return sizes
