"""Scalar bodies of linalg operations, executed on vectors."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.ir.build import attributes_of, is_narrow_float
from dlas_mlir.ir.linalg import scalar_constant
from dlas_mlir.opt.base import PassError

# Operations whose result of 16 bits comes about without arithmetic in 16 bits.
MOVING = frozenset({"arith.truncf", "arith.bitcast", "arith.select"})


class BodyEmitter:
    """Clones the operations of a body for `lanes` lanes at a time, each distinct computation once."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._done: dict[tuple, ir.Value] = {}

    def emit(self, block: ir.Block, arguments: Sequence[ir.Value | None]) -> ir.Value:
        """The yielded value of `block` for vector arguments. None stands for an argument that is not used."""
        values = {
            argument: value for argument, value in zip(block.arguments, arguments, strict=True) if value is not None
        }
        for op in block.operations:
            op = op.operation
            if op.name == "linalg.yield":
                return self._operand(op.operands[0], values)
            if op.name != "arith.constant":
                values[op.results[0]] = self._clone(op, values)
        raise PassError("a body without linalg.yield", block.owner)

    def _operand(self, value: ir.Value, values: dict[ir.Value, ir.Value]) -> ir.Value:
        if value in values:
            return values[value]
        attr = scalar_constant(value)
        if attr is None:
            raise PassError("a kernel's body may only use its arguments and constants", value.owner)
        key = ("constant", str(attr))
        if key not in self._done:
            self._done[key] = build.splat(attr, self.lanes)
        return self._done[key]

    def _clone(self, op: ir.Operation, values: dict[ir.Value, ir.Value]) -> ir.Value:
        if op.regions or len(op.results) != 1 or op.name.split(".")[0] not in ("arith", "math"):
            raise PassError(f"'{op.name}' in a body cannot be vectorised", op)
        fused = self._fused_multiply_add(op, values)
        if fused is not None:
            return fused
        operands = [self._operand(value, values) for value in op.operands]
        attributes = {named.name: named.attr for named in attributes_of(op)}
        element = op.results[0].type
        if op.name == "arith.extf" and isinstance(element, ir.F32Type):
            return self._extended(operands[0])
        if not is_narrow_float(element) or op.name in MOVING:
            return self._create(op.name, element, operands, attributes)
        # No vectors of 16 bits can be computed with: iree-compile has no lowering for some operations on them.
        f32 = ir.F32Type.get()
        wide = [self._extended(value) if _is_narrow(value) else value for value in operands]
        return self._create("arith.truncf", element, [self._create(op.name, f32, wide, attributes)])

    def _extended(self, value: ir.Value) -> ir.Value:
        """A vector of 16-bit floats in float32."""
        f32 = ir.F32Type.get()
        if not isinstance(ir.VectorType(value.type).element_type, ir.BF16Type) or not _is_computed(value):
            return self._create("arith.extf", f32, [value])
        # Bit by bit: of a number that is rounded to bfloat16 and extended, iree-compile forgets the rounding.
        i16, i32 = (ir.IntegerType.get_signless(bits) for bits in (16, 32))
        bits = self._create("arith.extui", i32, [self._create("arith.bitcast", i16, [value])])
        shift = build.splat(ir.IntegerAttr.get(i32, 16), self.lanes)
        return self._create("arith.bitcast", f32, [self._create("arith.shli", i32, [bits, shift])])

    def _create(
        self, name: str, element: ir.Type, operands: list[ir.Value], attributes: dict[str, ir.Attribute] | None = None
    ) -> ir.Value:
        """An operation with one result, made once: `element` in each lane."""
        # By content: the attribute map itself prints as its address, and two predicates would be one now and then.
        key = (name, str(element), *((named, str(attr)) for named, attr in (attributes or {}).items()), *operands)
        if key not in self._done:
            kind = ir.VectorType.get([self.lanes], element)
            created = ir.Operation.create(name, results=[kind], operands=operands, attributes=attributes)
            self._done[key] = created.result
        return self._done[key]

    def _fused_multiply_add(self, op: ir.Operation, values: dict[ir.Value, ir.Value]) -> ir.Value | None:
        """a * b + c as one vector.fma when the body's accumulator (its last argument) is c."""
        if op.name != "arith.addf" or is_narrow_float(op.results[0].type):
            return None
        accumulator = op.block.arguments[-1]
        for addend, product in (op.operands, reversed(list(op.operands))):
            owner = product.owner
            if addend == accumulator and isinstance(owner, ir.Operation | ir.OpView) and owner.name == "arith.mulf":
                a, b = (self._operand(value, values) for value in owner.operands)
                c = self._operand(addend, values)
                return build.fma(a, b, c)
        return None


def _is_computed(value: ir.Value) -> bool:
    """Whether a vector is computed, and not only loaded, with something else in some lanes."""
    owner = value.owner
    if isinstance(owner, ir.Block) or not owner.name.startswith(("arith.", "math.")):
        return False
    if owner.name == "arith.select":
        return any(_is_computed(one) for one in list(owner.operands)[1:])
    return owner.name != "arith.constant"


def _is_narrow(vector: ir.Value) -> bool:
    return is_narrow_float(ir.VectorType(vector.type).element_type)
