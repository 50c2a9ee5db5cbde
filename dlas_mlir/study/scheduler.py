"""A scheduler: where a run and its workers meet. It keeps nothing that is not to be had again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from dlas_mlir.errors import DlasError
from dlas_mlir.study.address import Address
from dlas_mlir.study.dask_config import configure
from dlas_mlir.study.offers import NAME


def serve(address: Address, say: Callable[[str], None]) -> None:
    """Listen at `address` (port 0: any that is free) until a signal ends it; `say` is told where that is.

    Raises DlasError where that address cannot be had.
    """
    configure()
    asyncio.run(_serve(address, say))


async def _serve(address: Address, say: Callable[[str], None]) -> None:
    from distributed import Scheduler

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    scheduler = Scheduler(
        host=address.host,
        port=address.port,
        protocol="tls" if address.tls else "tcp",
        security=address.security(),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    try:
        await scheduler
    except (OSError, RuntimeError) as error:
        raise DlasError(f"nothing can listen at {address.url}: {error.__cause__ or error}") from None
    try:
        # By this a scheduler of ours is known: another would run by itself, on other workers, what has killed one.
        scheduler.task_metadata[NAME] = {}
        say(f"listening at {scheduler.address}")
        await stopped.wait()
    finally:
        await scheduler.close()
