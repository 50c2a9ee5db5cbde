"""dlas-mark-zeros: write on each sum of products which borders of its operands are zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.read_workload import body_of
from dlas_mlir.codegen.sparse.attribute import ATTRIBUTE as SPARSE
from dlas_mlir.codegen.taps import factors
from dlas_mlir.codegen.zeros import ATTRIBUTE, Ends, set_zeros
from dlas_mlir.ir import build
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.linalg import is_plain_insertion, is_plain_slice, shape_of
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class MarkZerosPass(Pass):
    """Write `dlas.zeros` on each linalg.generic that adds products and reads padding of zeros: how many elements at the
    low and the high end of each dimension of an operand are zero. Kernels leave out the products with them.

    What zero is multiplied by must be finite, for zero times an infinity is not zero: of floating-point numbers, only
    constants are known to be that. An attribute that is there already stays.

    Before:
    ```mlir
    %p = tensor.pad %x low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0] { tensor.yield %zero }
    %1 = linalg.generic ins(%p, %weights) { multiply-accumulate }
    ```
    After:
    ```mlir
    %p = tensor.pad %x low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0] { tensor.yield %zero }
    %1 = linalg.generic {dlas.zeros = {in0 = {high = [0, 0, 1, 1, 0], low = [0, 0, 1, 1, 0]}}} ins(%p, %weights)
    ```
    """

    name: ClassVar[str] = "dlas-mark-zeros"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            if op.name != "linalg.generic" or any(name in op.attributes for name in (ATTRIBUTE, SPARSE)):
                continue
            if not build.is_static(op) or len(op.results) != 1:
                continue
            zeros = {
                i: ends for i, value in enumerate(list(op.operands)[:-1]) if any(map(any, ends := zero_ends(value)))
            }
            if zeros and (found := _of_finite_products(op, zeros)):
                set_zeros(op, found)


def zero_ends(value: ir.Value) -> Ends:
    """How many elements at the two ends of each dimension of a tensor are zero, as far as can be seen."""
    op = build.defining(value)
    padding = Padding.of(op)
    if op is not None and padding is not None and not padding.cuts:
        inner = zero_ends(padding.source) if _is_zero(padding.constant) else None
        if inner is None:
            return _none(value)
        # Padding of one dimension alone leaves the others with what the source has there.
        return tuple((low + a, high + b) for (a, b), low, high in zip(inner, padding.low, padding.high, strict=True))
    if op is not None and op.name == "tensor.extract_slice" and is_plain_slice(op):
        offsets = ir.DenseI64ArrayAttr(op.attributes["static_offsets"])
        sizes, whole = shape_of(value), shape_of(op.operands[0])
        ends = []
        for (low, high), start, size, all_of in zip(zero_ends(op.operands[0]), offsets, sizes, whole, strict=True):
            before = min(size, max(0, low - start))
            ends.append((before, min(size - before, max(0, high - (all_of - start - size)))))
        return tuple(ends)
    if op is not None and op.name == "tensor.insert_slice":
        return _ends_of_parts(op)
    return _none(value)


def _ends_of_parts(op: ir.Operation) -> Ends:
    """What all parts have in common that fill a buffer side by side."""
    shape = shape_of(op.results[0])
    parts: list[tuple[ir.Value, list[int]]] = []
    while op is not None and op.name == "tensor.insert_slice" and is_plain_insertion(op):
        parts.append((op.operands[0], list(ir.DenseI64ArrayAttr(op.attributes["static_offsets"]))))
        op = build.defining(op.operands[1])
    split = {dim for part, _ in parts for dim, (a, b) in enumerate(zip(shape_of(part), shape, strict=True)) if a != b}
    dim = next(iter(split), 0)
    reached = 0
    for part, offsets in sorted(parts, key=lambda each: each[1][dim]):
        reached = reached + shape_of(part)[dim] if offsets[dim] == reached else -1
    if len(split) > 1 or reached != shape[dim]:
        return ((0, 0),) * len(shape)
    ends = zip(*(zero_ends(part) for part, _ in parts), strict=True)
    return tuple(
        (0, 0) if place in split else (min(low for low, _ in each), min(high for _, high in each))
        for place, each in enumerate(ends)
    )


def _none(value: ir.Value) -> Ends:
    return ((0, 0),) * len(shape_of(value)) if isinstance(value.type, ir.RankedTensorType) else ()


def _is_zero(constant: ir.Attribute) -> bool:
    return isinstance(constant, ir.FloatAttr | ir.IntegerAttr) and constant.value == 0


def _of_finite_products(op: ir.Operation, zeros: dict[int, Ends]) -> dict[int, Ends]:
    """Those of the operands that are a factor of what `op` adds, beside factors that are finite."""
    names = factors(*body_of(op.regions[0].blocks[0]), len(op.operands) - 1)
    return {
        i: ends
        for i, ends in zeros.items()
        if i in names and all(_is_finite(op.operands[other], op) for other in names if other != i)
    }


def _is_finite(value: ir.Value, op: ir.Operation) -> bool:
    element = build.element_type(value)
    if isinstance(element, ir.IntegerType):
        return True
    array = Constants(op).read(value)
    return array is not None and bool(np.isfinite(array).all())
