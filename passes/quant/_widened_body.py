"""Scalar bodies of linalg operations on 16-bit floats, rewritten to compute in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir.build import is_narrow_float
from dlas_mlir.ir.linalg import scalar_constant

# Operations whose result is one of their operands, or as exact in 16 bits as in 32.
_EXACT = frozenset(
    [
        *(f"arith.{name}" for name in ("constant", "maximumf", "minimumf", "maxnumf", "minnumf", "negf", "select")),
        *(f"arith.{name}" for name in ("bitcast", "truncf", "sitofp", "uitofp")),
        *(f"math.{name}" for name in ("absf", "copysign", "ceil", "floor", "round", "roundeven", "trunc")),
    ]
)
# What makes a 16-bit float of something else and rounds where it stands.
_ROUNDING = frozenset({"arith.truncf", "arith.bitcast"})


def is_rounding(op: ir.Operation) -> bool:
    """Whether `op` is arithmetic whose result is rounded to 16 bits."""
    return op.name not in _EXACT and any(is_narrow_float(result.type) for result in op.results)


def is_plain(block: ir.Block) -> bool:
    """Whether the body is arithmetic and nothing else, which can be written anew."""
    return all(
        not op.operation.regions and op.operation.name.split(".")[0] in ("arith", "math", "linalg", "tensor")
        for op in block.operations
    )


@dataclass
class _Body:
    """`wide` holds the float32 for a value of 16 bits, `plain` the new value of the same type."""

    wide: dict[ir.Value, ir.Value] = field(default_factory=dict)
    plain: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def widened(self, value: ir.Value) -> ir.Value:
        if value not in self.wide:
            f32 = ir.F32Type.get()
            attr = scalar_constant(value)
            self.wide[value] = (
                arith.constant(f32, ir.FloatAttr(attr).value) if attr is not None else arith.extf(f32, self.same(value))
            )
        return self.wide[value]

    def same(self, value: ir.Value) -> ir.Value:
        if value not in self.plain and value in self.wide:
            self.plain[value] = arith.truncf(value.type, self.wide[value])
        return self.plain.get(value, value)

    def computed(self, value: ir.Value) -> ir.Value:
        return self.widened(value) if is_narrow_float(value.type) else self.same(value)

    def clone(self, op: ir.Operation) -> None:
        """`op` on the new values."""
        if op.name == "arith.constant":
            self.plain[op.results[0]] = op.clone().results[0]
            return
        if op.name == "arith.extf" and is_narrow_float(op.operands[0].type) and _is_f32(op.results[0].type):
            self.plain[op.results[0]] = self.widened(op.operands[0])
            return
        narrow = len(op.results) == 1 and is_narrow_float(op.results[0].type)
        computes = op.name.split(".")[0] in ("arith", "math") and op.name not in _ROUNDING
        computes &= narrow or any(is_narrow_float(value.type) for value in op.operands)
        operands = [self.computed(value) if computes else self.same(value) for value in op.operands]
        clone = op.clone()
        for place, value in enumerate(operands):
            clone.operands[place] = value
        if computes and narrow:
            clone.results[0].set_type(ir.F32Type.get())
            self.wide[op.results[0]] = clone.results[0]
            return
        self.plain.update(zip(op.results, clone.results, strict=True))


def _is_f32(kind: ir.Type) -> bool:
    return isinstance(kind, ir.F32Type)


def widen(op: ir.Operation, arguments: set[int], numbers: Mapping[ir.Value, float] | None = None) -> None:
    """Rewrite the body of the linalg operation `op` so that it computes in float32 and rounds what it yields, once.
    The block arguments at `arguments` become float32 themselves, and what is yielded for those that are results.
    `numbers` are constants that are exact only in float32."""
    block = op.regions[0].blocks[0]
    *old, terminator = (inner.operation for inner in block.operations)
    yielded, outputs = list(terminator.operands), len(block.arguments) - len(op.results)
    terminator.erase()
    body = _Body()
    for place, argument in enumerate(block.arguments):
        (body.wide if place in arguments else body.plain)[argument] = argument
    with ir.InsertionPoint(block):
        body.wide |= {value: arith.constant(ir.F32Type.get(), number) for value, number in (numbers or {}).items()}
        for inner in old:
            body.clone(inner)
        results = [
            body.widened(value) if outputs + place in arguments else body.same(value)
            for place, value in enumerate(yielded)
        ]
        ir.Operation.create("linalg.yield", operands=results)
    for place in arguments:
        block.arguments[place].set_type(ir.F32Type.get())
    for inner in reversed(old):
        inner.erase()
