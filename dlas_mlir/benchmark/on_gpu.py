"""What is measured on a GPU beside a call that is waited for: queued calls, the device's own time, its peaks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlas_mlir import process
from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.errors import DlasError
from dlas_mlir.measure import record as records
from dlas_mlir.measure.turn import calls_in_flight
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.cuda_driver import COPIES
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.gpus import gpus
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.listing import Launch
from dlas_mlir.runtime.profile import cuda_times

# What is compiled already is measured where there is no compiler.
if TYPE_CHECKING:
    from dlas_mlir.compiler.frontend.importer import Imported
    from dlas_mlir.compiler.presets import Preset

Say = Callable[[str], None]
# How often each kernel is launched in the artifact that is set beside the one that launches it once.
_REPEATS = 9
BY_GRAPH = "all kernels of a call in one CUDA graph, by the device's events"
BY_REPEATS = f"the difference between calls that launch each kernel {_REPEATS} times and once"
ALONE_IN_GRAPH = f"{COPIES} launches of a kernel in a CUDA graph, by the device's events"
IN_PLACE = "each kernel in its place in a call, by the device's clock"


@dataclass(frozen=True)
class Peaks:
    """What a device reaches: `gflops` by the type of operands (`fma`: without matrix instructions), GB/s of its memory,
    and `how` that is known."""

    gflops: Mapping[str, float] = field(default_factory=dict)
    bandwidth_gbs: float | None = None
    how: str = ""

    def of(self, layer: Mapping[str, Any]) -> float | None:
        """The peak, in GFLOP/s, of what a layer of an artifact was scheduled with."""
        schedule = layer.get("schedule") or {}
        if schedule.get("kind") != "gpu":
            return self.gflops.get("fma")
        operands = schedule["instruction"].split(".")[1]
        if operands == "tf32x3":
            return self.gflops["tf32"] / 3 if "tf32" in self.gflops else None
        return self.gflops.get(operands)


def peaks_of(artifact: Artifact, say: Say) -> Peaks:
    """Of the device that an artifact runs on: measured where there are kernels for that (CUDA); else what the target
    says that it was compiled for."""
    if artifact.driver == "cuda":
        say("measure the peaks of the device")
        try:
            found = process.call("dlas_mlir.runtime.cuda_peaks:peaks", {}, what="measuring the peaks of the device")
            by_type = {name: 1e3 * rate for name, rate in found["tflops"].items()}
            return Peaks(by_type, found["bandwidth_gbs"], f"measured: {found['how']}")
        except DlasError as error:
            say(f"peaks are not known: {error}")
    target = Target.from_figures(artifact.target)
    if not isinstance(target, GpuTarget) or gpus(artifact.driver)[0].software:
        return Peaks()
    return Peaks({}, target.bandwidth_gbs, f"bandwidth of the target {target.name}, not measured")


def queued_ms(worker: Worker, call_ns: float, min_seconds: float) -> tuple[float | None, int]:
    """Milliseconds of a call among others that are on their way, and how many were; None where they cannot be."""
    in_flight = calls_in_flight(call_ns)
    found = worker.queued(min_seconds=min_seconds, in_flight=in_flight)
    return (statistics.median(found) / 1e6 if found else None), in_flight


def device_ms(
    artifact: Artifact, source: Imported | None, preset: Preset | None, say: Say, timeout: float | None
) -> tuple[float | None, str]:
    """The device's own time for a call in milliseconds, and how it was measured; None and why where it was not."""
    try:
        if artifact.driver == "cuda":
            return cuda_times(artifact.vmfb, alone=False, timeout=timeout)["device_us"] / 1e3, BY_GRAPH
        if source is None or preset is None:
            return None, "a compiled artifact cannot be compiled to launch each kernel several times"
        from dlas_mlir.compiler.driver import Clock, compile_imported
        from dlas_mlir.compiler.repeated import repeating

        repeated = compile_imported(source, repeating(preset, _REPEATS), clock=Clock(say), timeout=timeout)
        once, often = (_queued_alone(one, timeout) for one in (artifact, repeated))
        return max(0.0, often - once) / (_REPEATS - 1), BY_REPEATS
    except DlasError as error:
        return None, str(error).splitlines()[0]


def _queued_alone(artifact: Artifact, timeout: float | None) -> float:
    with Worker(artifact.vmfb, resolve(artifact.driver), artifact.golden, timeout=timeout) as worker:
        found = worker.queued(min_seconds=0.2, in_flight=2)
    if not found:
        raise DlasError("its calls cannot be queued")
    return min(found) / 1e6


def measured(
    worker: Worker,
    artifact: Artifact,
    source: Imported | None,
    preset: Preset | None,
    peaks: Peaks,
    *,
    call_ns: float,
    say: Say = lambda _: None,
    timeout: float | None = LIMIT,
) -> records.OnGpu:
    """What a record says of an artifact on a GPU, which takes `call_ns` nanoseconds for a call that is waited for."""
    device = gpus(artifact.driver)[0]
    queued, in_flight = queued_ms(worker, call_ns, 0.2)
    own, how = device_ms(artifact, source, preset, say, timeout)
    try:
        launches: Sequence[Launch] = read_program(artifact.vmfb).launches
    except DlasError:
        launches = ()
    ideal = _ideal_ms(artifact, peaks)
    data = sum(filter(None, (bytes_of(launch, artifact) for launch in launches)))
    return records.OnGpu(
        name=device.name,
        function_only=device.software,
        queued_ms=queued,
        in_flight=in_flight,
        device_ms=own,
        device_ms_by=how,
        launches=len(launches),
        percent_of_peak=100 * ideal / own if ideal and own else None,
        percent_of_bandwidth=100 * data / (own * 1e6) / peaks.bandwidth_gbs
        if own and peaks.bandwidth_gbs and data
        else None,
        peak_gflops=dict(peaks.gflops),
        bandwidth_gbs=peaks.bandwidth_gbs,
        peaks_by=peaks.how,
    )


def _ideal_ms(artifact: Artifact, peaks: Peaks) -> float | None:
    """What the layers' multiply-adds take at the peaks of their types; None where one is not known."""
    rates = [(layer["macs"], peaks.of(layer)) for layer in artifact.layers]
    if not rates or not all(rate for _, rate in rates):
        return None
    return sum(2 * macs / rate for macs, rate in rates if rate) / 1e6


def bytes_of(launch: Launch, artifact: Artifact) -> int | None:
    """The bytes that a kernel of ours is given to read and write; iree-compile's are given whole buffers: None."""
    ours = {one["name"] for one in artifact.dispatches if one.get("workload")}
    return sum(one.length for one in launch.bindings) if launch.name in ours else None
