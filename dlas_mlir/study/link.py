"""The connection of a run to its scheduler: what is asked of Dask's client, and how it says that it is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dlas_mlir.errors import DlasError
from dlas_mlir.study.address import Address, reach
from dlas_mlir.study.dask_config import configure
from dlas_mlir.study.executor import Done, Job
from dlas_mlir.study.offers import NAME, Offer, read_offers

if TYPE_CHECKING:
    from distributed import Client, Future

_REACH_SECONDS = 5.0
_ASK_SECONDS = 15.0
_PAUSE_SECONDS = 0.2


class LinkLost(Exception):
    """The scheduler does not answer any more."""


class Link:
    """One connection at a time to the scheduler at `address`, which is told the `versions` that a worker must have."""

    def __init__(self, address: Address, versions: Mapping[str, str]) -> None:
        configure()
        self.address = address
        self._versions = dict(versions)
        self._client: Client | None = None

    def open(self, grace: float) -> None:
        """Connect, within `grace` seconds. Raises ConnectionError, and DlasError where to try again is of no use."""
        end = time.monotonic() + grace
        while True:
            try:
                reach(self.address, _REACH_SECONDS)
                self._connect()
                return
            except (ConnectionError, LinkLost) as error:
                self.close()
                if time.monotonic() >= end:
                    raise (DlasError if grace else ConnectionError)(str(error)) from None
            time.sleep(_PAUSE_SECONDS)

    def _connect(self) -> None:
        from distributed import Client

        # Not a default for anybody else, and no reconnecting: what Dask then forgets, we must know of.
        try:
            client = Client(
                self.address.url,
                security=self.address.security(),
                timeout=_ASK_SECONDS,
                set_as_default=False,
                direct_to_workers=False,
            )
        except (OSError, TimeoutError) as error:
            raise ConnectionError(f"{self.address.url} does not answer: {error}") from None
        self._client = client
        known = self._asked(lambda: client.get_metadata([NAME], default=None))
        if not isinstance(known, dict):
            self.close()
            raise DlasError(
                f"the scheduler at {self.address.url} is not one that `dlas study scheduler` has started: another "
                "would run what has killed a worker again and again"
            )
        self._asked(lambda: client.set_metadata([NAME, "versions"], self._versions))

    @property
    def lost(self) -> bool:
        """Whether there is no connection."""
        return self._client is None or self._client.status != "running"

    def offers(self) -> list[Offer]:
        """What the workers that are there say of themselves. Raises LinkLost."""
        return read_offers(self._asked(lambda: self._alive().scheduler_info(n_workers=-1)))

    def submit(self, function: Callable[[str], str], request: str, key: str, resource: str) -> Future:
        """Have `function`, which is named and not sent, called on `request` by a worker that has `resource`."""
        client = self._alive()
        return self._asked(
            lambda: client.submit(function, request, key=key, resources={resource: 1}, pure=False, retries=0)
        )

    def result(self, future: Future, seconds: float) -> Mapping[str, Any]:
        """The JSON that came of it. Raises LinkLost, and TimeoutError."""
        try:
            return json.loads(future.result(timeout=seconds))
        except TimeoutError:
            raise
        except Exception as error:  # whatever Dask makes of a worker or a scheduler that is gone
            raise LinkLost(str(error)) from None

    def failure(self, job: Job, future: Future, seconds: float) -> Done:
        """What has become of a job that Dask calls failed: its worker has died, or could not even begin."""
        from distributed.scheduler import KilledWorker

        try:
            error = future.exception(timeout=_ASK_SECONDS)
        except Exception as lost:
            return Done(job, "lost", reason=f"the scheduler has lost it: {lost}", innocent=True, seconds=seconds)
        if isinstance(error, KilledWorker):
            where = str(error.last_worker.extra.get(NAME, {}).get("machine", error.last_worker.address))
            return Done(job, "lost", reason=f"the worker on {where} died meanwhile", where=where, seconds=seconds)
        return Done(job, "failed", reason=f"the worker: {type(error).__name__}: {error}", seconds=seconds)

    def release(self, future: Future) -> None:
        """Have Dask forget it."""
        with suppress(Exception):  # it may have forgotten already
            future.release()

    def close(self) -> None:
        """Leave. What runs for us is ended by the workers."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a scheduler that is gone is no reason not to leave it
                client.close(timeout=2)

    def _alive(self) -> Client:
        client = self._client
        if client is None or self.lost:
            raise LinkLost(f"the scheduler at {self.address.url} is gone")
        return client

    def _asked(self, question: Callable[[], Any]) -> Any:
        """The answer. Raises LinkLost."""
        try:
            return question()
        except LinkLost:
            raise
        except Exception as error:
            raise LinkLost(f"the scheduler at {self.address.url} is gone ({type(error).__name__}: {error})") from None
