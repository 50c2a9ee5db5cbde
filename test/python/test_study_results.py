"""From a study that was run to its report, its findings, and its comparison with another."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from dataclasses import replace
from pathlib import Path

import browser as browsers
import numpy as np
import pytest

from benchmarks.planted_study import study
from dlas_mlir.cli import dlas
from dlas_mlir.errors import DlasError
from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.comparison import Comparison
from dlas_mlir.study.read_results import read_results
from dlas_mlir.study.report import html_comparison, markdown_comparison
from dlas_mlir.study.run import STORE
from dlas_mlir.study.store import StudyStore

SPEC = """
[study]
name = "s"
[axes]
dataset = "digits"
model = ["mobilenetv1-cifar", "vgg16-cifar"]
compression = ["none", "prune-50"]
primitive = ["direct", "gemm"]
[goals]
limits = ["accuracy_loss <= 0.02"]
[measurement]
timeout = 30
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A study that was run by a runner that measures nothing, and of which one preset is refused."""
    place = tmp_path_factory.mktemp("study")
    (place / "s.toml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_STUDY_ENTRY", "study_runner:run")
        patch.setenv("DLAS_TEST_STUDY", json.dumps({"refused": "host/gemm"}))
        patch.setenv("DLAS_CACHE", str(place / "cache"))
        dlas.main(["study", "run", str(place / "s.toml"), "--folder", str(place / "s"), "--jobs", "2"])
    return place / "s"


def test_the_columns_are_those_of_the_store(folder):
    with StudyStore(folder / STORE, create=False) as store:
        results = read_results(store, "s")
        rows = {row.id: row for row in store.points()}
        metrics = {}
        for name, metric in store.metrics():
            metrics.setdefault(name, {})[metric.name] = metric.value
    assert set(results.ids) == set(rows)
    assert results.goals == {"accuracy_loss": 0.02}
    assert results.timed.sum() == 4
    for number, name in enumerate(results.ids.tolist()):
        row = rows[name]
        assert results.point(number) == row.point.as_dict()
        assert results.state[number] == row.state
        assert results.reasons[results.reason[number]] == row.reason
        if row.state != "ok":
            assert np.isnan(results.metric("median_ms")[number])
            continue
        assert results.metric("median_ms")[number] == metrics[name]["median_ms"]
        rounds = results.rounds(number)
        assert [each[2] for each in rounds] == sorted(each[2] for each in rounds)
        assert len({each[1] for each in rounds}) >= 2
        assert np.median([each[3] for each in rounds]) / 1e6 == pytest.approx(metrics[name]["median_ms"])
        assert results.hits is not None
        hits = results.hits.of(number)
        assert hits is not None
        assert (hits.sum(), len(hits)) == (metrics[name]["correct"], metrics[name]["images"])
    assert set(results.base.tolist()) <= set(np.flatnonzero(results.timed).tolist())


def test_what_left_the_study_is_not_concluded_from(folder):
    with StudyStore(folder / STORE, create=False) as store:
        rows = [row for row in store.points() if row.point.model == "vgg16-cifar"]
        store.plan(rows, whole=True)
        results = read_results(store, "s")
        store.plan(store.points(), whole=False)  # back again
    assert (results.state == "left").sum() == 4
    assert not results.timed[results.has("model", "mobilenetv1-cifar")].any()


def test_a_store_of_version_1_is_read_and_upgraded(folder, tmp_path):
    """It kept neither which images were right nor which round a turn was of."""
    file = tmp_path / STORE
    shutil.copyfile(folder / STORE, file)
    with StudyStore(file) as store:
        old = [
            (block, point, json.dumps([[turn.ns, 0, 0.0, turn.start] for turn in turns]))
            for block, point, turns in store.turns()
        ]
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE hits")
        connection.execute("PRAGMA user_version = 1")
        for block, point, text in old:
            packed = zlib.compress(text.encode())
            connection.execute("UPDATE turns SET turns = ? WHERE block = ? AND point = ?", (packed, block, point))
    connection.close()
    with StudyStore(file, create=False) as store:
        results = read_results(store, "s")
    assert results.hits is None
    assert results.timed.sum() == 4
    with StudyStore(file) as store:
        assert store.hits() == {}
        assert len(list(store.points())) == 8


def test_report_and_findings_of_a_folder(folder, tmp_path, capsys):
    assert dlas.main(["study", "report", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "report.md"), str(folder / "report.html")]
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for each in (page, text):
        assert "iree-compile failed with exit code 1" in each
        assert "accuracy\\_loss" in each or "accuracy_loss" in each
    assert dlas.main(["study", "report", str(folder), "--markdown", str(tmp_path / "x.md")]) == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "x.md"]
    capsys.readouterr()
    file = tmp_path / "findings.json"
    assert dlas.main(["study", "findings", str(folder), "--json", str(file), "--cells"]) == 0
    said = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert [each["key"] for each in found][:2] == ["fastest-by-compression", "fastest-by-element"]
    assert all(f"{each['verdict']}: {each['question']}" in said for each in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["report", "nowhere"],
            "nowhere/study.db: there is no such file; `dlas study run SPEC --folder nowhere` makes one",
        ),
        (["findings", "nowhere"], "nowhere/study.db: there is no such file"),
        (["report", "{folder}", "-o", "no/report.html"], "there is no directory no"),
        (["compare", "{folder}", "nowhere"], "nowhere/study.db: there is no such file"),
    ],
)
def test_what_cannot_be_reported(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert dlas.main(["study", *(each.format(folder=folder) for each in arguments)]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_study_beside_itself(folder, tmp_path, capsys):
    pages = ["-o", str(tmp_path / "c.html"), "--markdown", str(tmp_path / "c.md"), "--json", str(tmp_path / "c.json")]
    assert dlas.main(["study", "compare", str(folder), str(folder), *pages]) == 0
    said = capsys.readouterr().out
    assert "8 points in both, 4 timed in both" in said
    assert "geometric mean of B / A: 1.000 (n = 4)" in said
    assert "0 points differ in accuracy" in said
    found = json.loads((tmp_path / "c.json").read_text())
    assert len(found["points"]) == 8
    assert found["geomean"] == pytest.approx(1)
    assert "Every point is in the same state in both." in (tmp_path / "c.md").read_text()


AXES = {"model": [f"m{i}" for i in range(20)], "primitive": ["direct", "gemm"]}


def of(time, accuracy=lambda point: 0.95, seed=0, axes=AXES):
    return Analysis(study(axes, time, seed=seed, accuracy=accuracy))


def test_what_became_slower_is_found_and_no_more():
    """Each tenth point is slower by 20 %, one fails, and all of m3 lose accuracy."""

    def after(point):
        if point["model"] == "m5" and point["primitive"] == "gemm":
            return None
        return 1.2 if point["model"] in ("m1", "m2") else 1.0

    def worse(point):
        return 0.9 if point["model"] == "m3" else 0.95

    comparison = Comparison.of(of(lambda point: 1.0), of(after, worse, seed=1))
    results = comparison.before.results
    changed = {results.point(int(comparison.first[i]))["model"] for i in comparison.changed()}
    assert changed == {"m1", "m2"}
    assert comparison.counts == {"faster": 0, "tie": 35, "slower": 4, "untestable": 0}
    less = {i for i, said in enumerate(comparison.accuracy) if said == "less"}
    assert {results.point(int(comparison.first[i]))["model"] for i in less} == {"m3"}
    assert comparison.states() == {("ok", "ok"): 39, ("ok", "crash"): 1}
    text = markdown_comparison(comparison)
    assert "| ok | crash | 1 |" in text
    assert "slower" in text


def test_the_same_measured_twice_is_a_tie():
    comparison = Comparison.of(of(lambda point: 1.0), of(lambda point: 1.0, seed=7))
    assert comparison.counts["faster"] + comparison.counts["slower"] <= 1
    assert comparison.mean == pytest.approx(1, abs=0.01)


def test_only_points_of_the_same_levels_are_compared():
    other = {"model": ["m19", "m20"], "primitive": ["gemm", "direct"]}
    comparison = Comparison.of(of(lambda point: 1.0), of(lambda point: 2.0, axes=other))
    assert len(comparison.first) == 2
    for one, two in zip(comparison.first, comparison.second, strict=True):
        assert comparison.before.results.point(int(one)) == comparison.after.results.point(int(two))
    with pytest.raises(DlasError, match="no point in common"):
        Comparison.of(of(lambda point: 1.0), of(lambda point: 1.0, axes={"model": ["x"]}))


@pytest.mark.skipif(browsers.find() is None, reason="chromium is not installed (apt-get install chromium)")
def test_a_browser_draws_a_comparison(tmp_path):
    before = of(lambda point: 1.0)
    evil = replace(before.results, name="<img src=x onerror=alert(1)>")
    file = tmp_path / "comparison.html"
    file.write_text(html_comparison(Comparison.of(Analysis(evil), of(lambda point: 1.3, seed=1))), encoding="utf-8")
    with browsers.browser(tmp_path / "profile") as window:
        window.open(file)
        window.wait("document.documentElement?.dataset.ready === '1'")
        assert window.evaluate("document.getElementById('comparison-figure').data.length") == 2
        assert window.evaluate("document.querySelector('h1').textContent").startswith("<img src=x")
        assert window.errors == []
        assert window.requests == [file.resolve().as_uri()]
