"""Pruned models of the zoo as factories: `benchmarks.pruned:resnet18_4x1_90` has 90 % of each layer's weights zero, in
blocks of 4 output channels; 1x1 is single weights. The first and the last layer stay dense."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from benchmarks.workload import SEED, prune
from dlas_mlir import models


def __getattr__(name: str) -> Callable[[], torch.nn.Module]:
    found = re.fullmatch(r"(\w+)_(\d+)x1_(\d+)", name)
    if found is None or models.find(found[1].replace("_", "-")) is None:
        raise AttributeError(name)
    return lambda: _pruned(found[1].replace("_", "-"), int(found[2]), int(found[3]))


def _pruned(model: str, block: int, zeros: int) -> torch.nn.Module:
    torch.manual_seed(SEED)
    module = models.build(model).eval()
    inputs = (torch.randn(models.lookup(model).input_shape),)
    prune(module, inputs, zeros, block, skip=("first", "last"))
    module.example_inputs = inputs  # type: ignore[assignment]
    return module
