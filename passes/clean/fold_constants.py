"""dlas-fold-constants: evaluate what depends on constants only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.ir import build, quant
from dlas_mlir.ir.constants import Constants, constant, dtype_of
from dlas_mlir.ir.evaluate import CannotEvaluate, evaluate_elementwise, is_elementwise
from dlas_mlir.ir.linalg import scalar_constant
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass

# Elements of a line that depends on nothing.
_LONGEST_LINE = 65536


@dataclass(frozen=True)
class FoldConstantsPass(Pass):
    """Evaluate tensor operations on constants: element-wise linalg.generics (also those that number the elements of a
    line), linalg.pack, linalg.transpose,
    linalg.broadcast, tensor.pad, tensor.expand_shape, tensor.collapse_shape and tensor.extract_slice.

    Weights are packed and batch-norm statistics are combined here, once, instead of at run time. An assertion on
    constants that holds goes away with its operation.

    Before:
    ```mlir
    %0 = linalg.pack %weights padding_value(%zero : f32) inner_dims_pos = [1, 0] inner_tiles = [16, 16]
        into %empty : tensor<64x64x3x3xf32> -> tensor<4x4x3x3x16x16xf32>
    ```
    After:
    ```mlir
    %0 = arith.constant dense_resource<dlas_0> : tensor<4x4x3x3x16x16xf32>
    ```
    """

    name: ClassVar[str] = "dlas-fold-constants"

    def run(self, module: ir.Module) -> None:
        constants = Constants(module.operation)
        for op in build.operations(module):
            # A result nobody uses (a transposed weight that was packed instead) is not worth evaluating.
            if len(op.results) == 1 and list(op.results[0].uses):
                _fold(op, constants)
        build.erase_dead(module)


def _fold(op: ir.Operation, constants: Constants) -> None:
    if quant.narrow(op.results[0]) is not None:
        # The codes of an integer layer are four times as small as what they are widened to, where they are read.
        return
    evaluator = _evaluate_generic if is_elementwise(op) else _EVALUATORS.get(op.name)
    if evaluator is None:
        return
    try:
        array = evaluator(op, constants.read)
    except CannotEvaluate:
        return
    if array is not None:
        with ir.InsertionPoint(op), op.location:
            op.results[0].replace_all_uses_with(constant(array))


Read = Callable[[ir.Value], "np.ndarray | None"]


def _evaluate_generic(op: ir.Operation, read: Read) -> np.ndarray | None:
    arguments = op.regions[0].blocks[0].arguments
    if list(arguments[-1].uses):
        return None
    arrays = []
    for operand, argument in zip(list(op.operands)[:-1], arguments, strict=False):
        array = read(operand) if list(argument.uses) else None
        if array is None and list(argument.uses):
            return None
        arrays.append(array)
    if not any(array is not None for array in arrays) and not _is_short_line(op):
        return None
    return evaluate_elementwise(op, arrays)


def _is_short_line(op: ir.Operation) -> bool:
    """Whether `op` computes a line from nothing, such as the numbers of its elements. What is larger is better computed
    where it is read."""
    shape = _result_shape(op)
    return len(shape) == 1 and shape[0] <= _LONGEST_LINE


def _i64s(op: ir.Operation, name: str) -> list[int]:
    """An attribute of integers, empty where it is left out."""
    return list(ir.DenseI64ArrayAttr(op.attributes[name])) if name in op.attributes else []


def _result_shape(op: ir.Operation) -> list[int]:
    return list(ir.RankedTensorType(op.results[0].type).shape)


def _evaluate_pack(op: ir.Operation, read: Read) -> np.ndarray | None:
    array = read(op.operands[0])
    fill = scalar_constant(op.operands[2]) if len(op.operands) > 2 else None
    if array is None or _i64s(op, "outer_dims_perm") or (fill is None and len(op.operands) > 2):
        return None
    dims, tiles = _i64s(op, "inner_dims_pos"), _i64s(op, "static_inner_tiles")
    padding = [(0, 0)] * array.ndim
    for dim, tile in zip(dims, tiles, strict=True):
        padding[dim] = (0, -array.shape[dim] % tile)
    if fill is not None:
        array = np.pad(array, padding, constant_values=fill.value)  # type: ignore[attr-defined]
    shape: list[int] = []
    inner: dict[int, int] = {}
    outer: list[int] = []
    for dim, size in enumerate(array.shape):
        outer.append(len(shape))
        if dim in dims:
            tile = tiles[dims.index(dim)]
            shape += [size // tile, tile]
            inner[dim] = len(shape) - 1
        else:
            shape.append(size)
    return array.reshape(shape).transpose([*outer, *(inner[dim] for dim in dims)])


def _evaluate_transpose(op: ir.Operation, read: Read) -> np.ndarray | None:
    array = read(op.operands[0])
    return None if array is None else array.transpose(_i64s(op, "permutation"))


def _evaluate_reshape(op: ir.Operation, read: Read) -> np.ndarray | None:
    array = read(op.operands[0])
    return None if array is None else array.reshape(_result_shape(op))


def _evaluate_broadcast(op: ir.Operation, read: Read) -> np.ndarray | None:
    """Only one that adds unit dimensions: a larger one is better done where it is read."""
    array = read(op.operands[0])
    shape = _result_shape(op)
    return array.reshape(shape) if array is not None and int(np.prod(shape)) == array.size else None


def _evaluate_pad(op: ir.Operation, read: Read) -> np.ndarray | None:
    padding = Padding.of(op)
    array = read(op.operands[0])
    if array is None or padding is None or padding.cuts:
        return None
    value = padding.constant
    fill = np.asarray(value.value, dtype_of(value.type))  # type: ignore[attr-defined]
    return np.pad(array, list(zip(padding.low, padding.high, strict=True)), constant_values=fill)


def _evaluate_slice(op: ir.Operation, read: Read) -> np.ndarray | None:
    if len(op.operands) != 1:
        return None
    array = read(op.operands[0])
    if array is None:
        return None
    places = zip(_i64s(op, "static_offsets"), _i64s(op, "static_sizes"), _i64s(op, "static_strides"), strict=True)
    index = tuple(slice(start, start + size * step, step) for start, size, step in places)
    return array[index].reshape(_result_shape(op))


_EVALUATORS: dict[str, Callable[[ir.Operation, Read], np.ndarray | None]] = {
    "linalg.pack": _evaluate_pack,
    "linalg.transpose": _evaluate_transpose,
    "linalg.broadcast": _evaluate_broadcast,
    "tensor.expand_shape": _evaluate_reshape,
    "tensor.collapse_shape": _evaluate_reshape,
    "tensor.pad": _evaluate_pad,
    "tensor.extract_slice": _evaluate_slice,
}
