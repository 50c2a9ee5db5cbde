"""dlas-keep-arguments: copy an argument of a function before it is written over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.copy import copied
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.linalg import indexing_maps
from dlas_mlir.opt.base import Pass

# What gives a value of its operands' type another form, or may turn out to.
_VIEWS = ("tensor.", "flow.tensor.")
_PARTS = frozenset(
    {"tensor.extract_slice", "tensor.cast", "tensor.reshape", "tensor.collapse_shape", "tensor.expand_shape"}
)
_MOVES = frozenset({"linalg.copy", "linalg.transpose", "linalg.broadcast", "linalg.pack", "linalg.unpack"})


@dataclass(frozen=True)
class KeepArgumentsPass(Pass):
    """Copy an argument of a function before it is written over.

    iree-compile computes an operation in the buffer of its destination where nothing reads that afterwards. Of an
    argument it does not know that the caller does, and so does a function that returns it too. Whatever may be written
    into (the destination of a linalg operation or a sort, of an insertion, of a kernel, what a loop carries) and is
    an argument, or an argument in another shape, is copied by a dispatch of its own. A destination that nobody reads
    becomes a tensor.empty.

    Before:
    ```mlir
    func.func @main(%x: tensor<1x18xf32>, %y: tensor<18x18xf32>, %start: tensor<1x18xf32>) {
      %1 = linalg.matmul ins(%x, %y : ...) outs(%start : tensor<1x18xf32>)
      return %1, %start
    ```
    After:
    ```mlir
    func.func @main(%x: tensor<1x18xf32>, %y: tensor<18x18xf32>, %start: tensor<1x18xf32>) {
      %0 = flow.dispatch.workgroups(%start) : (tensor<1x18xf32>) -> tensor<1x18xf32> = (%in, %out) { load, store }
      %1 = linalg.matmul ins(%x, %y : ...) outs(%0 : tensor<1x18xf32>)
      return %1, %start
    ```
    """

    name: ClassVar[str] = "dlas-keep-arguments"

    def run(self, module: ir.Module) -> None:
        for block in build.functions(module):
            for op in _all_operations(block):
                for place in _written(op):
                    _keep(op, place, block)
        build.erase_dead(module)


def _all_operations(block: ir.Block) -> list[ir.Operation]:
    """The operations of `block` and, outside of kernels, of the regions in it, in order."""
    found = []
    for op in block.operations:
        op = op.operation
        found.append(op)
        if op.name != "flow.dispatch.workgroups" and not op.name.startswith("linalg."):
            found += [inner for region in op.regions for nested in region.blocks for inner in _all_operations(nested)]
    return found


def _written(op: ir.Operation) -> list[int]:
    """The places of the operands that `op` may be computed in."""
    count = len(op.operands)
    if op.name.startswith(("linalg.", "iree_linalg_ext.", "tm_tensor.")):
        # linalg.pack has its padding, and sizes of tiles, behind its destination.
        places = [1] if op.name in ("linalg.pack", "linalg.unpack") else list(range(count - len(op.results), count))
    elif op.name in ("tensor.insert_slice", "tensor.insert"):
        places = [1]
    elif op.name == "flow.dispatch.workgroups":
        ties = ir.ArrayAttr(op.attributes["tied_operands"]) if "tied_operands" in op.attributes else []
        places = [tie.value for tie in map(ir.IntegerAttr, ties) if tie.value >= 0]
    elif op.name in ("scf.for", "scf.while"):
        places = list(range(count))
    else:
        places = []
    return [place for place in places if isinstance(op.operands[place].type, ir.RankedTensorType)]


def _keep(op: ir.Operation, place: int, function: ir.Block) -> None:
    """See to it that the operand of `op` at `place` is no argument of the `function` that it belongs to."""
    value = op.operands[place]
    while not _is_argument(value, function):
        source = _viewed(value)
        if source is None:
            return
        value = source
    if not ir.RankedTensorType(value.type).has_static_shape:
        return
    with ir.InsertionPoint(op), op.location:
        if _is_unread(op):
            kind = ir.RankedTensorType(op.operands[place].type)
            op.operands[place] = build.empty(kind.shape, kind.element_type)
            return
    _copy(op, place)


def _is_argument(value: ir.Value, function: ir.Block) -> bool:
    return isinstance(value.owner, ir.Block) and value.owner == function


def _viewed(value: ir.Value) -> ir.Value | None:
    """What `value` may share its buffer with, be it after folding; None where it is computed."""
    op = build.defining(value)
    if op is None:
        return None
    if op.name == "linalg.generic":
        sources = _yielded_operands(op)
    elif op.name in _MOVES or op.name.startswith(_VIEWS):
        sources = list(op.operands)
    else:
        return None
    return next((source for source in sources if _may_be_all_of(op, source)), None)


def _yielded_operands(op: ir.Operation) -> list[ir.Value]:
    """The operands that a linalg.generic passes on as they are."""
    block = op.regions[0].blocks[0]
    *_, end = block.operations
    arguments = [value for value in end.operands if value.owner == block]
    return [op.operands[ir.BlockArgument(value).arg_number] for value in arguments]


def _may_be_all_of(op: ir.Operation, source: ir.Value) -> bool:
    """Whether the result of `op` may be nothing but `source`, or a part of it."""
    kinds = (source.type, op.results[0].type)
    if not all(isinstance(kind, ir.RankedTensorType) for kind in kinds):
        return False
    if op.name in _PARTS:
        return True
    return build.is_static(op) and len({math.prod(ir.RankedTensorType(kind).shape) for kind in kinds}) == 1


def _is_unread(op: ir.Operation) -> bool:
    """Whether `op` writes all of its one destination without reading it."""
    if not op.name.startswith("linalg.") or len(op.results) != 1:
        return False
    if op.regions and list(op.regions[0].blocks[0].arguments[-1].uses):
        return False
    if op.name != "linalg.generic":
        return bool(op.regions) or op.name in _MOVES
    exprs = indexing_maps(op)[-1].results
    loops = [affine.dim_position(expr) for expr in exprs if affine.is_dim(expr)]
    return len(loops) == len(set(loops)) == len(exprs)


def _copy(op: ir.Operation, place: int) -> None:
    """Give `op` a copy for its operand at `place`: before `op`, or before the dispatch that it is in."""
    value, dispatch = op.operands[place], _dispatch_of(op)
    if dispatch is None:
        with ir.InsertionPoint(op), op.location:
            op.operands[place] = copied(value)
        return
    # What a dispatch makes of an argument is made of the copy.
    while not isinstance(value.owner, ir.Block) and _dispatch_of(value.owner) is not None:
        source = _viewed(value)
        assert source is not None
        value = source
    with ir.InsertionPoint(dispatch), op.location:
        copy = copied(value)
    for use in list(value.uses):
        inside = _dispatch_of(use.owner)
        if inside is not None and build.identity(inside) == build.identity(dispatch):
            use.owner.operation.operands[use.operand_number] = copy


def _dispatch_of(op: ir.Operation | ir.OpView) -> ir.Operation | None:
    """The flow.dispatch.region that `op` is in, if any."""
    parent = op.operation.parent
    while parent is not None and parent.operation.name != "flow.dispatch.region":
        parent = parent.operation.parent
    return None if parent is None else parent.operation
