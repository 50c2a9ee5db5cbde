"""The choice of primitives: costs of layers alone, the graph of a small network, the whole, and bad requests."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from dlas_mlir.cli import dlas
from dlas_mlir.compiler import choices, tuned
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.layer_graph import GraphLayer, LayerGraph, layer_graph
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.choices import Choice, Choices
from dlas_mlir.measure.stats import Comparison
from dlas_mlir.measure.trials import Trials
from dlas_mlir.measure.turn import Turn
from dlas_mlir.tuning.assignments import RULE, Build, Builder
from dlas_mlir.tuning.layer_costs import LayerCosts
from dlas_mlir.tuning.paired import compared
from dlas_mlir.tuning.primitives import _Chooser, _Timed, best, families
from dlas_mlir.tuning.primitives_report import reason

MODEL = "imported_model:kinds"
pytestmark = pytest.mark.usefixtures("tuning_surroundings")


def _chain(count: int) -> LayerGraph:
    """Layers one behind the other: `a` in blocks, `b` with channels last."""
    kinds = {"a": "nchw16c", "b": "nhwc"}
    return LayerGraph(
        tuple(GraphLayer(f"l{i}", "", kinds, "a", i, i + 1, (100, 100)) for i in range(count)), {"pool": count}
    )


def test_the_choice_weighs_copies_against_kernels():
    costs = LayerCosts(_chain(4), copy_ns=1.0)
    names = [f"l{i}" for i in range(4)]
    # b is faster in l1 alone, by less than the copies before and behind it; in l3 by more than the one before it.
    costs.observe(dict.fromkeys(names, "a"), {"l0": 500, "l1": 500, "l2": 500, "l3": 500, "pool": 10})
    costs.observe(dict.fromkeys(names, "b"), {"l0": 900, "l1": 450, "l2": 900, "l3": 200, "pool": 30})
    assert costs.copy_ns == 1.0
    first, *others = costs.solve(3)
    assert first == {"l0": "a", "l1": "a", "l2": "a", "l3": "b"}
    assert costs.predict(dict.fromkeys(names, "a")) == 2010
    assert costs.predict(first) == 500 * 3 + 200 + 100 + 30
    every = [dict(zip(names, states, strict=True)) for states in itertools.product("ab", repeat=4)]
    assert costs.predict(first) == min(map(costs.predict, every))
    assert len(others) == 2
    # A build of it shows that the copy costs more than was thought.
    costs.observe(first, {"l0": 500, "l1": 500, "l2": 500, "l3": 800, "pool": 30})
    assert costs.copy_ns == 6.0
    assert costs.solve(1) == [dict.fromkeys(names, "a")]


def test_noise_does_not_change_a_primitive():
    costs = LayerCosts(_chain(2), copy_ns=0.0)
    costs.observe({"l0": "a", "l1": "a"}, {"l0": 1000, "l1": 1000})
    costs.observe({"l0": "b", "l1": "b"}, {"l0": 990, "l1": 970})
    assert costs.solve(1) == [{"l0": "a", "l1": "b"}]


def test_what_is_seen_often_looks_no_faster():
    """The recipe's own layers are seen in every build: the least of their times is no measure for the rest."""
    costs = LayerCosts(_chain(1))
    for ns in (1000, 900, 1100, 1000, 1010):
        costs.observe({"l0": "a"}, {"l0": ns})
    costs.observe({"l0": "b"}, {"l0": 1500})
    assert costs.predict({"l0": "b"}) / costs.predict({"l0": "a"}) == 1.5


def test_a_primitive_that_was_not_measured_is_not_chosen():
    costs = LayerCosts(_chain(2))
    costs.observe({"l0": "a", "l1": "a"}, {"l0": 5, "l1": 5})
    assert costs.solve(3) == [{"l0": "a", "l1": "a"}]


def test_the_layers_of_a_network_and_what_may_do_each():
    found = layer_graph(import_model(MODEL), load_preset("host/auto"))
    layers = {layer.name: layer for layer in found.layers}
    for layer in layers.values():
        assert layer.rule in layer.candidates
        assert set(layer.variants.values()) <= set(layer.candidates)
    # Packed, a depthwise layer has a primitive of its own.
    depthwise = next(layer for name, layer in layers.items() if "depthwise" in name)
    assert not any(name.startswith("spatial-pack") for name in depthwise.candidates)
    strided = layers["strided"]
    assert strided.variants["direct{layout=nchw}"] == "direct{layout=nchw}"
    assert strided.candidates[strided.variants["spatial-pack"]] == strided.candidates[strided.rule]


