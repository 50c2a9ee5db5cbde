"""What a model costs, dense and with its zeros left out: parameters, multiply-accumulates, bytes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from dlas_mlir.compression.layers import Layer, weight_layers
from dlas_mlir.models.architecture import quantization_of
from dlas_mlir.models.count import run_and_count_macs


@dataclass(frozen=True)
class LayerCost:
    """A convolution or linear layer. `macs` are those of one call of the model, `effective_macs` without its zeros."""

    name: str
    shape: tuple[int, ...]
    element: str
    parameters: int
    nonzeros: int
    bytes: int
    macs: int
    effective_macs: int


@dataclass(frozen=True)
class Cost:
    """A model. Parameters and bytes (as stored densely) are of all its parameters, MACs of all convolutions and
    matrix products; `layers` has the convolutions and linear layers."""

    parameters: int
    nonzeros: int
    bytes: int
    macs: int
    effective_macs: int
    layers: tuple[LayerCost, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as an object of JSON."""
        return dataclasses.asdict(self)


def cost(model: nn.Module, example_inputs: tuple[Tensor, ...]) -> Cost:
    """Count, by running the model once, in eval mode, for the batch of `example_inputs`.

    Padding counts as any input; a layer that runs twice counts twice.
    """
    layers = weight_layers(model)
    uses: Counter[str] = Counter()  # how often each weight is used: the positions of the output
    handles = [layer.register_forward_hook(partial(_count, uses, name)) for name, layer in layers.items()]
    try:
        _, macs = run_and_count_macs(model, example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    quantization = quantization_of(model)
    integers = set(layers).difference(quantization["keep"]) if quantization is not None else set()
    rows = tuple(_layer_cost(name, layer, uses[name], name in integers) for name, layer in layers.items())
    parameters = list(model.parameters())
    narrower = sum(_saved(layers[name]) for name in integers)
    return Cost(
        parameters=sum(each.numel() for each in parameters),
        nonzeros=sum(int(each.count_nonzero()) for each in parameters),
        bytes=sum(each.nbytes for each in parameters) - narrower,
        macs=macs,
        effective_macs=macs - sum(row.macs - row.effective_macs for row in rows),
        layers=rows,
    )


def _count(uses: Counter[str], name: str, layer: Layer, inputs: object, output: Tensor) -> None:
    uses[name] += output.numel() // layer.weight.shape[0]


def _saved(layer: Layer) -> int:
    """Bytes fewer of a layer whose weights become int8."""
    return layer.weight.nbytes - layer.weight.numel()


def _layer_cost(name: str, layer: Layer, uses: int, integers: bool) -> LayerCost:
    parameters = list(layer.parameters(recurse=False))
    return LayerCost(
        name=name,
        shape=tuple(layer.weight.shape),
        element="int8" if integers else str(layer.weight.dtype).removeprefix("torch."),
        parameters=sum(each.numel() for each in parameters),
        nonzeros=sum(int(each.count_nonzero()) for each in parameters),
        bytes=sum(each.nbytes for each in parameters) - (_saved(layer) if integers else 0),
        macs=uses * layer.weight.numel(),
        effective_macs=uses * int(layer.weight.count_nonzero()),
    )
