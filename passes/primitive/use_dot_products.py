"""dlas-use-dot-products: bring narrow contractions into the form that dot-product instructions read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen import dot
from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import affine, build, loops
from dlas_mlir.ir.constants import are_made_of_constants
from dlas_mlir.ir.linalg import indexing_maps, iterators, loop_extents
from dlas_mlir.ir.pads import Padding
from dlas_mlir.ir.strides import Span, offsets
from dlas_mlir.opt.base import Pass
from dlas_mlir.passes.primitives import PRIMITIVE


@dataclass(frozen=True)
class UseDotProductsPass(Pass):
    """Split the innermost reduction of int8 (u8 x s8 -> s32) and bfloat16 convolutions by the width of the target's
    dot-product instruction, and bring the weights into the order in which it reads them: [..., c, k] becomes
    [..., c / 4, k, 4]. What a width does not divide is filled with zero weights. The instruction's name is left as
    `dlas.dot` on the operation, for dlas-lower-dispatches; with `dlas.dot_filler`, how many floating-point elements the
    last step reads beyond the end of the reduction: kernels put zeros for them, for zero times an infinity is none.

    A target names its instructions (`int8_dot`, `bf16_dot`); where it has none, where the operands are no neighbours in
    memory (depthwise) or where more than half would be filler, nothing is changed. Nor is what depends on constants
    alone: iree-compile computes that itself, on a machine that need not have the target's instructions.

    Before:
    ```mlir
    %1 = linalg.generic {indexing_maps = [..., (n, kb, oh, ow, k, ci, fh, fw, c) -> (kb, ci, fh, fw, c, k), ...]}
        ins(%x, %w : tensor<1x4x58x58x16xi8>, tensor<4x4x3x3x16x16xi8>) outs(%zeros) { extui, extsi, muli, addi }
    ```
    After:
    ```mlir
    %pw = linalg.pack %w inner_dims_pos = [4] inner_tiles = [4] : ... -> tensor<4x4x3x3x4x16x4xi8>
    %1 = linalg.generic {dlas.dot = "vpdpbusd", indexing_maps = [..., (n, ...) -> (kb, ci, fh, fw, c, k, cc), ...]}
        ins(%x, %pw : tensor<1x4x58x58x16xi8>, tensor<4x4x3x3x4x16x4xi8>) outs(%zeros) { extui, extsi, muli, addi }
    ```
    """

    name: ClassVar[str] = "dlas-use-dot-products"

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        if target.kind == "gpu":
            return
        for op in build.operations(module):
            if op.name == "linalg.generic" and PRIMITIVE in op.attributes and dot.ATTRIBUTE not in op.attributes:
                _use_dot(op, target)
        build.erase_dead(module)


def _instruction(op: ir.Operation, target: CpuTarget) -> str:
    """The target's instruction for the body of `op`; empty when there is none."""
    body = [inner.operation.name for inner in op.regions[0].blocks[0].operations]
    if len(op.operands) != 3:
        return ""
    data, weights = (build.element_type(op.operands[i]) for i in range(2))
    arguments = op.regions[0].blocks[0].arguments
    if body == ["arith.extui", "arith.extsi", "arith.muli", "arith.addi", "linalg.yield"]:
        unsigned_by_signed = not dot.is_signed(arguments[0]) and dot.is_signed(arguments[1])
        return target.int8_dot if unsigned_by_signed and str(data) == str(weights) == "i8" else ""
    if body == ["arith.extf", "arith.extf", "arith.mulf", "arith.addf", "linalg.yield"]:
        return target.bf16_dot if str(data) == str(weights) == "bf16" else ""
    return ""


def _use_dot(op: ir.Operation, target: CpuTarget) -> None:
    name = _instruction(op, target)
    if not name or are_made_of_constants(op.operands):
        return
    width = dot.INSTRUCTIONS[name].width
    data_map, weights_map, out_map = indexing_maps(op)
    loop = _summed_loop(op, weights_map)
    if loop is None:
        return
    extent = loop_extents(op)[loop]
    if 2 * extent <= width:
        return
    count, steps = out_map.n_dims, -(-extent // width)
    # The loop in steps of the width, and within a step.
    split = [affine.dim(i) for i in range(count)]
    split[loop] = affine.dim(loop) * width + affine.dim(count)
    exprs = [_simplified(affine.substitute(expr, split, count + 1), count + 1) for expr in data_map.results]
    extents = [*loop_extents(op), width]
    extents[loop] = steps
    if not _neighbours(exprs, extents):
        return
    with ir.InsertionPoint(op), op.location:
        data = _padded(op.operands[0], exprs, extents)
        weights = build.pack(op.operands[1], [len(weights_map.results) - 2], [width])
        packed = [*weights_map.results, affine.dim(count)]
        maps = [ir.AffineMap.get(count + 1, 0, list(results)) for results in (exprs, packed, out_map.results)]
        names = loops.in_steps(loops.names(op), loop, width) if loops.named(op) else ()
        new = build.generic_like(op, [data, weights], op.operands[2], maps, [*iterators(op), "reduction"], loops=names)
        new.attributes[dot.ATTRIBUTE] = ir.StringAttr.get(name)
        if dot.INSTRUCTIONS[name].floating and steps * width > extent:
            new.attributes[dot.FILLER] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), steps * width - extent)
    op.results[0].replace_all_uses_with(new.results[0])
    op.erase()


def _summed_loop(op: ir.Operation, weights: ir.AffineMap) -> int | None:
    """The reduction that weights [..., c, k] are summed over, where k is a loop of the result."""
    if len(weights.results) < 2 or not all(affine.is_dim(expr) for expr in weights.results[-2:]):
        return None
    summed, lane = (affine.dim_position(expr) for expr in weights.results[-2:])
    kinds = iterators(op)
    return summed if kinds[summed] == "reduction" and kinds[lane] == "parallel" else None


def _simplified(expr: ir.AffineExpr, dims: int) -> ir.AffineExpr:
    return ir.AffineExpr.simplify_affine_expr(expr, dims, 0)


def _neighbours(exprs: list[ir.AffineExpr], extents: list[int]) -> bool:
    """Whether the last loop runs over neighbours in the last dimension, wherever the others stand."""
    *others, width = extents
    spans = [*map(Span.of, others), Span(0, 0)]
    *outer, last = (offsets(expr, len(others), width, spans) for expr in exprs)
    return last == tuple(range(width)) and all(found == (0,) * width for found in outer)


def _furthest(expr: ir.AffineExpr, extents: list[int]) -> int:
    """The largest value of an index, over all positions of its loops."""
    used = sorted(affine.dims_of(expr))
    positions: list = [0] * len(extents)
    for loop, grid in zip(used, np.indices([extents[loop] for loop in used]), strict=True):
        positions[loop] = grid
    return int(np.max(affine.evaluate(expr, positions)))


def _padded(data: ir.Value, exprs: list[ir.AffineExpr], extents: list[int]) -> ir.Value:
    """`data` with as many more columns as the filler of the last step reads; if it is padded, then by more."""
    shape = list(ir.RankedTensorType(data.type).shape)
    missing = _furthest(exprs[-1], extents) + 1 - shape[-1]
    if missing <= 0:
        return data
    padding = Padding.of(build.defining(data))
    if padding is None:
        zeros = [0] * len(shape)
        return build.pad(data, zeros, [*zeros[:-1], missing], build.zero(build.element_type(data)))
    *others, last = padding.high
    return build.pad(padding.source, padding.low, [*others, last + missing], padding.filler())
