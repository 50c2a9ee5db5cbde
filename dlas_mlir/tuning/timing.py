"""The time of each kernel of a network, in place: with the true neighbours, and caches as warm as in a call."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.profile import profile_dispatches, said_of

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
    times = profile_dispatches(vmfb, device, inputs, calls=calls, timeout=timeout)
    found: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for time, key in zip(times, said_of(times, dispatches, "workload"), strict=True):
        if key:
            found[key].append(time.ns)
    return {key: tuple(map(sum, zip(*parts, strict=True))) for key, parts in found.items()}


def typical(samples: Sequence[int]) -> float:
    """The lower quartile: other processes only ever add."""
    return statistics.quantiles(samples, n=4)[0] if len(samples) > 1 else float(samples[0])
