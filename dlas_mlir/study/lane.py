"""A process that runs tasks one after the other, and its owner's side: a limit of time, and words for how it died.

A line of JSON for each task on its stdin; on its stdout lines that say that it has begun (once it has the CPUs or the
device for itself, if it needs that: waiting counts for nobody's limit), what it is doing, and the answer.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from dlas_mlir.measure.gate import measuring, working
from dlas_mlir.process import die_with_parent, python
from dlas_mlir.study import entry
from dlas_mlir.study.attempt import entry_point

Gate = Literal["none", "work", "measure"]
_LOOK_SECONDS = 0.2
_READ = 1 << 20
_GATES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "none": nullcontext,
    "work": working,
    "measure": measuring,
}


@dataclass(frozen=True)
class Ended:
    """How a task ended in a lane, as in `executor.Done`; None for one that was stopped with the lane."""

    end: Literal["ok", "failed", "crash", "timeout"] | None
    answer: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0


class Lane:
    """One such process, started when it is needed and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""  # and not read yet
        self._stopped = False

    def run(
        self, payload: str, *, limit: float | None, gate: Gate = "none", say: Callable[[str], None] = lambda _: None
    ) -> Ended:
        """Run a task. `limit` is in seconds from when it begins (None: any time)."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        began = time.monotonic()
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"gate": gate, "payload": payload}).encode() + b"\n")
            process.stdin.flush()
        deadline: float | None = None
        while not self._stopped:
            wait = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0))
            line = self._line(process.stdout.fileno(), wait)
            if line is None:
                if deadline is not None and time.monotonic() >= deadline:
                    self.close()
                    assert limit is not None
                    return Ended("timeout", reason=f"it took more than {limit:g} s", seconds=time.monotonic() - began)
                continue
            if not line:
                return self._died(time.monotonic() - began)
            told = json.loads(line)
            if "began" in told:
                began = time.monotonic()
                deadline = None if limit is None else began + limit
            elif "said" in told:
                say(told["said"])
            elif "failed" in told:
                return Ended("failed", reason=told["failed"], seconds=time.monotonic() - began)
            else:
                return Ended("ok", json.loads(told["answer"]), seconds=time.monotonic() - began)
        return Ended(None)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._said = b""
            self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115
            self._process = subprocess.Popen(
                python("dlas_mlir.study.lane"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C is for the owner
            )
        return self._process

    def _line(self, descriptor: int, seconds: float) -> bytes | None:
        """The next line that the process says; None where there is none yet, nothing where it says no more."""
        if b"\n" not in self._said:
            if not select.select([descriptor], [], [], seconds)[0]:
                return None
            part = os.read(descriptor, _READ)
            self._said += part
            if b"\n" not in self._said:
                return None if part else b""
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _died(self, seconds: float) -> Ended:
        assert self._process is not None
        code = self._process.wait()
        self._log.seek(0)
        tail = " | ".join(line.strip() for line in self._log.read().strip().splitlines()[-3:])
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self.close()
        return Ended("crash", reason=f"its process {how}" + (f": {tail}" if tail else ""), seconds=seconds)

    def close(self) -> None:
        """End the process with all that it has started, also in the middle of a task."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self._log.close()

    def stop(self) -> None:
        """From another thread: have `run` return, and end the process."""
        self._stopped = True
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Serve until stdin ends."""
    die_with_parent()
    # What is said has a descriptor of its own: native code may print to stdout.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(what: dict[str, Any]) -> None:
        replies.write(json.dumps(what) + "\n")
        replies.flush()

    entry.listen(lambda text: tell({"said": text}))
    run = entry_point()
    for line in sys.stdin:
        request = json.loads(line)
        with _GATES[request["gate"]]():
            tell({"began": True})
            try:
                tell({"answer": run(request["payload"])})
            except Exception as error:  # a bug: the entry point answers for all errors
                tell({"failed": f"{type(error).__name__}: {error}"})
    # Native threads do not always survive the interpreter's own shutdown.
    os._exit(0)


if __name__ == "__main__":
    main()
