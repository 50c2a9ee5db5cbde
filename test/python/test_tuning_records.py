"""What a search leaves in the data base, and what it must not: lost records, and verdicts that nobody has found."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_trials import trial
from test_workloads import cpu, layer, rule

from dlas_mlir.cli import dlas
from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.moves import moves
from dlas_mlir.compiler import tuned
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.job import Job
from dlas_mlir.compiler.network import Network, network_of
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.stats import Comparison
from dlas_mlir.measure.trials import Trials, Winner
from dlas_mlir.measure.winners_file import print_winners
from dlas_mlir.tuning import build, conclude, final, tuner
from dlas_mlir.tuning.final import Verdict
from dlas_mlir.tuning.search import Search
from dlas_mlir.tuning.task import Settings, tasks_of
from dlas_mlir.tuning.tune import tune

MODEL = "imported_model:kinds"
QUICK = Settings(trials=1, rounds=2, jobs=1, layers="plain")
pytestmark = pytest.mark.usefixtures("tuning_surroundings")


@pytest.fixture(scope="module")
def schedules() -> tuple[Any, Any]:
    """The rule's of a layer, and another."""
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = rule(workload, target)
    return start, next(move.schedule for move in moves(workload, start, target))


def small() -> tuple[Network, Preset]:
    preset = load_preset("host/auto")
    return network_of(import_model(MODEL), preset), preset


def winner(network: Network, preset: Preset, **changed: Any) -> Winner:
    """A record of the first kernel, as this machine might have made it."""
    kernel = network.kernels[0]
    start = rule(kernel.workload, preset.target)  # pyright: ignore[reportArgumentType]
    other = next(move.schedule for move in moves(kernel.workload, start, preset.target))
    made = Winner(
        place=tuned.place_of(kernel.workload, preset, 1),
        environment=tuned.environment(),
        schedule=other.to_value(),
        ratio=0.9,
        kernel=kernel_digest(kernel.workload, other),
        rule_kernel=kernel_digest(kernel.workload, start),
    )
    return dataclasses.replace(made, **changed)


LOSES, TIES, WINS = (1.1, 1.05, 1.2), (1.0, 0.9, 1.1), (0.8, 0.75, 0.85)


@pytest.mark.parametrize(
    ("judged", "won", "undecided", "slower", "stay"),
    [
        (None, False, False, False, True),  # nobody has looked at it
        (None, True, False, False, False),  # what won is faster than it was
        (LOSES, False, False, False, False),
        (TIES, False, False, False, False),
        (TIES, False, True, False, True),  # the machine was too noisy
        (WINS, False, False, False, True),  # it wins alone, and all together gain nothing
        (WINS, False, False, True, False),  # or lose
        (WINS, True, False, False, False),
    ],
)
def test_a_record_stays_unless_it_is_beaten(schedules, judged, won, undecided, slower, stay) -> None:
    start, other = schedules
    held: Any = SimpleNamespace(ratio=0.9)
    task: Any = SimpleNamespace(incumbent=held, challenged=other, tried=1, earlier=0)
    verdicts = {} if judged is None else {"candidates 1": Verdict(other, *judged, noise=0.0)}
    best = Verdict(start, 0.7, 0.65, 0.75, 0.0) if won else None
    assert conclude.stays(task, verdicts, best, undecided=undecided, slower=slower) == stay
    # One that was better than what won now, and that was not beside it.
    held.ratio = 0.6
    assert conclude.stays(task, {}, best, undecided=False, slower=False)


def test_nothing_is_written_of_what_was_not_tried(schedules) -> None:
    task: Any = SimpleNamespace(incumbent=None, challenged=None, tried=0, earlier=0)
    assert conclude.stays(task, {}, None, undecided=False, slower=False)
    task.tried = 1
    assert not conclude.stays(task, {}, None, undecided=False, slower=False)


