"""`dlas profile`: time per layer, from the time per dispatch and where each dispatch comes from."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dlas_mlir.benchmark import on_gpu
from dlas_mlir.benchmark.bench import peak_gflops
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.gpus import gpus
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.profile import DispatchTime, profile_dispatches, said_of

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
    `gflops`, `percent_of_peak`, `dispatches`, the `workload` and `schedule` of a layer that is a kernel of ours, and
    `producers`, the layers that its kernel computes for it; their multiply-accumulates are among its own. Raises
    DlasError.
    """
    gpu = artifact.driver != "local"
    device = resolve(artifact.driver, 1 if gpu else threads)
    progress(f"time {artifact.model}")
    with Worker(artifact.vmfb, device, artifact.golden, timeout=timeout) as worker:
        call_ns = statistics.median(worker.turn(min_seconds=0.3, min_count=5).ns)
        queued = on_gpu.queued_ms(worker, call_ns, 0.3)[0] if gpu else None
        inputs = worker.examples()
    calls = max(5, min(500, int(seconds * 1e9 / call_ns)))
    progress(f"profile {artifact.model}, {calls} calls")
    times = profile_dispatches(artifact.vmfb, device, inputs, calls=calls, timeout=timeout)
    found = {
        "model": artifact.model,
        "preset": artifact.preset,
        "threads": device.threads,
        "device": device.driver,
        "call_ms": call_ns / 1e6,
        "dispatches_ms": sum(time.ms for time in times),
    }
    if gpu:
        return found | {"queued_ms": queued} | _on_gpu(times, artifact, progress, timeout)
    peak = peak_gflops(threads)
    return found | {"peak_gflops": peak, "layers": layer_times(times, artifact, lambda _: peak)}


def _on_gpu(
    times: list[DispatchTime], artifact: Artifact, progress: Callable[[str], None], timeout: float | None
) -> dict[str, Any]:
    """What a profile on a GPU has beside `queued_ms`: `device_name`, `function_only`, `device_ms` (of the whole call;
    null where it is not known), `ms_by` (how kernels were timed), `bandwidth_gbs` and `peaks_by`; `peak_gflops` is by
    type, and `layers` have `gbs` and `percent_of_bandwidth`."""
    peaks = on_gpu.peaks_of(artifact, progress)
    gpu = gpus(artifact.driver)[0]
    rows = layer_times(times, artifact, peaks.of)
    _add_bandwidth(rows, artifact, peaks)
    return {
        "device_name": gpu.name,
        "function_only": gpu.software,
        "device_ms": on_gpu.device_ms(artifact, None, None, progress, timeout)[0],
        "ms_by": on_gpu.ALONE_IN_GRAPH if artifact.driver == "cuda" else on_gpu.IN_PLACE,
        "peak_gflops": dict(peaks.gflops),
        "bandwidth_gbs": peaks.bandwidth_gbs,
        "peaks_by": peaks.how,
        "layers": rows,
    }


def _add_bandwidth(rows: list[dict[str, Any]], artifact: Artifact, peaks: on_gpu.Peaks) -> None:
    """Set `gbs`, what kernels read and write over their time, where all kernels of a layer are ours."""
    sizes = {launch.name: on_gpu.bytes_of(launch, artifact) for launch in read_program(artifact.vmfb).launches}
    for row in rows:
        found = [sizes.get(one["name"]) for one in row["dispatches"]]
        known = all(found) and row["ms"]
        row["gbs"] = sum(filter(None, found)) / (row["ms"] * 1e6) if known else None
        share = 100 * row["gbs"] / peaks.bandwidth_gbs if row["gbs"] and peaks.bandwidth_gbs else None
        row["percent_of_bandwidth"] = share


def layer_times(
    times: list[DispatchTime], artifact: Artifact, peak_of: Callable[[Mapping[str, Any]], float | None]
) -> list[dict[str, Any]]:
    """Dispatches gathered by the layer they come from, in order of first execution; `peak_of` a layer is in GFLOP/s."""
    known = {layer["layer"]: layer for layer in artifact.layers}
    total = sum(time.ms for time in times) or 1.0
    groups: dict[str, list[DispatchTime]] = defaultdict(list)
    for time, layer in zip(times, said_of(times, artifact.dispatches, "layer"), strict=True):
        groups[layer or time.name].append(time)
    producers = _producers(artifact.layers, groups)
    rows = []
    for name, group in groups.items():
        within = producers.get(name, [])
        macs = sum(contraction_macs(time.name) for time in group)
        if name in known:
            macs = sum(known[one]["macs"] for one in (*within, name))
        primitive = known[name]["primitive"] if name in known else "stock" if macs else ""
        ms = sum(time.ms for time in group)
        gflops = 2 * macs / (ms * 1e6) if macs and ms else None
        peak = peak_of(known.get(name, {}))
        rows.append(
            {
                "layer": name,
                "producers": within,
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


def _producers(layers: Sequence[Mapping[str, Any]], dispatched: Collection[str]) -> dict[str, list[str]]:
    """By layer, those before it that have no dispatch of their own, because its kernel computes them."""
    found: dict[str, list[str]] = {}
    pending: list[str] = []
    for layer in layers:
        if layer["layer"] not in dispatched:
            pending.append(layer["layer"])
        else:
            found[layer["layer"]] = pending
            pending = []
    return found


def contraction_macs(dispatch: str) -> int:
    """Multiply-accumulates of a dispatch by its name, 0 when it is no contraction."""
    sizes = _CONTRACTION.search(dispatch)
    return math.prod(map(int, sizes.group(1).split("x"))) if sizes else 0
