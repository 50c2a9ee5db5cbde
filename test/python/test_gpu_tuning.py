"""Tuning for GPUs: moves of both kinds, digests of executables, and a whole search on one that is not there."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fake_gpus
import numpy as np
import pytest
from gpu_cases import Conv
from simt_cases import Kernel, Read, depthwise, pool
from test_workloads import PINNED, workload_of

from dlas_mlir.cli import dlas
from dlas_mlir.codegen import backends
from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.fitting import Source
from dlas_mlir.codegen.gpu.schedule import Block, GpuSchedule
from dlas_mlir.codegen.moves import moves
from dlas_mlir.codegen.refit import refit, refits
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler import choices, tuned
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.layer_graph import layer_graph
from dlas_mlir.compiler.network import network_of
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.measure.check import Check
from dlas_mlir.measure.stats import Comparison
from dlas_mlir.measure.trials import Trials
from dlas_mlir.measure.turn import Turn
from dlas_mlir.runtime import profile
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.tuning import assignments, primitives, timing, tuner
from dlas_mlir.tuning.build import Builder
from dlas_mlir.tuning.final import Final
from dlas_mlir.tuning.task import Settings
from dlas_mlir.tuning.transfer import Transfer
from dlas_mlir.tuning.tune import tune

MODEL, OTHER, PRESET = "gpu_model:net", "gpu_model:other", "cuda-sm80/f16-auto"
A100 = fake_gpus.cuda("NVIDIA A100", "8.0", units=108, shared=167936)
SMALL = Conv(size=(14, 14), channels=(64, 64))
LARGE = Conv(size=(56, 56), channels=(128, 128), batch=8)
ODD = Conv(size=(7, 5), channels=(72, 40), kernel=(1, 1), pad=(0, 0, 0, 0))
FIVE = depthwise("five", 8, pad=2, size=5)
SUMS = [
    Kernel("a", {"n": 1, "c": 1000}, ("c",), (Read((1, 1000), ("n", "c")),), "sum").workload(),
    Kernel("b", {"n": 5, "c": 100}, ("c",), (Read((5, 100), ("n", "c")),), "sum").workload(),
]
pytestmark = pytest.mark.usefixtures("tuning_surroundings")


@pytest.mark.parametrize(
    ("preset", "conv", "kind", "kinds"),
    [
        ("cuda-sm80/f16-auto", SMALL, "gpu", {"tile", "warp", "stages", "split"}),
        # A halo of 64 channels, which is one step: there is nothing to split, and one warpgroup.
        ("cuda-sm90/f16-auto", SMALL, "gpu", {"tile", "stages", "halo", "instruction"}),
        ("cuda-sm90/f16-auto", LARGE, "gpu", {"tile", "warp", "stages", "split", "halo", "instruction"}),
        ("vulkan-ada/f16-auto", SMALL, "simt", {"tile", "unroll", "threads", "lanes", "vector", "order", "across"}),
    ],
)
def test_moves_are_legal_of_all_kinds_and_other_kernels(preset: str, conv: Conv, kind: str, kinds: set[str]) -> None:
    workload, target = conv.workload(), load_preset(preset).target
    backend = backends.backend_for(workload, target)
    start = backend.rule(workload, target)
    assert start.kind == kind
    found = list(moves(workload, start, target))
    assert len({move.schedule for move in found} | {start}) == len(found) + 1
    assert [why for move in found if (why := backend.problem(workload, move.schedule, target))] == []
    assert {move.kind for move in found} == kinds
    firsts = {move.kind: move.schedule for move in reversed(found)}
    digests = {kernel_digest(workload, schedule) for schedule in (start, *firsts.values())}
    assert len(digests) == len(firsts) + 1
    for schedule in firsts.values():
        assert backends.read_schedule(schedule.to_value(), workload, target) == schedule


class _Worker:
    """What runs on a GPU that is not there: everything is right, and takes a millisecond."""

    def __init__(
        self, artifact: Path, device: Any, golden: Path | None = None, *, timeout: float | None = None
    ) -> None:
        assert device.driver == "cuda"
        assert golden is not None
        with np.load(golden, allow_pickle=False) as arrays:
            self._arrays = dict(arrays)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check(self, tolerance: float | None = None) -> Check:
        return Check(verified=True, max_rel_error=0.0)

    def examples(self) -> list[np.ndarray]:
        return [self._arrays["input_0"]]

    def run(self) -> list[np.ndarray]:
        return [self._arrays["output_0"]]

    def turn(self, *, min_seconds: float, min_count: int) -> Turn:
        return Turn(ns=(1_000_000,), cpu_ns=0, waited=0.0)


@pytest.fixture
def _no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that finds every candidate a fifth faster than the rule's schedule."""

    def time(self: Builder, build: Any, inputs: Any, calls: int, timeout: Any) -> dict[str, tuple[int, ...]]:
        keys = [dispatch["workload"] for dispatch in build.dispatches if dispatch["workload"]]
        return {key: (800 if key in build.assignment else 1000,) * calls for key in keys}

    fake_gpus.install(monkeypatch, cuda=[A100])
    monkeypatch.setattr(tuner, "Worker", _Worker)
    monkeypatch.setattr(Builder, "check", lambda *_: None)
    monkeypatch.setattr(Builder, "time", time)
    monkeypatch.setattr(Final, "network", lambda *_: Comparison(0.8, 0.79, 0.81, 0.01))


