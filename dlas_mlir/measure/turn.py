"""One turn: calls timed one by one in the process that makes them, with what the machine did meanwhile."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_IN_FLIGHT = 16


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The calls of one turn.

    `ns` are nanoseconds of wall-clock time of each call. `cpu_ns` is CPU time of one call on average, over all threads
    of the process. `waited` is the part of its CPUs' time that the process had to wait for because something else had
    them. `start` counts the processes that the runner has had, from 0; `round` the rounds of all
    that took turns with it, from 1 (0: not known).
    """

    ns: tuple[int, ...]
    cpu_ns: int = 0
    waited: float = 0.0
    start: int = 0
    round: int = 0


def sample(call: Callable[[], object], *, min_seconds: float = 0.2, min_count: int = 5, warmup: int = 2) -> list[int]:
    """Nanoseconds of every call, after `warmup` calls that are not counted, until both minima are reached."""
    for _ in range(warmup):
        call()
    samples: list[int] = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter_ns() + int(min_seconds * 1e9)
        now = 0
        while len(samples) < min_count or now < end:
            start = time.perf_counter_ns()
            call()
            now = time.perf_counter_ns()
            samples.append(now - start)
    finally:
        if enabled:
            gc.enable()
    return samples


def calls_in_flight(call_ns: float) -> int:
    """How many calls of so many nanoseconds are queued at a time: 16, or as many as take a second; two at least."""
    return max(2, min(_IN_FLIGHT, int(1e9 / call_ns)))


def sample_queued(
    queue: Callable[[], object], wait: Callable[[], object], *, in_flight: int, min_seconds: float
) -> list[int]:
    """Nanoseconds of a call of those that `queue` begins and `wait` waits for, `in_flight` at the same time: one number
    for each such batch."""

    def batch() -> None:
        for _ in range(in_flight):
            queue()
        wait()

    return [ns // in_flight for ns in sample(batch, min_seconds=min_seconds, min_count=2, warmup=1)]


def take_turn(
    call: Callable[[], object], *, threads: int, min_seconds: float, min_count: int = 3, warmup: int = 2
) -> Turn:
    """Time `call`, which runs on `threads` threads of this process, as `sample` does."""
    began, waited, used = time.perf_counter_ns(), run_delay_ns(), time.process_time_ns()
    samples = sample(call, min_seconds=min_seconds, min_count=min_count, warmup=warmup)
    wall = time.perf_counter_ns() - began
    return Turn(
        ns=tuple(samples),
        cpu_ns=(time.process_time_ns() - used) // (len(samples) + warmup),
        waited=max(0, run_delay_ns() - waited) / (wall * threads),
    )


def run_delay_ns() -> int:
    """How long this process's threads have waited for a CPU that something else had; 0 where nothing tells."""
    total = 0
    for entry in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # a thread may end meanwhile
            total += int(entry.read_text().split()[1])
    return total
