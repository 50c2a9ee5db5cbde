"""The steps that run on the device: verify, accuracy, and blocks of measurements. No compiler, no PyTorch."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np

from dlas_mlir.datasets.predictions import predictions
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import tolerance_of
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import LOCAL_DRIVERS, cpu_model, resolve
from dlas_mlir.runtime.gpus import NoGpu, gpus
from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.entry import Say, StepError
from dlas_mlir.study.images import read_images

# What is said of points that are verified on such a device.
ONLY = "function only"


def verify(request: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Compare an artifact's outputs with the reference's on the same input."""
    parameters, compiled = request["parameters"], request["inputs"]["compile"]
    if compiled["golden"] is None:
        return {"verified": False, "max_rel_error": None, "unchecked": compiled["unchecked"]}
    try:
        with _worker(request, compiled, parameters["threads"]) as worker:
            check = worker.check(tolerance_of(parameters["element"]))
    except DlasError as error:
        raise StepError(how(str(error)), str(error)) from None
    if not check.verified:
        raise StepError("wrong", check.reason)
    return {"verified": True, "max_rel_error": check.max_rel_error, "unchecked": ""}


def accuracy(request: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Run an artifact over test images: how many are right, and which."""
    parameters, compiled = request["parameters"], request["inputs"]["compile"]
    images = request["inputs"]["images"]
    split = read_images(Artifacts(request["artifacts"]).get(images["file"]))
    try:
        with _worker(request, compiled, parameters["threads"]) as worker:
            found = predictions(
                lambda inputs: worker.run_each(inputs, parameters["batch"]),
                split,
                images["classes"],
                title="the artifact",
                dataset=images["dataset"],
                progress=say,
            )
    except DlasError as error:
        raise StepError(how(str(error)), str(error)) from None
    hits = found == split.labels
    packed = base64.b64encode(np.packbits(hits).tobytes()).decode()
    return {"correct": int(hits.sum()), "images": len(split), "hits": packed}


def block(request: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Measure the members of a block in turns. Each is timed, or has an error of its own.

    Members with one and the same artifact are timed once. On a device that is no GPU but does as one nothing is timed:
    `untimed` says why.
    """
    members: Sequence[Mapping[str, Any]] = request["members"]
    device, untimed = device_of(members[0]["compiled"]["driver"])
    if untimed:
        return {"turns": {}, "errors": {}, "noise": None, "device": device, "untimed": untimed}
    protocol = Protocol(**request["protocol"])
    errors: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}  # of the runner, by member
    with ExitStack() as stack:
        runners: dict[str, Worker] = {}
        for member in members:
            name = f"{member['compiled']['vmfb']} {member['threads']}"
            try:
                if name not in runners:
                    runners[name] = stack.enter_context(_worker(request, member["compiled"], member["threads"]))
                names[member["point"]] = name
            except DlasError as error:
                errors[member["point"]] = {"state": how(str(error)), "reason": str(error)}
        rounds = Rounds(runners, protocol, say)
        if runners:
            rounds.run()
    for point, name in list(names.items()):
        if name in rounds.errors:
            errors[point] = {"state": how(rounds.errors[name]), "reason": rounds.errors[name]}
            del names[point]
    turns = {point: [asdict(turn) for turn in rounds.turns[name]] for point, name in names.items()}
    return {"turns": turns, "errors": errors, "noise": rounds.noise, "device": device}


def device_of(driver: str) -> tuple[dict[str, str], str]:
    """What the device of a driver is, and why it is not timed (empty: it is)."""
    if driver in LOCAL_DRIVERS:
        return {"cpu": cpu_model()}, ""
    try:
        gpu = gpus(driver)[0]
    except NoGpu:
        return {"cpu": cpu_model()}, ""  # each member has that for its error
    facts = {"gpu": str(gpu), "cpu": cpu_model()}
    return (facts | {"only": ONLY}, f"{ONLY}: {gpu} is a CPU") if gpu.software else (facts, "")


def _worker(request: Mapping[str, Any], compiled: Mapping[str, Any], threads: int) -> Worker:
    """The artifact, loaded in a process of its own."""
    artifacts = Artifacts(request["artifacts"])
    vmfb = artifacts.get(compiled["vmfb"])
    golden = artifacts.get(compiled["golden"]) if compiled["golden"] else None
    return Worker(vmfb, resolve(compiled["driver"], threads), golden, timeout=request["limit"])


def how(message: str) -> str:
    """The state that an error of a loaded artifact means."""
    if "no answer within" in message:
        return "timeout"
    return "crash" if re.search(r"was killed by SIG|ended with exit code", message) else "failed"


RUN: dict[str, Callable[[Mapping[str, Any], Say], dict[str, Any]]] = {
    "verify": verify,
    "accuracy": accuracy,
    "block": block,
}
