"""A whole command in a process of its own, on the same terminal: `supervise`; and ending with one's parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

# Set in the environment of the process that does the work.
SUPERVISED = "DLAS_SUPERVISED"
# Seconds between one way to end it and the next.
_PATIENCE = 1.0
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the system kill this process when the one that started it dies, even if that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def python(module: str) -> list[str]:
    """The command that calls `main` of `module` in another Python.

    Not `-m`: that would look for modules in the working directory first, where the user's own files are.
    """
    start = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", start]


def supervise(module: str, arguments: Sequence[str], crashed: Callable[[str], None]) -> int:
    """Run `python -m module arguments` and return its exit code, in 0 to 255; `crashed` is told the name of a signal.

    Whatever native code does there, this process is left to tell it, and Ctrl-C or SIGTERM end both.
    """
    command = python(module)
    environment = {**os.environ, SUPERVISED: str(os.getpid())}
    process = subprocess.Popen([*command, *arguments], env=environment)
    try:
        code = process.wait()
    except BaseException as stop:
        _end(process)
        if isinstance(stop, KeyboardInterrupt):
            return 128 + signal.SIGINT
        raise
    if code >= 0:
        return code
    crashed(signal.Signals(-code).name)
    return 1


def is_supervised() -> bool:
    """Whether this is the process that `supervise` started; from then on it ends with the other one."""
    if os.environ.get(SUPERVISED) != str(os.getppid()):
        return False
    die_with_parent()
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """By Ctrl-C, which leaves time to clean up, and which the terminal has sent to it too; then, since native code does
    not listen, by force."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for stop in (None, signal.SIGINT, signal.SIGKILL):
            if stop is not None:
                process.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_PATIENCE)
                return
        process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
