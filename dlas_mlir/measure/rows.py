"""Records as flat rows: the JSON of `dlas bench`, and of google-benchmark."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from dlas_mlir.measure.record import Record
from dlas_mlir.measure.stats import Timing

_TIMES = ("median_ms", "iqr_ms", "min_ms", "p50_ms", "p90_ms", "p99_ms", "throughput", "gflops", "percent_of_peak")


def row(record: Record) -> dict[str, Any]:
    """One flat dict; the times are null where nothing was timed. docs/measuring.md tells the fields."""
    model, optimization, algorithm, hardware = record.model, record.optimization, record.algorithm, record.hardware
    found: dict[str, Any] = {
        "name": record.name,
        "model": model.name,
        "preset": record.software.preset,
        "threads": hardware.threads,
        "streams": hardware.streams,
        "batch": model.batch,
        "weights": optimization.weights,
        **_times(record),
        "verified": record.check.verified if record.check else False,
        "max_rel_error": record.check.max_rel_error if record.check else None,
        "unchecked": record.check.reason if record.check and not record.check.verified and not record.failure else "",
        "primitives": algorithm.primitives,
        "layers": [asdict(layer) for layer in algorithm.layers],
        "artifact_sha256": record.software.artifact_sha256,
        "device": hardware.device,
        "cpus": list(hardware.cpus),
        "cpu": hardware.cpu,
        "iree_compile_flags": list(record.software.flags),
        "versions": record.software.versions,
        "compile_seconds": record.software.compile_seconds,
        "parameters": model.parameters,
        "nonzeros": optimization.nonzeros,
        "weight_bytes": optimization.weight_bytes,
        "macs": model.macs,
        "effective_macs": sum(optimization.effective_macs.values()),
        "effective_macs_by_element": optimization.effective_macs,
        "dense": optimization.dense,
        "expected_speedup": optimization.expected_speedup,
        "top1": record.accuracy.top1 if record.accuracy else None,
        "noise": record.noise,
        "date": record.date,
        "run": record.run,
    }
    if record.gpu:
        # A call that is waited for says nothing of the share of a peak that the device reaches.
        found |= {"gpu": asdict(record.gpu), "percent_of_peak": record.gpu.percent_of_peak}
    return found | ({"error": record.error} if record.error else {})


def _times(record: Record) -> dict[str, Any]:
    if not record.turns or record.failure:
        return dict.fromkeys(_TIMES)
    timing = Timing.of(record.turns)
    model, hardware = record.model, record.hardware
    calls = hardware.streams * 1e3 / timing.median_ms
    gflops = 2 * model.macs * calls / 1e9 if model.macs else None
    peak = hardware.peak_gflops
    return {
        **asdict(timing),
        "throughput": model.batch * calls,
        "gflops": gflops,
        "peak_gflops": peak,
        "percent_of_peak": 100 * gflops / peak if gflops and peak else None,
        "run_type": "iteration",
        "iterations": timing.samples,
        "repetitions": timing.rounds,
        "real_time": timing.median_ms,
        "cpu_time": timing.cpu_ms,
        "time_unit": "ms",
    }


def google_benchmark(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`rows` as a google-benchmark report, which its compare.py and others read."""
    return {
        "context": {
            "date": next((row["date"] for row in rows), ""),
            "host_name": os.uname().nodename,
            "executable": "dlas bench",
            "num_cpus": os.cpu_count(),
            "cpu_model": next((row["cpu"] for row in rows), ""),
            "load_avg": list(os.getloadavg()),
            "library_build_type": "release",
        },
        "benchmarks": list(_with_errors(rows)),
    }


def _with_errors(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in rows:
        error = one.get("error")
        yield one | ({"error_occurred": True, "error_message": error} if error else {})
