"""`dlas bench`: models x presets x threads in one run, checked first, then timed in interleaved rounds."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.benchmark import on_gpu
from dlas_mlir.benchmark.description import blank, described
from dlas_mlir.benchmark.peak import peak_kernel
from dlas_mlir.benchmark.speedup import add_actual
from dlas_mlir.compiler import tools
from dlas_mlir.compiler.artifact import SUFFIX, Artifact, load_file
from dlas_mlir.compiler.frontend.importer import Imported, check_batch, import_model
from dlas_mlir.errors import DlasError
from dlas_mlir.measure import record as records
from dlas_mlir.measure import rows
from dlas_mlir.measure.check import Check, tolerance_of
from dlas_mlir.measure.record import Record
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.measure.stats import Timing
from dlas_mlir.measure.turn import Turn
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device, resolve, resolve_streams
from dlas_mlir.runtime.streams import Streams

if TYPE_CHECKING:
    from dlas_mlir.compiler.presets import Preset

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What `dlas bench` is asked for: every model with every preset and number of threads, by `streams` callers at the
    same time. `batch` replaces the first dimension of a model's inputs. With `dense` the model without `weights`
    comes first, compiled by the recipe `auto` of the first preset's target. `timeout` is in seconds, for each import,
    pass pipeline, iree-compile and answer of a loaded model."""

    models: tuple[str | Artifact, ...]
    presets: tuple[str, ...] = ("host/auto",)
    threads: tuple[int, ...] = (1,)
    streams: int = 1
    batch: int | None = None
    inputs: tuple[str, ...] | None = None
    weights: Path | None = None
    dense: bool = False
    timeout: float | None = LIMIT


@dataclass
class _Entry:
    """One artifact with a number of threads on its way to a record."""

    record: Record
    source: Imported | Artifact | DlasError
    preset: Preset | DlasError | None
    runner: Worker | Streams | None = None
    artifact: Artifact | None = None

    def fail(self, stage: Any, error: Exception | str) -> None:
        self.record = replace(self.record, failure=records.Failure(stage=stage, message=str(error)))
        self.close()

    def close(self) -> None:
        if self.runner:
            self.runner.close()
        self.runner = None


def bench(
    request: Request,
    protocol: Protocol | None = None,
    *,
    progress: Progress = lambda _: None,
    keep: Callable[[Record], object] = lambda _: None,
) -> list[Record]:
    """A record for each model, preset and number of threads, in this order.

    What fails is a record with a `failure`; the others are still measured. An Artifact brings its own preset. `keep`
    is given every record as soon as it is complete. Raises DlasError for a request that makes no sense.
    """
    protocol = protocol or Protocol()
    if request.dense and request.weights is None:
        raise DlasError("--dense goes with --weights: without, the model is the dense one")
    bench = _Bench(request, protocol, progress)
    bench.check()
    found: list[Record] = []
    for model in request.models:
        for record in bench.measure(model):
            keep(record)
            found.append(record)
    return found


def bench_rows(request: Request, protocol: Protocol | None = None, **options: Any) -> list[dict[str, Any]]:
    """`bench` as flat dicts, with `error` for what failed; docs/measuring.md tells the fields."""
    found = [rows.row(record) for record in bench(request, protocol, **options)]
    add_actual(found)
    return found


