"""Medians, spreads, ratios and geometric means of records."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from benchmarks.peers import is_ours


def summary(turns: Sequence[Sequence[int]], macs: int) -> dict[str, float | int]:
    """Figures of one runtime from the nanoseconds of its turns' calls.

    `best_ms` is the least of the turns' medians: what to read on a machine that others use as well.
    """
    pooled = sorted(ns / 1e6 for turn in turns for ns in turn)
    quartiles = statistics.quantiles(pooled, n=4, method="inclusive") if len(pooled) > 1 else pooled * 3
    median = statistics.median(pooled)
    return {
        "median_ms": median,
        "iqr_ms": quartiles[2] - quartiles[0],
        "best_ms": min(statistics.median(turn) for turn in turns) / 1e6,
        "calls": len(pooled),
        "gflops": 2 * macs / median / 1e6,
    }


def geomean(values: Iterable[float]) -> float:
    """Geometric mean; NaN of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def add_ratios(records: list[dict], key: str = "median_ms") -> None:
    """Add `best_peer` and `ratio` to timed records: time over the best peer's, same workload and threads."""
    for record in records:
        if key not in record:
            continue
        same = [
            r
            for r in records
            if r["workload"] == record["workload"] and r["threads"] == record["threads"] and key in r
        ]
        peers = [r for r in same if not is_ours(r["runtime"])]
        if peers:
            best = min(peers, key=lambda r: r[key])
            record["best_peer"] = best["runtime"]
            record["ratio"] = record[key] / best[key]


def geomeans(records: list[dict], key: str = "median_ms") -> list[dict]:
    """Per runtime and threads the geometric mean of times and ratios, over the workloads that all ran."""
    rows = []
    for threads in sorted({r["threads"] for r in records}):
        at = [r for r in records if r["threads"] == threads]
        runtimes = list(dict.fromkeys(r["runtime"] for r in at))
        timed = {name: {r["workload"] for r in at if r["runtime"] == name and key in r} for name in runtimes}
        common = set.intersection(*timed.values()) if timed else set()
        for name in runtimes:
            mine = [r for r in at if r["runtime"] == name and r["workload"] in common]
            rows.append(
                {
                    "runtime": name,
                    "threads": threads,
                    "workloads": len(common),
                    key: geomean(r[key] for r in mine),
                    "ratio": geomean(r["ratio"] for r in mine if "ratio" in r),
                }
            )
    return rows
