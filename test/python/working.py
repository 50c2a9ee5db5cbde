"""Functions for the tests of `dlas_mlir.process`, which runs them in other processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from dlas_mlir.errors import DlasError
from dlas_mlir.process import entering


def echo(**arguments: Any) -> dict[str, Any]:
    print("for the eyes")
    return {"arguments": arguments, "folder": str(Path.cwd()), "variable": os.environ.get("DLAS_TEST")}


def crash(file: str) -> None:
    entering("the second part", again=["tool", file], keep=Path(file), write=lambda out: out.write(b"input"))
    print("error: half-way")
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse() -> None:
    raise DlasError("the layer conv1 is too wide")


def fail() -> None:
    raise KeyError("conv1")


def leave() -> NoReturn:
    os._exit(7)


def fill() -> NoReturn:
    while True:
        print("x" * (1 << 20))


def ignore_signals(pids: str) -> NoReturn:
    """Start a process, and listen to nothing."""
    child = os.fork()
    if child:
        Path(pids).write_text(f"{os.getpid()} {child}\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def fork_and_return() -> dict[str, int]:
    """Both processes go on to answer."""
    os.fork()
    return {"pid": os.getpid()}


if __name__ == "__main__":
    from dlas_mlir import process

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    process.call("working:ignore_signals", {"pids": sys.argv[1]}, what="a test", preload=sys.argv[2:])
