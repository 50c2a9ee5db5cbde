"""A worker: it announces the devices of its machine to a scheduler, and runs the jobs that come for them.

It is one process of some threads, without Dask's nanny; each job is a process of its own. When the scheduler is gone
it ends what it runs, since nobody waits for that any more, and comes back when the scheduler does.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dlas_mlir.errors import DlasError
from dlas_mlir.study import remote
from dlas_mlir.study.address import Address, reach
from dlas_mlir.study.dask_config import configure
from dlas_mlir.study.offers import NAME, Offer, this_machine
from dlas_mlir.study.versions import difference, versions

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin

_REACH_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.5
# In which what was running says that it was stopped.
_FAREWELL_SECONDS = 0.3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """A worker's scheduler and devices. It listens on `port` (0: any that is free), which the scheduler must reach, and
    waits `patience` seconds for a scheduler that does not answer (None: for ever)."""

    scheduler: Address
    devices: tuple[str, ...]
    port: int = 0
    patience: float | None = None


def serve(settings: Settings, say: Say) -> None:
    """Work until a signal ends it. Raises DlasError where the scheduler will not have it, or does not answer."""
    configure()
    offer = Offer(this_machine(), settings.devices, versions())
    while True:
        host = _reached(settings, say)
        if asyncio.run(_session(settings, offer, host, say)):
            return
        say(f"{settings.scheduler.url} is gone: waiting for it")


def _reached(settings: Settings, say: Say) -> str:
    """Our address as the scheduler sees it, as soon as that answers."""
    began, said = time.monotonic(), False
    while True:
        try:
            return reach(settings.scheduler, _REACH_SECONDS)
        except ConnectionError as error:
            if settings.patience is not None and time.monotonic() - began > settings.patience:
                raise DlasError(f"{error}; waited for {settings.patience:g} s") from None
            if not said:
                say(f"{error}: waiting for it")
            said = True
        time.sleep(_PAUSE_SECONDS)


async def _session(settings: Settings, offer: Offer, host: str, say: Say) -> bool:
    """Work until the scheduler is gone; whether a signal was what ended it."""
    from distributed import Worker

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await _admitted(settings.scheduler, offer)
    with TemporaryDirectory(prefix="dlas-worker-") as folder:
        worker = Worker(
            settings.scheduler.url,
            nthreads=len(offer.devices),
            resources=offer.resources(),
            security=settings.scheduler.security(),
            host=host,
            port=settings.port or None,
            protocol="tls" if settings.scheduler.tls else "tcp",
            startup_information={NAME: lambda _: offer.said()},
            heartbeat_interval="5s",
            memory_limit=0,
            local_directory=folder,
            dashboard_address="127.0.0.1:0",
            plugins=(_stop_jobs_first(),),
        )
        async with worker:
            say(f"offering {', '.join(offer.devices)} to {settings.scheduler.url}")
            gone = asyncio.ensure_future(worker.finished())
            watch = asyncio.ensure_future(_end_what_nobody_wants(worker))
            asked = asyncio.ensure_future(stopped.wait())
            await asyncio.wait([gone, asked], return_when=asyncio.FIRST_COMPLETED)
            watch.cancel()
            asked.cancel()
            if stopped.is_set() and not gone.done():
                await _leave(worker)
    return stopped.is_set()


async def _admitted(scheduler: Address, offer: Offer) -> None:
    """Look at what the scheduler knows of the run. Raises DlasError where we would be of no use to it."""
    from distributed.core import rpc

    security = scheduler.security()
    arguments: dict[str, Any] = security.get_connection_args("worker") if security else {}
    with suppress(OSError):  # it has gone again: the worker will find out
        async with rpc(scheduler.url, connection_args=arguments) as asked:
            known = await asked.get_metadata(keys=[NAME], default=None)
        if not isinstance(known, dict):
            raise DlasError(f"the scheduler at {scheduler.url} is not one that `dlas study scheduler` has started")
        run = known.get("versions")
        if run and (different := difference(offer.versions, run)):
            raise DlasError(f"refused by {scheduler.url}: this worker has {different}; install the same on both")


async def _end_what_nobody_wants(worker: Worker) -> None:
    """End jobs whose coordinator is gone, or has cancelled them: Dask itself would let them run to their end."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for key in remote.RUNNING.now():
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                remote.RUNNING.stop(key)


async def _leave(worker: Worker) -> None:
    """Take nothing new, tell of what was running, and go."""
    from distributed.core import Status

    worker.status = Status.closing_gracefully
    remote.RUNNING.stop_all()
    await asyncio.sleep(_FAREWELL_SECONDS)
    await worker.close(executor_wait=False, reason="stopped by a signal")


def _stop_jobs_first() -> WorkerPlugin:
    """What ends the jobs of a worker as it closes: it would wait for them."""
    from distributed import WorkerPlugin

    class StopJobs(WorkerPlugin):
        def teardown(self, worker: Worker) -> None:
            remote.RUNNING.stop_all()

    return StopJobs()
