"""Encoded layers through our sparse primitives and IREE: the numbers are PyTorch's, as those of upstream's sparsifier
are (test_sparsity.py)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from encoded_layers import BSR, CSR, LAYERS, NM, Layer, by_pytorch, convolution_of, data_of, encoded_module
from grid_runner import TOLERANCE, with_options
from iree.compiler import ir
from torch import Tensor, nn
from traced import write_linalg

import dlas_mlir
from dlas_mlir.cli.dlas import main
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.pruning import Prune
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.models.fill import fill_seeded
from dlas_mlir.runtime.devices import resolve, usable_cpus
from dlas_mlir.runtime.session import Session


@dataclass(frozen=True)
class Case:
    name: str
    encoding: Encoding
    primitive: str

    @property
    def layer(self) -> Layer:
        return LAYERS[self.name]


# N:M is done as CSR is, so once is enough.
FORMATS = {"sparse-direct": (CSR, BSR, NM), "sparse-gemm": (CSR, BSR), "sparse-spatial-pack": (CSR, BSR)}
CASES = [
    Case(name, encoding, primitive)
    for name, layer in LAYERS.items()
    for primitive, formats in FORMATS.items()
    for encoding in formats
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


class Small(nn.Module):
    """A stem, a residual block, a layer with stride and groups, pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv1 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.pointwise = nn.Conv2d(16, 32, 1, stride=2)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.grouped = nn.Conv2d(32, 32, 3, padding=1, stride=2, groups=2)
        self.fc = nn.Linear(32, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.stem(x)))
        x = torch.relu(x + self.conv2(torch.relu(self.bn2(self.conv1(x)))))
        x = self.grouped(torch.relu(self.depthwise(torch.relu(self.pointwise(x)))))
        return self.fc(torch.max_pool2d(torch.relu(x), 2).mean((2, 3)))


@pytest.mark.parametrize("structure", ["unstructured", "4x1"])
def test_auto_mixes_sparse_and_dense_layers(tmp_path, monkeypatch, structure: str):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    model = fill_seeded(Small, (1, 3, 20, 20))
    inputs = (torch.randn((1, 3, 20, 20), generator=torch.Generator().manual_seed(1)),)
    step = Prune(0.9, structure=structure, scope="layer", skip=("last", "depthwise"), exclude=("stem",))
    compress_module(model, inputs, [step])
    path = tmp_path / "small.mlirbc"
    write_linalg(model, inputs, path, "small")
    artifact = compile_imported(Imported("small", file_digest(path), path, 0, 0, None), load_preset("host/auto"))
    found = {layer["layer"] for layer in artifact.layers if layer["primitive"].startswith("sparse-")}
    assert found == {"conv1", "conv2", "pointwise", "grouped"}
    session = Session(artifact.vmfb, resolve("local"))
    (ours,) = session(inputs[0].numpy())
    session.close()
    with torch.no_grad():
        wanted = model(*inputs).numpy()
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.skipif(len(usable_cpus()) < 2, reason="needs two CPUs")
@pytest.mark.parametrize("recipe", ["sparse-direct", "sparse-spatial-pack"])
@pytest.mark.parametrize(("channels", "size"), [(64, 56), (128, 28), (256, 14)])
def test_workgroups_do_not_meet(tmp_path, monkeypatch, channels: int, size: int, recipe: str):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    shape = (1, channels, size, size)
    model = fill_seeded(lambda: nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1)), shape)
    inputs = (torch.randn(shape, generator=torch.Generator().manual_seed(1)),)
    compress_module(model, inputs, [Prune(0.9, structure="4x1", scope="layer", skip=())])
    artifact = dlas_mlir.compile(model, preset=f"host/{recipe}", example_inputs=inputs, threads=2)
    session = Session(artifact.vmfb, resolve("local", 2))
    with torch.no_grad():
        wanted = model(*inputs).numpy()
    for _ in range(30):
        (ours,) = session(inputs[0].numpy())
        assert np.abs(ours - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    session.close()
