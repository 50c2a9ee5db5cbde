"""Every named linalg convolution through each primitive that can do it: the numbers are those without our passes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from grid_runner import TOLERANCE, with_options

from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session


@dataclass(frozen=True)
class Kind:
    """Element types, and the constant that sums start from; they start from an argument where there is none."""

    element: str
    sum: str
    start: str


FLOATS, FROM_CONSTANT, CODES = Kind("f32", "f32", ""), Kind("f32", "f32", "0.25"), Kind("i8", "i32", "-5")
_NUMPY = {"f32": np.float32, "i8": np.int8, "i32": np.int32}


@dataclass(frozen=True)
class Form:
    """A named operation with shapes; strides 2x1 and dilations 1x2 where it has them."""

    op: str
    data: tuple[int, ...]
    weights: tuple[int, ...]
    result: tuple[int, ...]
    primitives: tuple[str, ...]

    def function(self, name: str, primitive: str, kind: Kind) -> str:
        """A function that takes data and what is accumulated on; the weights are constants."""
        size = int(np.prod(self.weights))
        values = (np.arange(size) * 7919 % 61 / 61 - 0.5).astype(np.float32).reshape(self.weights)
        if kind.element == "i8":
            values = np.rint(values * 250).astype(np.int8)
        attributes = [f'dlas.primitive = "{primitive}"'] if primitive else []
        if self.op != "matmul":
            attributes += ["strides = dense<[2, 1]> : vector<2xi64>", "dilations = dense<[1, 2]> : vector<2xi64>"]
        types = (kind.element, kind.element, kind.sum)
        shapes = (self.data, self.weights, self.result)
        x, w, y = (f"tensor<{'x'.join(map(str, shape))}x{t}>" for shape, t in zip(shapes, types, strict=True))
        start = f"""%c = arith.constant {kind.start} : {kind.sum}
    %e = tensor.empty() : {y}
    %first = linalg.fill ins(%c : {kind.sum}) outs(%e : {y}) -> {y}"""
        return f"""
  func.func @{name}(%x: {x}, %start: {y}) -> {y} {{
    {start if kind.start else ""}
    %w = arith.constant dense<"0x{values.tobytes().hex()}"> : {w}
    %y = linalg.{self.op} {{{", ".join(attributes)}}}
        ins(%x, %w : {x}, {w}) outs({"%first" if kind.start else "%start"} : {y}) -> {y}
    return %y : {y}
  }}"""


_DENSE, _GROUPED = ("direct", "gemm", "spatial-pack"), ("direct", "gemm", "grouped-spatial-pack")
_DEPTHWISE = ("direct", "depthwise", "grouped-spatial-pack")
FORMS = (
    Form("conv_2d_nchw_fchw", (2, 5, 9, 11), (12, 5, 3, 3), (2, 12, 4, 7), _DENSE),
    Form("conv_2d_nhwc_hwcf", (2, 9, 11, 5), (3, 3, 5, 12), (2, 4, 7, 12), _DENSE),
    Form("conv_2d_nhwc_fhwc", (2, 9, 11, 5), (12, 3, 3, 5), (2, 4, 7, 12), _DENSE),
    Form("conv_2d_ngchw_gfchw", (2, 3, 4, 9, 11), (3, 8, 4, 3, 3), (2, 3, 8, 4, 7), _GROUPED),
    Form("conv_2d_ngchw_fgchw", (2, 3, 4, 9, 11), (8, 3, 4, 3, 3), (2, 3, 8, 4, 7), _GROUPED),
    Form("conv_2d_nhwgc_gfhwc", (2, 9, 11, 3, 4), (3, 8, 3, 3, 4), (2, 4, 7, 3, 8), _GROUPED),
    Form("depthwise_conv_2d_nchw_chw", (2, 18, 9, 11), (18, 3, 3), (2, 18, 4, 7), _DEPTHWISE),
    Form("depthwise_conv_2d_nhwc_hwc", (2, 9, 11, 18), (3, 3, 18), (2, 4, 7, 18), _DEPTHWISE),
    Form("depthwise_conv_2d_nhwc_hwcm", (2, 9, 11, 9), (3, 3, 9, 2), (2, 4, 7, 9, 2), _DEPTHWISE),
    Form("matmul", (3, 17), (17, 11), (3, 11), ("gemm",)),
)
CASES = [(form, primitive, FLOATS) for form in FORMS for primitive in form.primitives]
CASES += [(form, form.primitives[-1], FROM_CONSTANT) for form in FORMS]
CASES += [
    (form, primitive, CODES) for form in FORMS for primitive in dict.fromkeys((form.primitives[0], form.primitives[-1]))
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))


def outputs(preset: Preset, folder, marked: bool) -> list[np.ndarray]:
    """What the functions of all cases return."""
    functions = [
        form.function(f"f{i}", primitive if marked else "", kind) for i, (form, primitive, kind) in enumerate(CASES)
    ]
    path = folder / f"{preset.recipe}.mlir"
    path.write_text("module {" + "".join(functions) + "\n}\n")
    artifact = compile_imported(Imported("forms", file_digest(path), path, 0, 0, None), preset)
    if marked:
        assert [layer["primitive"] for layer in artifact.layers] == [primitive for _, primitive, _ in CASES]
    results = []
    for i, (form, _, kind) in enumerate(CASES):
        random = np.random.default_rng(i)
        size = 40 if kind is CODES else 1
        arrays = [
            (size * random.standard_normal(shape)).astype(_NUMPY[element])
            for shape, element in ((form.data, kind.element), (form.result, kind.sum))
        ]
        session = Session(artifact.vmfb, resolve("local"), function=f"f{i}")
        results.append(session(*arrays)[0])
        session.close()
    return results


def test_named_forms(tmp_path):
    preset = load_preset("x86-64-avx512/auto")
    flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
    preset = dataclasses.replace(preset, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))
    # No preference: only what is marked is lowered.
    chosen = with_options(preset.pipeline, {"dlas-select-primitive": {"primitive": ()}})
    ours = outputs(dataclasses.replace(preset, pipeline=chosen), tmp_path, marked=True)
    stock = dataclasses.replace(preset, recipe="stock", pipeline="builtin.module()")
    wanted = outputs(stock, tmp_path, marked=False)
    for (form, primitive, kind), a, b in zip(CASES, ours, wanted, strict=True):
        error = np.abs(a - b).max() / np.abs(b).max()
        assert a.shape == form.result
        limit = 0 if kind is CODES else TOLERANCE
        assert error <= limit, f"{form.op} as {primitive} on {kind}: {error:.1e}"
