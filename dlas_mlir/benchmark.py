"""`dlas bench`: models x presets x threads in one run, checked first, then timed in interleaved rounds."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import Clock, compile_imported
from dlas_mlir.compiler.importer import Imported, import_model
from dlas_mlir.compiler.peak import peak_kernel
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device, cpu_model, resolve
from dlas_mlir.runtime.timing import TOLERANCE, Timing
from dlas_mlir.speedup import add_actual, expected, is_dense

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Protocol:
    """How long is measured: `rounds` turns for each artifact, of at least `min_seconds` and `min_count` calls.

    `tolerance` replaces the limit on max|a-b| / max|b| that goes with the element type.
    """

    rounds: int = 5
    min_seconds: float = 0.2
    min_count: int = 3
    tolerance: float | None = None


@dataclass
class _Entry:
    """One artifact with a number of threads on its way to a row."""

    model: str
    preset: str
    threads: int
    source: Imported | Artifact | DlasError
    weights: str | None = None
    dense_macs: int = 0
    # What goes with the types that the recipe rounds to; None: with those of the model.
    tolerance: float | None = None
    artifact: Artifact | None = None
    worker: Worker | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    samples: list[list[int]] = field(default_factory=list)

    def fail(self, error: Exception | str) -> None:
        self.facts["error"] = str(error)
        self.close()

    def close(self) -> None:
        if self.worker:
            self.worker.close()
        self.worker = None


def bench_rows(
    models: Sequence[str | Artifact],
    presets: Sequence[str],
    threads: Sequence[int],
    *,
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    dense: bool = False,
    protocol: Protocol | None = None,
    progress: Progress = lambda _: None,
) -> list[dict[str, Any]]:
    """One dict for each model, preset and number of threads, in this order; docs/measuring.md tells the fields.

    What fails is a dict with `error`; the others are still measured. An Artifact brings its own preset. With `dense`
    the model without `weights` comes first, compiled by the recipe `auto` of the first preset's target.
    """
    protocol = protocol or Protocol()
    if dense and weights is None:
        raise DlasError("--dense goes with --weights: without, the model is the dense one")
    peaks = _Peaks()
    rows: list[dict[str, Any]] = []
    for model in models:
        if isinstance(model, Artifact):
            entries = [_Entry(model.model, model.preset, count, model, None, model.macs) for count in threads]
        else:
            entries = _entries(model, presets, threads, inputs, weights, dense, progress)
        with ExitStack() as stack:
            for entry in entries:
                stack.callback(entry.close)
                _load(entry, protocol, progress)
            _measure([entry for entry in entries if entry.worker], entries[0].model, protocol, progress)
        rows += [_row(entry, protocol, peaks) for entry in entries]
    add_actual(rows)
    return rows


def _entries(
    model: str,
    presets: Sequence[str],
    threads: Sequence[int],
    inputs: tuple[str, ...] | None,
    weights: Path | str | None,
    dense: bool,
    progress: Progress,
) -> list[_Entry]:
    source = _imported(model, inputs, weights, progress)
    original = source
    if weights is not None and (dense or _has_other_shapes(weights)):
        original = _imported(model, inputs, None, progress)
    macs = original.macs if isinstance(original, Imported) else 0
    stem = Path(weights).stem if weights is not None else None
    entries = [_Entry(model, preset, count, source, stem, macs) for preset in presets for count in threads]
    if dense:
        auto = f"{presets[0].rpartition('/')[0]}/auto"
        entries = [_Entry(model, auto, count, original, None, macs) for count in threads] + entries
    return entries


def _has_other_shapes(weights: Path | str) -> bool:
    from dlas_mlir.models.architecture import read_metadata

    try:
        architecture = read_metadata(Path(weights)).get("architecture")
    except DlasError:
        return False  # importing it says what is wrong
    return isinstance(architecture, dict) and "channels" in architecture


def _imported(
    model: str, inputs: tuple[str, ...] | None, weights: Path | str | None, progress: Progress
) -> Imported | DlasError:
    progress(f"import {model}")
    try:
        return import_model(model, inputs=inputs, weights=weights)
    except DlasError as error:
        return error


def _load(entry: _Entry, protocol: Protocol, progress: Progress) -> None:
    """Compile, load and check: what is wrong is not timed."""
    source = entry.source
    try:
        if isinstance(source, DlasError):
            raise source
        artifact = source if isinstance(source, Artifact) else _compiled(entry, source, progress)
        entry.artifact = artifact
        device = resolve(artifact.driver, entry.threads)
        entry.facts |= _artifact_facts(artifact, device) | _work_facts(artifact, entry.dense_macs)
        entry.worker = Worker(artifact.vmfb, device, artifact.golden)
        if artifact.golden is None:
            return
        progress(f"check {entry.model} for {entry.preset}, threads {entry.threads}")
        check = entry.worker.check(entry.tolerance if protocol.tolerance is None else protocol.tolerance)
        entry.facts |= {"verified": check.verified, "max_rel_error": check.max_rel_error}
        if not check.verified:
            entry.fail(f"wrong output, not timed: {check.reason}")
    except DlasError as error:
        entry.fail(error)


def _compiled(entry: _Entry, imported: Imported, progress: Progress) -> Artifact:
    preset = load_preset(entry.preset, threads=entry.threads)
    entry.tolerance = TOLERANCE[preset.element] if preset.element else None
    return compile_imported(imported, preset, clock=Clock(progress))


def _measure(entries: list[_Entry], name: str, protocol: Protocol, progress: Progress) -> None:
    """Rounds over all artifacts of a model, so that whatever the machine does meets all of them."""
    for turn in range(protocol.rounds):
        if entries:
            progress(f"time {name}, round {turn + 1} of {protocol.rounds}")
        for entry in entries:
            if entry.worker is None:
                continue
            try:
                sampled = entry.worker.sample(min_seconds=protocol.min_seconds, min_count=protocol.min_count)
                entry.samples.append(sampled)
            except DlasError as error:
                entry.fail(error)


class _Peaks:
    """The machine's FMA rate in GFLOP/s for a number of threads, measured once in a run."""

    def __init__(self) -> None:
        self._found: dict[int, float | None] = {}

    def of(self, device: Device) -> float | None:
        if not device.driver.startswith("local"):
            return None
        if device.threads not in self._found:
            self._found[device.threads] = _measured_peak(device)
        return self._found[device.threads]


