"""Every runtime in turn, on one workload: loaded, checked, timed by the measurement core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.stats import summary
from benchmarks.worker import Worker
from benchmarks.workload import Case
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.runtime.devices import usable_cpus


def cpus_for(threads: int) -> list[int]:
    """The CPUs that `threads` threads are pinned to. Raises DlasError when there are fewer."""
    allowed = usable_cpus()
    if not 1 <= threads <= len(allowed):
        raise DlasError(f"{threads} threads were asked for, {len(allowed)} CPUs are there")
    return allowed[:threads]


def start(runtimes: list[str], threads: int, directory: Path) -> list[Worker]:
    """A process for each runtime; logs go to `directory`."""
    return [Worker(runtime, threads, cpus_for(threads), directory) for runtime in runtimes]


def compare(
    workers: list[Worker],
    case: Case,
    protocol: Protocol,
    say: Callable[[str], None],
    overheads: dict[str, float] | None = None,
) -> list[dict]:
    """One record per runtime; one that fails has `error` instead of times. `overheads` (ms) are taken off."""
    records: dict[str, dict] = {}
    running: dict[str, Worker] = {}
    for worker in workers:
        say(f"{case.name}, threads {worker.threads}: loading {worker.runtime}")
        record = {
            "workload": case.name,
            "spec": case.spec,
            "runtime": worker.runtime,
            "threads": worker.threads,
        }
        records[worker.runtime] = record
        try:
            record |= worker.load(case)
            if reason := record.pop("reason"):
                raise DlasError(f"wrong, so not timed: {reason}")
            running[worker.runtime] = worker
        except DlasError as error:
            record["error"] = str(error)
    say(f"{case.name}, threads {workers[0].threads}: {protocol.rounds} rounds")
    rounds = Rounds(running, protocol).run()
    for runtime, turns in rounds.turns.items():
        if runtime in rounds.errors:
            records[runtime]["error"] = rounds.errors[runtime]
        else:
            records[runtime] |= summary(turns, case.macs, (overheads or {}).get(runtime, 0.0))
            records[runtime]["noise"] = rounds.noise
    return list(records.values())
