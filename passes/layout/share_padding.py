"""dlas-share-padding: let the producer of a value write its padding, and everybody else read the middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import build
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class SharePaddingPass(Pass):
    """Give each computed value that is padded with one constant a single tensor.pad, right behind it, which covers
    all the paddings wanted of it; what reads the value, or less padding, reads a slice of that (the value itself, where
    the padding is but inserted somewhere, as the part of a concatenation is).

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


def _share(op: ir.Operation) -> None:
    value = op.results[0]
    by_constant: dict[str, list[Padding]] = {}
    for user in build.users(value):
        padding = Padding.of(user)
        if padding is not None and not padding.cuts:
            by_constant.setdefault(str(padding.constant), []).append(padding)
    # The slices are taken of the first padded value only: one is enough to keep the bare value unwritten.
    for place, pads in enumerate(by_constant.values()):
        _merge(op, pads, slice_others=place == 0)


def _merge(op: ir.Operation, pads: list[Padding], slice_others: bool) -> None:
    value = op.results[0]
    shape = ir.RankedTensorType(value.type).shape
    low = tuple(max(sizes) for sizes in zip(*(pad.low for pad in pads), strict=True))
    high = tuple(max(sizes) for sizes in zip(*(pad.high for pad in pads), strict=True))
    # What is padded to be inserted somewhere is written there; its readers have the bare value.
    read = any(user.name != "tensor.insert_slice" for pad in pads for user in build.users(pad.result))
    readers = [user for user in build.users(value) if user.name == "linalg.generic"] if slice_others and read else []
    constant = pads[0].constant
    with ir.InsertionPoint.after(op), op.location:
        filler = arith.constant(build.element_type(value), constant)
        shared = build.pad(value, low, high, filler)
        for pad in pads:
            replacement = shared
            if (pad.low, pad.high) != (low, high):
                offsets = [a - b for a, b in zip(low, pad.low, strict=True)]
                replacement = build.extract_slice(shared, offsets, ir.RankedTensorType(pad.result.type).shape)
            pad.result.replace_all_uses_with(replacement)
        if readers:
            middle = build.extract_slice(shared, low, shape)
            for reader in readers:
                reader.replace_uses_of_with(value, middle)
    # Only now: the insertion point may have stood before one of them.
    for pad in pads:
        pad.op.erase()