def test_what_comes_with_the_package_is_compared_again(tmp_path: Path, monkeypatch) -> None:
    network, preset = small()
    record = winner(network, preset)
    (tmp_path / "w.jsonl").write_text(print_winners([record]))
    monkeypatch.setattr(tuned, "shipped", lambda: [tmp_path / "w.jsonl"])
    with Trials(tmp_path / "t.db") as trials:
        tasks = tasks_of(MODEL, network, preset, 1, Settings(), trials)
    task = tasks[record.place.workload]
    assert task.challenged is not None
    assert task.challenged.to_value() == record.schedule
    one: Any = SimpleNamespace(settings=Settings(), transferred=None, tasks=tasks, say=lambda _: None)
    assert conclude._finalists(one) == [{record.place.workload: task.challenged}]
    one.settings = Settings(seed=False)
    assert conclude._finalists(one) == []


def test_a_noisy_machine_decides_nothing(tmp_path: Path, monkeypatch, schedules) -> None:
    network, preset = small()
    record = winner(network, preset)
    with Trials(tmp_path / "t.db") as trials:
        trials.win(record)
        tasks = tasks_of(MODEL, network, preset, 1, Settings(), trials)
        key = record.place.workload
        challenged = tasks[key].challenged
        assert challenged is not None
        verdicts = {key: {"candidates 1": Verdict(challenged, 0.95, 0.5, 1.6, noise=0.2)}}
        monkeypatch.setattr(conclude, "judge", lambda *_: verdicts)
        one: Any = SimpleNamespace(
            **{"settings": Settings(), "transferred": None, "tasks": tasks, "say": lambda _: None, "trials": trials},
            **{"model": MODEL, "preset": preset, "threads": 1, "began": 0.0, "failures": {}, "timed": 1},
            **{"builder": SimpleNamespace(count=1), "environment": tuned.environment()},
        )
        report = conclude.conclude(one)
        assert report.undecided
        assert "too noisy to decide" in report.note
        assert "earlier records stay where they were not beaten (1)" in report.note
        assert [one.schedule for one in trials.winners()] == [record.schedule]
    assert report.ratio == 1


def test_a_search_that_came_to_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DlasError, match="the budget of 0 s was used up before a candidate was tried"):
        tune(MODEL, settings=dataclasses.replace(QUICK, budget=1e-3), db=tmp_path / "t.db")
    with Trials(tmp_path / "t.db") as trials:
        assert list(trials.winners()) == []


def test_what_the_machine_did_is_no_verdict(tmp_path: Path, monkeypatch) -> None:
    """A full disk ends the search, with nothing claimed; what the system killed is tried again by the next search."""
    compiled, said = Job.iree_compile, ["No space left on device", "iree-compile was killed by SIGKILL"]

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) > 1:
            raise DlasError(message)
        return compiled(self, *arguments)

    monkeypatch.setattr(Job, "iree_compile", failing)
    calls: list[int] = []
    message = f"cannot write here: {said[0]}"
    with pytest.raises(DlasError, match="what was tried is kept, and the next `dlas tune` goes on from there"):
        tune(MODEL, settings=QUICK, db=tmp_path / "t.db")
    with Trials(tmp_path / "t.db") as trials:
        assert trials._connection.execute("SELECT status FROM trials").fetchall() == []
    calls, message = [], said[1]
    with pytest.raises(DlasError, match=r"no candidate came to a time \(1 lost\)"):
        tune(MODEL, settings=QUICK, db=tmp_path / "t.db")
    monkeypatch.setattr(Job, "iree_compile", compiled)
    with Trials(tmp_path / "t.db") as trials:
        (lost,) = trials.trials()
        assert lost.status == "lost"
    assert tune(MODEL, settings=QUICK, db=tmp_path / "t.db").failures == {}
    with Trials(tmp_path / "t.db") as trials:
        (again,) = trials.trials()
    assert (again.status, again.schedule) == ("ok", lost.schedule)


def test_how_a_run_failed() -> None:
    assert [build._how(DlasError(text)) for text in ("was killed by SIGKILL", "no answer within 3 s", "exit 1")] == [
        "lost",
        "timeout",
        "crash",
    ]


