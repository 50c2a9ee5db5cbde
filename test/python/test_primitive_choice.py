"""The choice of primitives: costs of layers alone, the graph of a small network, the whole, and bad requests."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from dlas_mlir.cli import dlas
from dlas_mlir.compiler import choices, tuned
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.layer_graph import GraphLayer, LayerGraph, layer_graph
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.measure.choices import Choice, Choices
from dlas_mlir.measure.stats import Comparison
from dlas_mlir.measure.trials import Trials
from dlas_mlir.tuning.layer_costs import LayerCosts
from dlas_mlir.tuning.primitives import RULE, _Build, _Chooser, _Timed

HERE = Path(__file__).parent
MODEL = "imported_model:kinds"


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _surroundings(shared_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    monkeypatch.setenv("DLAS_DB", str(tmp_path / "schedules.db"))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


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


def test_a_primitive_that_was_not_measured_is_not_chosen():
    costs = LayerCosts(_chain(2))
    costs.observe({"l0": "a", "l1": "a"}, {"l0": 5, "l1": 5})
    assert costs.solve(3) == [{"l0": "a", "l1": "a"}]


def test_additions_tie_layers_to_one_layout():
    found = layer_graph(import_model(MODEL), load_preset("host/auto"), ["direct", "gemm", "spatial-pack", "depthwise"])
    assert found.layers
    for layer in found.layers:
        assert layer.rule in layer.candidates
        assert all(
            name.partition("{")[0] in ("direct", "gemm", "spatial-pack", "depthwise") or name == layer.rule
            for name in layer.candidates
        )
    assert not any(
        "spatial-pack{" in name
        for layer in found.layers
        for name in layer.candidates
        if "depthwise" in layer.name and name != layer.rule
    )


def test_the_recipe_tuned_takes_what_was_chosen():
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
    """Nanoseconds: gemm is twice as fast in one layer, and slower elsewhere."""
    names = [layer.name for layer in chooser.graph.layers]
    fast = next(layer.name for layer in chooser.graph.layers if len(layer.candidates) > 2)
    given = {name: 2000.0 if primitives[name].startswith("gemm") else 1000.0 for name in names}
    return given | {fast: 500.0 if primitives[fast].startswith("gemm") else 1000.0}


def test_the_fastest_assignment_is_kept_and_reported(tmp_path, monkeypatch, capsys):
    def build(self, name, primitives):
        for known in self.builds:
            if known.primitives == primitives:
                return known
        self.count += 1
        if name == "direct":
            self.failures[name] = "iree-compile was killed by SIGSEGV"
            return None
        self.builds.append(_Build(name, primitives, tmp_path / "none", ()))
        return self.builds[-1]

    def profile(self, builds):
        for one in builds:
            self.costs.observe(one.primitives, _made_up(self, one.primitives))

    def timed(self, base, others):
        totals = {one.name: sum(_made_up(self, one.primitives).values()) / 1e6 for one in (base, *others)}
        found = {one.name: _Timed(one, totals[one.name]) for one in (base, *others)}
        ratios = {name: total / totals[RULE] for name, total in totals.items() if name != RULE}
        return found, {name: Comparison(ratio, ratio, ratio, 0.03) for name, ratio in ratios.items()}

    monkeypatch.setattr(_Chooser, "_build", build)
    monkeypatch.setattr(_Chooser, "_profile", profile)
    monkeypatch.setattr(_Chooser, "_timed", timed)
    file = tmp_path / "out.json"
    assert dlas.main(["tune", MODEL, "--primitives", "--json", str(file)]) == 0
    (report,) = json.loads(file.read_text())
    changed = [one for one in report["layers"] if one["chosen"] != one["rule"]]
    assert len(changed) == 1
    assert changed[0]["chosen"].startswith("gemm")
    assert changed[0]["costs"][changed[0]["chosen"]] == 0.5
    assert report["chosen"].startswith("choice")
    assert report["ratio"] < 1
    assert report["failures"] == {"direct": "iree-compile was killed by SIGSEGV"}
    kept = next(one for one in report["timed"] if one["name"] == report["chosen"])
    assert kept["predicted_ms"] == pytest.approx(kept["measured_ms"])
    assert "without direct: iree-compile was killed by SIGSEGV" in capsys.readouterr().out
    with Choices(tuned.database(), create=False) as known:
        (choice,) = known.chosen(choices.place_of(import_model(MODEL), load_preset("host/auto"), 1))
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
