"""float16 and bfloat16 from a checkpoint's constants to the outputs of an artifact."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from imported_model import kinds
from iree.compiler import ir
from torch import nn

import dlas_mlir
from dlas_mlir.benchmark.bench import Request, bench_rows
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.half import Half
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.measure.rounds import Protocol

BF16 = ml_dtypes.bfloat16


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("dense<1.5> : tensor<2x2xbf16>", [[1.5, 1.5], [1.5, 1.5]]),
        ("dense<[[1.0, -0.0], [3.0e-38, 256.0]]> : tensor<2x2xbf16>", [[1.0, -0.0], [3.0e-38, 256.0]]),
        ("dense<[0x7F80, 0x7FC0, 0xFF80]> : tensor<3xbf16>", [np.inf, np.nan, -np.inf]),
        (f'dense<"0x{"803F0040" * 100}"> : tensor<200xbf16>', [1.0, 2.0] * 100),
        ("dense<[0.5, 65504.0]> : tensor<2xf16>", [0.5, 65504.0]),
    ],
)
def test_dense_constants_are_read(attribute: str, values: list):
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(f"%0 = arith.constant {attribute}")
        found = Constants(module.operation).read(module.body.operations[0].results[0])
    dtype = BF16 if "bf16" in attribute else np.float16
    assert found is not None
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.astype(np.float32), np.array(values, dtype).astype(np.float32))


@pytest.mark.parametrize("size", [3, 500, 5000])
@pytest.mark.parametrize("dtype", [BF16, np.float16])
def test_constants_come_back(size: int, dtype: type):
    array = np.random.default_rng(0).standard_normal(size).astype(dtype)
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            value = constant(array)
        module.operation.verify()
        text = str(module)
        again = ir.Module.parse(text)
        for found in (value, again.body.operations[0].results[0]):
            owner = module if found is value else again
            np.testing.assert_array_equal(Constants(owner.operation).read(found), array)
    # Where iree-compile may widen it, it is no resource.
    assert ("dense_resource" in text) == (size > (1024 if dtype is BF16 else 16))


@pytest.mark.parametrize("element", ["float16", "bfloat16"])
def test_a_model_with_a_layer_in_float32_is_equal_to_pytorch(tmp_path: Path, element: str):
    """Plain, depthwise, strided, grouped and linear layers; stock, and each of our primitives."""
    torch.manual_seed(0)
    model = kinds()
    done = compress_module(model.eval(), model.example_inputs, [Half(element, keep=("strided",))])  # type: ignore[arg-type]
    done.save(tmp_path / "half.safetensors")
    presets = ["host/stock", "host/auto"] if element == "float16" else ["host/auto", "host/gemm", "host/direct"]
    protocol = Protocol(rounds=1, min_seconds=0.001, min_count=1)
    request = Request(("imported_model:kinds",), tuple(presets), weights=tmp_path / "half.safetensors")
    rows = bench_rows(request, protocol)
    assert [row.get("error") for row in rows] == [None] * len(presets)
    assert all(row["verified"] and row["max_rel_error"] < 1e-2 for row in rows)


class Rounded(nn.Module):
    """Values that are rounded to 16 bits and go on in 32, within one kernel."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = x.bfloat16()
        return y.float(), x.half().float(), (y * 3 + 1).float(), torch.relu(y).float() * 3


def test_what_is_rounded_in_a_kernel_stays_rounded():
    x = torch.rand(4, 67)
    ours = dlas_mlir.run(dlas_mlir.compile(Rounded(), preset="host/auto", example_inputs=(x,)), x.numpy())
    for found, wanted in zip(ours, Rounded()(x), strict=True):
        np.testing.assert_array_equal(found, wanted.numpy())


class Windows(nn.Module):
    """Convolutions of an image, whose windows are no multiple of two columns."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 1), (3, 2), (5, 1), (7, 2))
        self.layers = nn.ModuleList(nn.Conv2d(3, 16, size, stride, size // 2, bias=False) for size, stride in sizes)
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.weight.copy_(torch.randint(1, 5, layer.weight.shape) * (-1) ** i)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


@pytest.mark.parametrize("recipe", ["bf16-spatial-pack", "bf16-direct", "bf16-gemm"])
def test_an_infinite_pixel_stays_within_the_windows_that_hold_it(recipe: str):
    torch.manual_seed(0)
    module, x = Windows(), torch.randint(-4, 5, (1, 3, 9, 40)).float()
    x[..., 20:] = torch.inf
    ours = dlas_mlir.run(dlas_mlir.compile(module, preset=f"host/{recipe}", example_inputs=(x,)), x.numpy())
    for found, wanted in zip(ours, module(x), strict=True):
        np.testing.assert_array_equal(found, wanted.detach().numpy())
