"""What one call of an imported module computes: multiply-accumulates, with and without its zero weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import linalg

from dlas_mlir.ir import build, conv
from dlas_mlir.ir.constants import Constants

# What weights may stand behind that keeps zeros where they are: scaling (dequantization) and reordering.
_SHAPING = ("tensor.expand_shape", "tensor.collapse_shape", "linalg.transpose", "linalg.generic", "tensor.cast")


@dataclass
class Work:
    """`macs` are of all contractions and convolutions, `effective` those of weights that are not zero, by the element
    type that they could be done in (`f32`, `bf16`, `i8`, ...); `elements` and `nonzeros` are of all constants."""

    macs: int = 0
    effective: dict[str, int] = field(default_factory=dict)
    elements: int = 0
    nonzeros: int = 0


def count(module: ir.Module) -> Work:
    """Count what `module`, linalg on tensors, does in one call."""
    constants = Constants(module.operation)
    work = Work()
    for op in build.operations(module):
        if op.name == "arith.constant" and isinstance(op.results[0].type, ir.RankedTensorType):
            value = op.attributes["value"]
            if isinstance(value, ir.DenseElementsAttr) and value.is_splat:
                continue
            work.elements += math.prod(op.results[0].type.shape)
            work.nonzeros += _nonzeros(op.results[0], constants)
        elif op.name.startswith("linalg.") and _multiplies_and_adds(op):
            layer = conv.view(op)
            macs = layer.shape.macs if layer is not None else _iterations(op)
            density, element = _weights(op, constants)
            work.macs += macs
            work.effective[element] = work.effective.get(element, 0) + round(macs * density)
    return work


def _nonzeros(constant: ir.Value, constants: Constants) -> int:
    array = constants.read(constant)
    return math.prod(constant.type.shape) if array is None else int(np.count_nonzero(array))


def _weights(op: ir.Operation, constants: Constants) -> tuple[float, str]:
    """The share of non-zeros of the weights, each of which is used equally often, and the type of the arithmetic."""
    element = str(build.element_type(op.operands[0]))
    for operand in list(op.operands)[1::-1]:
        source = _constant_behind(operand)
        if source is None:
            continue
        kind = ir.RankedTensorType(source.type)
        if isinstance(kind.element_type, ir.IntegerType) and kind.element_type.width <= 8:
            element = "i8"
        size = math.prod(kind.shape)
        return (_nonzeros(source, constants) / size if size else 1.0), element
    return 1.0, element


def _constant_behind(value: ir.Value) -> ir.Value | None:
    """The constant with as many elements that `value` is a scaled or reordered form of."""
    size = math.prod(ir.RankedTensorType(value.type).shape)
    while not isinstance(value.owner, ir.Block):
        op = value.owner.operation
        if op.name == "arith.constant":
            return value
        sources = [
            operand
            for operand in list(op.operands)[:1]
            if op.name in _SHAPING
            and isinstance(operand.type, ir.RankedTensorType)
            and math.prod(operand.type.shape) == size
        ]
        if not sources:
            return None
        value = sources[0]
    return None


def _multiplies_and_adds(op: ir.Operation) -> bool:
    regions = list(op.regions)
    names = {inner.operation.name for inner in regions[0].blocks[0].operations} if regions else set()
    return bool(names & {"arith.mulf", "arith.muli"}) and bool(names & {"arith.addf", "arith.addi"})


def _iterations(op: ir.Operation) -> int:
    """The product of the loops' extents; 0 for an element-wise op, which has no reduction."""
    maps = [attribute.value for attribute in linalg.get_indexing_maps(op)]  # pyright: ignore[reportAttributeAccessIssue]
    extents: dict[int, int] = {}
    for operand, indexing in zip(op.operands, maps, strict=True):
        for size, result in zip(getattr(operand.type, "shape", ()), indexing.results, strict=True):
            if isinstance(result, ir.AffineDimExpr):
                extents[result.position] = size
    parallel = {result.position for result in maps[-1].results if isinstance(result, ir.AffineDimExpr)}
    reduces = len(parallel) < maps[-1].n_dims
    return math.prod(extents.values()) if reduces else 0
