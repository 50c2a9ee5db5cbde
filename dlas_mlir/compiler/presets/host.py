"""What machine this is, as far as a preset cares: which target file fits it, and its cache sizes."""

from __future__ import annotations

import platform
from pathlib import Path

from dlas_mlir.errors import DlasError

_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_VNNI = {"avx512_vnni"}
_BF16 = {"avx512_bf16"}
_ZEN5 = {"avx512_vp2intersect", "avx_vnni"}  # With BF16: no other CPU has all of them.
_SAPPHIRE_RAPIDS = {"avx512_fp16", "amx_tile"}  # With BF16: it and its successors.
_AVX2 = {"avx2", "fma"}
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def target_name() -> str:
    """The name of the target file for this CPU. Raises DlasError when none fits."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "aarch64-i8mm" if cpu_features() >= {"i8mm", "bf16"} else "aarch64-neon"
    if machine in ("x86_64", "amd64"):
        features = cpu_features()
        if features >= _AVX512 | _VNNI | _BF16 | _ZEN5:
            return "x86-64-zen5"
        if features >= _AVX512 | _VNNI | _BF16 | _SAPPHIRE_RAPIDS:
            return "x86-64-sapphirerapids"
        if features >= _AVX512 | _VNNI | _BF16:
            return "x86-64-avx512-bf16"
        if features >= _AVX512 | _VNNI:
            return "x86-64-avx512-vnni"
        if features >= _AVX512:
            return "x86-64-avx512"
        if features >= _AVX2:
            return "x86-64-avx2"
    raise DlasError(f"no target is known for this CPU ({machine}): name one in place of `host`, see `dlas presets`")


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