def _measured_peak(device: Device) -> float | None:
    try:
        preset = load_preset("host/stock", threads=device.threads)
        vmfb, operations = peak_kernel(preset.target, preset.iree_flags)
        with Worker(vmfb, device) as worker:
            # The best of a longer time: whoever else uses the machine only ever takes from the peak.
            return operations / min(worker.sample(min_seconds=0.3 * device.threads, min_count=10))
    except DlasError:
        return None  # a machine without a vector target of ours


def peak_gflops(threads: int = 1) -> float | None:
    """The measured fp32 FMA rate of this machine, in GFLOP/s; None where no CPU target of ours fits."""
    return _measured_peak(resolve("local", threads))


def _artifact_facts(artifact: Artifact, device: Device) -> dict[str, Any]:
    return {
        "primitives": artifact.primitives,
        "artifact_sha256": artifact.sha256,
        "device": device.driver,
        "cpus": list(device.cpus),
        "iree_compile_flags": list(artifact.flags),
        "versions": artifact.versions,
        "compile_seconds": artifact.seconds,
    }


def _work_facts(artifact: Artifact, dense_macs: int) -> dict[str, Any]:
    return {
        "parameters": artifact.parameters,
        "nonzeros": artifact.nonzeros,
        "weight_bytes": artifact.weight_bytes,
        "macs": artifact.macs,
        "effective_macs": sum(artifact.effective_macs.values()),
        "effective_macs_by_element": artifact.effective_macs,
        "dense": is_dense(artifact.effective_macs, dense_macs),
        "expected_speedup": _expected(artifact, dense_macs),
    }


def _expected(artifact: Artifact, dense_macs: int) -> float | None:
    try:
        target = load_preset(artifact.preset).target
    except DlasError:
        return None  # an artifact made elsewhere
    return expected(artifact.effective_macs, dense_macs, target)


def _row(entry: _Entry, protocol: Protocol, peaks: _Peaks) -> dict[str, Any]:
    """The row of one entry; the times are null where nothing was timed."""
    row: dict[str, Any] = {
        "model": entry.model,
        "preset": entry.preset,
        "threads": entry.threads,
        "weights": entry.weights,
        "median_ms": None,
        "iqr_ms": None,
        "min_ms": None,
        "gflops": None,
        "percent_of_peak": None,
        "verified": False,
        "max_rel_error": None,
        "primitives": {},
        "artifact_sha256": None,
        **entry.facts,
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    if entry.artifact is None or "error" in row or not entry.samples:
        return row | {"name": _benchmark_name(row)}
    timing = Timing.of(entry.samples)
    row |= vars(timing)
    if entry.artifact.macs:
        row["gflops"] = 2 * entry.artifact.macs / (timing.median_ms * 1e6)
        row["peak_gflops"] = peak = peaks.of(resolve(entry.artifact.driver, entry.threads))
        row["percent_of_peak"] = 100 * row["gflops"] / peak if peak else None
    return row | {
        "name": _benchmark_name(row),
        "run_type": "iteration",
        "iterations": timing.samples,
        "repetitions": protocol.rounds,
        "real_time": timing.median_ms,
        "cpu_time": timing.median_ms,
        "time_unit": "ms",
    }


def _benchmark_name(row: dict[str, Any]) -> str:
    weights = f"/weights:{row['weights']}" if row["weights"] else ""
    return f"{row['model']}/{row['preset']}{weights}/threads:{row['threads']}"


def google_benchmark(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`rows` as a google-benchmark report, which its compare.py and others read."""
    return {
        "context": {
            "date": next((row["date"] for row in rows), ""),
            "host_name": os.uname().nodename,
            "executable": "dlas bench",
            "num_cpus": os.cpu_count(),
            "cpu_model": cpu_model(),
            "load_avg": list(os.getloadavg()),
            "library_build_type": "release",
        },
        "benchmarks": list(_with_errors(rows)),
    }


def _with_errors(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        error = row.get("error")
        yield row | ({"error_occurred": True, "error_message": error} if error else {})
