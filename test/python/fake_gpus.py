"""GPUs that are not there, as IREE's drivers would tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dlas_mlir.runtime import gpus

_CUDA = """
- gpu-compute-capability: {capability}
- driver-max-cuda-version: {driver}

- launch-max-block-dims: (1024, 1024, 64)

- multiprocessor-max-thread-count: {threads}
- multiprocessor-max-32-bit-register-count: 65536
- multiprocessor-max-shared-memory: {shared} bytes

- gpu-multiprocessor-count: {units}
"""
_VULKAN = """name: {name}
api: 1.3.230
type: {type}
feature_tier[vulkan-1.3]: supported
features: shaderFloat16={f16} storageBuffer16BitAccess={f16} shaderInt8=yes storageBuffer8BitAccess=yes \
shaderIntegerDotProduct=yes cooperativeMatrix={matrix}
subgroup: size={size} minSubgroupSize={size} maxSubgroupSize={size}
device_extensions: 1
  VK_KHR_8bit_storage
"""


def cuda(
    name: str, capability: str, units: int = 132, shared: int = 233472, threads: int = 2048, driver: str = "13.0"
) -> dict[str, str]:
    """An NVIDIA GPU."""
    text = _CUDA.format(capability=capability, driver=driver, threads=threads, shared=shared, units=units)
    return {"name": name, "path": "GPU-0", "text": text}


def vulkan(name: str, *, type: str = "discrete-gpu", f16: bool = True, matrix: bool = True) -> dict[str, str]:
    """A Vulkan device."""
    answer = {True: "yes", False: "no"}
    text = _VULKAN.format(name=name, type=type, f16=answer[f16], matrix=answer[matrix], size=32 if matrix else 8)
    return {"name": name, "path": "GPU-1", "text": text}


LAVAPIPE = vulkan("llvmpipe", type="cpu", matrix=False)
NO_CUDA = "Error creating driver: runtime/src/iree/x.c:66: UNAVAILABLE; CUDA driver library 'libcuda.so' not available"
NO_NVIDIA_GPU = "Error querying devices: c/runtime/x.c:1: INTERNAL; CUDA error 'CUDA_ERROR_NO_DEVICE' (100): no device"


def install(monkeypatch: pytest.MonkeyPatch, **found: list[dict[str, str]] | str) -> None:
    """This machine has these devices by driver, or the driver's error; of others there is no driver."""

    def asked(driver: str) -> Mapping[str, Any]:
        said = found.get(driver, NO_CUDA if driver == "cuda" else "library not available")
        drivers = {"drivers": ["cuda", "hip", "local-sync", "local-task", "vulkan"]}
        return {**drivers, ("error" if isinstance(said, str) else "devices"): said}

    monkeypatch.setattr(gpus, "_asked", asked)
