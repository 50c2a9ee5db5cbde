"""The tuned schedules that come with the package, and how a file of them is made."""

from __future__ import annotations

from collections import Counter

import pytest

from dlas_mlir.cli import dlas
from dlas_mlir.compiler import tuned
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.network import network_of
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.measure.trials import Environment, Place, Trials, Winner
from dlas_mlir.measure.winners_file import read_winners


@pytest.fixture(autouse=True)
def surroundings(tuning_surroundings):
    pass


def test_only_what_won_is_exported_to_be_shipped(tmp_path):
    db, file = tmp_path / "schedules.db", tmp_path / "schedules.jsonl"
    environment = Environment("a CPU", (("iree-base-compiler", "3"),), "0")
    schedules = {"a": {"kind": "cpu"}, "b": None}
    with Trials(db) as trials:
        for workload, schedule in schedules.items():
            trials.win(Winner(place=Place(workload, "t", "target", 1), environment=environment, schedule=schedule))
    assert dlas.main(["records", "export", "--db", str(db), "-o", str(file)]) == 0
    assert [(one.place.workload, one.schedule) for one in read_winners(file)] == list(schedules.items())
    assert dlas.main(["records", "export", "--db", str(db), "--won", "-o", str(file)]) == 0
    assert [one.place.workload for one in read_winners(file)] == ["a"]


def test_a_shipped_file_has_one_schedule_that_won_for_each_workload():
    assert tuned.shipped()
    for file in tuned.shipped():
        winners = read_winners(file)
        places = Counter(winner.place for winner in winners)
        assert max(places.values()) == 1
        assert {winner.place.target_name for winner in winners} == {file.stem}
        for winner in winners:
            assert winner.schedule is not None
            assert winner.low <= winner.ratio < winner.high < 1.0


@pytest.mark.parametrize(
    ("preset", "threads", "model"),
    [
        ("x86-64-sapphirerapids/auto:tuned", 1, "mobilenetv2-cifar"),
        ("x86-64-sapphirerapids/auto:tuned", 2, "mobilenetv1-cifar"),
    ],
)
def test_shipped_schedules_hold_for_the_kernels_as_they_are_made_now(preset, threads, model, tmp_path, monkeypatch):
    monkeypatch.delenv("DLAS_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    loaded = load_preset(preset, threads=threads)
    network = network_of(import_model(model), loaded)
    said: list[str] = []
    chosen = tuned.choose(network, loaded, said.append)
    assert chosen
    assert "out of date" not in said[0]
