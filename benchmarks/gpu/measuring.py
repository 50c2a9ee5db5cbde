"""The part of the script that runs artifacts: in a process of its own, case after case, a row for each.

Each case is compared with what is right first; a wrong one is not timed. Three times are told apart:
- `call_us`: a call and the wait for it, inputs and results on the device;
- `queued_us`: one of many calls on their way, which wait for each other on the device alone;
- `device_us`: what the device takes for all kernels of a call as one CUDA graph, by its events; for a layer, for its
  kernel, from 64 launches in a graph. Vulkan has none.
"""

from __future__ import annotations

import gzip
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import cases, weights
from benchmarks.gpu.turns import turns
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import check, relative_error
from dlas_mlir.measure.turn import calls_in_flight, sample, sample_queued
from dlas_mlir.runtime import cuda_driver
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.graph_session import AnySession, open_session
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.session import Session
from dlas_mlir.runtime.worker import sorted_keys

# Calls that are handed over one after the other, where that alone is timed.
_HANDED = 16
Row = dict[str, Any]


def measured(one: Row, bundle: Path, device: str, seconds: float) -> Row:
    """The row of a case: `case`, `element`, `who`, and times or an `error`."""
    with _unpacked(one, bundle / "files") as vmfb:
        return _PARTS[one["part"]](one, vmfb, bundle / "files", device, seconds)


@contextmanager
def _unpacked(one: Row, files: Path) -> Iterator[Path]:
    """The artifact of a case."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        vmfb = Path(scratch) / one["vmfb"]
        vmfb.write_bytes(gzip.decompress((files / f"{one['vmfb']}.gz").read_bytes()))
        yield vmfb


def _grid(one: Row, vmfb: Path, files: Path, device: str, seconds: float) -> Row:
    """The numbers of a module of several convolutions: which are wrong."""
    parameters, other = _parameters(one, files)
    if other:
        return _unchecked(other)
    session = open_session(vmfb, resolve(device), parameters=parameters)
    with np.load(files / one["golden"]) as arrays:
        expected = [arrays[key] for key in sorted_keys(arrays, "output_")]
    outputs = session(*(cases.grid_input(kind.shape, number) for number, kind in enumerate(session.inputs)))
    session.close()
    tolerance = cases.TOLERANCES[one["part"]][one["element"]]
    checks = [check([a], [b], tolerance) for a, b in zip(outputs, expected, strict=True)]
    wrong = [f"{i}: {found.reason}" for i, found in enumerate(checks) if not found.verified]
    worst = max((found.max_rel_error or 0.0) for found in checks)
    return {"right": len(checks) - len(wrong), "of": len(checks), "wrong": wrong, "error_of_max": worst}


def _layer(one: Row, vmfb: Path, files: Path, device: str, seconds: float) -> Row:
    session = open_session(vmfb, resolve(device), pin=True)
    kinds = session.inputs
    inputs = [cases.argument(kind.shape, kind.dtype, number) for number, kind in enumerate(kinds)]
    arguments = session.prepare(inputs)
    (output,) = session.fetch(session.invoke(arguments))
    with np.load(files / one["golden"]) as golden:
        images, places, values = golden["images"], golden["places"], golden["values"]
    found = np.stack([np.asarray(output[image]).reshape(-1)[places].astype(np.float64) for image in images])
    row = _compared(relative_error(found, values.astype(np.float64)), one)
    if "error" not in row:
        row |= _called(session, arguments, seconds) | _on_device(vmfb, device, alone=True)
    session.close()
    return row


def _model(one: Row, vmfb: Path, files: Path, device: str, seconds: float) -> Row:
    parameters, wrong = _parameters(one, files)
    session = open_session(vmfb, resolve(device), pin=True, parameters=parameters)
    arguments = session.prepare([cases.argument(kind.shape, kind.dtype, 0) for kind in session.inputs])
    (output,) = session.fetch(session.invoke(arguments))
    with np.load(files / one["golden"]) as golden:
        expected = golden["output_0"]
    row = _unchecked(wrong) if wrong else _compared(relative_error(np.asarray(output), expected), one)
    if "error" not in row:
        row |= _called(session, arguments, seconds) | _on_device(vmfb, device, alone=False)
        row |= {"dispatches": len(one["dispatches"]), "macs": one["macs"]}
    session.close()
    return row


def _zoo(one: Row, vmfb: Path, files: Path, device: str, seconds: float) -> Row:
    """The numbers of a network."""
    parameters, wrong = _parameters(one, files)
    session = open_session(vmfb, resolve(device), parameters=parameters)
    (output,) = session(*(cases.argument(kind.shape, kind.dtype, 0) for kind in session.inputs))
    session.close()
    with np.load(files / one["golden"]) as golden:
        expected = golden["output_0"]
    return _unchecked(wrong) if wrong else _compared(relative_error(np.asarray(output), expected), one)


def _parameters(one: Row, files: Path) -> tuple[dict[str, np.ndarray], str]:
    """The weights that an artifact takes, and the name of one that is not what it was compiled with."""
    model = weights.seeded(one["weights"])
    found = {name: weights.made(how, model) for name, how in one["recipes"].items()}
    wrong = next((name for name, how in one["recipes"].items() if not weights.is_right(how, found[name])), "")
    if one["raw"]:
        with np.load(files / one["raw"]) as arrays:
            found |= {name: arrays[name] for name in arrays.files}
    return found, wrong


def _unchecked(weight: str) -> Row:
    return {"unchecked": f"NumPy makes other weights here: {weight}"}


def _compared(error: float, one: Row) -> Row:
    row: Row = {"error_of_max": error}
    if not error <= cases.TOLERANCES[one["part"]][one["element"]]:
        row["error"] = f"wrong output, not timed: off by {error:.1e} of the largest value"
    return row


def _called(session: AnySession, arguments: Any, seconds: float) -> Row:
    """A call that is waited for, and calls on their way."""
    alone = sample(lambda: session.invoke(arguments), min_seconds=seconds, min_count=2, warmup=1)
    call_ns = statistics.median(alone)
    row: Row = {"call_us": call_ns / 1e3, "mean_us": statistics.mean(alone) / 1e3, "calls": len(alone)}
    if not session.can_queue:
        return row
    in_flight = calls_in_flight(call_ns)
    batches = sample_queued(lambda: session.queue(arguments), session.wait, in_flight=in_flight, min_seconds=seconds)
    return row | {"queued_us": statistics.median(batches) / 1e3, "in_flight": in_flight}


def _on_device(vmfb: Path, device: str, *, alone: bool) -> Row:
    """The device's own time: what is wrong with it does not matter to the rest."""
    if device != "cuda":
        return {}
    try:
        program = read_program(vmfb)
        found = cuda_driver.replayed(cuda_driver.Cuda(), program, alone=alone)
    except DlasError as error:
        return {"device_error": str(error)}
    if alone:
        return {"device_us": sum(one["us"] for one in found["launches"]), "launches": found["launches"]}
    return {"device_us": found["device_us"]}


