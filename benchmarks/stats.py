"""Medians, spreads, ratios and geometric means of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.peers import is_ours
from dlas_mlir.measure.stats import Timing, geomean
from dlas_mlir.measure.turn import Turn


def summary(turns: Sequence[Turn], macs: int, overhead_ms: float = 0.0) -> dict[str, float | int | bool]:
    """The figures of one runtime, from the nanoseconds of each call of its turns less its cost of a call."""
    timing = Timing.of(turns, overhead_ms)
    return {**asdict(timing), "overhead_ms": overhead_ms, "gflops": 2 * macs / timing.median_ms / 1e6}


def add_ratios(records: list[dict]) -> None:
    """Add to timed records how they compare with others of the same workload and threads.

    `ratio` is the time over that of `best_peer`, the fastest runtime that is not ours; `over_stock` is how
    many times faster than the recipe `stock` it is.
    """
    timed = [record for record in records if "median_ms" in record]
    for record in timed:
        same = [r for r in timed if (r["spec"], r["threads"]) == (record["spec"], record["threads"])]
        peers = [r for r in same if not is_ours(r["runtime"])]
        if peers:
            best = min(peers, key=lambda r: r["median_ms"])
            record["best_peer"] = best["runtime"]
            record["ratio"] = record["median_ms"] / best["median_ms"]
        stock = [r for r in same if r["runtime"].endswith("/stock")]
        if stock:
            record["over_stock"] = stock[0]["median_ms"] / record["median_ms"]


def geomeans(records: list[dict]) -> list[dict]:
    """Per runtime and threads the geometric means over the `workloads` that it ran, and its worst ratio."""
    rows = []
    for threads, runtime in dict.fromkeys((r["threads"], r["runtime"]) for r in records):
        mine = [r for r in records if (r["threads"], r["runtime"]) == (threads, runtime) and "median_ms" in r]
        ratios = [r["ratio"] for r in mine if "ratio" in r]
        rows.append(
            {
                "runtime": runtime,
                "threads": threads,
                "workloads": len(mine),
                "median_ms": geomean(r["median_ms"] for r in mine),
                "ratio": geomean(ratios),
                "worst_ratio": max(ratios, default=None),
                "over_stock": geomean(r["over_stock"] for r in mine if "over_stock" in r),
            }
        )
    return rows
