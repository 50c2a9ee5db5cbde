"""Dispatch regions made of groups of operations: what is in them, what they return, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping

from iree.compiler import ir
from iree.compiler.dialects import flow

from dlas_mlir.codegen.dot import ATTRIBUTE as DOT
from dlas_mlir.codegen.sparse.attribute import ATTRIBUTE as SPARSE
from dlas_mlir.ir import build
from dlas_mlir.ir.build import identity
from dlas_mlir.ir.linalg import fill_constant, is_plain_slice
from dlas_mlir.ir.pads import Padding
from dlas_mlir.passes.dispatch._groups import READ, Group, viewed


def form(group: Group, order: Mapping[int, int], padding: str) -> None:
    """Put the operations of `group`, which are numbered in `order`, and what they read through in a region."""
    members = sorted(group.members, key=lambda op: order[identity(op)])
    # The root leads, whatever the order: what joins it comes after it.
    inner = [*members, *group.tails]
    own = {identity(op) for op in inner}
    escaping = [op for op in inner if any(identity(user) not in own for user in build.users(op.results[0]))]
    last = max(inner, key=lambda op: order[identity(op)])
    with ir.InsertionPoint(last), group.root.location:
        region = flow.DispatchRegionOp([op.results[0].type for op in escaping], [], [])
        block = region.regions[0].blocks.append()
        with ir.InsertionPoint(block):
            copied: dict[ir.Value, ir.Value] = {}
            for op in inner:
                for operand in op.operands:
                    # What is inserted into is updated in place, unless it is new.
                    updated = op.name == "tensor.insert_slice" and not _is_new(operand)
                    if not updated and not _is_read_as_tensor(op, operand, padding):
                        _copy_source(operand, copied, padding)
                _clone(op, copied)
            flow.return_([copied[op.results[0]] for op in escaping])
    for op, result in zip(escaping, region.results, strict=True):
        for use in list(op.results[0].uses):
            if identity(use.owner.operation) not in own:
                use.owner.operation.operands[use.operand_number] = result
    for op in reversed(inner):
        op.erase()


def _copy_source(value: ir.Value, copied: dict[ir.Value, ir.Value], padding: str) -> None:
    """Clone what a kernel reads through: slices, fills, the shapes of windows, and padding where it is read."""
    op = build.defining(value)
    if value in copied or op is None or not (_is_read_through(op) or (padding == READ and _is_padding(op))):
        return
    for operand in op.operands:
        _copy_source(operand, copied, padding)
    _clone(op, copied)


def _is_read_as_tensor(op: ir.Operation, operand: ir.Value, padding: str) -> bool:
    """Whether `op` loads its `operand`, be it filled with one value: so do sparse contractions and dot products.
    The former do so with padding, too."""
    source = build.defining(viewed(operand))
    loads = any(name in op.attributes for name in (SPARSE, DOT)) and operand in list(op.operands)[:2]
    return (
        loads
        and source is not None
        and (source.name in ("linalg.fill", "tensor.empty") or (padding == READ and _is_padding(source)))
    )


def _is_read_through(op: ir.Operation) -> bool:
    if op.name == "tensor.extract_slice":
        return is_plain_slice(op)
    return op.name == "tensor.empty" or (op.name == "linalg.fill" and fill_constant(op) is not None)


def _is_padding(op: ir.Operation) -> bool:
    padding = Padding.of(op)
    if padding is None or padding.cuts:
        return False
    source = build.defining(padding.source)
    return source is None or not (_is_read_through(source) or _is_padding(source))


def _is_new(value: ir.Value) -> bool:
    op = build.defining(value)
    return op is not None and op.name == "tensor.empty"


def _clone(op: ir.Operation, copied: dict[ir.Value, ir.Value]) -> None:
    clone = op.clone()
    for place, operand in enumerate(op.operands):
        if operand in copied:
            clone.operands[place] = copied[operand]
    copied[op.results[0]] = clone.results[0]


def sort_topologically(block: ir.Block) -> None:
    """Bring each operation behind what it reads, changing the order no more than that needs."""
    operations = {identity(op.operation): op.operation for op in block.operations}
    *_, terminator = operations.values()
    placed: set[int] = set()

    def sources(op: ir.Operation) -> list[int]:
        owners = [value.owner for value in build.read_by(op)]
        keys = [identity(owner.operation) for owner in owners if not isinstance(owner, ir.Block)]
        return [key for key in keys if key in operations and key not in placed]

    for first in operations:
        stack = [first] if first not in placed else []
        while stack:
            waiting = sources(operations[stack[-1]])
            if waiting:
                assert waiting[0] not in stack, "dispatches that wait for one another"
                stack.append(waiting[0])
                continue
            key = stack.pop()
            if key not in placed:
                placed.add(key)
                if operations[key] != terminator:
                    operations[key].move_before(terminator)
