"""dlas-prune-weights leaves the same weights of an imported model as the pruning step of `dlas compress`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from iree.compiler import ir
from torch import Tensor, nn
from traced import write_linalg

from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.compression.pruning import Prune
from dlas_mlir.ir import build, conv
from dlas_mlir.ir.constants import Constants
from dlas_mlir.opt.pipeline import parse_pipeline

INPUTS = (torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(1)),)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 32, 3, stride=2, groups=2)
        self.pointwise = nn.Conv2d(32, 24, 1)
        self.fc = nn.Linear(24, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pointwise(self.grouped(self.depthwise(self.stem(x)).relu()))
        return self.fc(x.mean((2, 3)))


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "module.mlirbc"
    write_linalg(small(), INPUTS, path, "small")
    return path


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ("sparsity=0.8", Prune(0.8)),
        ("sparsity=0.6 scope=layer", Prune(0.6, scope="layer")),
        ("sparsity=0.7 block=4 skip=depthwise", Prune(0.7, structure="4x1", skip=("depthwise",))),
        ("sparsity=0.5 skip=first,last,linear", Prune(0.5, skip=("first", "last", "linear"))),
        ("n=2 m=4 skip=first,depthwise", Prune(structure="2:4", skip=("first", "depthwise"))),
        ("sparsity=0.9 exclude=gr*,fc", Prune(0.9, exclude=("gr*", "fc"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_same_weights_stay(imported: Path, options: str, step: Prune):
    model = small()
    compress_module(model, INPUTS, [step])
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(imported.read_bytes())
        parse_pipeline(f"dlas-fold-constants,canonicalize,dlas-prune-weights{{{options}}}").run(module)
        views = [view for op in build.operations(module) if (view := conv.view(op)) is not None]
        ours = {conv.layer_name(view.op): view.constant_oihw(Constants(module.operation)) for view in views}
    theirs = {name: layer.weight.detach().numpy() for name, layer in weight_layers(model).items()}
    assert ours.keys() == theirs.keys()
    for name, weights in theirs.items():
        np.testing.assert_array_equal(ours[name], weights.reshape(ours[name].shape), err_msg=name)
