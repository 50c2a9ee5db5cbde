"""Questions asked of made-up studies of which the answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted_study import study
from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.findings import Finding, find
from dlas_mlir.study.results import Level, Results
from dlas_mlir.study.speedups import means, shared_by
from dlas_mlir.study.techniques import technique_of

MODELS = ("small", "middle", "large", "huge")
SIZES: dict[str, float] = dict(zip(MODELS, (1e6, 2e6, 4e6, 8e6), strict=True))


def answers(results: Results) -> dict[str, Finding]:
    return {finding.key: finding for finding in find(Analysis(results))}


def amount(point: Mapping[str, Level]) -> float:
    return int(str(point["compression"]).partition("-")[2] or 0) / 100


def metrics(point: Mapping[str, Level]) -> dict[str, float]:
    size = SIZES[str(point["model"])]
    return {"parameters": size, "macs": 100 * size, "effective_macs": 100 * size * (1 - amount(point))}


def test_nothing_to_compare_is_untestable():
    found = answers(study({"model": ["small"]}, lambda point: 1.0))
    assert {finding.verdict for finding in found.values()} == {"untestable"}
    assert len(found) == 9
    assert all(finding.summary.endswith(".") for finding in found.values())


def test_nothing_timed_is_untestable():
    results = study({"model": MODELS, "compression": ["none", "prune-50"]}, lambda point: None)
    assert {finding.verdict for finding in answers(results).values()} == {"untestable"}


AXES = {
    "model": MODELS,
    "compression": ["none", "prune-50", "prune-90"],
    "primitive": ["auto", "direct", "gemm"],
    "schedule": ["rule", "tuned"],
    "element": ["f32", "int8"],
    "device": ["server", "board"],
}


def everything(point: Mapping[str, Level]) -> float:
    """direct and gemm change places with pruning, with tuning and with int8; boards are slow with int8."""
    changes = (point["compression"] == "prune-90") + (point["schedule"] == "tuned") + (point["element"] == "int8")
    first = "direct" if changes % 2 else "gemm"
    time = 1.0 if point["primitive"] == first else 1.2
    time = 0.9 if point["primitive"] == "auto" else time
    if point["element"] == "int8":
        time *= 0.5 if point["device"] == "server" else 0.8
    return time * {"small": 4, "middle": 1, "large": 2, "huge": 3}[str(point["model"])] * (1 - 0.5 * amount(point))


def accuracy(point: Mapping[str, Level]) -> float:
    return {"small": 0.97, "middle": 0.99, "large": 0.9, "huge": 0.95}[str(point["model"])] - 0.1 * amount(point) ** 4


@pytest.fixture(scope="module")
def planted() -> dict[str, Finding]:
    return answers(study(AXES, everything, metrics=metrics, accuracy=accuracy))


def test_every_claim_is_confirmed_where_it_was_planted(planted):
    # `auto` is the fastest everywhere: which of the others is the faster is no change of the fastest.
    verdicts = {key: finding.verdict for key, finding in planted.items()}
    ties = {key for key, verdict in verdicts.items() if verdict == "tie"}
    assert ties == {"fastest-by-compression", "fastest-by-element", "fastest-by-schedule"}
    assert set(verdicts.values()) == {"tie", "confirmed"}


def test_the_fastest_changes_where_it_was_planted():
    axes = {**AXES, "primitive": ["direct", "gemm"]}
    found = answers(study(axes, everything))
    for key in ("fastest-by-compression", "fastest-by-element", "fastest-by-schedule"):
        assert found[key].verdict == "confirmed"
        assert len(found[key].columns) == len(found[key].rows[0])
        assert {row[1:3] for row in found[key].rows} == {("direct", "gemm")}
    # prune-50 changes nothing.
    assert "prune-50" not in {row[5] for row in found["fastest-by-compression"].rows if row[3] == "prune-50"}


def test_the_mixture_wins_everywhere(planted):
    assert planted["mixture"].summary.startswith("In 96 cells the mixture is faster than every single primitive in 96,")


def test_a_mixture_that_loses_is_told():
    found = answers(study({**AXES, "device": ["server"]}, lambda point: 1.0 + 0.2 * (point["primitive"] == "auto")))
    assert found["mixture"].verdict == "tie"
    assert "slower than one of them in 48" in found["mixture"].summary


def test_speed_ups_that_are_the_same_everywhere_are_a_tie():
    def same(point):
        return (2.0 if point["device"] == "board" else 1.0) * (1 - 0.5 * amount(point))

    found = answers(study({"model": MODELS, **{k: AXES[k] for k in ("compression", "device")}}, same, metrics=metrics))
    assert found["speedup-by-device"].verdict == "tie"


def test_the_speed_up_that_was_expected_is_none_that_falls_short():
    def as_promised(point):
        return 1.0 - amount(point)

    results = study({"model": MODELS, "compression": AXES["compression"]}, as_promised, metrics=metrics)
    (finding,) = (each for each in find(Analysis(results)) if each.key == "expected-speedup")
    assert finding.verdict == "tie"
    assert [row[0] for row in finding.rows] == ["prune-50", "prune-90"]
    assert [float(row[1]) for row in finding.rows] == [2.0, 10.0]


def test_models_in_order_show_no_exception():
    def in_order(point):
        return SIZES[str(point["model"])] / 1e6

    found = answers(
        study({"model": MODELS}, in_order, metrics=metrics, accuracy=lambda p: 0.9 + SIZES[str(p["model"])] / 1e8)
    )["size-accuracy-time"]
    assert found.verdict == "tie"
    assert found.summary.startswith("0 pairs of models, of 6, of which the larger is the faster, and 0 pairs, of 6")


def test_a_larger_and_faster_model_is_named(planted):
    finding = planted["size-accuracy-time"]
    assert any("middle (2,000,000" in row[1] and "small (1,000,000" in row[1] for row in finding.rows)


def test_what_is_fast_at_equal_accuracy(planted):
    finding = planted["time-at-equal-accuracy"]
    assert finding.summary.startswith("For 8 of 8 models something compressed is faster")
    # prune-90 loses six percent.
    assert not any("prune-90" in row[1] for row in finding.rows)
    assert all("int8" in row[1] for row in finding.rows)


def test_a_technique_that_is_less_accurate_in_the_same_time():
    def fast(point):
        return 1.0 if point["compression"] == "none" else 0.3

    def sharp(point):
        return 0.9 if str(point["compression"]).startswith("channels") else 0.97

    results = study({"model": ["small"], "compression": ["none", "prune-50", "channels-50"]}, fast, accuracy=sharp)
    (row,) = answers(results)["accuracy-at-equal-time"].rows
    assert row[1].startswith("prune-50")
    assert row[2].startswith("channels-50")
    assert row[4] == "more accurate"


def test_what_is_not_known_image_by_image_is_no_tie():
    accuracies = {"channels-50": 0.9, "recipe-50": 0.8}

    def sharp(point):
        return accuracies.get(str(point["compression"]), 0.97)

    results = study(
        {"model": ["small"], "compression": ["none", "prune-50", "channels-50", "recipe-50"]},
        lambda point: 1.0 if point["compression"] == "none" else 0.3,
        accuracy=sharp,
    )
    assert results.hits is not None
    row = results.hits.row.copy()
    row[results.has("compression", "recipe-50")] = -1
    finding = answers(replace(results, hits=replace(results.hits, row=row)))["accuracy-at-equal-time"]
    assert [cells[4] for cells in finding.rows] == ["more accurate", "untestable"]
    assert finding.tested == 1
    assert finding.summary.startswith("1 of 1 pair ")


def test_means_are_over_the_same_cells():
    results = study(
        {"model": MODELS, "compression": ["none", "prune-50", "prune-90", "channels-20"]},
        lambda point: (
            None if point["model"] == "huge" and point["compression"] == "prune-90" else 1 - amount(point) / 2
        ),
        metrics=metrics,
    )
    analysis = Analysis(results)
    (found,) = means(results, analysis.speedups)
    assert found.models == ["large", "middle", "small"]
    assert [(mean.name, mean.n) for mean in found.means] == [("channels-20", 3), ("prune-50", 3), ("prune-90", 3)]
    assert [mean.actual for mean in found.means] == pytest.approx([1 / 0.9, 1 / 0.75, 1 / 0.55], rel=0.02)
    assert [mean.expected for mean in found.means] == pytest.approx([1.25, 2, 10])


def test_who_shares_nothing_is_left_out():
    assert shared_by({0: {1, 2, 3}, 1: {2, 3}, 2: {3}}) == ({3}, [])
    assert shared_by({0: {1, 2, 3}, 1: {2, 3}, 2: {4}}) == ({2, 3}, [2])
    assert shared_by({}) == (set(), [])


@pytest.mark.parametrize(
    ("compression", "element", "expected"),
    [
        ("none", "f32", None),
        ("prune-90", "f32", "prune-90"),
        ("prune-90", "int8", "prune-90 + int8"),
        ("none", "bf16", "bf16"),
        ("recipes/mine.toml", "f32", "recipes/mine.toml"),
    ],
)
def test_techniques(compression, element, expected):
    found = technique_of(compression, element)
    assert (None if found is None else str(found)) == expected


def test_a_table_sets_points_beside_each_other():
    results = study({"model": ["a", "b"], "primitive": ["direct", "gemm"]}, lambda point: 1.0)
    table, example, names = results.table(("primitive",), np.array([True, True, True, False]))
    assert names == [("direct",), ("gemm",)]
    assert table.tolist() == [[0, 1], [2, -1]]
    assert example.tolist() == [1, 2]
