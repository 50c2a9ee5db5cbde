"""dlas-share-padding: let the producer of a value write its padding, and everybody else read the middle."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.ir import build
from dlas_mlir.ir.linalg import scalar_constant
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class SharePaddingPass(Pass):
    """Give each computed value that is padded with one constant a single tensor.pad, right behind it, which covers
    all the paddings wanted of it; what reads the value, or less padding, reads a slice of that.

    dlas-form-dispatches then fuses the padding into the producer and the slices into the consumers, so that padding
    is never a copy of its own.

    Before:
    ```mlir
    %1 = linalg.generic ... -> tensor<1x4x56x56x16xf32>
    %2 = tensor.pad %1 low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0] : ... to tensor<1x4x58x58x16xf32>
    %3 = linalg.generic ins(%2, ...)
    %4 = linalg.generic ins(%1, ...)
    ```
    After:
    ```mlir
    %1 = linalg.generic ... -> tensor<1x4x56x56x16xf32>
    %2 = tensor.pad %1 low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0] : ... to tensor<1x4x58x58x16xf32>
    %s = tensor.extract_slice %2[0, 0, 1, 1, 0] [1, 4, 56, 56, 16] [1, 1, 1, 1, 1]
    %3 = linalg.generic ins(%2, ...)
    %4 = linalg.generic ins(%s, ...)
    ```
    """

    name: ClassVar[str] = "dlas-share-padding"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            if op.name == "linalg.generic" and len(op.results) == 1 and build.is_static(op):
                _share(op)
        build.erase_dead(module)


def _bounds(pad: ir.Operation) -> tuple[list[int], list[int]]:
    return tuple(list(ir.DenseI64ArrayAttr(pad.attributes[name])) for name in ("static_low", "static_high"))  # type: ignore[return-value]


def _share(op: ir.Operation) -> None:
    value = op.results[0]
    by_constant: dict[str, list[ir.Operation]] = {}
    for user in build.users(value):
        if user.name == "tensor.pad" and len(user.operands) == 1 and min((0, *itertools.chain(*_bounds(user)))) == 0:
            constant = scalar_constant(user.regions[0].blocks[0].operations[-1].operands[0])
            if constant is not None:
                by_constant.setdefault(str(constant), []).append(user)
    # The slices are taken of the first padded value only: one is enough to keep the bare value unwritten.
    for place, pads in enumerate(by_constant.values()):
        _merge(op, pads, slice_others=place == 0)


def _merge(op: ir.Operation, pads: list[ir.Operation], slice_others: bool) -> None:
    value = op.results[0]
    shape = ir.RankedTensorType(value.type).shape
    bounds = [_bounds(pad) for pad in pads]
    low = [max(sizes) for sizes in zip(*(b[0] for b in bounds), strict=True)]
    high = [max(sizes) for sizes in zip(*(b[1] for b in bounds), strict=True)]
    readers = [user for user in build.users(value) if user.name == "linalg.generic"] if slice_others else []
    constant = pads[0].regions[0].blocks[0].operations[-1].operands[0]
    with ir.InsertionPoint.after(op), op.location:
        constant = constant.owner.operation.clone().result
        shared = build.pad(value, low, high, constant)
        for pad, (own_low, own_high) in zip(pads, bounds, strict=True):
            replacement = shared
            if (own_low, own_high) != (low, high):
                offsets = [a - b for a, b in zip(low, own_low, strict=True)]
                replacement = build.extract_slice(shared, offsets, ir.RankedTensorType(pad.results[0].type).shape)
            pad.results[0].replace_all_uses_with(replacement)
        if readers:
            middle = build.extract_slice(shared, low, shape)
            for reader in readers:
                reader.replace_uses_of_with(value, middle)
    # Only now: the insertion point may have stood before one of them.
    for pad in pads:
        pad.erase()
