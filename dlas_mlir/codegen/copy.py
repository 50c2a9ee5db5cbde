"""A copy of a tensor that nothing folds away: a dispatch that reads it and writes it."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.dispatch import dispatch, load, store


def copied(value: ir.Value) -> ir.Value:
    """A copy of `value`, a tensor of static shape and any element type, in a buffer of its own."""

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        store(load(sources[0], value.type), targets[0], [0] * ir.RankedTensorType(value.type).rank)

    op = dispatch([1, 1, 1], [value], [value.type], [None], body)
    _leave_grid_to_compiler(op)
    return op.result


def _leave_grid_to_compiler(op: ir.Operation) -> None:
    """iree-compile deals a copy out among as many workgroups as it likes."""
    count = op.regions[1].blocks[0]
    with ir.InsertionPoint.at_block_begin(count), op.location:
        name = "iree_tensor_ext.dispatch.workgroup_count_from_slice"
        grid = ir.Operation.create(name, results=[ir.IndexType.get()] * 3)
    *_, end = count.operations
    for place, result in enumerate(grid.results):
        end.operation.operands[place] = result
