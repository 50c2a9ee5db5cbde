"""The side that asks: `run` for a tool, `call` for a Python function, each in a process that is made for it."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.process.supervision import python

# Seconds that each piece of native work may take, unless the user says otherwise.
LIMIT = 600.0
# Seconds that a fork server is given to end what it runs, before it is killed.
_PATIENCE = 5.0
_ERROR = re.compile(r"error:|LLVM ERROR|^failed to ")


@dataclass(frozen=True)
class Outcome:
    """How a process ended, and what it printed; `why` we have stopped it, if we have (`late`: its time was over;
    `unwanted`: we were told to); `notes` are what a function's process has written for us."""

    code: int
    stdout: str
    stderr: str
    why: str = ""
    notes: tuple[dict[str, Any], ...] = ()
    late: bool = False
    unwanted: bool = False

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, or nothing."""
        return signal.Signals(-self.code).name if self.code < 0 else ""

    def how(self) -> str:
        """The words for a failure."""
        if self.why:
            return f"was stopped: {self.why}"
        if self.signal == "SIGKILL":
            return "was killed by SIGKILL, as the system does when memory runs out"
        return f"was killed by {self.signal}" if self.signal else f"failed with exit code {self.code}"

    def tail(self) -> str:
        """The first error that it printed and the lines after it, behind a colon; a stack dump is left out."""
        lines = [line for line in self.stderr.strip().splitlines() if line.strip()]
        start = next((i for i, line in enumerate(lines) if _ERROR.search(line)), 0)
        shown = [line[:400] for line in lines[start : start + 4] if not _is_dump(line)]
        return ":\n" + "\n".join(shown) if shown else ""


class Died(DlasError):
    """A function's process ended without an answer: by a signal, an exit, or since its time was over.

    `what` is what it was doing, `how` it ended; `again` is a command that shows it again (if it said one), which reads
    the file `keep` (if it wrote one). `late`: since its time was over; `unwanted`: since the caller was told to stop.
    """

    def __init__(
        self,
        how: str,
        notes: Sequence[dict[str, Any]],
        default: str,
        *,
        late: bool = False,
        unwanted: bool = False,
    ) -> None:
        last = next((note for note in reversed(notes) if "doing" in note), {})
        self.what: str = last.get("doing", default)
        self.how = how
        self.late = late
        self.unwanted = unwanted
        self.again: tuple[str, ...] = tuple(last.get("again", ()))
        self.keep = Path(last["keep"]) if last.get("keep") else None
        super().__init__(f"{self.what} {self.how}")


def run(command: Sequence[str], *, timeout: float | None = LIMIT) -> Outcome:
    """Run `command` without a shell. One that cannot be run, or takes more than `timeout` seconds, has failed too."""
    return _ask({"command": list(command)}, timeout)


def call(
    function: str,
    arguments: dict[str, Any],
    *,
    what: str,
    timeout: float | None = LIMIT,
    preload: Sequence[str] = (),
    stop: int | None = None,
) -> Any:
    """What `function`, named `package.module:function`, returns for keyword `arguments`; both are what JSON can hold.

    What it prints comes on our stderr, at its end. `preload` are modules that are slow to import, and never a user's
    own. `what` says what is being done, for messages. Once there is something to read from the descriptor `stop`, the
    process is ended. Raises the DlasError that the function raises, and Died.
    """
    request = {"function": function, "arguments": arguments, "preload": list(preload)}
    outcome = _ask(request, timeout, stop)
    answer = next((note for note in outcome.notes if "result" in note or "error" in note or "bug" in note), None)
    if outcome.code < 0 or answer is None:
        said = outcome.tail() if _ERROR.search(outcome.stderr) and not outcome.why else ""
        how = (outcome.how() if outcome.code else "ended without an answer") + said
        raise Died(how, outcome.notes, what, late=outcome.late, unwanted=outcome.unwanted)
    sys.stderr.write(outcome.stderr)
    if "error" in answer:
        raise DlasError(answer["error"])
    if "bug" in answer:
        raise RuntimeError(answer["bug"])
    return answer["result"]


class _Server:
    """A fork server. It ends what it runs, and itself, as soon as the pipe to it is closed: so also when we die."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115
        self._starter = threading.get_ident()
        fcntl.fcntl(self._notes, fcntl.F_SETFL, fcntl.fcntl(self._notes, fcntl.F_GETFL) | os.O_APPEND)
        try:
            self._process = subprocess.Popen(
                python("dlas_mlir.process.forkserver"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=[self._notes.fileno()],
                # Not the terminal's: Ctrl-C is for us, and we end it.
                start_new_session=True,
            )
        except OSError as error:
            raise DlasError(f"cannot start {sys.executable}: {error.strerror}") from None

    def ask(self, request: dict[str, Any], timeout: float | None, stop: int | None = None) -> Outcome:
        """How the process ended that was made for `request`. After any exception the server is of no more use."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._notes.truncate(0)
        started = threading.get_ident() == self._starter
        line = json.dumps({**request, **_surroundings(), "notes": self._notes.fileno(), "from_starter": started})
        with suppress(BrokenPipeError):  # it has died: the answer will say how
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        ready = select.select([stdout] if stop is None else [stdout, stop], [], [], timeout)[0]
        if stdout not in ready:
            late = not ready
            self.stop()
            why = f"it took more than {timeout:g} s (--timeout)" if late else "it is not wanted any more"
            return Outcome(-signal.SIGKILL, "", "", why, self._written(), late=late, unwanted=not late)
        reply = stdout.readline()
        if not reply.endswith(b"\n"):
            self._log.seek(0)
            return Outcome(self._process.wait() or 1, "", self._log.read(), notes=self._written())
        return Outcome(**json.loads(reply), notes=self._written())

    def alive(self) -> bool:
        return self._process.poll() is None

    def _written(self) -> tuple[dict[str, Any], ...]:
        self._notes.seek(0)
        # The last line may be cut off where a process was.
        return tuple(json.loads(line) for line in self._notes.readlines() if line.endswith(b"\n"))

    def stop(self) -> None:
        """End it, and what it runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait(timeout=_PATIENCE)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        finally:
            self._process.stdout.close()
            self._log.close()


# Those that wait for their next request. Of another process, after a fork, they are not ours to use.
_idle: list[_Server] = []
_owner = os.getpid()


@atexit.register
def _stop_idle() -> None:
    if os.getpid() == _owner:
        while _idle:
            _idle.pop().stop()


def _ask(request: dict[str, Any], timeout: float | None, stop: int | None = None) -> Outcome:
    global _owner
    if os.getpid() != _owner:
        _owner = os.getpid()
        _idle.clear()
    server = None
    while _idle and server is None:
        candidate = _idle.pop()
        server = candidate if candidate.alive() else candidate.stop()
    server = server or _Server()
    try:
        outcome = server.ask(request, timeout, stop)
    except BaseException:
        server.stop()
        raise
    if server.alive():
        _idle.append(server)
    else:
        server.stop()
    return outcome


def _surroundings() -> dict[str, Any]:
    """What a process takes over from us: a server may have been started before it changed."""
    try:
        directory = str(Path.cwd())
    except OSError as error:
        raise DlasError(f"the working directory cannot be used: {error.strerror}") from None
    return {"environment": dict(os.environ), "directory": directory, "path": list(sys.path)}


def _is_dump(line: str) -> bool:
    """Whether it is part of what LLVM prints when it crashes."""
    text = line.lstrip()
    return text.startswith(("#", "PLEASE submit a bug report", "Stack dump", "Please report issues to"))