@pytest.mark.usefixtures("_no_device")
def test_a_search_for_a_gpu_finds_records_that_tuned_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "schedules.db"
    command = ["tune", MODEL, "--preset", PRESET, "--trials", "1", "--jobs", "1", "--db", str(db)]
    assert dlas.main(command) == 0
    said = capsys.readouterr().out
    assert "0.800 of the time with the rule's schedules" in said
    preset = load_preset(f"{PRESET}:tuned")
    network = network_of(import_model(MODEL), preset)
    with Trials(db) as trials:
        winners = {winner.place.workload: winner for winner in trials.winners()}
        assert {trial.status for trial in trials.trials()} == {"ok"}
    assert winners.keys() == {kernel.workload.exact for kernel in network.kernels}
    assert {winner.schedule["kind"] for winner in winners.values() if winner.schedule} == {"gpu", "simt"}
    assert {winner.environment.cpu for winner in winners.values()} == {"NVIDIA A100, compute capability 8.0"}

    assert dlas.main(["compile", MODEL, "--preset", preset.name, "--db", str(db)]) == 0
    assert tuned.choose(network, preset) == {key: winner.schedule for key, winner in winners.items()}
    (layer,) = compile_model(MODEL, preset).layers
    assert layer["schedule"] == winners[layer["workload"]].schedule


@pytest.mark.usefixtures("_no_device")
def test_what_was_measured_on_another_gpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "schedules.db"
    monkeypatch.setenv("DLAS_DB", str(db))
    tune(MODEL, PRESET, settings=Settings(trials=1, rounds=2, jobs=1), db=db)
    preset = load_preset(f"{PRESET}:tuned")
    network = network_of(import_model(MODEL), preset)
    for found in ({"cuda": [fake_gpus.cuda("NVIDIA L40S", "8.9")]}, {}):
        fake_gpus.install(monkeypatch, **found)
        said: list[str] = []
        assert len(tuned.choose(network, preset, said.append)) == 3
        assert said == ["3 of 3 kernels have tuned schedules, 3 of them measured on another GPU of this target"]


@pytest.mark.usefixtures("_no_device")
def test_schedules_of_another_model_are_tried_on_a_gpu(tmp_path: Path) -> None:
    db = tmp_path / "schedules.db"
    settings = Settings(trials=1, rounds=2, jobs=1)
    tune(OTHER, PRESET, settings=settings, db=db)
    report = tune(
        MODEL,
        PRESET,
        settings=Settings(trials=2, rounds=2, jobs=1),
        db=tmp_path / "mine.db",
        transfer=Transfer(sources=(str(db),), pool=True),
    )
    assert report.transferred is not None
    assert report.transferred.sources == (OTHER,)
    assert report.transferred.covered == 100
    with Trials(tmp_path / "mine.db") as trials:
        tried = list(trials.trials())
    assert {trial.schedule["kind"] for trial in tried} == {"gpu", "simt"}
    assert {trial.status for trial in tried} == {"ok"}
    assert all(trial.source.startswith(f"{OTHER} ") for trial in tried)


