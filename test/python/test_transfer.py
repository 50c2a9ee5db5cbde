"""Transfer-tuning: schedules of one workload fitted to others, and a search among those of other models."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_workloads import NAMES, PINNED, cpu, layer, rule, target_of, workload_of

from dlas_mlir.cli import dlas
from dlas_mlir.codegen.backends import backend_for
from dlas_mlir.codegen.cpu.space import Space
from dlas_mlir.codegen.fitting import Source
from dlas_mlir.codegen.refit import refit, refits
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler import tuned
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.network import Network, network_of
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.measure.trials import Known, Trials, Winner
from dlas_mlir.tuning.task import Settings
from dlas_mlir.tuning.transfer import Transfer, TransferSearch, operations, similarity
from dlas_mlir.tuning.tune import tune

MODEL = "imported_model:kinds"


@pytest.fixture
def db(tuning_surroundings, tmp_path):
    return tmp_path / "schedules.db"


def resized(workload: Workload, extents: dict[str, int]) -> Workload:
    """The workload with other extents: only its loops matter to a schedule."""
    loops = tuple(msgspec.structs.replace(loop, extent=extents.get(loop.name, loop.extent)) for loop in workload.loops)
    return msgspec.structs.replace(workload, loops=loops)


def problems(source: Source, workload: Workload, target: CpuTarget) -> list[str]:
    """Why any of the schedules that are fitted is not legal."""
    problem = backend_for(workload, target).problem
    found = list(refits(source, workload, target))
    assert found
    assert found[0] == refit(source, workload, target)
    return [why for schedule in found if (why := problem(workload, schedule, target) or schedule.problem(workload))]


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_a_schedule_fitted_to_its_own_workload_is_itself(pinned):
    workload, target = workload_of(pinned), target_of(pinned)
    start = rule(workload, target)
    assert refit(Source(workload, start, target.threads), workload, target) == start


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_what_is_fitted_is_legal_between_real_layers(pinned):
    workload, target = workload_of(pinned), target_of(pinned)
    family = [other for other in map(workload_of, PINNED) if other.family == workload.family]
    for other in family:
        for threads in (1, 2, 7):
            there = dataclasses.replace(target, threads=threads)
            assert problems(Source(workload, rule(workload, target), target.threads), other, there) == []


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(PINNED) - 1), st.integers(0, 10**6), st.data())
def test_what_is_fitted_is_legal_for_all_extents(number, seed, data):
    workload, target = workload_of(PINNED[number]), target_of(PINNED[number])
    rng = random.Random(seed)
    schedule = rule(workload, target) if workload.sparsity else Space(workload, target).sample(rng)
    held = workload.names[-1] if workload.root.dot or workload.sparsity else ""
    sizes = st.one_of(st.integers(1, 9), st.sampled_from([1, 3, 5, 7, 14, 16, 17, 28, 31, 32, 56, 64, 112, 113, 500]))
    extents = {name: data.draw(sizes, name) for name in workload.names if name != held}
    there = dataclasses.replace(target, threads=data.draw(st.sampled_from([1, 2, 3, 16])))
    other = workload if workload.sparsity else resized(workload, extents)
    assert problems(Source(workload, schedule, data.draw(st.sampled_from([1, 2, 8]))), other, there) == []


def cpu_refit(source: Source, workload: Workload, target: CpuTarget) -> Schedule:
    found = refit(source, workload, target)
    assert isinstance(found, Schedule)
    return found


def test_tiles_become_divisors_and_parts_keep_their_number():
    target = cpu("x86-64-avx512")
    source = layer("resnet18 3x3 64->64 @56")
    schedule = Schedule.of(
        source,
        kind="cpu",
        vector="k",
        lanes=16,
        order=("n", "oh", "kb", "ow", "k", *source.reductions),
        distribute={"oh": 14},
        tile={"k": 16, "kb": 2, "ow": 8, "r": 3, "c": 4},
    )
    found = cpu_refit(Source(source, schedule), resized(source, {"oh": 21, "ow": 21}), target)
    # 8 columns of 21 would compute 24 and are 7; 4 parts of 21 rows are 6 each.
    assert dict(found.tile) == {"k": 16, "kb": 2, "ow": 7, "r": 3, "c": 4}
    assert dict(found.distribute) == {"oh": 6}
    # Peeled, they are two tiles and one of 5, whatever the extent.
    peeled = Source(source, dataclasses.replace(schedule, peel=("ow",)))
    found = cpu_refit(peeled, resized(source, {"oh": 21, "ow": 21}), target)
    assert (found.tile_of("ow"), found.peel) == (8, ("ow",))
    # Twice the threads: twice the parts.
    threads = dataclasses.replace(target, threads=2)
    assert dict(cpu_refit(Source(source, schedule), source, threads).distribute) == {"oh": 7}
    # A loop of one iteration there has its place by the rule's order.
    image = cpu_refit(Source(source, schedule), resized(source, {"n": 3}), target)
    assert image.order[0] == "n"


def kinds() -> Network:
    return network_of(import_model(MODEL), load_preset("host/auto"))


def record(db: Path, model: str, workload: Workload, schedule: Schedule | None, ratio: float) -> None:
    """That tuning `model` found it."""
    preset = load_preset("host/auto")
    with Trials(db) as trials:
        trials.know([Known(workload.exact, workload.anchor, workload.family, workload.to_json())])
        place = tuned.place_of(workload, preset, 1)
        value = None if schedule is None else schedule.to_value()
        trials.win(Winner(place=place, environment=tuned.environment(), schedule=value, ratio=ratio, model=model))


def convolutions() -> list[Workload]:
    """Those of the model's workloads that are over rows of an image, the first layer's first."""
    found = {kernel.workload.exact: kernel.workload for kernel in kinds().kernels}
    return [workload for workload in found.values() if "oh" in workload.extents]


def fill(db: Path) -> None:
    """`good` gained much with layers like all but the first of the model, `poor` little with layers unlike all, and
    `other` nothing; each a naive schedule, to know it by."""
    target = load_preset("host/auto").target
    assert isinstance(target, CpuTarget)
    first, *rest = convolutions()
    for workload in (first, *rest):
        like = resized(workload, {"oh": 2 * workload.extents["oh"]})
        naive = backend_for(like, target).naive(like, target)
        if workload is not first:
            record(db, "good", like, naive, 0.5)
        record(db, "poor", resized(like, {"oh": 97}), naive, 0.97)
    record(db, "other", resized(first, {"oh": 50}), None, 1.0)


def test_a_model_is_tuned_with_the_schedules_of_another(db):
    fill(db)
    settings = Settings(rounds=2, jobs=1)
    report = tune(MODEL, settings=settings, db=db, transfer=Transfer(sources=("poor", "good", "other")))
    assert report.transferred is not None
    assert report.transferred.sources == ("good",)
    assert (
        report.transferred.scores["good"] > report.transferred.scores["poor"] > report.transferred.scores["other"] == 0
    )
    with Trials(db) as trials:
        tried = list(trials.trials())
        winners = {winner.place.workload: winner for winner in trials.winners("model = ?", (MODEL,))}
    assert 0 < len(tried) <= report.transferred.candidates
    # Nothing else is tried, the rule's schedules stand beside, and each says which kernel it comes from.
    assert {trial.status for trial in tried} == {"ok"}
    assert all(trial.source.startswith("good ") for trial in tried)
    assert {trial.place.workload for trial in tried} == {workload.exact for workload in convolutions()[1:]}
    # Nothing is known of kernels of which nothing was tried.
    assert set(winners) == {trial.place.workload for trial in tried}
    for kernel in report.kernels:
        assert kernel.trials <= 5
        if kernel.workload not in winners:
            assert kernel.schedule is None
            continue
        assert bool(kernel.schedule) == bool(kernel.source) == bool(winners[kernel.workload].source)


def test_a_pool_mixes_models_and_a_file_has_all_of_its_own(db, tmp_path):
    fill(db)
    transfer = Transfer(sources=(str(db),), pool=True, candidates=2)
    report = tune(MODEL, settings=Settings(rounds=2, jobs=1), db=tmp_path / "mine.db", transfer=transfer)
    assert report.transferred is not None
    assert report.transferred.sources == ("good", "other", "poor")
    with Trials(tmp_path / "mine.db") as trials:
        tried = list(trials.trials())
    # Where `good` knows the layer, the schedule of `poor` is the same one.
    first, *rest = convolutions()
    sources = {trial.place.workload: trial.source.split()[0] for trial in tried}
    assert sources == {first.exact: "poor"} | dict.fromkeys((workload.exact for workload in rest), "good")
    assert max(kernel.trials for kernel in report.kernels) <= 2


def test_a_search_proposes_what_was_transferred_and_nothing_else():
    workload, target = layer("resnet18 3x3 128->128 @28"), cpu("x86-64-avx512")
    start, regular = rule(workload, target), backend_for(workload, target).regular(workload, target)
    one, two, three = [schedule for schedule in regular if schedule != start][:3]
    search = TransferSearch(start, 1.0, [one, start, two, three])
    search.known(two, 0.8)
    assert [search.propose(), search.propose(), search.propose()] == [one, three, None]
    search.tell(one, None)
    assert search.ranked() == [(two, 0.8), (start, 1.0)]
    # What the start takes is found out where nobody knows.
    assert TransferSearch(start, None, [one]).propose() == start


def test_what_is_alike_comes_first():
    workload = layer("resnet18 3x3 64->64 @56")
    near, far = resized(workload, {"oh": 28}), resized(workload, {"oh": 7, "ow": 7})
    assert 1 == similarity(workload, workload) > similarity(workload, near) > similarity(workload, far) > 0
    assert operations(workload) == operations(far)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--transfer-from", "resnet"], "no model `resnet` was tuned there, and there is no such file; there are"),
        (["--transfer-from", MODEL], "its schedules are its own already; transfer them from another model"),
        (["--transfer-from", "absent.db"], "no model `absent.db` was tuned there, and there is no such file"),
        (["--transfer-from", __file__], "this is no SQLite data base"),
        (["--transfer-from", "strange"], "strange: none of the 1 kernels tuned there is of a family with one of"),
        (["--pool"], "--pool mixes what --transfer-from names, and there is none"),
        (["--transfer-from", "good", "--preset", "x86-64-avx2/auto"], "good was not tuned there for x86-64-avx2"),
        (["--transfer-from", "good", "--layers", "nothing*"], "no layer is called `nothing*`"),
    ],
)
def test_bad_requests(arguments, message, db, capsys):
    fill(db)
    record(db, "strange", layer("3x3 @24, int8"), None, 1.0)
    assert dlas.main(["tune", MODEL, "--db", str(db), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_data_bases_without_sources(db, tmp_path, capsys):
    with Trials(db):
        pass
    assert dlas.main(["tune", MODEL, "--db", str(db), "--transfer-from", "other"]) == 1
    assert (
        "no model `other` was tuned there, and there is no such file; it has no other model" in capsys.readouterr().err
    )
    assert dlas.main(["tune", MODEL, "--db", str(tmp_path / "mine.db"), "--transfer-from", str(db)]) == 1
    assert f"no model but {MODEL} was tuned there" in capsys.readouterr().err
