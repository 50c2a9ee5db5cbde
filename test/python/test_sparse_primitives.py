"""Encoded layers through our sparse primitives and IREE: the numbers are PyTorch's, as those of upstream's sparsifier
are (test_sparsity.py)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from encoded_layers import BSR, CSR, LAYERS, NM, Layer, by_pytorch, convolution_of, data_of, encoded_module
from grid_runner import TOLERANCE, with_options
from iree.compiler import ir

from dlas_mlir.cli.dlas import main
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session


@dataclass(frozen=True)
class Case:
    name: str
    encoding: Encoding
    primitive: str

    @property
    def layer(self) -> Layer:
        return LAYERS[self.name]


PRIMITIVES = ("sparse-direct",)
CASES = [
    Case(name, encoding, primitive)
    for name, layer in LAYERS.items()
    for encoding in (CSR, BSR, NM)
    for primitive in PRIMITIVES
    if not layer.op.startswith("depthwise") and (name != "linear" or primitive == "sparse-gemm")
]


def test_sparse_primitives_compute_what_pytorch_does(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cases.mlirbc"
    wanted = []
    with ir.Context(), ir.Location.unknown():
        together = ir.Module.create()
        for i, case in enumerate(CASES):
            module = encoded_module(case.layer, case.encoding)
            view = convolution_of(module)
            view.op.attributes["dlas.primitive"] = ir.StringAttr.get(case.primitive)
            wanted.append(by_pytorch(case.layer, view, data_of(case.layer)))
            function = module.body.operations[0].operation.clone()
            function.attributes["sym_name"] = ir.StringAttr.get(f"f{i}")
            together.body.append(function)
        with path.open("wb") as file:
            together.operation.write_bytecode(file)
    preset = load_preset("x86-64-avx512/auto")
    flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
    # No preference: only what is marked is lowered.
    pipeline = with_options(preset.pipeline, {"dlas-select-primitive": {"primitive": ()}})
    preset = dataclasses.replace(preset, pipeline=pipeline, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))
    artifact = compile_imported(Imported("cases", file_digest(path), path, 0, 0, None), preset)
    assert [layer["primitive"] for layer in artifact.layers] == [case.primitive for case in CASES]
    for i, (case, reference) in enumerate(zip(CASES, wanted, strict=True)):
        session = Session(artifact.vmfb, resolve("local"), function=f"f{i}")
        (ours,) = session(*data_of(case.layer))
        session.close()
        assert ours.shape == case.layer.result
        error = np.abs(ours - reference).max() / np.abs(reference).max()
        assert error <= TOLERANCE, f"{case}: {error:.1e}"


@pytest.mark.parametrize("recipe", ["stock", "gemm", "sparse-direct"])
@pytest.mark.parametrize("suffix", [".mlir", ".mlirbc"])
def test_files_with_encodings_compile_in_any_recipe(tmp_path, monkeypatch, recipe: str, suffix: str):
    """Where no pass takes the encoding, the dense weights are used."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    layer, path, output = LAYERS["3x3"], tmp_path / f"encoded{suffix}", tmp_path / "encoded.vmfb"
    with ir.Context(), ir.Location.unknown():
        module = encoded_module(layer, CSR)
        wanted = by_pytorch(layer, convolution_of(module), data_of(layer))
        with path.open("wb") as file:
            if suffix == ".mlir":
                file.write(str(module).encode())
            else:
                module.operation.write_bytecode(file)
    assert main(["compile", str(path), "--preset", f"host/{recipe}", "-o", str(output)]) == 0
    session = Session(output, resolve("local"))
    (ours,) = session(*data_of(layer))
    session.close()
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)
