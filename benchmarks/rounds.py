"""The timing protocol: every runtime in turn, round after round, while the others sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stats import DISTURBED, summary
from benchmarks.worker import Turn, Worker
from benchmarks.workload import Case
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import usable_cpus


@dataclass(frozen=True)
class Protocol:
    """`settle_s` is the pause before each turn in which the last runtime's threads stop spinning.

    A turn in which other processes took the CPUs is repeated up to `retries` times.
    """

    rounds: int = 10
    retries: int = 3
    turn_s: float = 0.3
    settle_s: float = 0.05


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
    running: list[Worker] = []
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
            running.append(worker)
        except DlasError as error:
            record["error"] = str(error)
    say(f"{case.name}, threads {workers[0].threads}: {protocol.rounds} rounds")
    for runtime, turns in _rounds(running, protocol, records).items():
        if "error" not in records[runtime]:
            records[runtime] |= summary(turns, case.macs, (overheads or {}).get(runtime, 0.0))
    return list(records.values())


def _rounds(workers: list[Worker], protocol: Protocol, records: dict[str, dict]) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {worker.runtime: [] for worker in workers}
    active = list(workers)
    for number in range(protocol.rounds):
        # Each round starts with another runtime: none always follows the same neighbour.
        first = number % max(len(active), 1)
        for worker in active[first:] + active[:first]:
            try:
                turns[worker.runtime].append(_quiet_turn(worker, protocol))
            except DlasError as error:
                records[worker.runtime]["error"] = str(error)
                active.remove(worker)
    return turns


def _quiet_turn(worker: Worker, protocol: Protocol) -> Turn:
    """The first turn that nothing disturbed, or the least disturbed of the attempts."""
    attempts: list[Turn] = []
    for _ in range(1 + protocol.retries):
        time.sleep(protocol.settle_s)
        attempts.append(worker.turn(protocol.turn_s))
        if attempts[-1].waited <= DISTURBED:
            break
    return min(attempts, key=lambda turn: turn.waited)
