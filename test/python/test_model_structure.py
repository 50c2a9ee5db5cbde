"""Whole networks: their numbers in every recipe, and what is left of them after the passes (no clocks)."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from iree.compiler import ir

from dlas_mlir import models
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.elf import undefined_symbols
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

TOLERANCE = 1e-4
RECIPES = ("direct", "gemm", "spatial-pack", "auto")
SMALL = ("resnet18-cifar", "mobilenetv2-cifar")
# All models in all recipes take most of an hour.
ALL = bool(os.environ.get("DLAS_ALL_MODELS"))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    # One for all workers: a model is imported once.
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path_factory.getbasetemp().parent / "models"))


def preset_for(recipe: str, threads: int = 1) -> Preset:
    """A recipe of the widest target, as code for this machine's CPU."""
    preset = load_preset(f"x86-64-avx512/{recipe}", threads=threads)
    flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
    return dataclasses.replace(preset, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))


def largest_error(artifact: Artifact, threads: int = 1) -> float:
    """The largest difference from PyTorch's output, relative to the largest value."""
    assert artifact.golden is not None
    golden = np.load(artifact.golden)
    session = Session(artifact.vmfb, resolve("local", threads))
    (ours,) = session(*[golden[name] for name in golden.files if name.startswith("input_")])
    session.close()
    wanted = golden["output_0"]
    assert ours.shape == wanted.shape
    assert np.isfinite(ours).all()
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


def pairs() -> list[tuple[str, str]]:
    if ALL:
        return [(model.name, recipe) for model in models.registry() for recipe in ("stock", *RECIPES)]
    return [(model, recipe) for model in SMALL for recipe in RECIPES] + [
        ("mobilenetv1-cifar", "auto"),
        ("vgg16-cifar", "auto"),
    ]


@pytest.mark.parametrize(("model", "recipe"), pairs())
@pytest.mark.timeout(1200)
def test_numbers(model, recipe):
    assert largest_error(compile_model(model, preset_for(recipe))) <= TOLERANCE


@pytest.mark.parametrize("model", SMALL)
def test_two_threads(model):
    assert largest_error(compile_model(model, preset_for("auto", threads=2)), threads=2) <= TOLERANCE


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A network after the passes: the operations of its function by name, and each kernel by its layer."""

    operations: Counter
    kernels: list[tuple[str, Counter]]
    artifact: Artifact


def lowered(model: str, folder: Path) -> Lowered:
    text = folder / "module.mlirbc"
    artifact = compile_model(model, preset_for("auto"), mlir_out=text)
    with ir.Context() as context:
        context.allow_unregistered_dialects = True
        module = ir.Module.parseFile(str(text), context)
        (function,) = (op for op in module.body.operations if op.operation.name in ("func.func", "util.func"))
        body = [op.operation for op in function.regions[0].blocks[0].operations]
        kernels = []
        for op in body:
            if op.name == "flow.dispatch.workgroups":
                attributes = op.attributes
                layer = ir.StringAttr(attributes["dlas.layer"]).value if "dlas.layer" in attributes else ""
                kernels.append((layer, _names(op)))
        return Lowered(Counter(op.name for op in body), kernels, artifact)


def _names(op: ir.Operation) -> Counter:
    names: Counter = Counter()

    def visit(inner: ir.Operation) -> ir.WalkResult:
        names[inner.name] += 1
        return ir.WalkResult.ADVANCE

    op.walk(visit)
    return names


@pytest.mark.parametrize("model", SMALL)
def test_structure(model, tmp_path):
    """One dispatch for each layer (or for a depthwise one and the 1x1 behind it), one that pads the image, and one for
    the global mean: no other copies, packings or paddings; everything is a kernel of ours, and every layer's multiplies
    in vectors."""
    network = lowered(model, tmp_path)
    layers = {layer["layer"] for layer in network.artifact.layers}
    # What PyTorch counts is what the layers have, each by its algebra.
    shapes = [ConvShape.from_plain(layer["shape"]) for layer in network.artifact.layers]
    assert [shape.macs for shape in shapes] == [layer["macs"] for layer in network.artifact.layers]
    assert sum(shape.macs for shape in shapes) == network.artifact.macs
    # A kernel that has its producer within does two layers.
    within = {layer["workload"] for layer in network.artifact.layers if "producer" in layer["schedule"]}
    kernels = len(layers) - len(within)
    assert network.operations["flow.dispatch.workgroups"] == kernels + 2
    moving = re.compile(r"linalg\.|tensor\.(pad|concat|insert_slice)|flow\.dispatch\.region")
    assert [name for name in network.operations if moving.match(name)] == []
    named = {layer for layer, _ in network.kernels if layer}
    assert named <= layers
    assert len(named) == kernels
    for layer, names in network.kernels:
        if layer:
            assert names["vector.fma"], f"{layer} has no vector.fma"
            assert names["vector.transfer_write"], f"{layer} does not write vectors"
    # iree-compile adds no dispatch of its own, and needs no temporary buffer in any.
    assert len(network.artifact.dispatches) == kernels + 2
    assert undefined_symbols(network.artifact.vmfb) == set()
