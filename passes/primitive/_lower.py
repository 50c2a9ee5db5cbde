"""What the lowering passes of primitives share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import attributes, build, conv
from dlas_mlir.opt.base import Pass, PassError

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
        # Lowering one may erase others that are no convolutions (the collapse of groups behind it).
        marked = [op for op in build.operations(module) if marked_with(op) == self.primitive]
        for convolution in [found for op in marked if (found := conv.view(op)) is not None]:
            op = convolution.op
            if reason := self.why_not(convolution, target):
                raise PassError(f"'{self.primitive}' cannot do {convolution.describe()}: {reason}", op)
            with ir.InsertionPoint(op), op.location:
                convolution.replace(self.lower(convolution, target))
        build.erase_dead(module)


def block_of(given: int, target: Target) -> int | None:
    """Channels in a block: as many as are `given`, else the lanes of a CPU's vectors, None for a GPU."""
    return given or (target.lanes() if isinstance(target, CpuTarget) else None)


def mark(op: ir.Operation | ir.OpView, convolution: conv.Convolution) -> None:
    """Carry the layer's name, primitive and work over to the operation that now does it."""
    marks = op.operation.attributes
    marks[PRIMITIVE] = convolution.op.attributes[PRIMITIVE]
    marks[LAYER] = ir.StringAttr.get(conv.layer_name(convolution.op))
    marks[MACS] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), convolution.macs)


def marked_with(op: ir.Operation) -> str | None:
    """The primitive that `op` is marked with."""
    return attributes.text(op, PRIMITIVE) if PRIMITIVE in op.attributes else None


def check_lowered(op: ir.Operation) -> None:
    """Raise PassError where `op` is a layer that is still to be lowered."""
    name = marked_with(op)
    if name is not None and op.name != "linalg.generic":
        layer = attributes.text(op, LAYER) if LAYER in op.attributes else conv.layer_name(op)
        raise PassError(
            f"layer '{layer}' is marked with the primitive '{name}', and nothing has lowered it: dlas-lower-{name} "
            "belongs in the pipeline before this pass",
            op,
        )


def initial(convolution: conv.Convolution, shape: list[int], laid_out: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """The initial accumulator as a tensor of `shape`: a fill where all its elements are one constant, else what
    `laid_out` makes of it as [N, K, OH, OW]."""
    uniform = convolution.uniform_initial()
    if uniform is not None:
        return build.fill(arith.constant(convolution.accumulator, uniform), shape)
    return laid_out(convolution.initial_nchw())
