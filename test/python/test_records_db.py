"""`dlas records` on a data base of tuned schedules: every action, as a user types it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from test_trials import HERE, PLACE, SCHEDULE, trial, winner

from dlas_mlir.cli import dlas
from dlas_mlir.compiler import tuned
from dlas_mlir.measure.choices import Choice, Choices, ChoicesPlace
from dlas_mlir.measure.trials import Known

WORKLOAD = Known(PLACE.workload, "a", "f", '{"name": "a workload"}')


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A winner with its trial, one of the rule's, and a choice, of versions that are not installed."""
    file = tmp_path / "t.db"
    with Choices(file) as trials:
        trials.know([WORKLOAD])
        trials.add(trial(status="ok", ratio=0.9, samples=((9,), (10,)), date="d"))
        trials.win(winner(model="net"))
        trials.win(winner(place=dataclasses.replace(PLACE, workload="v" * 64), schedule=None))
        place = ChoicesPlace("n", PLACE.target, PLACE.target_name, 2)
        chosen = {"a": "winograd", "b": "direct", "c": "direct"}
        trials.choose(Choice(place=place, environment=HERE, primitives=chosen, ratio=0.8, model="net", date="d"))
    return file


def run(*words: str | Path) -> None:
    assert dlas.main(["records", *map(str, words)]) == 0


def test_list(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("list", "--db", db)
    said = capsys.readouterr().out
    assert "2 workloads were tuned; 1 gained" in said
    assert "measured on AMD EPYC" in said
    assert "1 choices of primitives" in said
    assert "direct 2, winograd 1" in said
    run("list", "--db", db, "--json")
    found = json.loads(capsys.readouterr().out)
    assert [one["schedule"] for one in found["winners"]] == [SCHEDULE, None]
    assert [one["primitives"]["a"] for one in found["choices"]] == ["winograd"]


def test_show(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "www", "--db", db)
    found = json.loads(capsys.readouterr().out)
    assert found["workload"] == {"name": "a workload"}
    assert [one["samples"] for one in found["trials"]] == [[[9], [10]]]
    assert found["states"] == {"ok": 1}
    assert dlas.main(["records", "show", "x", "--db", str(db)]) == 1
    assert "no workloads have a key that begins with `x`" in capsys.readouterr().err


def test_export_import_and_merge(db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", "--db", db, "--won", "-o", tmp_path / "w.jsonl")
    run("import", tmp_path / "w.jsonl", "--db", tmp_path / "other.db")
    assert "1 records (1 of x86-64-zen5)" in capsys.readouterr().out
    run("merge", db, "--db", tmp_path / "other.db")
    # The one that is there already has the same date.
    assert "1 winners, 1 trials and 1 choices of primitives" in capsys.readouterr().out
    with Choices(tmp_path / "other.db", create=False) as trials:
        assert len(list(trials.winners())) == 2
        assert len(trials.choices()) == 1


def test_schedules(db: Path, tmp_path: Path) -> None:
    run("schedules", "--db", db, "--threads", "2", "-o", tmp_path / "s.jsonl")
    assert PLACE.workload in (tmp_path / "s.jsonl").read_text()
    run("schedules", "--db", db, "-o", tmp_path / "s.jsonl")
    assert (tmp_path / "s.jsonl").read_text().strip() == ""


def test_prune(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Choices(db) as trials:
        trials.win(winner(environment=tuned.environment()))
    run("prune", "--db", db)
    assert "removed 2 winners, 1 trials and 1 choices" in capsys.readouterr().out
    with Choices(db, create=False) as trials:
        assert [one.environment for one in trials.winners()] == [tuned.environment()]
