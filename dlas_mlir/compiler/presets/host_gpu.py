"""What GPU this machine has, as far as a preset cares: which target file fits it, and its own figures."""

from __future__ import annotations

from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.compiler.presets import host
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.gpus import Gpu, NoGpu, gpus
from dlas_mlir.runtime.needs import missing

# Targets of which the first is taken whose `needs` a GPU has. Those of CUDA have most kernels of ours.
_ORDER = ("cuda-sm90", "cuda-sm80", "rocm-gfx942", "vulkan-ada", "vulkan", "metal")
# The figure that a driver tells under that name.
_FIGURES = {
    "gpu-multiprocessor-count": "compute_units",
    "gpu-compute-unit-count": "compute_units",
    "multiprocessor-max-thread-count": "unit_threads",
    "multiprocessor-max-shared-memory": "unit_shared_bytes",
    "multiprocessor-max-32-bit-register-count": "unit_registers",
}


def find() -> tuple[str, Gpu]:
    """The name of the target file for the GPU that is here, and the GPU. Raises DlasError where there is none, or none
    that a target is for."""
    reasons: dict[str, str] = {}
    for name in _ORDER:
        table = host.shipped(name)
        driver = table["iree"]["device"]
        try:
            gpu = gpus(driver)[0]
        except NoGpu as error:
            reasons.setdefault(driver, error.reason)
            continue
        if gpu.software:
            reasons[driver] = f"{gpu} is a CPU, which the target `{driver}` runs on, right and slow"
        elif said := missing(table["target"]["needs"], gpu):
            reasons[driver] = f"{gpu}: {said}"
        else:
            return name, gpu
    why = "; ".join(f"{driver}: {reason}" for driver, reason in reasons.items())
    raise DlasError(f"no GPU is here that a target is for (`host` is the CPU): {why}")


def figures(gpu: Gpu, target: GpuTarget) -> dict[str, int]:
    """What a GPU's driver tells of it, by the names that targets have for it; `target` is what it is like."""
    found = {name: number for key, name in _FIGURES.items() if (number := gpu.number(key))}
    if "unit_shared_bytes" in found:
        # Of a multiprocessor's memory a workgroup cannot have what the system keeps for itself.
        kept = target.unit_shared_bytes - target.shared_bytes
        found["shared_bytes"] = found["unit_shared_bytes"] - kept
    return found
