"""Who may use the machine's CPUs: any number of tuners that compile, or one that measures."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working() -> Iterator[None]:
    """Beside others that work, while nobody measures; those who wait to measure go first."""
    with _locked("door", fcntl.LOCK_EX):
        pass
    with _locked("machine", fcntl.LOCK_SH):
        yield


@contextmanager
def measuring() -> Iterator[None]:
    """Alone, of all that ask here."""
    with _locked("door", fcntl.LOCK_EX), _locked("machine", fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    file = os.open(Path(tempfile.gettempdir()) / f"dlas-{name}-{os.getuid()}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)
