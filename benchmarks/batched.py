"""Models of the zoo with several images as factories: `benchmarks.batched:mobilenetv2_n8` takes eight.

python -m benchmarks.end_to_end --models benchmarks.batched:mobilenetv2_n8 benchmarks.batched:resnet18_cifar_n8
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from benchmarks.workload import SEED
from dlas_mlir import models


def __getattr__(name: str) -> Callable[[], torch.nn.Module]:
    found = re.fullmatch(r"(\w+)_n([1-9]\d*)", name)
    if found is None or models.find(found[1].replace("_", "-")) is None:
        raise AttributeError(name)
    return lambda: _batched(found[1].replace("_", "-"), int(found[2]))


def _batched(model: str, batch: int) -> torch.nn.Module:
    torch.manual_seed(SEED)
    module = models.build(model).eval()
    module.example_inputs = (torch.randn(batch, *models.lookup(model).input_shape[1:]),)  # type: ignore[assignment]
    return module