def test_claims_are_given_up(tmp_path: Path) -> None:
    with Trials(tmp_path / "t.db") as trials:
        assert trials.claim(trial(run="one"))
        assert trials.claim(trial(run="two", schedule={"kind": "cpu"}))
        trials.release("one")
        assert trials.claim(trial(run="three"))
        assert not trials.claim(trial(run="three", schedule={"kind": "cpu"}))


def test_without_a_seed_what_was_tried_is_known_when_the_search_comes_to_it() -> None:
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    search = Search(workload, target, rule(workload, target))
    first = next(move.schedule for move in moves(workload, search.start, target))
    expected = Search(workload, target, rule(workload, target))
    first, second = expected.propose(), expected.propose()
    task: Any = SimpleNamespace(search=search, workload=workload, rule=search.start, kernels={}, before={first: 0.8})
    one: Any = SimpleNamespace(trials=SimpleNamespace(claim=lambda _: True), _trial=lambda *_: None)
    assert search.ranked() == [(search.start, 1.0)]
    assert tuner.Tuner._candidate(one, task) not in (None, first)
    assert second is not None
    assert search.ranked()[0] == (first, 0.8)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"threads": 2}, "2 threads"),
        ({"target_name": "x86-64-zen5", "target": "t"}, "x86-64-zen5"),
        ({"target": "t"}, "other flags of iree-compile"),
    ],
)
def test_records_of_another_place_are_told(tmp_path: Path, monkeypatch, place: dict, words: str) -> None:
    network, preset = small()
    record = winner(network, preset)
    monkeypatch.setenv("DLAS_DB", str(tmp_path / "t.db"))
    with Trials(tmp_path / "t.db") as trials:
        trials.win(dataclasses.replace(record, place=dataclasses.replace(record.place, **place)))
    said: list[str] = []
    assert tuned.choose(network, load_preset("host/auto:tuned"), said.append) == {}
    assert said[0].endswith(f"; records of 1 are of {words}, which says nothing here")


def test_options_of_the_search_for_schedules(capsys: pytest.CaptureFixture[str]) -> None:
    assert dlas.main(["tune", MODEL, "--primitives", "--layers", "plain", "--resume"]) == 1
    assert "--layers, --resume: for the search of schedules, which follows --primitives" in capsys.readouterr().err


def test_progress_names_the_layers_that_gained_most() -> None:
    tasks = {
        name: SimpleNamespace(layers=(name,), share=share, best_ratio=ratio)
        for name, share, ratio in (("a", 0.2, 0.9), ("b", 0.3, 0.8), ("c", 0.4, 0.99), ("", 0.1, 0.5))
    }
    one: Any = SimpleNamespace(tasks=tasks)
    assert tuner.Tuner._most(one) == ": b 0.80, a 0.90"


def test_a_network_that_is_no_faster_keeps_the_rule(tmp_path: Path, monkeypatch) -> None:
    network, preset = small()
    with Trials(tmp_path / "t.db") as trials:
        tasks = tasks_of(MODEL, network, preset, 1, Settings(), trials)
        key, task = next(iter(tasks.items()))
        task.tried = 1
        other = next(move.schedule for move in moves(task.workload, task.rule, preset.target))
        verdicts = {key: {"candidates 1": Verdict(other, 0.9, 0.85, 0.95, noise=0.0)}}
        monkeypatch.setattr(conclude, "judge", lambda *_: verdicts)
        monkeypatch.setattr(conclude, "_network", lambda *_: (Comparison(1.02, 0.98, 1.05, 0.01), ""))
        one: Any = SimpleNamespace(
            **{"settings": Settings(), "transferred": None, "tasks": tasks, "say": lambda _: None, "trials": trials},
            **{"model": MODEL, "preset": preset, "threads": 1, "began": 0.0, "failures": {}, "timed": 1},
            **{"builder": SimpleNamespace(count=1), "environment": tuned.environment()},
        )
        report = conclude.conclude(one)
        assert "no faster with the schedules that won alone" in report.note
        assert [found.schedule for found in trials.winners()] == [None]
        monkeypatch.setattr(conclude, "_network", lambda *_: (Comparison(0.97, 0.95, 1.0, 0.01), ""))
        assert conclude.conclude(one).note == ""
        assert [found.schedule for found in trials.winners()] == [other.to_value()]


