"""One runtime in a process of its own, told over a pipe when to run, so that it disturbs no other's turn."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.peers import Loaded, peer
from benchmarks.workload import Case
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import check
from dlas_mlir.measure.turn import Turn, take_turn
from dlas_mlir.runtime.worker import golden_limits, load_golden, sorted_keys

LOAD_TIMEOUT_S = 900
TURN_TIMEOUT_S = 300


def _load(runtime: str, threads: int, case: Case) -> tuple[Loaded, dict]:
    module, variant = peer(runtime)
    start = time.perf_counter()
    loaded = module.load(case, threads, variant)
    arrays = load_golden(loaded.golden or case.golden)
    expected = [arrays[key] for key in sorted_keys(arrays, "output_")]
    limits = golden_limits(arrays)
    if loaded.element:
        limits["element"] = loaded.element
    result = check(loaded.outputs(), expected, **limits)
    return loaded, {
        "verified": result.verified,
        "max_rel_error": result.max_rel_error,
        "reason": result.reason,
        "load_s": round(time.perf_counter() - start, 2),
        "flags": loaded.flags,
        "versions": module.versions(),
        **loaded.details,
    }


def _serve(connection: Connection, runtime: str, threads: int, cpus: list[int], log: str) -> None:
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    loaded: Loaded | None = None
    while True:
        try:
            request, argument = connection.recv()
        except EOFError:
            break
        try:
            if request == "load":
                if loaded is not None:
                    loaded.close()
                    loaded = None  # the last workload's memory goes before the next one's comes
                loaded, answer = _load(runtime, threads, argument)
            elif request == "turn" and loaded is not None:
                answer = take_turn(loaded.call, threads=threads, **argument)
            else:
                break
        except Exception as error:  # whatever a runtime raises is its result, not the end of the run
            text = str(error) if isinstance(error, DlasError) else f"{type(error).__name__}: {error}"
            answer = {"error": text.strip()}
        connection.send(answer)
    # Thread pools do not always survive the interpreter's own shutdown.
    os._exit(0)


class Worker:
    """The parent's end. `load` and `turn` raise DlasError, also when the process dies or does not answer."""

    def __init__(self, runtime: str, threads: int, cpus: list[int], directory: Path) -> None:
        """Start the process, pinned to `cpus`; what it prints goes to a file in `directory`."""
        self.runtime = runtime
        self.threads = threads
        self._cpus = cpus
        self._log = directory / f"{runtime.replace('/', '-')}-{threads}.log"
        self._case: Case | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self.runtime, self.threads, self._cpus, str(self._log))
        )
        self._process.start()
        theirs.close()

    def renew(self) -> None:
        """A fresh process in the place of this one, with nothing loaded."""
        self.stop()
        self._case = None
        self._start()

    def restart(self) -> None:
        """What is loaded, in a fresh process."""
        case = self._case
        self.renew()
        if case is not None:
            self.load(case)

    def _ask(self, request: str, argument: object, timeout: float) -> Any:
        try:
            self._connection.send((request, argument))
            if not self._connection.poll(timeout):
                self.kill()
                raise DlasError(f"no answer to `{request}` in {timeout:.0f} s")
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(10)
            tail = self._log.read_text(errors="replace") if self._log.exists() else ""
            last = " | ".join(tail.strip().splitlines()[-3:])
            raise DlasError(f"its process ended with code {self._process.exitcode}: {last}") from None
        if isinstance(answer, dict) and "error" in answer:
            raise DlasError(answer["error"])
        return answer

    def load(self, case: Case) -> dict:
        self._case = case
        return self._ask("load", case, LOAD_TIMEOUT_S)

    def turn(self, *, min_seconds: float, min_count: int) -> Turn:
        return self._ask("turn", {"min_seconds": min_seconds, "min_count": min_count}, TURN_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(("stop", None))
        self._process.join(5)
        self.kill()
