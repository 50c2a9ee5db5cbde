"""Changes between layouts of channels, as plain copies and transpositions.

iree-compile unrolls a linalg.pack or linalg.unpack of one block of several hundred channels for minutes, and makes
others two to nine times slower than the linalg.transpose that they are (64 channels at 56x56: 52 us against 16 us); and
two packed layouts of which one's blocks divide the other's need not meet in NCHW.
"""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.ir import affine, build


def relayout(source: ir.Value, dim: int, blocks: int, new: int) -> ir.Value | None:
    """`source` [.., B, .., t] with `dim` in blocks of t, as `blocks` blocks of `new`: one copy of whole vectors.
    None where neither block size divides the other, or the new blocks would need more channels."""
    *shape, old = _shape(source)
    rank = len(shape)
    if old % new == 0:
        parts = old // new
        split = build.expand(source, [*([i] for i in range(rank)), [rank, rank + 1]], [*shape, parts, new])
        # From [.., B, .., q, t] to [.., B, q, .., t].
        moved = _copy(split, [*range(dim + 1), rank, *range(dim + 1, rank), rank + 1])
        merged = build.collapse(moved, _grouped(rank + 2, dim))
        wanted = [*shape[:dim], blocks, *shape[dim + 1 :], new]
        return merged if _shape(merged) == wanted else build.extract_slice(merged, [0] * (rank + 1), wanted)
    if new % old == 0 and shape[dim] == blocks * (new // old):
        parts = new // old
        wide = [*shape[:dim], blocks, parts, *shape[dim + 1 :], old]
        split = build.expand(source, _grouped(rank + 2, dim), wide)
        moved = _copy(split, [*range(dim + 1), *range(dim + 2, rank + 1), dim + 1, rank + 1])
        return build.collapse(moved, [*([i] for i in range(rank)), [rank, rank + 1]])
    return None


def pack_by_transpose(op: ir.Operation) -> ir.Value | None:
    """A linalg.pack [N, C, H, W] to [N, B, H, W, t], as a transposition."""
    shape = _shape(op.results[0])
    if inner_dims(op) != [1] or len(shape) != 5 or not build.is_static(op):
        return None
    source, (n, blocks, h, w, tile) = op.operands[0], shape
    if missing := blocks * tile - _shape(source)[1]:
        source = build.pad(source, [0] * 4, [0, missing, 0, 0], op.operands[2])
    if blocks == 1:
        return build.expand(build.transpose(source, [0, 2, 3, 1]), [[0], [1, 2], [3], [4]], shape)
    return build.transpose(build.expand(source, _grouped(5, 1), [n, blocks, tile, h, w]), [0, 1, 3, 4, 2])


def unpack_by_transpose(op: ir.Operation) -> ir.Value | None:
    """A linalg.unpack [N, B, H, W, t] to [N, C, H, W], as a transposition."""
    shape, wanted = _shape(op.operands[0]), _shape(op.results[0])
    if inner_dims(op) != [1] or len(shape) != 5 or not build.is_static(op):
        return None
    if shape[1] == 1:
        last = build.collapse(op.operands[0], [[0], [1, 2], [3], [4]])
        if shape[4] != wanted[1]:
            last = build.extract_slice(last, [0] * 4, [shape[0], shape[2], shape[3], wanted[1]])
        return build.transpose(last, [0, 3, 1, 2])
    whole = build.collapse(build.transpose(op.operands[0], [0, 1, 4, 2, 3]), _grouped(5, 1))
    return whole if _shape(whole) == wanted else build.extract_slice(whole, [0] * 4, wanted)


def inner_dims(op: ir.Operation) -> list[int] | None:
    """The dimensions that a linalg.pack or linalg.unpack tiles; None where it permutes the outer ones too."""
    if "outer_dims_perm" in op.attributes and list(ir.DenseI64ArrayAttr(op.attributes["outer_dims_perm"])):
        return None
    return list(ir.DenseI64ArrayAttr(op.attributes["inner_dims_pos"]))


def _shape(value: ir.Value) -> list[int]:
    return list(ir.RankedTensorType(value.type).shape)


def _grouped(rank: int, dim: int) -> list[list[int]]:
    """The reassociation in which `dim` and the next dimension are one."""
    return [*([i] for i in range(dim)), [dim, dim + 1], *([i] for i in range(dim + 2, rank))]


def _copy(source: ir.Value, permutation: list[int]) -> ir.Value:
    """A copy whose dimension i is dimension `permutation[i]`: a linalg.generic, which the schedules know."""
    shape = _shape(source)
    rank = len(shape)
    read = [affine.dim(permutation.index(i)) for i in range(rank)]
    identity = [affine.dim(i) for i in range(rank)]
    destination = build.empty([shape[i] for i in permutation], build.element_type(source))
    return build.generic([source], destination, [read, identity], ["parallel"] * rank, lambda value, _: value).results[
        0
    ]
