"""dlas-narrow-indices: what is gathered is addressed with 32 bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.linalg import scalar_constant
from dlas_mlir.opt.base import Pass

_LOW, _HIGH = np.iinfo(np.int32).min, np.iinfo(np.int32).max
# The lower half of what these make is made of the lower halves of what they read.
_MODULAR = frozenset({"arith.addi", "arith.subi", "arith.muli"})
_EXTENDED = ("arith.extsi", "arith.extui")


@dataclass(frozen=True)
class NarrowIndicesPass(Pass):
    """Compute the places of elements that a linalg.generic gathers (tensor.extract in its body) in 32 bits, where
    they are computed in 64.

    A place is less than the size of its dimension. So the lower halves of all that is added, multiplied and selected
    on the way to it say as much. What is compared stays of 64 bits, but where both sides are known to be of 32.
    Constant tables whose numbers are of 32 bits are stored so; of others the lower half is taken in the body.

    iree-compile makes 64 bits of two of 32 for devices that have none, and fails where it gathers by vectors of such.

    Before:
    ```mlir
    %1 = linalg.generic ins(%table : tensor<5xi64>) outs(%e : tensor<5xf32>) {
    ^bb0(%in: i64, %out: f32):
      %2 = arith.cmpi slt, %in, %c0_i64 : i64
      %3 = arith.addi %in, %c8_i64 : i64
      %4 = arith.select %2, %3, %in : i64
      %5 = arith.index_cast %4 : i64 to index
      %6 = tensor.extract %x[%5] : tensor<8xf32>
    }
    ```
    After:
    ```mlir
    %1 = linalg.generic ins(%narrow : tensor<5xi32>) outs(%e : tensor<5xf32>) {
    ^bb0(%in: i32, %out: f32):
      %2 = arith.cmpi slt, %in, %c0_i32 : i32
      %3 = arith.addi %in, %c8_i32 : i32
      %4 = arith.select %2, %3, %in : i32
      %5 = arith.index_cast %4 : i32 to index
      %6 = tensor.extract %x[%5] : tensor<8xf32>
    }
    ```
    """

    name: ClassVar[str] = "dlas-narrow-indices"

    def run(self, module: ir.Module) -> None:
        tables = _Tables(Constants(module.operation))
        for op in build.operations(module):
            if op.name == "linalg.generic" and (casts := _places(op.regions[0].blocks[0])):
                tables.narrow(op)
                _narrow(op.regions[0].blocks[0], casts)
        build.erase_dead(module)


def _places(body: ir.Block) -> list[ir.Operation]:
    """The conversions from 64 bits to a place that elements are gathered from."""
    found = []
    for op in body.operations:
        op = op.operation
        cast = op.name in ("arith.index_cast", "arith.index_castui") and _is_wide(op.operands[0].type)
        if cast and any(use.owner.name == "tensor.extract" for use in op.results[0].uses):
            found.append(op)
    return found


@dataclass
class _Tables:
    """The constant tables of a module, each made narrow once."""

    constants: Constants
    _made: list[tuple[ir.Value, ir.Value]] = field(default_factory=list)

    def narrow(self, op: ir.Operation) -> None:
        """Read tables of 64 bits that 32 are enough for as such; the body extends them."""
        body = op.regions[0].blocks[0]
        for place, argument in enumerate(list(body.arguments)[: len(op.operands) - len(op.results)]):
            table = self._narrow(op.operands[place]) if _is_wide(argument.type) else None
            if table is None:
                continue
            op.operands[place] = table
            wide = argument.type
            argument.set_type(ir.IntegerType.get_signless(32))
            with ir.InsertionPoint.at_block_begin(body), op.location:
                extended = arith.extsi(wide, argument)
            argument.replace_all_uses_except(extended, extended.owner.operation)

    def _narrow(self, value: ir.Value) -> ir.Value | None:
        for table, made in self._made:
            if table == value:
                return made
        numbers = self.constants.read(value)
        if numbers is None or numbers.size == 0 or numbers.min() < _LOW or numbers.max() > _HIGH:
            return None
        with ir.InsertionPoint.after(value.owner), value.owner.location:
            made = constant(numbers.astype(np.int32))
        self._made.append((value, made))
        return made


def _narrow(body: ir.Block, casts: list[ir.Operation]) -> None:
    """Compute the places of `casts` in 32 bits."""
    made: list[tuple[ir.Value, ir.Value]] = []
    for op in [inner.operation for inner in body.operations]:
        if op.name == "arith.cmpi" and all(_is_known(value) for value in op.operands):
            with ir.InsertionPoint(op), op.location:
                for place, value in enumerate(op.operands):
                    op.operands[place] = _lower_half(value, body, made)
    for cast in casts:
        half = _lower_half(cast.operands[0], body, made)
        with ir.InsertionPoint(cast), cast.location:
            narrow = arith.index_cast(ir.IndexType.get(), half)
        # What else is computed of the place, such as whether it is one, is not known to be of 32 bits.
        for use in [use for use in cast.results[0].uses if use.owner.name == "tensor.extract"]:
            use.owner.operands[use.operand_number] = narrow
    for op in _unread(body):
        op.erase()


def _lower_half(value: ir.Value, body: ir.Block, made: list[tuple[ir.Value, ir.Value]]) -> ir.Value:
    """The lower 32 bits of `value`, made where it is itself."""
    for known, half in made:
        if known == value:
            return half
    op = build.defining(value)
    place = ir.InsertionPoint.at_block_begin(body) if op is None or op.block != body else ir.InsertionPoint.after(op)
    half = None
    if op is not None and op.block == body and (op.name in _MODULAR or op.name == "arith.select"):
        first = 1 if op.name == "arith.select" else 0
        halves = [_lower_half(operand, body, made) for operand in list(op.operands)[first:]]
        with place, op.location:
            kind = ir.IntegerType.get_signless(32)
            operands = [*list(op.operands)[:first], *halves]
            half = ir.Operation.create(op.name, results=[kind], operands=operands).result
    else:
        with place, value.location:
            half = _cut(value)
    made.append((value, half))
    return half


def _cut(value: ir.Value) -> ir.Value:
    """The lower half of what is no sum of others, at the insertion point."""
    i32 = ir.IntegerType.get_signless(32)
    number = scalar_constant(value)
    if number is not None:
        bits = ir.IntegerAttr(number).value & 0xFFFFFFFF
        return arith.constant(i32, ir.IntegerAttr.get(i32, bits - (bits >> 31 << 32)))
    op = build.defining(value)
    if op is not None and op.name in _EXTENDED and op.operands[0].type == i32:
        return op.operands[0]
    if op is not None and op.name in _EXTENDED and ir.IntegerType(op.operands[0].type).width < 32:
        return ir.Operation.create(op.name, results=[i32], operands=[op.operands[0]]).result
    return arith.trunci(i32, value)


def _is_known(value: ir.Value) -> bool:
    """Whether `value` is a number with a sign of 32 bits, written in 64."""
    if not _is_wide(value.type):
        return False
    if (number := scalar_constant(value)) is not None:
        return _LOW <= ir.IntegerAttr(number).value <= _HIGH
    op = build.defining(value)
    return op is not None and op.name == "arith.extsi" and ir.IntegerType(op.operands[0].type).width <= 32


def _unread(body: ir.Block) -> Iterator[ir.Operation]:
    """What computes what nobody reads, readers first."""
    for op in reversed([inner.operation for inner in body.operations]):
        if op.name.startswith("arith.") and not any(list(result.uses) for result in op.results):
            yield op


def _is_wide(kind: ir.Type) -> bool:
    return isinstance(kind, ir.IntegerType) and ir.IntegerType(kind).width == 64
