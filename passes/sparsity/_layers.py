"""The layers that the sparsity passes work on, and how their options name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from iree.compiler import ir

from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build, conv, layer_names, sparsity
from dlas_mlir.ir.constants import Constants
from dlas_mlir.opt.base import PassError


def weight_layers(module: ir.Module) -> dict[str, conv.Convolution]:
    """The convolutions and linear layers by their names, in the order of the module. Raises PassError for a sparsity
    encoding that is not known."""
    layers: dict[str, conv.Convolution] = {}
    for op in build.operations(module):
        convolution = conv.view(op)
        if convolution is not None:
            sparsity.encoding_of(op.operands[1], convolution.weights_form)
            layers[_unused(conv.layer_name(op), layers)] = convolution
    return layers


def _unused(name: str, names: Iterable[str]) -> str:
    """`name`, numbered where another layer has it: a module that is used twice, or a file without locations."""
    number = 1
    candidate = name
    while candidate in names:
        number += 1
        candidate = f"{name}#{number}"
    return candidate


def selected(
    layers: dict[str, conv.Convolution], skip: Sequence[str], exclude: Sequence[str], module: ir.Module
) -> dict[str, conv.Convolution]:
    """All layers but those that `skip` and the patterns of `exclude` leave out. Raises PassError for a pattern that
    matches none."""

    def is_kind(what: str, name: str) -> bool:
        shape = layers[name].shape
        return shape.depthwise if what == "depthwise" else shape.linear

    try:
        kept = layer_names.selected(list(layers), skip, exclude, is_kind)
    except DlasError as error:
        raise PassError(str(error), module.operation) from None
    return {name: layers[name] for name in kept}


def float_weights(convolution: conv.Convolution, constants: Constants) -> np.ndarray | None:
    """The weights as [K, C/G, R, S]; None where they are not constant, or not floating-point numbers."""
    kind = ir.RankedTensorType(convolution.weights.type)
    if not isinstance(kind.element_type, ir.FloatType) or constants.read(convolution.weights) is None:
        return None
    return convolution.constant_oihw(constants)
