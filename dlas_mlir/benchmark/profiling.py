"""`dlas profile`: time per layer, from the time per dispatch and where each dispatch comes from."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from dlas_mlir.benchmark.bench import peak_gflops
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.profile import DispatchTime, profile_dispatches

# IREE names a contraction's dispatch by the sizes of its loops, so their product is its multiply-accumulates.
_CONTRACTION = re.compile(r"_(?:\w*conv\w*|\w*mat(?:mul|vec)\w*|vecmat\w*|contract\w*)_(\d+(?:x\d+)+)_")


def profile_artifact(
    artifact: Artifact,
    *,
    threads: int = 1,
    seconds: float = 1.0,
    progress: Callable[[str], None] = lambda _: None,
    timeout: float | None = LIMIT,
) -> dict[str, Any]:
    """Time per layer over calls for about `seconds`.

    The result has `call_ms` (one call, not profiled), `dispatches_ms` (the sum over dispatches), `peak_gflops`
    and `layers` in order of execution: `layer`, `primitive`, `ms`, `share` (percent of the dispatches' time), `macs`,
    `gflops`, `percent_of_peak`, `dispatches`, and the `workload` and `schedule` of a layer that is a kernel of ours.
    Raises DlasError.
    """
    device = resolve(artifact.driver, threads)
    progress(f"time {artifact.model}")
    with Worker(artifact.vmfb, device, artifact.golden, timeout=timeout) as worker:
        call_ms = statistics.median(worker.turn(min_seconds=0.3, min_count=5).ns) / 1e6
        inputs = worker.examples()
    calls = max(5, min(500, int(seconds * 1e3 / call_ms)))
    progress(f"profile {artifact.model}, {calls} calls")
    times = profile_dispatches(artifact.vmfb, device, inputs, calls=calls, timeout=timeout)
    peak = peak_gflops(threads) if artifact.driver == "local" else None
    return {
        "model": artifact.model,
        "preset": artifact.preset,
        "threads": threads,
        "device": device.driver,
        "call_ms": call_ms,
        "dispatches_ms": sum(time.ms for time in times),
        "peak_gflops": peak,
        "layers": layer_times(times, artifact, peak),
    }


def layer_times(times: list[DispatchTime], artifact: Artifact, peak: float | None) -> list[dict[str, Any]]:
    """Dispatches gathered by the layer they come from, in order of first execution."""
    known = {layer["layer"]: layer for layer in artifact.layers}
    total = sum(time.ms for time in times) or 1.0
    groups: dict[str, list[DispatchTime]] = defaultdict(list)
    for time, layer in zip(times, _layers_of(times, artifact), strict=True):
        groups[layer or time.name].append(time)
    rows = []
    for name, group in groups.items():
        macs = known[name]["macs"] if name in known else sum(contraction_macs(time.name) for time in group)
        primitive = known[name]["primitive"] if name in known else "stock" if macs else ""
        ms = sum(time.ms for time in group)
        gflops = 2 * macs / (ms * 1e6) if macs and ms else None
        rows.append(
            {
                "layer": name,
                "primitive": primitive,
                "ms": ms,
                "share": 100 * ms / total,
                "macs": macs,
                "gflops": gflops,
                "percent_of_peak": 100 * gflops / peak if gflops and peak else None,
                "dispatches": [{"name": time.name, "ms": time.ms} for time in group],
                "workload": known.get(name, {}).get("workload"),
                "schedule": known.get(name, {}).get("schedule"),
            }
        )
    return rows


def contraction_macs(dispatch: str) -> int:
    """Multiply-accumulates of a dispatch by its name, 0 when it is no contraction."""
    sizes = _CONTRACTION.search(dispatch)
    return math.prod(map(int, sizes.group(1).split("x"))) if sizes else 0


def _layers_of(times: list[DispatchTime], artifact: Artifact) -> list[str]:
    """The layer of each dispatch: equal code is shared, so it is the n-th use of a name that tells."""
    uses: dict[str, list[str]] = defaultdict(list)
    for dispatch in artifact.dispatches:
        uses[dispatch["name"]].append(dispatch["layer"])
    layers = []
    for time in times:
        left = uses.get(time.name)
        layers.append((left.pop(0) if len(left) > 1 else left[0]) if left else "")
    return layers
