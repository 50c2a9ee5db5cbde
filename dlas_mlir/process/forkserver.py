"""The fork server: a request a line on stdin, an answer a line on stdout; one process for each request.

It imports next to nothing by itself, and never runs what it forks for. When stdin ends it ends whatever it has started.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from typing import IO, Any, NoReturn

from dlas_mlir.process.supervision import die_with_parent, outlive_parent

# What a process may print. IREE prints some megabytes of executables; a loop that prints would fill the disk.
_MOST_PRINTED = 1 << 28
_LOOK_EVERY_MS = 200


def main() -> None:
    """Serve until stdin ends."""
    # Answers have a descriptor of their own: what is loaded here may print to stdout.
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        starter = request.pop("from_starter", False)
        _load([name for name in request.pop("preload", ()) if name not in sys.modules], with_starter=starter)
        answer = _serve(request, answers)
        with os.fdopen(os.dup(answers), "w") as file:
            file.write(json.dumps(answer) + "\n")
    os._exit(0)  # what is loaded here takes its time to unload


def _load(modules: list[str], *, with_starter: bool) -> None:
    """Import `modules`, which takes seconds, and end when stdin does. The thread is gone before anything is forked.

    Native code that is loaded lets no other Python run meanwhile. Where the thread that has started us waits for this
    (`with_starter`), and so cannot end before, the system ends us with it.
    """

    def load() -> None:
        for name in modules:
            with suppress(Exception):  # the process that needs it will say so
                import_module(name)

    if not modules:
        return
    if with_starter:
        die_with_parent()
    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    while loading.is_alive():
        loading.join(_LOOK_EVERY_MS / 1000)
        if loading.is_alive() and select.select([0], [], [], 0)[0]:  # nothing is sent meanwhile, so it is the end
            os._exit(0)
    outlive_parent()


def _serve(request: dict[str, Any], answers: int) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(answers)  # or whoever waits for us never learns that we are gone
            try:
                _become(request, out, err)
            finally:
                os._exit(127)
        with suppress(OSError):
            os.setpgid(pid, pid)  # the child does it too: whoever is first
        code, why = _wait(pid, (out, err))
        return {"code": code, "stdout": _text(out), "stderr": _text(err), "why": why}


def _wait(pid: int, printed: tuple[IO[bytes], ...]) -> tuple[int, str]:
    """The exit code, negative for a signal, and why we have stopped it; ends it, and us, when stdin ends."""
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(0, select.POLLIN | select.POLLHUP)
    gone, why = False, ""
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(_LOOK_EVERY_MS)]
        if ended in ready:
            break
        gone = 0 in ready  # nothing is sent meanwhile, so it is the end
        if sum(os.fstat(file.fileno()).st_size for file in printed) > _MOST_PRINTED:
            why = f"it printed more than {_MOST_PRINTED >> 20} MB"
        if gone or why:
            break
    # What it has started must not outlive it, or hold what it has opened.
    _end_group(pid)
    _, status = os.waitpid(pid, 0)
    os.close(ended)
    if gone:
        os._exit(0)
    return os.waitstatus_to_exitcode(status), why


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _become(request: dict[str, Any], out: IO[bytes], err: IO[bytes]) -> NoReturn:
    """Turn this process, just forked, into what was asked for."""
    os.setpgid(0, 0)
    die_with_parent()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(err.fileno(), 2)
    if "command" not in request:
        os.dup2(2, 1)  # what a function prints is for the eyes
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        sys.path[:] = request["path"]
        from dlas_mlir.process.worker import work

        work(request["function"], request["arguments"], request["notes"])
    os.dup2(out.fileno(), 1)
    os.set_inheritable(request["notes"], False)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores, and a tool would too
    command = request["command"]
    try:
        os.chdir(request["directory"])
        os.execvpe(command[0], command, request["environment"])
    except OSError as error:
        os.write(2, f"error: cannot run {command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST_PRINTED).decode(errors="replace")