def candidates(one: Row, bundle: Path) -> Iterator[Row]:
    """The kernel of a layer by each of some schedules: all are loaded first, which takes longer than timing them."""
    with turns() as alone, tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        cuda, programs = cuda_driver.Cuda(), []
        for known in one["candidates"]:
            vmfb = Path(scratch) / known["vmfb"]
            vmfb.write_bytes(gzip.decompress((bundle / "files" / f"{known['vmfb']}.gz").read_bytes()))
            programs.append(read_program(vmfb))
            cuda_driver.prepare(cuda, programs[-1])
            cuda.release()
        alone()
        for known, program in zip(one["candidates"], programs, strict=True):
            found = cuda_driver.replayed(cuda, program)
            us = sum(launch["us"] for launch in found["launches"])
            yield {"schedule": known["schedule"], "cycles": known["cycles"], "device_us": us}


def calls(one: Row, bundle: Path, device: str) -> Iterator[Row]:
    """What a call consists of: as a CUDA graph; and by IREE's runtime, with all CPUs, one and two for all threads of
    the driver's, one for the caller alone; and what handing it over takes, without waiting."""
    files = bundle / "files"
    parameters, _ = _parameters(one, files)
    every = os.sched_getaffinity(0)
    first = {min(every)}
    with _unpacked(one, files) as vmfb:
        graph = open_session(vmfb, resolve(device), parameters=parameters)
        yield {"case": f"{one['case']}, a CUDA graph", "who": "ours", **_one_call(graph)}
        for name, opened, called in (
            ("all CPUs", every, every),
            ("one CPU", first, first),
            ("two CPUs", two := set(sorted(every)[:2]), two),
            ("caller on one CPU", every, first),
        ):
            # Threads that are begun inherit it from this one, which opens the device.
            os.sched_setaffinity(0, opened)
            session = Session(vmfb, resolve(device), parameters=parameters)
            os.sched_setaffinity(0, called)
            yield {"case": f"{one['case']}, {name}", "who": "ours", **_one_call(session)}
            os.sched_setaffinity(0, every)


def _one_call(session: AnySession) -> Row:
    arguments = session.prepare([cases.argument(kind.shape, kind.dtype, 0) for kind in session.inputs])
    row = _called(session, arguments, 0.3)
    hand_over = sample(lambda: session.queue(arguments), min_seconds=0.0, min_count=_HANDED)
    session.wait()
    session.close()
    return {**row, "queueing_us": statistics.median(hand_over) / 1e3}


_PARTS: dict[str, Callable[[Row, Path, Path, str, float], Row]] = {
    "grid": _grid,
    "layers": _layer,
    "sparse": _layer,
    "models": _model,
    "apart": _model,
    "zoo": _zoo,
}
