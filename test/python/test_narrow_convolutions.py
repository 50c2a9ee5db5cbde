"""Convolutions of 8-bit codes against exact integer arithmetic, and of bfloat16 operands, with each dot product."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from convolution_cases import grid
from convolution_modules import Case
from grid_runner import Figures, compiled, preset_for
from narrow_cases import CodesCase, Modules, RoundedCase, bare

from dlas_mlir.compiler.presets.host import cpu_features
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

_PER_MODULE = 24
_DOTS = {
    "vpdpbusd": ("avx512_vnni", Figures(16, 32, int8_dot="vpdpbusd")),
    "vpmaddwd": ("avx2", Figures(8, 16, int8_dot="vpmaddwd")),
    "none": ("", Figures(4, 32)),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))


def modules(lanes: int, step: int, integers: bool) -> list[list[Case]]:
    """Every `step`th case of the grid, the convolution alone, in modules of mixed primitives."""
    others = ("nchw", "nhwgc", "sparse-")
    cases = [case for case in grid(lanes, integers) if not case.primitive.startswith(others)][::step]
    return [[bare(case) for case in cases[i : i + _PER_MODULE]] for i in range(0, len(cases), _PER_MODULE)]


def outputs(module: Modules, cases: list[Case], figures: Figures, folder: Path, first: str = "") -> list[np.ndarray]:
    """What the compiled module gives for its example inputs; `first` are passes before all others. Each convolution was
    done by the primitive that was asked for."""
    preset = preset_for(cases, figures, folder, name=module.layer)
    if first:
        preset = dataclasses.replace(preset, pipeline=preset.pipeline.replace("(", f"({first},", 1))
    artifact = compiled(module, module.example_inputs, preset, folder)
    layers = {layer["layer"]: layer["primitive"] for layer in artifact.layers}
    chosen = json.loads((folder / "choices.json").read_text())
    assert {name: layers.get(name) for name in chosen} == chosen
    session = Session(artifact.vmfb, resolve("local", 1))
    found = session(*[tensor.numpy() for tensor in module.example_inputs])
    session.close()
    return found


def int8_modules() -> list:
    found = []
    for name, (feature, figures) in _DOTS.items():
        missing = bool(feature) and feature not in cpu_features()
        for i, cases in enumerate(modules(figures.lanes, 4 if name == "vpdpbusd" else 12, True)):
            skip = pytest.mark.skipif(missing, reason=f"this CPU has no {feature}")
            found.append(pytest.param(figures, cases, id=f"{name}-{i}", marks=skip))
    return found


@pytest.mark.parametrize(("figures", "cases"), int8_modules())
def test_codes_are_those_of_integer_arithmetic(figures, cases, tmp_path):
    module = Modules(CodesCase, cases).eval()
    found = outputs(module, cases, figures, tmp_path)
    wrong = []
    for case, part, x, ours in zip(cases, module.cases, module.example_inputs, found, strict=True):
        wanted = part.reference(x)  # type: ignore[operator]
        assert wanted.size < 16 or len(np.unique(wanted)) > 1, f"a case that tells nothing: {case}"
        if not np.array_equal(ours, wanted):
            wrong.append(f"{np.count_nonzero(ours != wanted)} of {wanted.size} codes, {case}")
    assert not wrong, "\n".join(["codes differ:", *wrong])


@pytest.mark.parametrize("cases", modules(16, 8, False), ids=lambda cases: f"from-{cases[0].primitive}")
@pytest.mark.skipif("avx512_bf16" not in cpu_features(), reason="this CPU has no avx512_bf16")
def test_bfloat16_operands(cases, tmp_path):
    # Winograd's is for float32.
    cases = [
        dataclasses.replace(case, activation="none") for case in cases if not case.primitive.startswith("winograd")
    ]
    module = Modules(RoundedCase, cases).eval()
    figures = Figures(16, 32, bf16_dot="vdpbf16ps")
    first = "dlas-fold-constants,canonicalize,cse,dlas-demote-contractions"
    found = outputs(module, cases, figures, tmp_path, first)
    for case, part, x, ours in zip(cases, module.cases, module.example_inputs, found, strict=True):
        wanted = part.reference(x)  # type: ignore[operator]
        error = float(np.abs(ours - wanted).max() / np.abs(wanted).max())
        assert error < 1e-5, f"{error:.1e} {case}"