def test_a_network_that_is_slower_with_all_keeps_the_surest_half(monkeypatch) -> None:
    won: Any = {name: SimpleNamespace(high=high) for name, high in zip("abcd", (0.9, 0.99, 0.8, 0.95), strict=True)}
    ratios = {"abcd": 1.02, "ac": 0.98, "c": 0.97}
    attempts: list[str] = []

    def network(_: object, chosen: dict[str, Any]) -> tuple[Comparison, str]:
        attempts.append("".join(sorted(chosen)))
        ratio = ratios[attempts[-1]]
        return Comparison(ratio, ratio - 0.01, ratio + 0.01, 0.0), ""

    monkeypatch.setattr(conclude, "_network", network)
    one: Any = None
    kept, found, note = conclude._settled(one, won)
    assert (sorted(kept), found and found.ratio, attempts) == (["a", "c"], 0.98, ["abcd", "ac"])
    assert "2 were dropped" in note
    # A tie is no gain in a second attempt, nor in a third.
    ratios |= {"ac": 0.995, "c": 0.995}
    kept, found, note = conclude._settled(one, won)
    assert (sorted(kept), found and found.ratio, note) == (list("abcd"), 1.02, "")


def test_what_wins(schedules) -> None:
    start, _ = schedules
    cases = [(0.95, 0.9, 0.99, 0.0), (0.95, 0.9, 1.0, 0.0), (0.995, 0.99, 0.999, 0.0), (0.95, 0.9, 0.99, 0.06)]
    # An interval that reaches 1, less than 1 %, and less than the noise are no gain.
    assert [Verdict(start, *case).wins for case in cases] == [True, False, False, False]


def test_verdicts_are_of_rounds_in_which_all_were_timed(schedules) -> None:
    start, _ = schedules
    rule, again = [{"w": 10.0}, {"w": 10.0}, {}, {"w": 20.0}], [{"w": 10.0}] * 3 + [{"w": 20.0}]
    found = final._verdict("w", start, [{"w": 8.0}, {"w": 8.0}, {"w": 1.0}, {"w": 16.0}], rule, again)
    assert found is not None
    assert (found.ratio, found.noise) == (pytest.approx(0.8), 0.0)
    assert final._verdict("w", start, [{"w": 8.0}, {}, {}, {}], rule, again) is None


def test_killed_tuners_lose_nothing(tmp_path: Path) -> None:
    """Two tuners on one file, of which one is killed once it has come to some trials."""
    file = tmp_path / "t.db"
    command = [sys.executable, "-m", "dlas_mlir.cli.dlas", "tune", MODEL, "--layers", "plain", "--jobs", "1"]
    command += ["--db", str(file), "--trials"]

    def start(trials: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(trials)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rows() -> list[tuple]:
        if not file.is_file():
            return []
        with Trials(file, create=False) as trials:
            return trials._connection.execute("SELECT id, run, schedule, status FROM trials").fetchall()

    first, second = start(1000), start(3)
    while sum(row[3] == "ok" for row in rows()) < 4:
        assert first.poll() is None
        time.sleep(0.05)
    seen = [row for row in rows() if row[3] == "ok"]
    first.kill()
    first.wait()
    assert second.wait() in (0, 1)  # 1: too noisy to decide
    found = rows()
    assert set(seen) <= set(found)
    assert len({row[2] for row in found}) == len(found)
    assert len({row[1] for row in found}) == 2
    # What the dead one was about to try is free, and the next search is told of all the others.
    left = [row for row in found if row[3] == "running"]
    assert len(left) <= 1
    assert start(1).wait() in (0, 1)
    with Trials(file) as trials:
        assert trials._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len([row for row in rows() if row[3] == "ok"]) > len([row for row in found if row[3] == "ok"])
