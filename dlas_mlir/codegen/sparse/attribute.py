"""The attribute `dlas.sparse`: a linalg.generic whose constant weights are mostly zeros, done by the others alone."""

from __future__ import annotations

import msgspec
import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.region import stage_refusal
from dlas_mlir.codegen.workload import Sparsity
from dlas_mlir.ir import affine, attributes
from dlas_mlir.ir.linalg import indexing_maps, out_loops, reduction_loops
from dlas_mlir.opt.base import PassError

ATTRIBUTE = "dlas.sparse"
# What is multiplied; sums are float32.
FACTORS: tuple[str, ...] = ("f32", "f16", "bf16")


def sparsity_of(op: ir.Operation) -> Sparsity | None:
    """What `op` carries; None without the attribute. Raises PassError for one that is not as it should be."""
    if ATTRIBUTE not in op.attributes:
        return None
    try:
        found = msgspec.convert(attributes.plain(op, ATTRIBUTE), Sparsity)
    except msgspec.ValidationError as error:
        raise PassError(f"`{ATTRIBUTE}`: {error}", op) from None
    if (why := _no_contraction(op)) is not None:
        raise PassError(f"`{ATTRIBUTE}` is for sums of products of activations and constant weights: {why}", op)
    return found


def set_sparsity(op: ir.Operation, sparsity: Sparsity) -> None:
    """Have `op`, a contraction, done by the blocks of weights that are not zero."""
    op.attributes[ATTRIBUTE] = attributes.from_plain(msgspec.to_builtins(sparsity))


def _no_contraction(op: ir.Operation) -> str | None:
    """Why `op` is no contraction that a kernel of non-zeros can do, or None."""
    if op.name != "linalg.generic" or len(op.operands) != 3:
        return "this does not read two tensors"
    if (why := stage_refusal(op)) is not None:
        return why
    *factors, total = (str(ir.RankedTensorType(value.type).element_type) for value in op.operands)
    if total != "f32" or not set(factors) <= set(FACTORS):
        return f"these are sums in {total} of products of {' and '.join(factors)}"
    if not _multiplies_and_adds(op.regions[0].blocks[0]):
        return "its body is another"
    weights, result = indexing_maps(op)[1:]
    channels = [loop for loop in out_loops(result) if loop is not None and _depends_on(weights, loop)]
    pixels = [loop for loop in out_loops(result) if loop is not None and loop not in channels[:1]]
    if not (channels and pixels and reduction_loops(op)):
        return "it has no loops over output channels, pixels and what is summed"
    return None


def _depends_on(map_: ir.AffineMap, loop: int) -> bool:
    """Whether the weights that `map_` reads depend on `loop`."""
    return any(loop in affine.dims_of(expr) for expr in map_.results)


def _multiplies_and_adds(body: ir.Block) -> bool:
    """Whether two factors, those of 16 bits extended, are multiplied, and the products added up."""
    operations = [op.operation for op in body.operations]
    data, weight, accumulator = body.arguments
    factors: dict[ir.Value, ir.Value] = {data: data, weight: weight}
    while operations and operations[0].name == "arith.extf":
        extended = operations.pop(0)
        factors[extended.operands[0]] = extended.results[0]
    if [op.name for op in operations] != ["arith.mulf", "arith.addf", "linalg.yield"]:
        return False
    product, total, end = operations
    summed = set(total.operands) == {accumulator, product.results[0]}
    return set(product.operands) == set(factors.values()) and summed and end.operands[0] == total.results[0]


def count_blocks(array: np.ndarray, block: int) -> int:
    """How many blocks of `block` rows (the first dimension) are not zero."""
    return int(np.count_nonzero(array.reshape(array.shape[0] // block, block, -1).any(axis=1)))
