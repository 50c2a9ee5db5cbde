"""Processes of a part that prepare their cases beside each other, and are timed one after the other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turns() -> Iterator[Callable[[], None]]:
    """What is prepared inside goes on beside that of the other processes of a part, until the call that is given: it
    comes back when all have ended theirs, and then the device is this process' alone."""
    with (Path(tempfile.gettempdir()) / f"gpu-check-{os.getppid()}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_SH)

        def alone() -> None:
            fcntl.flock(turn, fcntl.LOCK_UN)
            fcntl.flock(turn, fcntl.LOCK_EX)

        yield alone
