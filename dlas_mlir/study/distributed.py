"""The executor that gives jobs to workers, through Dask distributed.

Dask carries, and decides nothing: the scheduler and every worker may vanish at any moment, and with them all that they
knew. One job at a time is given out for each device, under a name that is used once; what comes of it is told to the
coordinator, who alone decides what is done again.
"""

from __future__ import annotations

import queue
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from dlas_mlir.errors import DlasError
from dlas_mlir.study import remote
from dlas_mlir.study.address import Address
from dlas_mlir.study.executor import Done, Job
from dlas_mlir.study.link import Link, LinkLost
from dlas_mlir.study.offers import Devices, resource
from dlas_mlir.study.parcels import Transfer, receive
from dlas_mlir.study.versions import versions

if TYPE_CHECKING:
    from distributed import Future

_LOOK_SECONDS = 1.0
_STEP_SECONDS = 0.2
# In which a result comes from the worker that has it; it may have died since.
_GATHER_SECONDS = 30.0
# For one piece of a file.
_SEND_SECONDS = 300.0
# The files of a job: a worker of another machine may have taken over.
_MOST_SENDINGS = 3
# In which the end of a job is told before its worker is seen to be gone.
_LEFT_SECONDS = 3.0

Say = Callable[[str], None]


class Cluster(Protocol):
    """Processes that are ours: a scheduler and workers, see `study.cluster`."""

    def keep_alive(self) -> None:
        """Start again what has died."""
        ...

    def close(self) -> None:
        """End them."""
        ...


@dataclass(frozen=True)
class _Flight:
    """A job that is out."""

    job: Job
    machine: str
    future: Future
    began: float
    transfer: Transfer | None = None


