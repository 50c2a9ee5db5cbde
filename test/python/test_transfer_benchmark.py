"""What `benchmarks/transfer.py` counts, and what its report says, of searches that are made up."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
from test_workloads import cpu, layer, rule

from benchmarks import report, transfer, transfer_report
from dlas_mlir.codegen.moves import moves


def test_figures_of_a_transfer(tmp_path):
    full = {"tried": {"a": [0.9, None, 0.5], "b": [1.1, 0.8, 1.0]}, "network": 0.7}
    kernels = {key: {"share": 0.5, "start": 1.0, "kept": 1.0} for key in "ab"}

    def way(method: str, source: str, score: float, a: float) -> dict:
        # Once more, in turns, all are a little slower.
        ratios, kept = {"a": a, "b": 1.0}, {"a": a + 0.1, "b": 1.0}
        return {
            "method": method,
            "source": source,
            "score": score,
            "most": 1,
            "total": 2,
            "ratios": ratios,
            "kept": kept,
        }

    ways = [way(m, s, score, a) for m in ("fitted", "as-is") for s, score, a in (("x", 2, 0.9), ("y", 1, 0.5))]
    ways += [way("fitted", "all mixed", 0, 0.5), way("as-is", "all mixed", 0, 0.2)]
    case = {"model": "m", "start": "rule", "threads": 1}
    row = transfer_report.row(full, {"case": case, "kernels": kernels, "full": {"a": 0.6, "b": 0.8}, "ways": ways})
    # The search's best after 0, 1, 2 and 3 schedules: 1, 0.95, 0.85, 0.65; once more 0.7.
    assert row["gain"] == pytest.approx(1 / 0.7)
    chosen, best = row["fitted, best score"], row["fitted, in hindsight"]
    assert (chosen["source"], best["source"]) == ("x", "y")
    assert (chosen["as_fast_after"], chosen["search"]) == (1, 1)
    assert best["fraction"] == pytest.approx((1 / 0.8 - 1) / (1 / 0.7 - 1))
    assert best["as_fast_after"] == 3
    # Faster than the search ever was.
    assert row["as-is, all mixed"]["as_fast_after"] is None
    assert row["trials"] == 3
    document = {"rounds": 6, "rows": [row], "environment": report.environment()}
    transfer_report.write(document, tmp_path, lambda _: None)
    text = (tmp_path / "transfer-results.md").read_text()
    assert "| m | 1.43 | x | 0 % | 1.0 | 58 % (y) | 58 % | 3.0 | x | 0 % |" in text
    assert "> 3.0 |" in text
    assert "Full searches of 3 schedules a layer." in text
    assert "timed once more, in turns with them, 6 rounds" in " ".join(text.split())
    assert (tmp_path / "transfer-results.svg").exists() == (importlib.util.find_spec("matplotlib") is not None)


def test_the_ways_of_a_transfer_that_are_timed_again(tmp_path, monkeypatch):
    """By each method the best score, the best in hindsight and the pool; what is not right then is not kept."""
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = rule(workload, target)
    fast, slow, wrong = [move.schedule for move in moves(workload, start, target)][:3]
    results = {start: 1.0, fast: 0.8, slow: 1.2, wrong: 0.7}
    search = SimpleNamespace(start=start, results=results)
    tasks = {"k": SimpleNamespace(workload=workload, rule=start, share=1.0, search=search)}
    tuner: Any = SimpleNamespace(tasks=tasks, preset=SimpleNamespace(target=target))
    sources = {"a": (2.0, [slow]), "b": (1.0, [fast]), "c": (0.5, [start]), transfer.POOL: (0.0, [wrong, fast])}
    ways = [
        {"method": method, "source": name, "score": score, "candidates": {"k": found}}
        for method in transfer.METHODS
        for name, (score, found) in sources.items()
    ]
    asked = []

    def verified(tuner, picks):
        asked.extend(pick["k"] for pick in picks)
        return {"k": {fast: 0.9, slow: 1.0}}

    monkeypatch.setattr(transfer, "verified", verified)
    case = transfer.Case(tmp_path, "m", 1, "rule")
    full = {"k": (0.8, fast.to_value())}
    found = transfer._outcome(tuner, ways, full, case)
    assert asked == [start, fast, wrong, start, fast, wrong, start, fast]
    kept = {way["source"]: way["kept"] for way in found["ways"] if way["method"] == "fitted"}
    assert kept == {"a": {"k": 1.0}, "b": {"k": 0.9}, "c": None, transfer.POOL: {"k": 1.0}}
    assert found["full"] == {"k": 0.9}


def test_from_naive_schedules_times_count_as_they_were_tried(tmp_path, monkeypatch):
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    usual = rule(workload, target)
    start, fast, searched = [move.schedule for move in moves(workload, usual, target)][:3]
    search = SimpleNamespace(start=start, results={start: 4.0, fast: 1.1})
    tasks = {"k": SimpleNamespace(workload=workload, rule=usual, share=1.0, search=search)}
    tuner: Any = SimpleNamespace(tasks=tasks, preset=SimpleNamespace(target=target))
    ways = [
        {"method": method, "source": name, "score": 1.0, "candidates": {"k": [fast]}}
        for method in transfer.METHODS
        for name in ("a", transfer.POOL)
    ]
    monkeypatch.setattr(transfer, "verified", lambda *_: pytest.fail("nothing is timed again"))
    case = transfer.Case(tmp_path, "m", 1, "naive")
    found = transfer._outcome(tuner, ways, {"k": (0.9, searched.to_value())}, case)
    assert found["kernels"]["k"] == {"share": 1.0, "start": 4.0, "kept": 4.0}
    assert found["full"] == {"k": 0.9}
    assert [way["kept"] for way in found["ways"]] == [{"k": 1.1}] * 4
