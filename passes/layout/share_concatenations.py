"""dlas-share-concatenations: let producers write into the buffer of the concatenation that they go into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import build
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class ShareConcatenationsPass(Pass):
    """Replace concatenations by insertions into one buffer. Concatenations of which each begins with all parts of the
    one before (the layers of a dense block) share the buffer of the longest, and read a slice of it.

    dlas-form-dispatches then fuses each insertion into the producer of its part, and the slices into the readers, so
    that concatenating copies nothing. Where nobody reads a concatenation but its padding in other dimensions, the parts
    are padded instead, for their producers write padding too.

    Before:
    ```mlir
    %c1 = tensor.concat dim(1) %a, %b : (tensor<1x4x8x8x16xf32>, tensor<1x2x8x8x16xf32>) -> tensor<1x6x8x8x16xf32>
    %d = "some computation of"(%c1)
    %c2 = tensor.concat dim(1) %a, %b, %d : (...) -> tensor<1x8x8x8x16xf32>
    ```
    After:
    ```mlir
    %b0 = tensor.empty() : tensor<1x8x8x8x16xf32>
    %b1 = tensor.insert_slice %a into %b0[0, 0, 0, 0, 0]
    %b2 = tensor.insert_slice %b into %b1[0, 4, 0, 0, 0]
    %c1 = tensor.extract_slice %b2[0, 0, 0, 0, 0] [1, 6, 8, 8, 16]
    %d = "some computation of"(%c1)
    %c2 = tensor.insert_slice %d into %b2[0, 6, 0, 0, 0]
    ```
    """

    name: ClassVar[str] = "dlas-share-concatenations"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            if op.name == "tensor.concat" and build.is_static(op):
                _pad_parts(op)
        concatenations = [op for op in build.operations(module) if op.name == "tensor.concat" and build.is_static(op)]
        order = {build.identity(op): i for i, op in enumerate(concatenations)}
        chains: list[list[ir.Operation]] = []
        # The longest first: each shorter one looks for a chain whose shortest member it begins, and stands before.
        for op in sorted(concatenations, key=lambda op: -len(op.operands)):
            before = [chain for chain in chains if order[build.identity(op)] < order[build.identity(chain[-1])]]
            chain = next((chain for chain in before if _begins(op, chain[-1])), None)
            if chain is None:
                chains.append([op])
            else:
                chain.append(op)
        for chain in chains:
            _share(chain[::-1])
        build.erase_dead(module)


def _pad_parts(op: ir.Operation) -> None:
    """The padding of a concatenation as a concatenation of padded parts."""
    users = build.users(op.results[0])
    padding = Padding.of(users[0]) if len(users) == 1 else None
    dim = ir.IntegerAttr(op.attributes["dim"]).value
    if padding is None or padding.cuts or padding.low[dim] or padding.high[dim]:
        return
    with ir.InsertionPoint(padding.op), padding.op.location:
        filler = arith.constant(build.element_type(op.results[0]), padding.constant)
        # Each part once, for one that is concatenated twice is padded once.
        padded = {part: build.pad(part, padding.low, padding.high, filler) for part in dict.fromkeys(op.operands)}
        padding.result.replace_all_uses_with(build.concat([padded[part] for part in op.operands], dim))
    padding.op.erase()
    op.erase()


def _begins(short: ir.Operation, long: ir.Operation) -> bool:
    same = zip(short.operands, long.operands, strict=False)
    return (
        len(short.operands) < len(long.operands)
        and short.attributes["dim"] == long.attributes["dim"]
        and all(a == b for a, b in same)
    )


def _share(chain: list[ir.Operation]) -> None:
    """`chain` is in order of length."""
    longest = chain[-1]
    dim = ir.IntegerAttr(longest.attributes["dim"]).value
    kind = ir.RankedTensorType(longest.results[0].type)
    with ir.InsertionPoint(chain[0]), longest.location:
        buffer = build.empty(kind.shape, kind.element_type)
    offset = written = 0
    for op in chain:
        with ir.InsertionPoint(op), op.location:
            for part in list(op.operands)[written:]:
                offsets = [0] * kind.rank
                offsets[dim] = offset
                buffer = build.insert_slice(part, buffer, offsets)
                offset += ir.RankedTensorType(part.type).shape[dim]
            written = len(op.operands)
            result = buffer
            if op != longest:
                result = build.extract_slice(buffer, [0] * kind.rank, ir.RankedTensorType(op.results[0].type).shape)
            op.results[0].replace_all_uses_with(result)