@pytest.mark.parametrize(
    ("preset", "workloads"),
    [
        ("cuda-sm80/f16-auto", [SMALL.workload(), LARGE.workload(), ODD.workload()]),
        ("cuda-sm90/f16-auto", [SMALL.workload(), LARGE.workload(), ODD.workload()]),
        ("cuda-sm90/auto", [Conv(element="f32").workload(), Conv(element="f32", channels=(32, 96)).workload()]),
        ("vulkan/auto", [depthwise("a", 16).workload(), depthwise("b", 12, stride=2).workload(), FIVE.workload()]),
        ("vulkan/auto", [pool("a", "sum", 16, 3, 1, 1).workload(), pool("b", "sum", 5, 2, 2, 0).workload()]),
        ("vulkan/auto", SUMS),
        ("vulkan/auto", [workload_of(one) for one in PINNED if workload_of(one).sparsity is not None]),
    ],
    ids=["mma", "wgmma", "tf32x3", "depthwise", "pool", "sums", "sparse"],
)
def test_a_schedule_fitted_to_other_sizes_is_legal(preset: str, workloads: list[Workload]) -> None:
    target = load_preset(preset).target
    rng, tried = random.Random(0), 0
    for workload in workloads:
        backend = backends.backend_for(workload, target)
        rule = backend.rule(workload, target)
        starts = [rule, *rng.sample([move.schedule for move in moves(workload, rule, target)], 5)]
        for start in starts:
            source = Source(workload, start)
            assert refit(source, workload, target) == start
            for other in workloads:
                if other.family != workload.family:
                    continue
                found = list(refits(source, other, target))
                assert len(set(found)) == len(found) >= 1
                assert [why for one in found if (why := backend.problem(other, one, target))] == []
                tried += other is not workload and found != [backend.rule(other, target)]
    assert tried


def test_what_cannot_be_kept_becomes_what_is_nearest() -> None:
    target = load_preset("cuda-sm90/f16-auto").target
    tile, warp = Block(128, 64), Block(64, 64)
    start = GpuSchedule(instruction="m64k16.f16.f32", tile=tile, warp=warp, stages=6, split=8, halo=True)
    one = Conv(size=(14, 14), channels=(512, 64))
    assert backends.backend_for(one.workload(), target).problem(one.workload(), start, target) is None
    # A step of a 1x1 convolution of 64 channels is all of its sum, and there is no window: no halo, no parts.
    point = Conv(size=(14, 14), channels=(64, 64), kernel=(1, 1), pad=(0, 0, 0, 0))
    found = refit(Source(one.workload(), start), point.workload(), target)
    assert isinstance(found, GpuSchedule)
    assert (found.instruction, found.tile, found.split, found.halo) == (start.instruction, tile, 1, False)
    # Twice as far in the same vectors: as many columns, a divisor of the rows.
    vulkan = load_preset("vulkan/auto").target
    small, large = depthwise("a", 16).workload(), depthwise("b", 16, pad=2, size=5).workload()
    order = (*small.parallel, *small.reductions)
    tile = {"k": 4, "oh": 3, "r": 3, "s": 3}
    wide = SimtSchedule.of(small, vector="k", lanes=4, tile=tile, order=order, threads=32)
    fitted = refit(Source(small, wide), large, vulkan)
    assert isinstance(fitted, SimtSchedule)
    assert (fitted.vector, fitted.lanes, fitted.threads) == ("k", 4, 32)
    assert {loop: fitted.tile_of(loop) for loop in ("k", "oh", "r", "s")} == {"k": 4, "oh": 3, "r": 5, "s": 5}


