"""Several callers of one artifact at the same time, each in a process and on CPUs of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from dlas_mlir.measure.check import Check
from dlas_mlir.measure.turn import Turn
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device


class Streams:
    """What a Worker is, for as many callers as there are `devices`. Each method may raise DlasError."""

    def __init__(
        self, artifact: Path, devices: Sequence[Device], golden: Path | None = None, *, timeout: float | None = LIMIT
    ) -> None:
        self._workers: list[Worker] = []
        with ExitStack() as stack:
            for device in devices:
                worker = Worker(artifact, device, golden, timeout=timeout)
                stack.callback(worker.close)
                self._workers.append(worker)
            stack.pop_all()

    def check(self, tolerance: float | None = None) -> Check:
        """Compare the outputs of each: the first that is wrong, or that of the first."""
        checks = [worker.check(tolerance) for worker in self._workers]
        return next((check for check in checks if not check.verified), checks[0])

    def turn(self, *, min_seconds: float, min_count: int) -> Turn:
        """The calls of all, who call at the same time."""
        with ThreadPoolExecutor(len(self._workers)) as pool:
            jobs = [pool.submit(one.turn, min_seconds=min_seconds, min_count=min_count) for one in self._workers]
            turns = [job.result() for job in jobs]
        return Turn(
            ns=tuple(ns for turn in turns for ns in turn.ns),
            cpu_ns=sum(turn.cpu_ns for turn in turns) // len(turns),
            waited=sum(turn.waited for turn in turns) / len(turns),
        )

    def restart(self) -> None:
        """The same in fresh processes."""
        for worker in self._workers:
            worker.restart()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()