def _graph() -> LayerGraph:
    """A convolution that three primitives do, and a depthwise one behind it."""
    packed = {"pack{block=16}": "nchw16c", "pack{block=8}": "nchw8c", "direct": "nhwc"}
    asked = {"pack": "pack{block=16}", "pack{block=8}": "pack{block=8}", "direct": "direct"}
    depthwise = {"dw{block=16}": "nchw16c", "dw{block=8}": "nchw8c"}
    layers = (
        GraphLayer("conv", "", packed, "pack{block=16}", 0, 1, (1, 1), asked),
        GraphLayer("dw", "", depthwise, "dw{block=16}", 1, 2, (1, 1)),
    )
    return LayerGraph(layers, {})


def test_a_single_primitive_has_neighbours_in_its_layout():
    assert families(_graph()) == {
        "pack{block=8}": {"conv": "pack{block=8}", "dw": "dw{block=8}"},
        "direct": {"conv": "direct", "dw": "dw{block=16}"},
    }


def test_single_primitives_count_too(tmp_path):
    """The best single primitive is kept where nothing mixed is faster, and the recipe's own where it wins by chance."""
    builds = [Build(name, "single", {"l": name}, tmp_path, ()) for name in (RULE, "a", "b")]
    timed = {one.name: _Timed(one, ms) for one, ms in zip(builds, (1.0, 0.9, 0.95), strict=True)}

    def kept(a: Comparison, b: Comparison) -> str:
        return best(timed, {"a": a, "b": b}).name

    sure, chance = Comparison(0.9, 0.88, 0.92, 0.03), Comparison(0.95, 0.88, 1.01, 0.03)
    assert kept(sure, sure) == "a"
    assert kept(chance, sure) == "b"
    assert kept(chance, chance) == RULE


def test_what_slows_a_whole_round_decides_nothing():
    """A machine that becomes half as fast meanwhile, for all alike: one is 5 % faster in each round."""
    rule = [Turn(ns=(ns, ns)) for ns in (1000, 1010, 2000, 2020, 990, 2010, 1000, 1500)]
    fast = [Turn(ns=(round(0.95 * turn.ns[0]),) * 2) for turn in rule]
    found = compared(fast, rule, 0.01)
    assert 0.949 < found.low <= found.ratio <= found.high < 0.951
    assert found.verdict == "faster"


def test_why_a_layer_is_done_so():
    costs = {"a": 10.0, "b": 5.0, "c": 5.02}
    assert reason(costs, "a", "b") == "5.0 us less than the recipe's"
    level = {"a": 1000.0, "b": 1010.0}
    assert reason(level, "a", "b") == "the recipe's saves 10.0 us here, but not in the whole network"
    assert reason(costs, "b", "b") == "the fastest"
    assert reason(costs, "c", "c") == "level with the fastest"
    assert reason(costs, "a", "a") == "b saves 5.0 us here, but not in the whole network"
    assert reason({"a": 1.0}, "a", "a") == "nothing else does it"


def test_a_tuned_preset_takes_what_was_chosen():
    imported, preset = import_model(MODEL), load_preset("host/auto:tuned")
    auto = {one["layer"]: one["primitive"] for one in compile_model(MODEL, "host/auto").layers}
    layer = next(name for name, primitive in auto.items() if primitive == "spatial-pack")
    choice = Choice(
        place=choices.place_of(imported, load_preset("host/auto"), 1),
        environment=tuned.environment(),
        primitives={layer: "gemm"},
        ratio=0.9,
    )

    def chosen(environment) -> tuple[bool, list[str]]:
        tuned.database().unlink(missing_ok=True)
        with Choices(tuned.database()) as known:
            known.choose(dataclasses.replace(choice, environment=environment))
        said: list[str] = []
        return choices.with_choices(imported, preset, 1, said.append) != preset, said

    here = tuned.environment()
    assert chosen(dataclasses.replace(here, versions=(("iree-base-compiler", "99"),)))[1] == [
        "the choice of primitives is out of date (iree-base-compiler 99, iree-base-runtime absent): "
        "`dlas tune --primitives` makes it again"
    ]
    assert not chosen(dataclasses.replace(here, emitter="another"))[0]
    assert chosen(here)[0]
    assert (
        choices.with_choices(imported, load_preset("host/auto:tuned", threads=2), 2).pipeline
        == load_preset("host/auto:tuned", threads=2).pipeline
    )
    artifact = compile_model(MODEL, preset)
    assert {one["layer"]: one["primitive"] for one in artifact.layers} == {**auto, layer: "gemm"}
    assert compile_model(MODEL, preset).sha256 == artifact.sha256


