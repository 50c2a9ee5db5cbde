"""dlas-widen-arithmetic: arithmetic on 16-bit floats in float32, rounded once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.build import is_narrow_float
from dlas_mlir.ir.linalg import iterators, loop_extents, scalar_constant
from dlas_mlir.opt.base import Pass
from dlas_mlir.passes.quant._widened_body import is_plain, is_rounding, widen


@dataclass(frozen=True)
class WidenArithmeticPass(Pass):
    """Compute on float16 and bfloat16 as PyTorch does: each operation in float32, its result rounded once. What is
    summed, multiplied up or compared over many elements (convolutions, matrix products, pooling, means) gets a result
    of float32 and is rounded behind it, where the rounding joins the epilogue of its kernel. A mean is divided before
    it is rounded: its sum may be out of float16's range, and its divisor no number of 16 bits.

    Named operations stay named. Values between operations stay in 16 bits.

    Before:
    ```mlir
    %1 = linalg.generic {iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
        ins(%x : tensor<1x8x7x7xf16>) outs(%zeros : tensor<1x8xf16>) { arith.addf : f16 }
    %2 = linalg.generic ins(%1 : tensor<1x8xf16>) { arith.divf %in, 49.0 : f16 }
    ```
    After:
    ```mlir
    %1 = linalg.generic {iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
        ins(%x : tensor<1x8x7x7xf16>) outs(%zeros : tensor<1x8xf32>) { arith.extf, arith.addf : f32 }
    %2 = linalg.generic ins(%1 : tensor<1x8xf32>) { arith.divf %in, 49.0 : f32, arith.truncf }
    ```
    """

    name: ClassVar[str] = "dlas-widen-arithmetic"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            if not _has_plain_body(op):
                continue
            if len(op.results) == 1 and _accumulates(op):
                _widen_accumulator(op)
            elif op.name == "linalg.generic" and _rounds(op):
                widen(op, set())
        build.erase_dead(module)


def _has_plain_body(op: ir.Operation) -> bool:
    named = op.name.startswith("linalg.") and len(op.regions) == 1 and len(op.regions[0].blocks) == 1
    return named and is_plain(op.regions[0].blocks[0])


def _rounds(op: ir.Operation) -> bool:
    return any(is_rounding(inner.operation) for inner in op.regions[0].blocks[0].operations)


def _accumulates(op: ir.Operation) -> bool:
    """Whether `op` combines many elements into each of its result's, which is of 16 bits."""
    if not is_narrow_float(build.element_type(op.results[0])) or op.name == "linalg.fill":
        return False
    block = op.regions[0].blocks[0]
    if not list(block.arguments[len(block.arguments) - 1].uses):
        return False
    return op.name != "linalg.generic" or "reduction" in iterators(op)


def _widen_accumulator(op: ir.Operation) -> None:
    place, result = len(op.operands) - 1, op.results[0]
    narrow = ir.RankedTensorType(result.type)
    uses = [(use.owner.operation, use.operand_number) for use in result.uses]
    divided = [(user, number) for user, number in uses if _divides(user, number)]
    rest = [use for use in uses if use not in divided]
    with ir.InsertionPoint(op), op.location:
        op.operands[place] = _widened_start(op.operands[place])
    widen(op, {place})
    result.set_type(build.tensor(narrow.shape, ir.F32Type.get()))
    for user, number in divided:
        widen(user, {number}, _exact_count(user, number, _summed(op), narrow.element_type))
    if rest:
        with ir.InsertionPoint.after(op), op.location:
            rounded = _cast(result, narrow.element_type)
        for user, number in rest:
            user.operands[number] = rounded


def _widened_start(value: ir.Value) -> ir.Value:
    """The initial value in float32."""
    op = build.defining(value)
    f32 = ir.F32Type.get()
    shape = ir.RankedTensorType(value.type).shape
    if op is not None and op.name == "linalg.fill":
        start = scalar_constant(op.operands[0])
        if start is not None:
            return build.fill(arith.constant(f32, ir.FloatAttr(start).value), shape)
    return _cast(value, f32)


def _cast(value: ir.Value, element: ir.Type) -> ir.Value:
    """`value` with elements of another floating-point type."""
    kind = ir.RankedTensorType(value.type)
    identity = [affine.dim(i) for i in range(kind.rank)]
    cast = arith.extf if is_narrow_float(kind.element_type) else arith.truncf
    return build.generic(
        [value],
        build.empty(kind.shape, element),
        [identity, identity],
        ["parallel"] * kind.rank,
        lambda x, _: cast(element, x),
    ).results[0]


def _divides(user: ir.Operation, number: int) -> bool:
    """Whether `user` divides its operand by a count (or multiplies it by a constant) and does nothing else: this is the
    second half of a mean. PyTorch rounds what it divides by anything else."""
    if user.name != "linalg.generic" or len(user.results) != 1 or "reduction" in iterators(user):
        return False
    block = user.regions[0].blocks[0]
    if not is_plain(block) or number == len(user.operands) - 1:
        return False
    division = _division(block)
    return division is not None and division.operands[0] == block.arguments[number]


def _division(block: ir.Block) -> ir.Operation | None:
    """The only operation of a body that rounds, if it divides by a constant or a whole number."""
    found = [op.operation for op in block.operations if is_rounding(op.operation)]
    if len(found) != 1 or found[0].name not in ("arith.divf", "arith.mulf"):
        return None
    divisor = build.defining(found[0].operands[1])
    counted = divisor is not None and divisor.name in ("arith.sitofp", "arith.uitofp")
    return found[0] if counted or scalar_constant(found[0].operands[1]) is not None else None


def _summed(op: ir.Operation) -> int | None:
    """How many elements one of `op`'s result is summed up from; None for a dynamic shape."""
    if any(not ir.RankedTensorType(value.type).has_static_shape for value in op.operands):
        return None
    if op.name == "linalg.generic":
        extents, kinds = loop_extents(op), iterators(op)
        return math.prod(extent for extent, kind in zip(extents, kinds, strict=True) if kind == "reduction")
    if op.name.startswith("linalg.pooling_"):
        return math.prod(ir.RankedTensorType(op.operands[1].type).shape)
    return None


def _exact_count(user: ir.Operation, number: int, count: int | None, element: ir.Type) -> dict[ir.Value, float]:
    """The divisor that is the number of summed elements, as far as 16 bits could hold it, in full."""
    division = _division(user.regions[0].blocks[0])
    if count is None or division is None or division.name != "arith.divf":
        return {}
    divisor = scalar_constant(division.operands[1])
    dtype = ml_dtypes.bfloat16 if isinstance(element, ir.BF16Type) else np.float16
    with np.errstate(over="ignore"):
        held = float(np.asarray(count, dtype))
    return {division.operands[1]: float(count)} if divisor is not None and ir.FloatAttr(divisor).value == held else {}
