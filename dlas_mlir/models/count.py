"""Parameters and multiply-accumulates of any nn.Module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlas_mlir.models.results import unchanged


def count_parameters(model: nn.Module) -> int:
    """The number of parameters (buffers, such as running statistics, are not counted)."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example_inputs: tuple[Any, ...]) -> int:
    """Multiply-accumulates of all convolutions and matrix products, for the batch of `example_inputs`.

    Runs the model once.
    """
    return run_and_count_macs(model, example_inputs)[1]


def run_and_count_macs(model: nn.Module, example_inputs: tuple[Any, ...]) -> tuple[Any, int]:
    """The output of the model, without gradients, and what `count_macs` gives."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), unchanged(model), counter:
        output = model(*example_inputs)
    return output, counter.get_total_flops() // 2
