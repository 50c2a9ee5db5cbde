"""The data base of trials: what several tuners, a killed one, and other versions leave of it."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.choices import Choice, Choices, ChoicesPlace
from dlas_mlir.measure.trials import Environment, Known, Place, Trial, Trials, Winner
from dlas_mlir.measure.winners_file import print_winners, read_winners

PLACE = Place("w" * 64, "t" * 16, "x86-64-zen5", 2)
HERE = Environment("AMD EPYC", (("iree-base-compiler", "3.13.0"),), "e" * 16)
SCHEDULE = {"kind": "cpu", "lanes": 16, "tile": {"k": 16}}


def trial(**changed) -> Trial:
    return dataclasses.replace(Trial(place=PLACE, environment=HERE, schedule=SCHEDULE, status="running"), **changed)


def winner(**changed) -> Winner:
    return dataclasses.replace(Winner(place=PLACE, environment=HERE, schedule=SCHEDULE, ratio=0.9, date="d"), **changed)


def test_a_trial_is_read_back(tmp_path: Path) -> None:
    done = trial(status="ok", ratio=0.8, samples=((8, 9), (10, 11)), kernel="k", model="m", run="r", date="d")
    with Trials(tmp_path / "t.db") as trials:
        assert trials.claim(trial())
        assert list(trials.trials()) == []  # it has not ended
        trials.add(done)
        assert list(trials.trials(PLACE)) == [done]
        assert list(trials.trials(dataclasses.replace(PLACE, threads=1))) == []
        # Tried here already; elsewhere not.
        assert not trials.claim(trial())
        assert trials.claim(trial(environment=dataclasses.replace(HERE, cpu="another")))
        assert trials.claim(trial(schedule={"kind": "cpu"}))


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]; import test_trials as t\n"
        "trials = t.Trials(sys.argv[1]); assert trials.claim(t.trial()); print('mine', flush=True); sys.stdin.read()"
    )
    path = [str(Path(__file__).parent), *sys.path]
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(file), *path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout
    assert other.stdout.readline() == "mine\n"
    with Trials(file) as trials:
        assert not trials.claim(trial())
        other.kill()
        other.wait()
        assert trials.claim(trial())


def test_threads_of_several_tuners_claim_each_trial_once(tmp_path: Path) -> None:
    file, won = tmp_path / "t.db", []

    def tuner() -> None:
        with Trials(file) as trials:
            won.extend(number for number in range(30) if trials.claim(trial(schedule={"n": number})))

    workers = [threading.Thread(target=tuner) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(won) == list(range(30))


def test_the_last_winner_holds(tmp_path: Path) -> None:
    with Trials(tmp_path / "t.db") as trials:
        trials.win(winner())
        trials.win(winner(schedule=None, ratio=1.0))
        trials.win(winner(environment=dataclasses.replace(HERE, cpu="another")))
        found = list(trials.winners("workload = ?", (PLACE.workload,)))
    assert [(one.schedule, one.environment.cpu) for one in found] == [(None, "AMD EPYC"), (SCHEDULE, "another")]


def test_winners_as_text(tmp_path: Path) -> None:
    both = [winner(), winner(place=dataclasses.replace(PLACE, threads=1), schedule=None)]
    file = tmp_path / "w.jsonl"
    file.write_text(print_winners(both))
    assert print_winners(read_winners(file)) == file.read_text()
    assert set(map(str, read_winners(file))) == set(map(str, both))
    file.write_text(file.read_text() + '{"place": 1}\n')
    with pytest.raises(DlasError, match=r"w\.jsonl:3: .*place"):
        read_winners(file)


def test_data_bases_are_merged_and_pruned(tmp_path: Path) -> None:
    old = dataclasses.replace(HERE, versions=(("iree-base-compiler", "3.12.0"),))
    with Trials(tmp_path / "a.db") as one, Trials(tmp_path / "b.db") as other:
        one.win(winner())
        other.win(winner(date="e", ratio=0.8))
        other.win(winner(environment=old))
        other.add(trial(status="ok", date="d"))
        assert one.merge(other) == {"winners": 2, "trials": 1}
        assert one.merge(other) == {"winners": 0, "trials": 0}
        assert sorted(found.ratio for found in one.winners()) == [0.8, 0.9]
        assert one.prune(HERE.versions) == {"winners": 1, "trials": 0}
        assert [found.environment for found in one.winners()] == [HERE]
        assert len(list(one.trials())) == 1


def test_choices_of_primitives_are_merged_and_pruned(tmp_path: Path) -> None:
    old = dataclasses.replace(HERE, versions=(("iree-base-compiler", "3.12.0"),))
    place = ChoicesPlace("n" * 64, "t" * 16, "x86-64-zen5", 2)
    choice = Choice(place=place, environment=HERE, primitives={"conv1": "gemm"}, ratio=0.9, model="m", date="d")
    later = dataclasses.replace(choice, primitives={"conv1": "direct"}, date="e")
    elsewhere = dataclasses.replace(choice, environment=old)
    with Choices(tmp_path / "a.db") as one, Choices(tmp_path / "b.db") as other:
        assert one.merge(other) == {"winners": 0, "trials": 0, "choices": 0}
        one.choose(choice)
        assert other.merge(one)["choices"] == 1
        other.choose(later)
        other.choose(elsewhere)
        assert one.merge(other)["choices"] == 2
        assert one.merge(other)["choices"] == 0
        assert one.chosen(place) == [elsewhere, later]
        assert one.prune(HERE.versions) == {"winners": 0, "trials": 0, "choices": 1}
        assert one.chosen(place) == [later]


def test_known_workloads(tmp_path: Path) -> None:
    known = Known("a", "b", "c", "{}")
    with Trials(tmp_path / "t.db") as trials:
        trials.know([known, known])
        assert list(trials.known("family = ?", ("c",))) == [known]
        assert list(trials.known("family = ?", ("d",))) == []


def test_what_is_no_data_base_of_trials(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no data base, whatever its name is" * 100)
    with pytest.raises(DlasError, match="this is no SQLite data base"):
        Trials(text)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE a (b)")
    with pytest.raises(DlasError, match="a data base of something else, not a data base of trials"):
        Trials(other)
    newer = tmp_path / "newer.db"
    with Trials(newer) as trials:
        trials.win(winner())
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(DlasError, match="of version 9; this dlas knows up to 1"):
        Trials(newer)
    cut = tmp_path / "cut.db"
    with Trials(cut) as trials:
        for number in range(300):
            trials.add(trial(schedule={"n": number}, status="ok"))
    cut.write_bytes(cut.read_bytes()[: 4096 * 3])
    with pytest.raises(DlasError, match=r"cut\.db: the data base is damaged"), Trials(cut) as trials:
        list(trials.trials())


def test_differences_are_told() -> None:
    other = Environment("Intel", (("iree-base-compiler", "3.14.0"),), "f" * 16)
    assert HERE.differences(other) == ["measured on Intel", "iree-base-compiler 3.14.0", "another emitter"]
    assert HERE.differences(HERE) == []
    assert Environment.from_json(HERE.to_json()) == HERE
    assert json.loads(HERE.to_json())[0] == "AMD EPYC"
