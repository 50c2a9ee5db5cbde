"""The timing protocol: every runtime in turn, round after round, while the others sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stats import summary
from benchmarks.worker import Worker
from benchmarks.workload import Case
from dlas_mlir.errors import DlasError


@dataclass(frozen=True)
class Protocol:
    """`settle_s` is the pause before each turn in which the last runtime's threads stop spinning."""

    rounds: int = 10
    turn_s: float = 0.3
    settle_s: float = 0.05


def cpus_for(threads: int) -> list[int]:
    """The last `threads` CPUs that we may use. Raises DlasError when there are fewer."""
    allowed = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    if not 1 <= threads <= len(allowed):
        raise DlasError(f"{threads} threads were asked for, {len(allowed)} CPUs are there")
    return allowed[-threads:]


def compare(
    case: Case,
    runtimes: list[str],
    threads: int,
    protocol: Protocol,
    directory: Path,
    say: Callable[[str], None],
) -> list[dict]:
    """One record per runtime, in fresh processes; a runtime that fails has `error` instead of times."""
    cpus = cpus_for(threads)
    workers = [Worker.start(runtime, threads, cpus, directory) for runtime in runtimes]
    try:
        return compare_with(workers, case, protocol, say)
    finally:
        for worker in workers:
            worker.stop()


def compare_with(
    workers: list[Worker], case: Case, protocol: Protocol, say: Callable[[str], None]
) -> list[dict]:
    """As `compare`, with workers that stay alive for the next case."""
    records = {
        w.runtime: {"workload": case.name, "runtime": w.runtime, "threads": w.threads} for w in workers
    }
    running: list[Worker] = []
    for worker in workers:
        say(f"{case.name}, {worker.threads} threads: loading {worker.runtime}")
        record = records[worker.runtime]
        try:
            record |= worker.load(case)
            if not record["verified"]:
                raise DlasError(f"wrong result: max_rel_error {record['max_rel_error']:.2e}; not timed")
            running.append(worker)
        except DlasError as error:
            record["error"] = str(error)
        records[worker.runtime] = record
    say(f"{case.name}: {protocol.rounds} rounds")
    times = _rounds(running, protocol, records)
    for runtime, turns in times.items():
        if "error" not in records[runtime]:
            records[runtime] |= summary(turns, case.macs)
    return list(records.values())


def _rounds(
    workers: list[Worker], protocol: Protocol, records: dict[str, dict]
) -> dict[str, list[list[int]]]:
    times: dict[str, list[list[int]]] = {worker.runtime: [] for worker in workers}
    stray: dict[str, float] = {worker.runtime: 0.0 for worker in workers}
    active = list(workers)
    for number in range(protocol.rounds):
        # Each round starts with another runtime: none always follows the same neighbour.
        order = active[number % len(active) :] + active[: number % len(active)] if active else []
        for worker in order:
            time.sleep(protocol.settle_s)
            others = [other for other in active if other is not worker]
            before = sum(other.cpu_seconds() for other in others)
            try:
                times[worker.runtime].append(worker.turn(protocol.turn_s))
            except DlasError as error:
                records[worker.runtime]["error"] = str(error)
                active.remove(worker)
                continue
            stray[worker.runtime] += sum(other.cpu_seconds() for other in others) - before
    for runtime, seconds in stray.items():
        records[runtime]["others_cpu_ms"] = round(seconds * 1e3, 3)
    return times