class Distributed:
    """An executor of jobs that name a device. All of it is called by one thread.

    `grace` seconds are given to workers to be there at the start, `patience` to a scheduler or a device that is lost.
    """

    def __init__(
        self,
        address: Address,
        devices: Collection[str],
        say: Say = lambda _: None,
        *,
        grace: float = 10.0,
        patience: float = 600.0,
        cluster: Cluster | None = None,
    ) -> None:
        """Connect to the scheduler. Raises DlasError where it does not answer, and for a device that nobody offers."""
        self._say, self._patience, self._cluster = say, patience, cluster
        self._queues: dict[str, deque[Job]] = {name: deque() for name in devices}
        self._flights: dict[str, _Flight] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ready: list[Done] = []
        self._devices = Devices({}, {})
        self._missing: dict[str, float] = {}
        self._said: set[str] = set()
        self._sent: Counter[str] = Counter()
        self._looked = 0.0
        self._lost_at: float | None = None
        self._link = Link(address, versions())
        try:
            self._link.open(grace)
            self._await_devices(grace)
        except BaseException:
            self.close()
            raise

    def _await_devices(self, grace: float) -> None:
        end = time.monotonic() + grace
        while True:
            self._keep_alive()
            self._look()
            missing = [name for name in self._queues if name not in self._devices.machines]
            if not missing:
                return
            # One that is there already and is refused will not become another by waiting.
            if time.monotonic() > end or all(name in self._devices.refused for name in missing):
                raise DlasError("\n".join(self._nobody(name) for name in missing))
            time.sleep(_STEP_SECONDS)

    def _nobody(self, device: str) -> str:
        if why := self._devices.refused.get(device):
            return f"nobody offers device `{device}`: {why}"
        there = ", ".join(sorted(self._devices.machines)) or "none"
        address = self._link.address
        certificates = " --tls FOLDER" if address.tls else ""
        return (
            f"nobody offers device `{device}` at {address.url}: start `dlas study worker --scheduler {address.url}"
            f"{certificates} --device {device}` on it; offered are {there}"
        )

    def submit(self, job: Job) -> None:
        """Take a job. Raises DlasError for a device that is not one of this executor's."""
        if job.device not in self._queues:
            raise DlasError(f"job {job.key}: no device `{job.device}` here; there are {', '.join(self._queues)}")
        self._queues[job.device].append(job)

    def wait(self, seconds: float) -> list[Done]:
        """Those that have ended since; at most `seconds` are waited for the first. Raises DlasError when the scheduler
        has been away for too long."""
        end = time.monotonic() + seconds
        while True:
            self._step()
            self._collect(min(_STEP_SECONDS, max(0.0, end - time.monotonic())))
            if self._ready or time.monotonic() >= end:
                done, self._ready = self._ready, []
                return done

    def close(self) -> None:
        """End what runs: workers stop the jobs of a coordinator that has left."""
        self._flights.clear()
        self._link.close()
        if self._cluster is not None:
            self._cluster.close()

    def _step(self) -> None:
        self._keep_alive()
        try:
            if self._lost_at is not None:
                self._reconnect(self._lost_at)
            if self._lost_at is None:
                if time.monotonic() - self._looked > _LOOK_SECONDS:
                    self._look()
                self._start()
        except LinkLost as lost:
            self._lose_all(str(lost))

    def _keep_alive(self) -> None:
        if self._cluster is not None:
            self._cluster.keep_alive()

    def _lose_all(self, why: str) -> None:
        """The scheduler is gone, and with it what it knew of our jobs."""
        self._say(f"{why}: waiting for it")
        self._lost_at = time.monotonic()
        for flight in self._flights.values():
            self._end(flight, Done(flight.job, "lost", reason=why, innocent=True))
        self._flights.clear()
        self._link.close()

    def _reconnect(self, lost_at: float) -> None:
        try:
            self._link.open(0.0)
        except ConnectionError as error:
            if time.monotonic() - lost_at > self._patience:
                raise DlasError(f"{error}; waited for {self._patience:g} s") from None
            return
        self._say(f"connected to {self._link.address.url} again")
        self._lost_at = None
        self._missing.clear()

    def _look(self) -> None:
        """See who is there now."""
        self._looked = time.monotonic()
        used = self._devices.machines
        self._devices = Devices.of(self._link.offers(), versions(), used)
        for device in self._queues:
            was, now = used.get(device), self._devices.machines.get(device)
            if now and was and now != was:
                self._say(f"device `{device}` is that of {now} from here on, no longer that of {was}")
            if now:
                self._missing.pop(device, None)
            elif device not in self._missing:
                self._missing[device] = self._looked
            if (why := self._devices.refused.get(device)) and why not in self._said:
                self._said.add(why)
                self._say(f"device `{device}`: {why}")
        self._lose_those_left()
        for device, since in self._missing.items():
            if self._looked - since > self._patience:
                self._give_up(device)

    def _lose_those_left(self) -> None:
        """A worker that leaves in good order takes its jobs with it, and Dask waits for another of its machine."""
        for key, flight in list(self._flights.items()):
            device = str(flight.job.device)
            machine, since = self._devices.machines.get(device), self._missing.get(device)
            if (machine not in (None, flight.machine)) or (since and self._looked - since > _LEFT_SECONDS):
                del self._flights[key]
                why = f"the worker on {flight.machine} has left"
                self._end(flight, Done(flight.job, "lost", reason=why, innocent=True))

    def _give_up(self, device: str) -> None:
        """What waits for a device that has been away for too long has failed; others go on."""
        why = f"{self._nobody(device)}; waited for {self._patience:g} s"
        waiting = self._queues[device]
        self._ready += [Done(job, "failed", reason=why) for job in waiting]
        waiting.clear()

    def _start(self) -> None:
        """Give each device that is free its next job."""
        busy = {flight.job.device for flight in self._flights.values()}
        for device, waiting in self._queues.items():
            machine = self._devices.machines.get(device)
            if not waiting or machine is None or device in busy:
                continue
            self._launch(waiting[0], device, machine)
            waiting.popleft()

    def _launch(self, job: Job, device: str, machine: str) -> None:
        key = f"dlas-{job.key[:16]}-{job.attempt}-{secrets.token_hex(4)}"
        what = f"{job.kind} {job.key[:16]}"
        request = remote.request_of(key, job.kind, device, dict(job.payload), job.timeout, what)
        future = self._link.submit(remote.run, request, key, resource(device, machine, versions()))
        self._flights[key] = _Flight(job, machine, future, time.monotonic())
        future.add_done_callback(lambda done: self._ended.put(done.key))

    def _collect(self, seconds: float) -> None:
        """Take those that have ended, after waiting `seconds` at most for one."""
        if not self._flights and self._lost_at is None and not any(self._queues.values()):
            time.sleep(seconds)
            return
        try:
            key = self._ended.get(timeout=seconds) if seconds else self._ended.get_nowait()
            while True:
                if flight := self._flights.pop(key, None):
                    self._arrived(key, flight)
                key = self._ended.get_nowait()
        except queue.Empty:
            return

    def _arrived(self, key: str, flight: _Flight) -> None:
        """A job, or the files that it lacked."""
        job, transfer = flight.job, flight.transfer
        if transfer is not None and transfer.error:
            end = "lost" if transfer.lost else "failed"
            self._end(flight, Done(job, end, reason=transfer.error, innocent=self._link.lost))
        elif transfer is not None:
            self._queues[str(job.device)].appendleft(job)
        elif isinstance(outcome := self._outcome(flight), list):
            self._sent[job.key] += 1
            if self._sent[job.key] > _MOST_SENDINGS:
                self._end(
                    flight, Done(job, "failed", reason=f"files do not stay on {flight.machine}: is its disk full?")
                )
            else:
                self._send(key, flight, outcome)
        else:
            self._end(flight, outcome)

    def _send(self, key: str, flight: _Flight, files: list[str]) -> None:
        """Bring a worker the files that it lacks; until they are there nothing else is given to it."""
        job, there = flight.job, resource(str(flight.job.device), flight.machine, versions())
        self._link.release(flight.future)

        def ask(request: str) -> Mapping[str, Any]:
            future = self._link.submit(receive, request, f"dlas-file-{secrets.token_hex(8)}", there)
            return self._link.result(future, _SEND_SECONDS)

        transfer = Transfer(job.payload["artifacts"], files, ask, lambda: self._ended.put(key))
        self._flights[key] = replace(flight, transfer=transfer)
        transfer.start()

    def _outcome(self, flight: _Flight) -> Done | list[str]:
        """What has become of it, or the files that it lacks."""
        job, future, seconds = flight.job, flight.future, time.monotonic() - flight.began
        if future.status == "finished":
            try:
                told: Mapping[str, Any] = self._link.result(future, _GATHER_SECONDS)
            except (TimeoutError, LinkLost):
                return Done(job, "lost", reason="its result was lost on the way", innocent=True, seconds=seconds)
            if told["end"] == "missing":
                return told["files"]
            stopped = told["end"] == "lost"
            return Done(
                job, told["end"], told["answer"], told["reason"], told["where"], told["seconds"], innocent=stopped
            )
        if future.status == "error":
            return self._link.failure(job, future, seconds)
        return Done(job, "lost", reason="the scheduler has lost it", innocent=True, seconds=seconds)

    def _end(self, flight: _Flight, done: Done) -> None:
        self._link.release(flight.future)
        self._ready.append(done)
