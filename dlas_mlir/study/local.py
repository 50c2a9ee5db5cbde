"""The executor of one machine: work in several processes at a time, and measurements alone."""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Callable

from dlas_mlir.runtime.devices import usable_cpus
from dlas_mlir.study.executor import Done, Job
from dlas_mlir.study.lane import Ended, Gate, Lane

Say = Callable[[str], None]


class LocalExecutor:
    """Runs jobs on this machine, `jobs` at a time; a block waits until all work has ended, and nothing begins while it
    is measured. Implements `executor.Executor`."""

    def __init__(self, jobs: int | None = None, say: Say = lambda _: None) -> None:
        self.jobs = jobs or max(1, len(usable_cpus()))
        self._say = say
        self._work: deque[Job] = deque()
        self._alone: deque[Job] = deque()
        self._ended: queue.SimpleQueue[tuple[int, Job, Ended]] = queue.SimpleQueue()
        self._lanes = [Lane() for _ in range(self.jobs)]
        self._inboxes: list[queue.SimpleQueue[Job | None]] = [queue.SimpleQueue() for _ in self._lanes]
        self._free = list(range(self.jobs))
        self._measuring = False
        # One thread for each, which lives as long as its process: the system ends a process with the thread that
        # started it.
        for number in range(self.jobs):
            threading.Thread(target=self._serve, args=(number,), daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job; what is measured goes before what is to be worked on."""
        (self._alone if _is_alone(job) else self._work).append(job)
        self._start()

    def wait(self, seconds: float) -> list[Done]:
        """What has ended."""
        found: list[Done] = []
        while True:
            try:
                lane, job, ended = self._ended.get(timeout=0 if found else seconds)
            except queue.Empty:
                self._start()
                return found
            self._free.append(lane)
            self._measuring = self._measuring and not _is_alone(job)
            if ended.end is not None:
                found.append(
                    Done(job, ended.end, ended.answer, ended.reason, where=f"lane {lane}", seconds=ended.seconds)
                )

    def close(self) -> None:
        """End all lanes."""
        self._work.clear()
        self._alone.clear()
        for lane, inbox in zip(self._lanes, self._inboxes, strict=True):
            lane.stop()
            inbox.put(None)

    @property
    def _running(self) -> int:
        return self.jobs - len(self._free)

    def _start(self) -> None:
        while self._free and not self._measuring:
            if self._alone:
                if self._running:
                    return  # it begins when these have ended, and nothing else does
                self._measuring = True
                self._launch(self._alone.popleft())
            elif self._work:
                self._launch(self._work.popleft())
            else:
                return

    def _launch(self, job: Job) -> None:
        self._inboxes[self._free.pop(0)].put(job)

    def _serve(self, number: int) -> None:
        while (job := self._inboxes[number].get()) is not None:
            self._run(number, job)
        self._lanes[number].close()

    def _run(self, number: int, job: Job) -> None:
        try:
            ended = self._lanes[number].run(
                json.dumps(dict(job.payload)), limit=job.timeout, gate=_gate(job), say=self._say
            )
        except OSError as error:
            ended = Ended("crash", reason=f"cannot start a process: {error.strerror or error}")
        self._ended.put((number, job, ended))


def _is_alone(job: Job) -> bool:
    """Whether nothing else may run: measurements, and searches, which measure."""
    return job.kind == "block" or job.payload["kind"] == "tune"


def _gate(job: Job) -> Gate:
    # A search takes the CPUs for itself whenever it measures.
    return "measure" if job.kind == "block" else "none" if _is_alone(job) else "work"
