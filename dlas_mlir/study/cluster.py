"""A scheduler and workers of a run's own, on this machine alone: processes that are started again when they die."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlas_mlir.errors import DlasError
from dlas_mlir.process import python
from dlas_mlir.process.supervision import SUPERVISED
from dlas_mlir.study.address import Address, own_address, parse_address

_START_SECONDS = 60.0
# One that gives up within this, so many times in a row, will not do better.
_SOON_SECONDS, _MOST_DEATHS = 5.0, 5
_PATIENCE = 3.0


@dataclass
class _Process:
    """One of ours; `deaths` are how often in a row it gave up as soon as it was started."""

    command: list[str]
    process: subprocess.Popen[str] | None = None
    log: IO[str] | None = None
    began: float = 0.0
    deaths: int = 0

    def start(self) -> None:
        self.log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115
        # We read it while it writes, and both have one position.
        fcntl.fcntl(self.log, fcntl.F_SETFL, fcntl.fcntl(self.log, fcntl.F_GETFL) | os.O_APPEND)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*python("dlas_mlir.cli.dlas"), "study", *self.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            text=True,
            env={**os.environ, SUPERVISED: str(os.getpid())},
            start_new_session=True,  # Ctrl-C is for us, and we end it
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def said(self) -> str:
        assert self.log is not None
        self.log.seek(0)
        return self.log.read().strip()

    def keep_alive(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            return
        # One that was killed may have been so by its block, which is not tried for ever.
        gave_up = self.process.returncode > 0 and time.monotonic() - self.began < _SOON_SECONDS
        self.deaths = self.deaths + 1 if gave_up else 0
        if self.deaths >= _MOST_DEATHS:
            raise DlasError(
                f"`dlas study {self.command[0]}` ends as soon as it is started: {self.said() or 'silently'}"
            )
        self.start()

    def tell(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


class OwnCluster:
    """A scheduler on loopback and `workers` workers, each offering all `devices`. They end when this process does."""

    def __init__(self, devices: Sequence[str], workers: int, tls: Path | None = None) -> None:
        """Start them; with `tls`, other users of this machine are kept out by the certificates there. Raises
        DlasError."""
        self._tls = tls
        certificates = ["--tls", str(tls)] if tls else []
        self._scheduler = _Process(["scheduler", *certificates, "--listen", own_address(tls).url])
        self._workers: list[_Process] = []
        try:
            self._scheduler.start()
            self.address = self._listening()
            # Started again, it has to be where it was.
            self._scheduler.command[-1] = self.address.url
            for _ in range(workers):
                worker = _Process(["worker", "--scheduler", self.address.url, *certificates, "--device", *devices])
                self._workers.append(worker)
                worker.start()
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        """Those of the scheduler and the workers, in this order."""
        return self._scheduler.pid, *(worker.pid for worker in self._workers)

    def _listening(self) -> Address:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            for line in self._scheduler.said().splitlines():
                if line.startswith("listening at "):
                    return parse_address(line.removeprefix("listening at "), self._tls)
            self._scheduler.keep_alive()
            time.sleep(0.05)
        raise DlasError(f"the scheduler does not start: {self._scheduler.said() or 'it says nothing'}")

    def keep_alive(self) -> None:
        """Start again what has died. Raises DlasError for what dies at once, again and again."""
        for process in (self._scheduler, *self._workers):
            process.keep_alive()

    def close(self) -> None:
        """End them: workers first, whose jobs they end."""
        everyone = [*self._workers, self._scheduler]
        for process in everyone:
            process.tell(signal.SIGTERM)
        for process in everyone:
            if process.process is None:
                continue
            with suppress(subprocess.TimeoutExpired):
                process.process.wait(timeout=_PATIENCE)
            process.tell(signal.SIGKILL)
            process.process.wait()
