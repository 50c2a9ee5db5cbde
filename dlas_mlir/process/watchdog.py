"""A limit for Python code in this very process, where nothing else can be asked to do it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dlas_mlir.errors import DlasError

# Seconds after which code that has caught the exception gets it again.
_AGAIN = 1.0


class _TimeUp(BaseException):
    """Raised in the thread whose time is over; no Exception, of which much is caught."""


@contextmanager
def limited(what: str, timeout: float | None) -> Iterator[None]:
    """End what is inside after `timeout` seconds (None: never), as soon as it is in Python code.

    Native code that does not return is not ended by it. Raises DlasError.
    """
    if timeout is None:
        yield
        return
    thread, done = threading.get_ident(), threading.Event()
    threading.Thread(target=_watch, args=(thread, done, timeout), daemon=True).start()
    try:
        try:
            yield
        finally:
            done.set()
    except _TimeUp:
        done.set()
        raise DlasError(f"{what} was stopped: it took more than {timeout:g} s (timeout)") from None
    finally:
        _raise_in(thread, None)  # one that is on its way has missed it


def _watch(thread: int, done: threading.Event, timeout: float) -> None:
    wait = timeout
    while not done.wait(wait):
        _raise_in(thread, _TimeUp)
        wait = _AGAIN


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
