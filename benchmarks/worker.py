"""One runtime in a process of its own, told over a pipe when to run, so that it disturbs no other's turn."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.peers import Loaded, peer
from benchmarks.workload import Case
from dlas_mlir.errors import DlasError

TOLERANCE = 1e-4  # max |x - eager| / max |eager|, fp32
WARM_CALLS = 2
MIN_CALLS = 3
MAX_CALLS = 2000
LOAD_TIMEOUT_S = 900
TURN_TIMEOUT_S = 300


def max_rel_error(outputs: list, golden: list) -> float:
    """The largest difference over the largest golden value; infinite where shapes differ or a NaN is."""
    import numpy as np

    if [o.shape for o in outputs] != [g.shape for g in golden]:
        return float("inf")
    errors = [
        float(np.max(np.abs(o.astype(np.float64) - g)) / max(float(np.max(np.abs(g))), 1e-30))
        for o, g in zip(outputs, golden, strict=True)
    ]
    return max((e if e == e else float("inf")) for e in errors)


def timed_turn(loaded: Loaded, seconds: float) -> list[int]:
    """Nanoseconds of each call: as many as fit in `seconds` after a warm-up, within MIN and MAX_CALLS."""
    call, now = loaded.call, time.perf_counter_ns
    for _ in range(WARM_CALLS):
        call()
    times: list[int] = []
    end = now() + int(seconds * 1e9)
    while len(times) < MIN_CALLS or (len(times) < MAX_CALLS and now() < end):
        start = now()
        call()
        times.append(now() - start)
    return times


def _load(runtime: str, threads: int, case: Case) -> tuple[Loaded, dict]:
    import numpy as np

    module, variant = peer(runtime)
    start = time.perf_counter()
    loaded = module.load(case, threads, variant)
    outputs = loaded.outputs()
    with np.load(case.golden) as arrays:
        golden = [
            arrays[f"output_{i}"] for i in range(sum(name.startswith("output_") for name in arrays.files))
        ]
    error = max_rel_error(outputs, golden)
    return loaded, {
        "max_rel_error": error,
        "verified": error <= TOLERANCE,
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
            return
        try:
            if request == "load":
                loaded = None  # the last workload's memory goes before the next one's comes
                loaded, answer = _load(runtime, threads, argument)
            elif request == "turn" and loaded is not None:
                answer = timed_turn(loaded, argument)
            else:
                return
        except Exception as error:  # whatever a runtime raises is its result, not the end of the run
            text = str(error) if isinstance(error, DlasError) else f"{type(error).__name__}: {error}"
            answer = {"error": text.strip()}
        connection.send(answer)


@dataclass
class Worker:
    """The parent's end. Every method raises DlasError when the process dies or does not answer."""

    runtime: str
    threads: int
    connection: Connection
    process: BaseProcess
    log: Path

    @staticmethod
    def start(runtime: str, threads: int, cpus: list[int], directory: Path) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        log = directory / f"{runtime.replace('/', '-')}-{threads}.log"
        process = context.Process(
            target=_serve, args=(theirs, runtime, threads, cpus, str(log)), daemon=False, name=runtime
        )
        process.start()
        theirs.close()
        return Worker(runtime, threads, ours, process, log)

    def _ask(self, request: str, argument: object, timeout: float) -> Any:
        try:
            self.connection.send((request, argument))
            if not self.connection.poll(timeout):
                self.kill()
                raise DlasError(f"{self.runtime}: no answer to `{request}` in {timeout:.0f} s")
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(10)
            tail = self.log.read_text(errors="replace")[-500:] if self.log.exists() else ""
            raise DlasError(
                f"{self.runtime}: its process ended with code {self.process.exitcode}; its last words: {tail}"
            ) from None
        if isinstance(answer, dict) and "error" in answer:
            raise DlasError(answer["error"])
        return answer

    def load(self, case: Case) -> dict:
        return self._ask("load", case, LOAD_TIMEOUT_S)

    def turn(self, seconds: float) -> list[int]:
        return self._ask("turn", seconds, TURN_TIMEOUT_S)

    def kill(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(("stop", None))
        self.process.join(5)
        self.kill()

    def cpu_seconds(self) -> float:
        """CPU time that all threads of the process have used; 0 where /proc has no such thing."""
        total = 0
        for entry in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            try:
                total += int(entry.read_text().split()[0])
            except (OSError, ValueError, IndexError):
                continue
        return total / 1e9
