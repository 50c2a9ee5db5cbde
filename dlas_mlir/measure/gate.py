"""Who may use the machine's CPUs, any number of processes that work or one that measures, and who has a device.

All are locks on files: the system gives them back when their holder dies. Nobody may ask again for what it holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_EVERY = 0.05


class Unwanted(Exception):
    """The wait was ended by the descriptor `stop`."""


@contextmanager
def working(*, stop: int | None = None) -> Iterator[None]:
    """Beside others that work, while nobody measures; those who wait to measure go first.

    The wait ends when there is something to read from the descriptor `stop`; here and below it raises Unwanted then.
    """
    with _locked("door", fcntl.LOCK_EX, stop):
        pass
    with _locked("machine", fcntl.LOCK_SH, stop):
        yield


@contextmanager
def measuring(*, stop: int | None = None) -> Iterator[None]:
    """Alone, of all that ask here."""
    with _locked("door", fcntl.LOCK_EX, stop), _locked("machine", fcntl.LOCK_EX, stop):
        yield


@contextmanager
def device(name: str, *, part: str = "", stop: int | None = None) -> Iterator[None]:
    """Have the device of this name, of all processes on this machine. `part` names another lock of it."""
    # A name may have any characters; what can be read of it is for the eyes.
    readable = "".join(c for c in name if c.isalnum() or c in "-_")[:40]
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    with _locked(f"device-{readable}-{digits}{part}", fcntl.LOCK_EX, stop):
        yield


@contextmanager
def _locked(name: str, how: int, stop: int | None) -> Iterator[None]:
    file = os.open(Path(tempfile.gettempdir()) / f"dlas-{name}-{os.getuid()}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if stop is None:
            fcntl.flock(file, how)
        else:
            _poll(file, how, stop)
        yield
    finally:
        os.close(file)


def _poll(file: int, how: int, stop: int) -> None:
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if select.select([stop], [], [], _LOOK_EVERY)[0]:
                raise Unwanted from None
