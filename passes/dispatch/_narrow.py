"""What reads a tensor of float32 that may be one of 16 bits, and how it does so then; buffers that several dispatch
regions fill up."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import build
from dlas_mlir.ir.pads import Padding

REGION = "flow.dispatch.region"
_SLICE, _INSERTION = "tensor.extract_slice", "tensor.insert_slice"


def may_be_narrow(use: ir.OpOperand, element: ir.Type) -> bool:
    """Whether a use in a dispatch region is as an input of a linalg.generic, be it of a part, or with padding around
    it that is a number of type `element`."""
    op = use.owner.operation
    if op.parent is None or op.parent.operation.name != REGION:
        return False
    if op.name == "linalg.generic":
        return use.operand_number < len(op.operands) - 1
    if op.name == "tensor.pad":
        padding = Padding.of(op)
        if padding is None or _narrow_constant(padding, element) is None:
            return False
    elif op.name != _SLICE or len(op.operands) > 1:
        return False
    uses = list(op.results[0].uses)
    return bool(uses) and all(may_be_narrow(inner, element) for inner in uses)


def readers(value: ir.Value) -> list[ir.OpOperand]:
    """The uses of a value, and of parts of it and of it with padding around, but for what inserts into it."""
    found = []
    for use in value.uses:
        op = use.owner.operation
        if op.name in ("tensor.pad", _SLICE):
            found += readers(op.results[0])
        elif not _fills(use):
            found.append(use)
    return found


def read_narrow(use: ir.OpOperand, value: ir.Value) -> None:
    """Let a use that may be narrow be of `value`: what a linalg.generic reads is extended in its body."""
    op = use.owner.operation
    if op.name == "linalg.generic":
        _extended(op, use.operand_number, value)
        return
    if _fills(use):
        op.operands[use.operand_number] = value  # of another type, until its region is narrow too
        return
    with ir.InsertionPoint(op), op.location:
        if op.name == _SLICE:
            offsets, sizes = (_numbers(op, f"static_{what}") for what in ("offsets", "sizes"))
            narrow = build.extract_slice(value, offsets, sizes)
        else:
            narrow = _padded(op, value)
    for inner in list(op.results[0].uses):
        read_narrow(inner, narrow)
    op.erase()


def inserted(op: ir.Operation, element: ir.Type) -> ir.Value:
    """What a tensor.insert_slice makes, with what it inserts in 16 bits, behind it."""
    part, into = op.operands[0], op.operands[1]
    with ir.InsertionPoint(op), op.location:
        if build.element_type(into) != element:
            into = build.empty(ir.RankedTensorType(into.type).shape, element)
        return build.insert_slice(build.truncated(part, element), into, _numbers(op, "static_offsets"))


def buffers(module: ir.Module, element: ir.Type) -> set[tuple[int, int]]:
    """The results of regions, each by its region and its place, that are buffers which these regions fill up one after
    the other, from nothing, and which may be narrow: all of one buffer, or none."""
    # Each buffer by the result that is filled first.
    first: dict[tuple[int, int], tuple[int, int]] = {}
    members: dict[tuple[int, int], list[ir.Value]] = {}
    wide, insertions = set(), set()
    for region in build.operations(module):
        if region.name != REGION:
            continue
        returned = list(region.regions[0].blocks[0].operations)[-1].operation.operands
        for place, value in enumerate(returned):
            op = build.defining(value)
            if op is None or op.name != _INSERTION:
                continue
            own, before = (build.identity(region), place), _before(op)
            first[own] = first.get(before, own) if before else own
            members.setdefault(first[own], []).append(region.results[place])
            insertions.add(build.identity(op))
            known = before in first if before else _is_empty(op.operands[1])
            if not (known and len(op.operands) == 2 and len(list(value.uses)) == 1 and is_f32(value)):
                wide.add(first[own])
    found = set()
    for own, results in members.items():
        uses = [use for result in results for use in result.uses]
        # What is inserted into a buffer, and not what its region returns, is no member.
        filled = [use for use in uses if _fills(use) and build.identity(use.owner.operation) in insertions]
        if own not in wide and all(use in filled or may_be_narrow(use, element) for use in uses):
            found |= {one for one, start in first.items() if start == own}
    return found


def is_f32(value: ir.Value) -> bool:
    """Whether a tensor's elements are float32."""
    return isinstance(build.element_type(value), ir.F32Type)


def _fills(use: ir.OpOperand) -> bool:
    """Whether a use is as what a part is inserted into."""
    return use.owner.operation.name == _INSERTION and use.operand_number == 1


def _before(op: ir.Operation) -> tuple[int, int] | None:
    """The result of another region that a tensor.insert_slice inserts into, by its region and place."""
    into = op.operands[1]
    maker = build.defining(into)
    if maker is None or maker.name != REGION:
        return None
    return build.identity(maker), ir.OpResult(into).result_number


def _is_empty(value: ir.Value) -> bool:
    op = build.defining(value)
    return op is not None and op.name == "tensor.empty"


def _numbers(op: ir.Operation, name: str) -> Sequence[int]:
    return list(ir.DenseI64ArrayAttr(op.attributes[name]))


def _narrow_constant(padding: Padding, element: ir.Type) -> ir.FloatAttr | None:
    """What is padded with, as a number of type `element`; None where that is another number."""
    wide = ir.FloatAttr(padding.constant)
    narrow = ir.FloatAttr.get(element, wide.value)
    return narrow if narrow.value == wide.value else None


def _padded(op: ir.Operation, value: ir.Value) -> ir.Value:
    """The padding of `op` around `value`, at the insertion point."""
    padding = Padding.of(op)
    constant = _narrow_constant(padding, build.element_type(value)) if padding else None
    assert padding is not None, "it has been looked at"
    assert constant is not None, "it has been looked at"
    return build.pad(value, padding.low, padding.high, arith.constant(constant.type, constant))


def _extended(op: ir.Operation, place: int, value: ir.Value) -> None:
    block = op.regions[0].blocks[0]
    argument = block.arguments[place]
    wide = argument.type
    op.operands[place] = value
    argument.set_type(build.element_type(value))
    with ir.InsertionPoint.at_block_begin(block):
        extended = arith.extf(wide, argument)
    for use in list(argument.uses):
        if use.owner.operation != extended.owner.operation:
            use.owner.operation.operands[use.operand_number] = extended
