"""The time of each kernel of a network, in place: with the true neighbours, and caches as warm as in a call."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlas_mlir.benchmark.on_gpu import json_of
from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.profile import DispatchTime, profile_dispatches

# Nanoseconds of each call, by the exact key of the workload: the sum over its kernels.
Samples = Mapping[str, tuple[int, ...]]


def kernel_samples(
    vmfb: Path,
    dispatches: Sequence[Mapping[str, str]],
    device: Device,
    inputs: Sequence[np.ndarray],
    *,
    calls: int,
    timeout: float | None,
) -> dict[str, tuple[int, ...]]:
    """Time `calls` calls of an artifact. Raises DlasError."""
    times = dispatch_times(vmfb, device, inputs, calls=calls, timeout=timeout)
    found: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for time, key in zip(times, workloads_of(times, dispatches), strict=True):
        if key:
            found[key].append(time.ns)
    return {key: tuple(map(sum, zip(*parts, strict=True))) for key, parts in found.items()}


def dispatch_times(
    vmfb: Path, device: Device, inputs: Sequence[np.ndarray], *, calls: int, timeout: float | None
) -> list[DispatchTime]:
    """The dispatches of a call, in order: profiled in place in `calls` calls where IREE can, which is on CPUs and by
    Vulkan; by CUDA each is replayed alone in a graph, and has one time. Raises DlasError."""
    if device.driver != "cuda":
        return profile_dispatches(vmfb, device, inputs, calls=calls, timeout=timeout)
    found = json_of("dlas_mlir.runtime.cuda_driver", [str(vmfb)], timeout)
    return [DispatchTime(one["name"], (round(1e3 * one["us"]),)) for one in found["launches"]]


def workloads_of(times: Sequence[DispatchTime], dispatches: Sequence[Mapping[str, str]]) -> list[str]:
    """The workload of each dispatch that was timed: equal code is shared, so the n-th use of a name tells."""
    uses: dict[str, list[str]] = defaultdict(list)
    for dispatch in dispatches:
        uses[dispatch["name"]].append(dispatch["workload"])
    found = []
    for time in times:
        left = uses.get(time.name)
        found.append((left.pop(0) if len(left) > 1 else left[0]) if left else "")
    return found


def typical(samples: Sequence[int]) -> float:
    """The lower quartile: other processes only ever add."""
    return statistics.quantiles(samples, n=4)[0] if len(samples) > 1 else float(samples[0])
