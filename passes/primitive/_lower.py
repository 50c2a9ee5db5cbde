"""What the lowering passes of primitives share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.ir import build, conv
from dlas_mlir.ir.base import Pass, PassError
from dlas_mlir.ir.target import Target

PRIMITIVE, LAYER, MACS = "dlas.primitive", "dlas.layer", "dlas.macs"


@dataclass(frozen=True)
class LowerPrimitivePass(Pass):
    """Base of the passes that lower the convolutions marked with one primitive.

    A subclass is the primitive: `primitive` is its name, `refusal` says where it does not apply, `lower` builds it.
    """

    primitive: ClassVar[str] = ""
    # Whether it takes layers whose weights have a sparsity encoding, and no others.
    sparse: ClassVar[bool] = False

    def refusal(self, convolution: conv.Convolution, target: Target) -> str | None:
        """Why this primitive cannot do `convolution`; None when it can."""
        raise NotImplementedError

    def why_not(self, convolution: conv.Convolution, target: Target) -> str | None:
        """The `refusal`, or that a sparse primitive has no encoding to go by."""
        if self.sparse and convolution.encoding is None:
            return "its weights have no sparsity encoding"
        return self.refusal(convolution, target)

    def lower(self, convolution: conv.Convolution, target: Target) -> ir.Value:
        """Build the primitive at the insertion point; returns [N, K, OH, OW]. The root of what is built is marked
        with `mark`."""
        raise NotImplementedError

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        for op in build.operations(module):
            if PRIMITIVE not in op.attributes or ir.StringAttr(op.attributes[PRIMITIVE]).value != self.primitive:
                continue
            convolution = conv.view(op)
            if convolution is None:
                continue
            if reason := self.why_not(convolution, target):
                raise PassError(f"'{self.primitive}' cannot do {convolution.describe()}: {reason}", op)
            with ir.InsertionPoint(op), op.location:
                convolution.replace(self.lower(convolution, target))
        build.erase_dead(module)


def mark(op: ir.Operation | ir.OpView, convolution: conv.Convolution) -> None:
    """Carry the layer's name, primitive and work over to the operation that now does it."""
    attributes = op.operation.attributes
    attributes[PRIMITIVE] = convolution.op.attributes[PRIMITIVE]
    attributes[LAYER] = ir.StringAttr.get(conv.layer_name(convolution.op))
    attributes[MACS] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), convolution.macs)


def is_filled_with_zero(value: ir.Value) -> bool:
    """Whether `value` (or what it reshapes) is a linalg.fill of zero."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return False
    op = owner.operation
    if op.name in ("tensor.expand_shape", "tensor.collapse_shape"):
        return is_filled_with_zero(op.operands[0])
    if op.name != "linalg.fill" or isinstance(op.operands[0].owner, ir.Block):
        return False
    constant = op.operands[0].owner.operation
    return constant.name == "arith.constant" and constant.attributes["value"].value == 0