@pytest.mark.usefixtures("_no_device")
def test_primitives_are_chosen_by_what_a_gpu_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a device on which im2col and a product take half of the time of anything else."""
    db = tmp_path / "schedules.db"

    def ns(primitives: Mapping[str, str]) -> dict[str, float]:
        return {layer: 500.0 if one.startswith("gemm") else 1000.0 for layer, one in primitives.items()}

    def made(self: assignments.Builder, name: str, kind: Any, primitives: Any) -> assignments.Build:
        self.count += 1
        return assignments.Build(name, kind, primitives, tmp_path, ())

    def profile(self: Any, base: assignments.Build, builds: Any) -> None:
        for one in (base, *builds):
            self.costs.observe(one.primitives, ns(one.primitives))

    def timed(self: Any, base: assignments.Build) -> Any:
        found = {one.name: primitives._Timed(one, sum(ns(one.primitives).values())) for one in self.builder.builds}
        others = {name: one.ms / found[base.name].ms for name, one in found.items() if one.build is not base}
        return found, {name: Comparison(ratio, ratio, ratio, 0.0) for name, ratio in others.items()}, 0.0

    monkeypatch.setattr(assignments.Builder, "_made", made)
    monkeypatch.setattr(primitives._Chooser, "_profile", profile)
    monkeypatch.setattr(primitives._Chooser, "_timed", timed)
    assert dlas.main(["tune", MODEL, "--preset", PRESET, "--primitives", "--db", str(db)]) == 0
    assert "gemm, 0.500 of the time with the recipe's own primitives" in capsys.readouterr().out
    imported, preset = import_model(MODEL), load_preset(f"{PRESET}:tuned")
    (layer,) = layer_graph(imported, preset).layers
    assert {name.partition("{")[0] for name in layer.candidates} >= {"implicit-gemm", "gemm", "direct", "spatial-pack"}
    assert layer.rule == "implicit-gemm"
    (layer,) = layer_graph(imported, choices.with_choices(imported, preset, 1, db=db)).layers
    assert layer.rule.partition("{")[0] == "gemm"


def test_a_mean_is_shared_out_otherwise() -> None:
    preset = load_preset("vulkan/auto")
    network = network_of(import_model("imported_model:kinds"), preset)
    kernel = next(kernel for kernel in network.kernels if kernel.rule.get("across"))
    start = backends.read_schedule(kernel.rule, kernel.workload, preset.target)
    found: dict[str, list[SimtSchedule]] = {}
    for move in moves(kernel.workload, start, preset.target):
        assert isinstance(move.schedule, SimtSchedule)
        found.setdefault(move.kind, []).append(move.schedule)
    (shared,) = {len(schedule.across) for schedule in found["threads"]}
    assert shared == len(start.across) == 1
    assert {schedule.joined for schedule in found["across"]} - {start.joined}


def test_a_long_sum_that_is_unrolled_wholly_is_one_chain() -> None:
    """Of more additions than a block has: there was no loop left to be a block."""
    preset = load_preset("vulkan/auto")
    network = network_of(import_model("imported_model:kinds"), preset)
    kernel = next(kernel for kernel in network.kernels if kernel.rule.get("across"))
    unrolled = {loop: kernel.workload.extents[loop] for loop in kernel.workload.reductions}
    assert math.prod(unrolled.values()) > 64
    value = {**kernel.rule, "across": {}, "tile": {**kernel.rule["tile"], **unrolled}}
    kernel_digest(kernel.workload, backends.read_schedule(value, kernel.workload, preset.target))


def test_in_a_bench_a_gpu_that_cannot_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpus.install(monkeypatch, cuda=[A100])
    file = tmp_path / "rows.json"
    command = ["bench", MODEL, "--preset", "cuda-sm90/auto", "host/auto", "--rounds", "1", "--starts", "1"]
    assert dlas.main([*command, "--max-rounds", "1", "--min-time", "0.01", "--json", str(file)]) == 1
    gpu, cpu = json.loads(file.read_text())
    assert "cuda-sm90/auto cannot run on NVIDIA A100, compute capability 8.0" in gpu["error"]
    assert "choose the target cuda-sm80" in gpu["error"]
    assert (cpu["verified"], cpu["median_ms"] > 0, "error" in cpu) == (True, True, False)


def test_kernels_of_cuda_are_timed_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def call(function: str, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append((function, arguments))
        return {"device_us": 9.0, "launches": [{"name": "a", "us": 2.5}, {"name": "b", "us": 4.0}]}

    monkeypatch.setattr(profile, "call", call)
    dispatches = [{"name": "a", "workload": "x"}, {"name": "b", "workload": "x"}]
    found = timing.kernel_samples(tmp_path, dispatches, resolve("cuda"), [], calls=3, timeout=10)
    assert found == {"x": (6500,)}  # the parts of a split sum, and what joins them
    assert asked == [("dlas_mlir.runtime.cuda_driver:times", {"vmfb": str(tmp_path), "alone": True})]


@pytest.mark.usefixtures("vulkan")
def test_kernels_are_timed_by_the_device(tmp_path: Path) -> None:
    """By the clock of a Vulkan device; what it says of a CPU that does as one is of no interest."""
    artifact = compile_model(MODEL, "vulkan/auto")
    assert artifact.golden is not None
    inputs = [np.load(artifact.golden)["input_0"]]
    found = timing.kernel_samples(artifact.vmfb, artifact.dispatches, resolve("vulkan"), inputs, calls=3, timeout=100)
    assert found.keys() == {one["workload"] for one in artifact.dispatches} - {""}
    assert all(len(ns) == 3 and min(ns) > 0 for ns in found.values())