@dataclass
class _Bench:
    """One run: what its models share."""

    request: Request
    protocol: Protocol
    progress: Progress
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    peaks: dict[int, float | None] = field(default_factory=dict)
    gpu_peaks: dict[tuple[str, str], on_gpu.Peaks] = field(default_factory=dict)

    def check(self) -> None:
        """What makes no sense for any preset is said before anything is compiled."""
        if self.request.batch is None:
            return
        check_batch(self.request.batch, self.request.inputs)
        for model in self.request.models:
            if isinstance(model, Artifact) or model.endswith(SUFFIX):
                name = model if isinstance(model, str) else model.model
                raise DlasError(f"{name} is compiled already, for the batch that it has: --batch goes with a model")

    def measure(self, model: str | Artifact) -> list[Record]:
        entries = self._entries(model)
        model_name = entries[0].record.model.name
        with ExitStack() as stack:
            for entry in entries:
                stack.callback(entry.close)
                self._load(entry)
            names = _distinct([entry.record.name for entry in entries])
            running = {name: entry.runner for name, entry in zip(names, entries, strict=True) if entry.runner}
            rounds = Rounds(running, self.protocol, lambda text: self.progress(f"time {model_name}, {text}"))
            if running:
                rounds.run()
            for name, entry in zip(names, entries, strict=True):
                if name in running and name not in rounds.errors:
                    try:
                        self._measure_on_gpu(entry, rounds.turns[name])
                    except DlasError as error:
                        entry.fail("time", error)
        for name, entry in zip(names, entries, strict=True):
            if name in running:
                entry.record = replace(entry.record, turns=tuple(rounds.turns[name]), noise=rounds.noise)
            if name in rounds.errors:
                entry.fail("time", rounds.errors[name])
        return [self._finished(entry) for entry in entries]

    def _entries(self, model: str | Artifact) -> list[_Entry]:
        request = self.request
        if isinstance(model, str) and model.endswith(SUFFIX):
            try:
                model = load_file(Path(model))
            except DlasError as error:
                return [self._entry(model, "", count, error, None, None, 0) for count in request.threads]
        if isinstance(model, Artifact):
            return [
                self._entry(model.model, model.preset, count, model, None, None, model.macs)
                for count in request.threads
            ]
        named = {(name, count): self._chosen(name, count) for name in self._names() for count in request.threads}
        errors = [chosen for chosen in named.values() if isinstance(chosen, DlasError)]
        if len(errors) == len(named):
            source = original = errors[0]  # the model is not even imported
        else:
            source = original = self._imported(model, request.weights)
            if request.weights is not None and (request.dense or _has_other_shapes(request.weights)):
                original = self._imported(model, None)
        macs = original.macs if isinstance(original, Imported) else 0
        wanted: list[tuple[str, Imported | DlasError, Path | None]] = []
        if request.dense:
            wanted.append((self._names()[0], original, None))
        wanted += [(preset, source, request.weights) for preset in request.presets]
        return [
            self._entry(model, preset, count, imported, named[preset, count], weights, macs)
            for preset, imported, weights in wanted
            for count in request.threads
        ]

    def _names(self) -> list[str]:
        """The presets, with that of the dense model first."""
        presets = list(self.request.presets)
        return [f"{presets[0].rpartition('/')[0]}/auto", *presets] if self.request.dense else presets

    def _chosen(self, name: str, threads: int) -> Preset | DlasError:
        """The preset, if it is right, its device has that many threads, and its GPU is here."""
        from dlas_mlir.compiler.presets import load_preset
        from dlas_mlir.compiler.presets.here import gpu_of

        try:
            preset = load_preset(name, threads=threads)
            resolve_streams(preset.device, threads, self.request.streams)
            gpu_of(preset, name)
        except DlasError as error:
            return error
        return preset

    def _entry(
        self,
        model: str,
        preset: str,
        threads: int,
        source: Imported | Artifact | DlasError,
        chosen: Preset | DlasError | None,
        weights: Path | None,
        dense_macs: int,
    ) -> _Entry:
        record = blank(
            records.Model(
                name=model, inputs=self.request.inputs or (), batch=self.request.batch or 1, dense_macs=dense_macs
            ),
            preset,
            weights,
            records.Hardware(device="", threads=threads, streams=self.request.streams),
        )
        record = replace(record, protocol=self.protocol, run=self.run)
        return _Entry(record, source, chosen)

    def _imported(self, model: str, weights: Path | None) -> Imported | DlasError:
        self.progress(f"import {model}")
        try:
            return import_model(
                model,
                inputs=self.request.inputs,
                batch=self.request.batch,
                weights=weights,
                timeout=self.request.timeout,
            )
        except DlasError as error:
            return error

    def _load(self, entry: _Entry) -> None:
        """Compile, load and check: what is wrong is not timed."""
        source, preset, hardware = entry.source, entry.preset, entry.record.hardware
        if isinstance(source, DlasError):
            entry.fail("import", source)
            return
        if isinstance(preset, DlasError):
            entry.fail("compile", preset)
            return
        stage = "compile"
        try:
            if isinstance(source, Artifact):
                artifact = source
            else:
                from dlas_mlir.compiler.driver import Clock, compile_imported

                assert preset is not None
                artifact = compile_imported(source, preset, clock=Clock(self.progress), timeout=self.request.timeout)
            entry.artifact = artifact
            stage = "load"
            devices = resolve_streams(artifact.driver, hardware.threads, hardware.streams)
            entry.record = described(entry.record, artifact, devices)
            entry.runner = _runner(artifact, devices, self.request.timeout)
            stage = "check"
            self._check(entry, artifact)
        except DlasError as error:
            entry.fail(stage, error)

    def _check(self, entry: _Entry, artifact: Artifact) -> None:
        record = entry.record
        if artifact.golden is None:
            entry.record = replace(record, check=Check(verified=False, reason=artifact.unchecked))
            return
        self.progress(f"check {record.model.name} for {record.software.preset}, threads {record.hardware.threads}")
        tolerance = self.protocol.tolerance
        if tolerance is None:
            tolerance = tolerance_of(record.optimization.element)
        assert entry.runner
        check = entry.runner.check(tolerance)
        entry.record = replace(record, check=check)
        if not check.verified:
            entry.fail("check", f"wrong output, not timed: {check.reason}")

    def _measure_on_gpu(self, entry: _Entry, turns: Sequence[Turn]) -> None:
        """What is measured on a GPU beside the turns, of one caller."""
        runner, artifact = entry.runner, entry.artifact
        if artifact is None or artifact.driver == "local" or not isinstance(runner, Worker):
            return
        preset = None if isinstance(entry.preset, DlasError) else entry.preset
        key = artifact.driver, artifact.target["name"]
        if key not in self.gpu_peaks:
            self.gpu_peaks[key] = on_gpu.peaks_of(artifact, self.progress)
        self.progress(f"time {entry.record.model.name} on the device")
        found = on_gpu.measured(
            runner,
            artifact,
            entry.source if isinstance(entry.source, Imported) else None,
            preset,
            self.gpu_peaks[key],
            call_ns=Timing.of(turns).median_ms * 1e6,
            say=self.progress,
            timeout=self.request.timeout,
        )
        entry.record = replace(entry.record, gpu=found)

    def _finished(self, entry: _Entry) -> Record:
        record = entry.record
        if not record.turns or record.failure or not record.model.macs:
            return record
        return replace(record, hardware=replace(record.hardware, peak_gflops=self._peak(record.hardware)))

    def _peak(self, hardware: records.Hardware) -> float | None:
        """The machine's FMA rate in GFLOP/s for all threads of all streams, measured once in a run."""
        if not hardware.device.startswith("local"):
            return None
        threads = hardware.threads * hardware.streams
        if threads not in self.peaks:
            self.peaks[threads] = peak_gflops(threads)
        return self.peaks[threads]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind one that was there before."""
    return [name if name not in names[:i] else f"{name} #{names[:i].count(name) + 1}" for i, name in enumerate(names)]


def _runner(artifact: Artifact, devices: list[Device], timeout: float | None) -> Worker | Streams:
    if len(devices) == 1:
        return Worker(artifact.vmfb, devices[0], artifact.golden, timeout=timeout)
    return Streams(artifact.vmfb, devices, artifact.golden, timeout=timeout)


def _has_other_shapes(weights: Path) -> bool:
    from dlas_mlir.models.metadata import read_metadata

    try:
        architecture = read_metadata(weights).get("architecture")
    except DlasError:
        return False  # importing it says what is wrong
    return isinstance(architecture, dict) and "channels" in architecture


def peak_gflops(threads: int = 1) -> float | None:
    """The measured fp32 FMA rate of this machine, in GFLOP/s; None where no CPU target of ours fits, or there is
    no compiler for it."""
    try:
        tools.iree_compile()
        from dlas_mlir.compiler.presets import load_preset

        preset = load_preset("host/stock", threads=threads)
        vmfb, operations = peak_kernel(preset.target, preset.iree_flags)
        with Worker(vmfb, resolve("local", threads)) as worker:
            # The best of a longer time: whoever else uses the machine only ever takes from the peak.
            return operations / min(worker.turn(min_seconds=0.3 * threads, min_count=10).ns)
    except DlasError:
        return None
