"""What `benchmarks/candidates.py` says of searches that are made up."""

from __future__ import annotations

import json

import pytest
from test_workloads import cpu, layer, rule

from benchmarks import candidates
from dlas_mlir.codegen.backends import backend_for
from dlas_mlir.codegen.moves import moves
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Environment, Known, Place, Trial, Trials


def test_what_was_found_after_so_many_candidates(tmp_path):
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start, rules = backend_for(workload, target).naive(workload, target), rule(workload, target)
    others = [move.schedule for move in moves(workload, rules, target)][:3]
    place = Place(workload.exact, "target", "x86-64-avx512", 1)
    with Trials(tmp_path / "t.db") as trials:
        trials.know([Known(workload.exact, workload.anchor, workload.family, workload.to_json())])
        for schedule, ratio in zip((start, *others), (4.0, None, 1.0, 0.8), strict=True):
            status = "ok" if ratio else "wrong"
            environment = Environment("a CPU", (), "emitter")
            trials.add(
                Trial(place=place, environment=environment, schedule=schedule.to_value(), status=status, ratio=ratio)
            )
    kernel = {"workload": workload.exact, "layers": ["layer1"], "share": 40.0, "rule": rules.to_value()}
    report = tmp_path / "report.json"
    searched = {"kind": "schedules", "model": "m", "kernels": [kernel], "preset": "x86-64-avx512/auto", "threads": 1}
    report.write_text(json.dumps([{"kind": "primitives"}, searched]))

    (naive,) = candidates.curves(tmp_path / "t.db", report, [2, 3, 64], seed=False)
    assert (naive.start, naive.tried, naive.first_as_fast) == (4.0, 4, "3")
    assert naive.best == {2: 4.0, 3: 1.0, 4: 0.8}
    assert naive.parts == {2: 0.0, 3: pytest.approx(3 / 4), 4: 1.0}
    (seeded,) = candidates.curves(tmp_path / "t.db", report, [3], seed=True)
    assert (seeded.start, seeded.parts) == (1.0, {3: 0.0, 4: 1.0})
    text = candidates.table([naive], [2, 3, 64], 0.7)
    assert "| m | layer1 | 40.0 | 4 | 4.00 | 4.00 (0 %) | 1.00 (75 %) |  | 0.80 (100 %) |" in text
    assert "After 3: 75 % of the gain in the mean, 70 % of it on 1 of 1; as fast as the rule's on 1 of 1." in text


def test_a_report_that_is_none(tmp_path):
    with Trials(tmp_path / "t.db"):
        pass
    (tmp_path / "report.json").write_text('[{"kind": "schedules"}]')
    with pytest.raises(DlasError, match=r"report.json: not a report of `dlas tune --json`"):
        candidates.curves(tmp_path / "t.db", tmp_path / "report.json", [1], seed=True)
