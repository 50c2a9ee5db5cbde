"""The entry point of a worker, and all that it can be asked for: a job as JSON, how it ended as JSON."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from dlas_mlir.measure import gate
from dlas_mlir.study.attempt import attempt
from dlas_mlir.study.offers import this_machine
from dlas_mlir.study.parcels import at_hand


class _Running:
    """The jobs that run in this process, by the keys that Dask knows them by, and how each is told to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tell: dict[str, int] = {}

    @contextmanager
    def entered(self, key: str) -> Iterator[int]:
        """The descriptor from which the job learns that it is not wanted any more."""
        told, tell = os.pipe()
        with self._lock:
            self._tell[key] = tell
        try:
            yield told
        finally:
            self.stop(key)
            os.close(told)

    def now(self) -> Collection[str]:
        """Their keys."""
        with self._lock:
            return list(self._tell)

    def stop(self, key: str) -> None:
        """End a job, if it still runs."""
        with self._lock:
            tell = self._tell.pop(key, None)
        if tell is not None:
            os.close(tell)

    def stop_all(self) -> None:
        """End all that run."""
        for key in self.now():
            self.stop(key)


RUNNING = _Running()


def run(request: str) -> str:
    """Run one job as soon as nobody else has its device. `request` has what `request_of` put there."""
    wanted = json.loads(request)
    device = wanted["device"]
    payload, missing = at_hand(wanted["payload"])
    if missing:
        return json.dumps({"end": "missing", "files": missing})
    alone = gate.measuring if wanted["kind"] == "block" else gate.working
    try:
        with RUNNING.entered(wanted["key"]) as stop, gate.device(device, stop=stop), alone(stop=stop):
            outcome = attempt(payload, wanted["timeout"], device=device, stop=stop, what=wanted["what"])
    except gate.Unwanted:
        outcome = {"end": "lost", "answer": {}, "reason": "the worker was stopped", "seconds": 0.0}
    return json.dumps({**outcome, "where": this_machine()})


def request_of(key: str, kind: str, device: str, payload: Any, timeout: float | None, what: str) -> str:
    """What `run` takes."""
    return json.dumps(
        {"key": key, "kind": kind, "device": device, "payload": payload, "timeout": timeout, "what": what}
    )