def test_a_data_base_without_choices(tmp_path):
    with Trials(tmp_path / "t.db"):
        pass
    with Choices(tmp_path / "t.db", create=False) as known:
        assert known.chosen(choices.place_of(import_model(MODEL), load_preset("host/auto"), 1)) == []


def _made_up(chooser, primitives) -> dict[str, float]:
    """Nanoseconds: gemm is twice as fast in one layer, and what is not the recipe's own is slower elsewhere."""
    layers = chooser.graph.layers
    fast = next(layer.name for layer in layers if len(layer.candidates) > 2)
    given = {layer.name: 1000.0 if primitives[layer.name] == layer.rule else 2000.0 for layer in layers}
    return given | ({fast: 500.0} if primitives[fast].startswith("gemm") else {})


def test_the_fastest_assignment_is_kept_and_reported(tmp_path, monkeypatch, capsys):
    def made(self, name, kind, primitives):
        self.count += 1
        if name == "direct":
            return DlasError("iree-compile was killed by SIGSEGV")
        return Build(name, kind, primitives, tmp_path / "none", ())

    def profile(self, base, builds):
        for one in (base, *builds):
            self.costs.observe(one.primitives, _made_up(self, one.primitives))

    def timed(self, base):
        builds = self.builder.builds
        totals = {one.name: sum(_made_up(self, one.primitives).values()) / 1e6 for one in builds}
        found = {one.name: _Timed(one, totals[one.name]) for one in builds}
        ratios = {name: total / totals[RULE] for name, total in totals.items() if name != RULE}
        return found, {name: Comparison(ratio, ratio, ratio, 0.03) for name, ratio in ratios.items()}, 0.2

    monkeypatch.setattr(Builder, "_made", made)
    monkeypatch.setattr(_Chooser, "_profile", profile)
    monkeypatch.setattr(_Chooser, "_timed", timed)
    file = tmp_path / "out.json"
    assert dlas.main(["tune", MODEL, "--primitives", "--batch", "2", "--json", str(file)]) == 0
    (report,) = json.loads(file.read_text())
    assert report["kind"] == "primitives"
    changed = [one for one in report["layers"] if one["chosen"] != one["rule"]]
    assert len(changed) == 1
    assert changed[0]["chosen"].startswith("gemm")
    assert changed[0]["costs"][changed[0]["chosen"]] == 0.5
    assert changed[0]["why"] == "0.5 us less than the recipe's"
    assert report["checked_by"] == "PyTorch"
    kinds = {one["name"]: one["kind"] for one in report["timed"]}
    assert kinds["gemm"] == "single"
    assert kinds[RULE] == "rule"
    assert kinds[report["chosen"]] == "mixed"
    assert report["chosen"].startswith("choice")
    assert report["ratio"] < 1
    assert report["failures"] == {"direct": "iree-compile was killed by SIGSEGV"}
    kept = next(one for one in report["timed"] if one["name"] == report["chosen"])
    assert kept["off"] == pytest.approx(0)
    assert "without direct: iree-compile was killed by SIGSEGV" in capsys.readouterr().out
    with Choices(tuned.database(), create=False) as known:
        assert not known.chosen(choices.place_of(import_model(MODEL), load_preset("host/auto"), 1))
        (choice,) = known.chosen(choices.place_of(import_model(MODEL, batch=2), load_preset("host/auto"), 1))
    assert choice.primitives == {one["layer"]: one["chosen"] for one in report["layers"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "host/stock"], "host/stock chooses no primitives, so there is nothing to choose"),
        (["--preset", "host/aut"], "there is no recipe `aut`"),
    ],
)
def test_bad_requests(arguments, message, capsys):
    assert dlas.main(["tune", MODEL, "--primitives", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_data_base_that_is_none(tmp_path, capsys):
    (tmp_path / "t.db").write_text("text" * 1000)
    assert dlas.main(["tune", MODEL, "--primitives", "--db", str(tmp_path / "t.db")]) == 1
    assert "this is no SQLite data base" in capsys.readouterr().err
