"""Tuning: the search alone, against made-up times; and whole, on a small network."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from test_workloads import PINNED, cpu, layer, rule, target_of, workload_of

from dlas_mlir.cli import dlas
from dlas_mlir.cli.tune import changes
from dlas_mlir.codegen.backends import backend_for
from dlas_mlir.codegen.cpu.moves import straight
from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.moves import Kind, moves
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.compiler import tuned
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.network import network_of
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Trials, Winner
from dlas_mlir.tuning import conclude, tuner
from dlas_mlir.tuning.build import Builder, BuildError
from dlas_mlir.tuning.final import Verdict
from dlas_mlir.tuning.search import FROM_NAIVE, Experience, Search
from dlas_mlir.tuning.task import Settings
from dlas_mlir.tuning.tune import tune

MODEL = "imported_model:kinds"
pytestmark = pytest.mark.usefixtures("tuning_surroundings")


@pytest.mark.parametrize("pinned", PINNED, ids=[pinned["name"] for pinned in PINNED])
def test_moves_are_legal_and_each_is_another(pinned):
    workload, target = workload_of(pinned), target_of(pinned)
    start = rule(workload, target)
    found = list(moves(workload, start, target))
    assert len({move.schedule for move in found} | {start}) == len(found) + 1
    problem = backend_for(workload, target).problem
    assert [why for move in found if (why := problem(workload, move.schedule, target))] == []
    assert {move.kind for move in found} >= {"tile", "distribute"}


def test_moves_leave_straight_code_within_limits():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = rule(workload, target)
    tile = {**dict(start.tile), "cb": 4, "c": 4}
    large = dataclasses.replace(start, tile=tuple((name, tile[name]) for name in workload.names if name in tile))
    assert straight(start) < 512 < straight(large) <= 1024
    found = [move.schedule for move in moves(workload, large, target) if isinstance(move.schedule, Schedule)]
    assert {"cb", "c"} & {name for one in found for name, size in one.tile if size > 1}
    assert max(map(straight, found)) <= 1024
    # What is there already may be larger.
    larger = dataclasses.replace(large, tile=tuple((n, 16 if n == "c" else s) for n, s in large.tile))
    found = [move.schedule for move in moves(workload, larger, target) if isinstance(move.schedule, Schedule)]
    assert 1024 < max(map(straight, found)) <= straight(larger)


def test_the_search_descends():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = rule(workload, target)

    def time(schedule) -> float:
        # The best has the channels within the rows, unrolled by 4, 7 columns in 3 blocks, on the whole.
        tile, order = dict(schedule.tile), schedule.order
        apart = abs(math.log(tile.get("c", 1) / 4)) + abs(math.log(tile.get("ow", 1) / 7))
        apart += abs(math.log(tile.get("kb", 1) / 3)) + len(schedule.distribute)
        return 0.5 + 0.1 * apart + (order.index("kb") > order.index("oh")) * 0.2

    search = Search(workload, target, start, 1.0)
    scale = time(start)
    proposed = []
    for _ in range(100):
        schedule = search.propose()
        assert schedule is not None
        proposed.append(schedule)
        search.tell(schedule, time(schedule) / scale)
    assert len(set(proposed)) == len(proposed)
    assert start not in proposed
    best, ratio = search.ranked()[0]
    assert ratio * scale < 0.55
    assert isinstance(best, Schedule)
    assert dict(best.tile)["ow"] == 7


def test_a_search_without_a_seed_tries_its_start_first():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = backend_for(workload, target).naive(workload, target)
    search = Search(workload, target, start, None)
    assert search.ranked() == []
    first, second, third = search.propose(), search.propose(), search.propose()
    assert first is not None
    assert first == start
    assert second is not None
    assert third is not None
    search.tell(second, None)  # it failed
    search.tell(third, 5.0)
    assert search.ranked() == [(third, 5.0)]
    search.tell(first, 6.0)
    assert search.ranked() == [(third, 5.0), (start, 6.0)]
    assert search.propose() not in (first, second, third)


def test_kernels_have_one_digest_if_they_are_one():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = rule(workload, target)
    digests = {kernel_digest(workload, start)}
    # One workgroup has one tile of blocks: where their loop stands does not matter.
    alike = dataclasses.replace(start, distribute=(("kb", 2),))
    moved = dataclasses.replace(alike, order=("oh", "kb", *alike.order[2:]))
    assert alike.order[:2] == ("kb", "oh")
    assert kernel_digest(workload, alike) == kernel_digest(workload, moved)
    for move in moves(workload, start, target):
        if move.kind == "unroll":
            digests.add(kernel_digest(workload, move.schedule))
    assert len(digests) == 1 + sum(move.kind == "unroll" for move in moves(workload, start, target))


def test_a_network_is_tuned_and_compiled_with_what_won(tmp_path):
    db = tmp_path / "schedules.db"
    said: list[str] = []
    report = tune(MODEL, settings=Settings(trials=2, rounds=2, jobs=1), db=db, say=said.append)
    network = network_of(import_model(MODEL), load_preset("host/auto"))
    keys = {kernel.workload.exact for kernel in network.kernels}
    assert {kernel.workload for kernel in report.kernels} == keys
    assert sum(kernel.share for kernel in report.kernels) == pytest.approx(100, abs=1)
    with Trials(db) as trials:
        tried = list(trials.trials())
        winners = list(trials.winners())
    assert {trial.place.workload for trial in tried} == keys
    assert {trial.status for trial in tried} == {"ok"}
    assert all(trial.ratio and trial.samples[0] and trial.samples[1] for trial in tried)
    assert {winner.place.workload for winner in winners} == keys
    won = {winner.place.workload: winner.schedule for winner in winners if winner.schedule}
    assert won == {kernel.workload: kernel.schedule for kernel in report.kernels if kernel.schedule}

    preset = load_preset("host/auto:tuned")
    assert dlas.main(["compile", MODEL, "--preset", "host/auto:tuned", "--db", str(db)]) == 0
    assert tuned.choose(network, preset) == won
    artifact = compile_model(MODEL, preset)
    assert compile_model(MODEL, preset).sha256 == artifact.sha256
    schedules = {one["workload"]: one["schedule"] for one in artifact.layers}
    for key, schedule in won.items():
        assert key not in schedules or schedules[key] == schedule

    # Tuned again, nothing is tried twice.
    tune(MODEL, settings=Settings(trials=1, rounds=2, jobs=1, layers="plain"), db=db)
    with Trials(db) as trials:
        again = list(trials.trials())
    assert len(again) == len(tried) + 1
    assert len({(trial.place, json.dumps(trial.schedule)) for trial in again}) == len(again)


def test_a_record_of_other_kernels_is_out_of_date(tmp_path):
    network, preset = network_of(import_model(MODEL), load_preset("host/auto")), load_preset("host/auto:tuned")
    kernel = network.kernels[0]
    target = preset.target
    assert isinstance(target, CpuTarget)
    start = rule(kernel.workload, target)
    other = next(move.schedule for move in moves(kernel.workload, start, target))
    here = tuned.environment()
    winner = Winner(
        place=tuned.place_of(kernel.workload, preset, 1),
        environment=here,
        schedule=other.to_value(),
        kernel=kernel_digest(kernel.workload, other),
        rule_kernel=kernel_digest(kernel.workload, start),
    )
    key = kernel.workload.exact

    def chosen(record: Winner) -> tuple[dict, list[str]]:
        said: list[str] = []
        file = tmp_path / "schedules.db"
        file.unlink(missing_ok=True)
        with Trials(file) as trials:
            trials.win(record)
        return dict(tuned.choose(network, preset, said.append)), said

    assert chosen(winner)[0] == {key: other.to_value()}
    # Another emitter that makes the same kernels changes nothing; one that makes others does.
    moved = dataclasses.replace(winner, environment=dataclasses.replace(here, emitter="another"))
    assert chosen(moved)[0] == {key: other.to_value()}
    for changed in (dataclasses.replace(moved, kernel="0"), dataclasses.replace(moved, rule_kernel="0")):
        found, said = chosen(changed)
        assert found == {}
        assert "records of 1 are out of date (another emitter)" in said[0]
    newer = dataclasses.replace(here, versions=(("iree-base-compiler", "99"),))
    assert "iree-base-compiler 99" in chosen(dataclasses.replace(winner, environment=newer))[1][0]
    # Another CPU of the same target is better than nothing, and told.
    found, said = chosen(dataclasses.replace(winner, environment=dataclasses.replace(here, cpu="another")))
    assert found == {key: other.to_value()}
    assert "1 of them measured on another CPU" in said[0]


def test_a_candidate_that_fails_is_found_among_the_others(tmp_path, monkeypatch):
    guilty: list[str] = []
    check, build = Builder.check, Builder.build

    def checked(self, made, expected, timeout):
        if guilty and guilty[0] in made.assignment:
            raise BuildError("wrong", "the output is off by 1")
        check(self, made, expected, timeout)

    def built(self, assignment):
        if len(guilty) > 1 and guilty[1] in assignment:
            raise BuildError("compile-error", "iree-compile was killed by SIGSEGV")
        return build(self, assignment)

    keys = [kernel.workload.exact for kernel in network_of(import_model(MODEL), load_preset("host/auto")).kernels]
    guilty += [keys[1], keys[3]]
    monkeypatch.setattr(Builder, "check", checked)
    monkeypatch.setattr(Builder, "build", built)
    report = tune(MODEL, settings=Settings(trials=1, rounds=2, jobs=1), db=tmp_path / "t.db")
    with Trials(tmp_path / "t.db") as trials:
        found = {trial.place.workload: trial for trial in trials.trials()}
    assert {key: found[key].status for key in set(keys)} == dict.fromkeys(set(keys), "ok") | {
        guilty[0]: "wrong",
        guilty[1]: "compile-error",
    }
    assert found[guilty[1]].message == "iree-compile was killed by SIGSEGV"
    assert report.failures == {"wrong": 1, "compile-error": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "0"], "expected a time above 0 such as 90s, 10m or 1h, found `0`"),
        (["--trials", "0"], "expected a whole number from 1, found `0`"),
        (["--layers", "nothing*"], "no layer is called `nothing*`; there are plain, depthwise, strided"),
        (["--preset", "host/stock"], "host/stock makes no kernels of its own"),
        (["--preset", "host/aut"], "there is no recipe `aut`"),
    ],
)
def test_bad_requests(arguments, message, capsys):
    assert dlas.main(["tune", MODEL, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_data_base_that_is_none(tmp_path):
    (tmp_path / "t.db").write_text("text" * 1000)
    with pytest.raises(DlasError, match="this is no SQLite data base"):
        tune(MODEL, db=tmp_path / "t.db")
    with pytest.raises(DlasError, match=r"there is no data base .*; `dlas tune MODEL --db"):
        compile_model(MODEL, "host/auto:tuned")


def test_a_network_that_fails_with_what_won_keeps_the_rule(tmp_path):
    def build(assignment):
        raise BuildError("compile-error", "iree-compile was killed by SIGSEGV")

    start = rule(layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512"))
    tuner_: Any = SimpleNamespace(say=lambda _: None, builder=SimpleNamespace(build=build))
    network, note = conclude._network(tuner_, {"key": Verdict(start, 0.9, 0.8, 0.95, 0.01)})
    assert network is None
    assert "the rule's stay: iree-compile was killed by SIGSEGV" in note


def test_moves_that_wait_for_their_times_are_of_all_kinds():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    search = Search(workload, target, rule(workload, target), 1.0)
    kinds = {move.schedule: move.kind for move in moves(workload, search.start, target)}
    proposed = [search.propose() for _ in range(16)]
    counts = Counter(kinds[schedule] for schedule in proposed if schedule is not None)
    assert set(counts) >= {"order", "distribute", "unroll", "tile", "peel"}
    # Fewer lanes have gained nothing anywhere.
    assert counts["lanes"] <= 1


def test_kinds_of_moves_go_by_what_they_gained():
    kinds, experience = get_args(Kind), Experience()
    first, *_, last = experience.order(kinds, {})
    assert (first, last) == ("order", "lanes")
    for _ in range(20):
        experience.add("tile", 0.7)
        experience.add("order", 1.1)
    assert experience.order(kinds, {})[0] == "tile"
    # It is not tried alone before its times are known.
    assert experience.order(kinds, {"tile": 20})[0] != "tile"


@pytest.mark.parametrize("pinned", PINNED, ids=[pinned["name"] for pinned in PINNED])
def test_the_search_comes_from_naive_schedules_to_what_the_rule_has(pinned):
    """By what schedules are estimated to cost: within some tens of schedules it is where the rule begins."""
    workload, target = workload_of(pinned), target_of(pinned)
    backend = backend_for(workload, target)
    goal, start = backend.cost(workload, rule(workload, target), target), backend.naive(workload, target)
    search = Search(workload, target, start, None, experience=Experience(prior=FROM_NAIVE))
    search.tell(start, backend.cost(workload, start, target) / goal)
    for _ in range(32):
        if search.ranked()[0][1] < 1.001:
            break
        schedule = search.propose()
        assert schedule is not None
        search.tell(schedule, backend.cost(workload, schedule, target) / goal)
    assert search.ranked()[0][1] < 1.001


def test_what_differs_from_the_rules_schedule_is_said_in_words():
    fetching, made = {"lanes": 16, "prefetch": True}, {"producer": {"lanes": 16, "tile": {"ow": 7}}}
    assert changes(fetching, fetching) == ""
    assert changes(fetching, {"lanes": 8}) == "8 lanes; no prefetch"
    narrow = {"apart": True, "producer": {"lanes": 8, "tile": {"ow": 7}}}
    assert changes(made, narrow) == "apart; of the producer: 8 lanes"


def test_the_time_left_is_said_where_there_is_one():
    assert [tuner._remaining(seconds) for seconds in (30, 600, 1e12)] == [", some 30 s left", ", some 10 min left", ""]


def test_what_another_tuner_tries_is_not_waited_for():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start = rule(workload, target)
    search = Search(workload, target, start)
    task: Any = SimpleNamespace(search=search, workload=workload, rule=start, kernels={}, before={})
    claims = iter([False] * 8 + [True])
    one: Any = SimpleNamespace(trials=SimpleNamespace(claim=lambda _: next(claims)), _trial=lambda *_: None)
    ours = tuner.Tuner._candidate(one, task)
    assert ours is not None
    assert ours not in search.results
    assert sum(search._waiting.values()) == 1
