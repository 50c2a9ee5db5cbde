"""dlas-propagate-layouts: move the packed layout through the network, so that it is packed once and unpacked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.sparse import attribute as sparse
from dlas_mlir.ir import affine, build, conv, loops
from dlas_mlir.ir.constants import is_constant
from dlas_mlir.ir.linalg import indexing_maps, iterators
from dlas_mlir.ir.pads import Padding
from dlas_mlir.ir.views import reassociation
from dlas_mlir.opt.base import Pass
from dlas_mlir.passes.layout._relayout import inner_dims, pack_by_transpose, relayout, unpack_by_transpose
from dlas_mlir.passes.primitives import check_lowered


@dataclass(frozen=True)
class PropagateLayoutsPass(Pass):
    """Move linalg.unpack of channels down, through element-wise operations and reductions of other dimensions (any
    linalg.generic in which channels are a parallel loop), pooling, padding, concatenation of whole blocks (values that
    are one block each, as on a GPU, become one block) and the flattening of 1x1 images, until it meets a linalg.pack
    that it cancels, or the end.

    Pooling in NCHW that stays where it is becomes a linalg.generic too, which can be a kernel of ours: iree-compile
    refuses the named form where it makes one row and does not read the last row of its input.

    Where it meets a pack in blocks of another size, one copy of whole vectors is left; a pack or unpack that stays
    becomes the transposition that it is, of which iree-compile makes better code.

    An operation that reads a packed and an unpacked value gets the latter packed, unless it stands between sparse
    contractions, which compute and read NCHW: then the former is unpacked. The filler lanes of a partial block
    hold values that nothing reads, whatever they are; an operation that divides integers, which traps, stays unpacked.
    A pack whose padding somebody reads (one without `dlas.unread_filler`) does not vanish.

    A layer that is still marked with a primitive is an error: the pass that lowers it is missing in the pipeline.

    Before:
    ```mlir
    %1 = linalg.unpack %p inner_dims_pos = [1] inner_tiles = [16] : tensor<1x4x56x56x16xf32> -> tensor<1x64x56x56xf32>
    %2 = linalg.generic {indexing_maps = [(d0, d1, d2, d3), (d0, d1, d2, d3)]} ins(%1) { relu }
    %3 = linalg.pack %2 inner_dims_pos = [1] inner_tiles = [16] : tensor<1x64x56x56xf32> -> tensor<1x4x56x56x16xf32>
    ```
    After:
    ```mlir
    %3 = linalg.generic {indexing_maps = [(d0, d1, d2, d3, d4), (d0, d1, d2, d3, d4)]} ins(%p) { relu }
    ```
    """

    name: ClassVar[str] = "dlas-propagate-layouts"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            check_lowered(op)
        for op in build.operations(module):
            _rewrite(op, _HANDLERS)
        build.erase_dead(module)
        for op in build.operations(module):
            _rewrite(op, _LEFT_OVER)
        build.erase_dead(module)


_Handlers: TypeAlias = "dict[str, Callable[[ir.Operation], ir.Value | None]]"


def _rewrite(op: ir.Operation, handlers: _Handlers) -> None:
    handler = handlers.get(op.name)
    if handler is None or not build.is_static(op):
        return
    with ir.InsertionPoint(op), op.location:
        replacement = handler(op)
    if replacement is not None:
        op.results[0].replace_all_uses_with(replacement)
        op.erase()


@dataclass(frozen=True)
class _Packed:
    """A value that is an unpack of `source`, tiled by `tile` along dimension `dim`."""

    source: ir.Value
    dim: int
    tile: int
    shape: tuple[int, ...]


def _shape(value: ir.Value) -> list[int]:
    return list(ir.RankedTensorType(value.type).shape)


def _packed(value: ir.Value) -> _Packed | None:
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "linalg.unpack":
        return None
    op = owner.operation
    dims = inner_dims(op)
    tiles = list(ir.DenseI64ArrayAttr(op.attributes["static_inner_tiles"]))
    if dims is None or len(dims) != 1:
        return None
    return _Packed(op.operands[0], dims[0], tiles[0], tuple(_shape(value)))


def _as_packed(value: ir.Value, dim: int, tile: int) -> ir.Value:
    """`value` packed by `tile` along `dim`: what it is an unpack of, or a new pack."""
    packed = _packed(value)
    if packed is not None and (packed.dim, packed.tile) == (dim, tile):
        return packed.source
    return build.pack(value, [dim], [tile], unread=True)


def _can_pack(value: ir.Value, dim: int, tile: int) -> bool:
    """Whether `_as_packed` gives what iree-compile takes, which stores bits as bytes, but not the padding of a pack."""
    packed = _packed(value)
    if packed is not None and (packed.dim, packed.tile) == (dim, tile):
        return True
    owner = build.defining(value)
    return getattr(build.element_type(value), "width", 8) >= 8 or (owner is not None and owner.name == "tensor.empty")


def _cancel(op: ir.Operation) -> ir.Value | None:
    """A pack of an unpack."""
    packed = _packed(op.operands[0])
    tiles = list(ir.DenseI64ArrayAttr(op.attributes["static_inner_tiles"]))
    if packed is None or inner_dims(op) != [packed.dim]:
        return None
    if packed.shape[packed.dim] % tiles[0] and build.UNREAD_FILLER not in op.attributes:
        return None
    if tiles == [packed.tile]:
        return packed.source if packed.source.type == op.results[0].type else None
    return relayout(packed.source, packed.dim, _shape(op.results[0])[packed.dim], tiles[0])


def _generic(op: ir.Operation) -> ir.Value | None:
    if len(op.results) != 1:
        return None
    maps, kinds = indexing_maps(op), iterators(op)
    inputs = list(op.operands)[:-1]
    layout = _common_layout(inputs, maps, kinds)
    if layout is None:
        return None
    loop, tile, extent = layout
    places = [_plain_place(map_, loop) for map_ in maps]
    if places[-1] is None or any(place is None and _uses(map_, loop) for place, map_ in zip(places, maps, strict=True)):
        return None
    if not _may_be_packed(op, loop, partial=extent % tile != 0):
        return None
    if any(_from_sparse(value) for value in inputs) and _to_sparse(op.results[0]):
        return None
    if any(
        place is not None and not _can_pack(value, place, tile)
        for value, place in zip(op.operands, places, strict=True)
    ):
        return None
    new_inputs = [
        value if place is None else _as_packed(value, place, tile) for value, place in zip(inputs, places, strict=False)
    ]
    destination = _packed_destination(op.operands[len(inputs)], places[-1], tile)
    count = len(kinds) + 1
    new_maps = [
        ir.AffineMap.get(count, 0, [*map_.results, *([] if place is None else [affine.dim(count - 1)])])
        for map_, place in zip(maps, places, strict=True)
    ]
    names = loops.in_blocks(loops.names(op), loop) if loops.named(op) else ()
    new = build.generic_like(op, new_inputs, destination, new_maps, [*kinds, "parallel"], loops=names)
    return build.unpack(new.results[0], [places[-1]], _shape(op.results[0]))


def _from_sparse(value: ir.Value) -> bool:
    """Whether a sparse contraction computes `value`, but for element-wise operations and padding."""
    op = build.defining(value)
    if op is None or op.name not in ("linalg.generic", "tensor.pad"):
        return False
    if op.name == "linalg.generic" and "reduction" in iterators(op):
        return sparse.ATTRIBUTE in op.attributes
    return any(_from_sparse(operand) for operand in op.operands)


def _to_sparse(value: ir.Value) -> bool:
    """Whether a sparse contraction reads `value`, but for element-wise operations and padding."""
    for user in build.users(value):
        if user.name == "linalg.generic" and "reduction" in iterators(user):
            if sparse.ATTRIBUTE in user.attributes:
                return True
        elif user.name in ("linalg.generic", "tensor.pad") and _to_sparse(user.results[0]):
            return True
    return False


def _common_layout(inputs: list[ir.Value], maps: list[ir.AffineMap], kinds: list[str]) -> tuple[int, int, int] | None:
    """The parallel loop over channels, the tile and the number of channels of the packed inputs."""
    for value, map_ in zip(inputs, maps, strict=False):
        packed = _packed(value)
        if packed is not None and affine.is_dim(map_.results[packed.dim]):
            loop = affine.dim_position(map_.results[packed.dim])
            if kinds[loop] == "parallel":
                return loop, packed.tile, packed.shape[packed.dim]
    return None


def _plain_place(map_: ir.AffineMap, loop: int) -> int | None:
    """The result of `map_` that is `loop` and nothing else, if no other result uses it."""
    places = [i for i, expr in enumerate(map_.results) if loop in affine.dims_of(expr)]
    return places[0] if len(places) == 1 and affine.is_dim(map_.results[places[0]], loop) else None


def _uses(map_: ir.AffineMap, loop: int) -> bool:
    return any(loop in affine.dims_of(expr) for expr in map_.results)


def _may_be_packed(op: ir.Operation, loop: int, partial: bool) -> bool:
    """Whether the body means the same where `loop` is in blocks: it does not ask for the loop's index, and, on the
    filler lanes of a partial block, nothing traps."""
    if not all(isinstance(build.element_type(value), ir.FloatType | ir.IntegerType) for value in op.operands):
        return False
    for inner in op.regions[0].blocks[0].operations:
        inner = inner.operation
        if inner.name == "linalg.index" and ir.IntegerAttr(inner.attributes["dim"]).value == loop:
            return False
        if len(inner.regions) or (partial and inner.name in _TRAPPING):
            return False
    return True


_TRAPPING = {f"arith.{name}" for name in ("divsi", "divui", "remsi", "remui", "ceildivsi", "ceildivui", "floordivsi")}


def _packed_destination(value: ir.Value, dim: int, tile: int) -> ir.Value:
    owner = value.owner
    name = "" if isinstance(owner, ir.Block) else owner.operation.name
    shape = _shape(value)
    packed_shape = [-(-size // tile) if i == dim else size for i, size in enumerate(shape)] + [tile]
    if name == "linalg.fill":
        return build.fill(owner.operation.operands[0], packed_shape)
    if name == "tensor.empty":
        return build.empty(packed_shape, build.element_type(value))
    return _as_packed(value, dim, tile)


def _pooling(op: ir.Operation) -> ir.Value | None:
    """A linalg.generic, of which kernels are made: of packed channels, or as it is."""
    packed = _packed(op.operands[0])
    window, destination = op.operands[1], op.operands[2]
    if packed is not None and packed.dim != 1:
        return None
    strides, dilations = conv.pair(op, "strides"), conv.pair(op, "dilations")
    parallel = 4 if packed is None else 5
    n, c, oh, ow, *lane = (affine.dim(i) for i in range(parallel))
    fh, fw = affine.dim(parallel), affine.dim(parallel + 1)
    maps = [
        [n, c, oh * strides[0] + fh * dilations[0], ow * strides[1] + fw * dilations[1], *lane],
        [fh, fw],
        [n, c, oh, ow, *lane],
    ]
    new = build.generic_like(
        op,
        [op.operands[0] if packed is None else packed.source, window],
        destination if packed is None else _packed_destination(destination, 1, packed.tile),
        [ir.AffineMap.get(parallel + 2, 0, exprs) for exprs in maps],
        ["parallel"] * parallel + ["reduction"] * 2,
        loops=("n", "c", "oh", "ow", "r", "s") if packed is None else ("n", "cb", "oh", "ow", "c", "r", "s"),
    )
    return new.results[0] if packed is None else build.unpack(new.results[0], [1], _shape(op.results[0]))


def _pad(op: ir.Operation) -> ir.Value | None:
    packed, padding = _packed(op.operands[0]), Padding.of(op)
    if packed is None or padding is None or padding.low[packed.dim] or padding.high[packed.dim]:
        return None
    filler = arith.constant(build.element_type(packed.source), padding.constant)
    padded = build.pad(packed.source, [*padding.low, 0], [*padding.high, 0], filler)
    return build.unpack(padded, [packed.dim], _shape(op.results[0]))


def _concat(op: ir.Operation) -> ir.Value | None:
    dim = ir.IntegerAttr(op.attributes["dim"]).value
    parts = [_packed(value) for value in op.operands]
    tiles = {part.tile for part in parts if part is not None and part.dim == dim}
    if _is_one_block(op, dim, parts):
        sources = [_as_packed(value, dim, _shape(value)[dim]) for value in op.operands]
        total = build.concat(sources, ir.RankedTensorType(sources[0].type).rank - 1)
        return build.unpack(total, [dim], _shape(op.results[0]))
    if len(tiles) != 1:
        return None
    tile = tiles.pop()
    if any(_shape(value)[dim] % tile for value in list(op.operands)[:-1]):
        return None
    sources = [_as_packed(value, dim, tile) for value in op.operands]
    return build.unpack(build.concat(sources, dim), [dim], _shape(op.results[0]))


def _is_one_block(op: ir.Operation, dim: int, parts: list[_Packed | None]) -> bool:
    """Whether parts that are one block of all their channels each are to be one block together: because they have
    different ones, or because who reads them wants it."""
    known = [part for part in parts if part is not None]
    if not known or any(part.dim != dim or part.tile != part.shape[dim] for part in known):
        return False
    total = _shape(op.results[0])[dim]
    return len({part.tile for part in known}) > 1 or total in _wanted_tiles(op.results[0], dim)


def _wanted_tiles(value: ir.Value, dim: int) -> set[int]:
    """In which blocks along `dim` the readers of `value` pack it, element-wise operations and padding left out."""
    found: set[int] = set()
    values = [value]
    # The list grows while it is gone through.
    for value in values:
        for user in build.users(value):
            if user.name == "linalg.pack" and inner_dims(user) == [dim]:
                found |= set(ir.DenseI64ArrayAttr(user.attributes["static_inner_tiles"]))
            elif user.name == "tensor.pad" or (user.name == "linalg.generic" and "reduction" not in iterators(user)):
                values += [result for result in user.results if result not in values]
    return found


def _collapse(op: ir.Operation) -> ir.Value | None:
    """[N, C, 1, 1] to [N, C]."""
    packed = _packed(op.operands[0])
    if packed is None or packed.dim != 1 or packed.shape[2:] != (1, 1) or reassociation(op) != [[0], [1, 2, 3]]:
        return None
    flat = build.collapse(packed.source, [[0], [1], [2, 3, 4]])
    return build.unpack(flat, [1], _shape(op.results[0]))


def _expand(op: ir.Operation) -> ir.Value | None:
    """[N, C] to [N, C, 1, 1]."""
    packed = _packed(op.operands[0])
    shape = _shape(op.results[0])
    if packed is None or packed.dim != 1 or reassociation(op) != [[0], [1, 2, 3]] or shape[2:] != [1, 1]:
        return None
    blocks = _shape(packed.source)
    image = build.expand(packed.source, [[0], [1], [2, 3, 4]], [blocks[0], blocks[1], 1, 1, packed.tile])
    return build.unpack(image, [1], shape)


def _unpack_left_over(op: ir.Operation) -> ir.Value | None:
    """An unpack with nothing but unit dimensions between the blocks and the lanes moves no data."""
    packed = _packed(op.results[0])
    if packed is None or packed.dim != 1 or any(size != 1 for size in packed.shape[2:]):
        return unpack_by_transpose(op)
    rank = len(packed.shape)
    flat = build.collapse(packed.source, [[0], list(range(1, rank + 1))])
    if _shape(flat)[1] != packed.shape[1]:
        flat = build.extract_slice(flat, [0, 0], packed.shape[:2])
    return build.expand(flat, [[0], list(range(1, rank))], packed.shape) if rank > 2 else flat


def _pack_left_over(op: ir.Operation) -> ir.Value | None:
    """The packing of weights is left to dlas-fold-constants."""
    return None if is_constant(op.operands[0]) else _pack_of_fill(op) or pack_by_transpose(op)


def _pack_of_fill(op: ir.Operation) -> ir.Value | None:
    """A fill of the packed shape: iree-compile fails on the packing of one filled element."""
    fill = build.defining(op.operands[0])
    padded = len(op.operands) > 2
    if fill is None or fill.name != "linalg.fill" or (padded and build.UNREAD_FILLER not in op.attributes):
        return None
    return build.fill(fill.operands[0], _shape(op.results[0]))


_HANDLERS: _Handlers = {
    "linalg.generic": _generic,
    "linalg.pack": _cancel,
    "linalg.pooling_nchw_max": _pooling,
    "linalg.pooling_nchw_sum": _pooling,
    "tensor.collapse_shape": _collapse,
    "tensor.concat": _concat,
    "tensor.expand_shape": _expand,
    "tensor.pad": _pad,
}

_LEFT_OVER: _Handlers = {"linalg.pack": _pack_left_over, "linalg.unpack": _unpack_left_over}
