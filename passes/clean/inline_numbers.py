"""dlas-inline-numbers: a constant number that an operation reads as a tensor stands in its body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import build
from dlas_mlir.ir.linalg import indexing_maps, iterators, scalar_constant
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class InlineNumbersPass(Pass):
    """Put constants of rank 0 that a linalg.generic reads, such as the bounds of a ReLU6, into its body.

    As a tensor one is a buffer, which a device is told to fill in each call. A number that is computed stays one.

    Before:
    ```mlir
    %six = arith.constant dense<6.0> : tensor<f32>
    %1 = linalg.generic ins(%x, %six : tensor<8xf32>, tensor<f32>) outs(%e : tensor<8xf32>) {
    ^bb0(%in: f32, %most: f32, %out: f32):
      %2 = arith.minimumf %in, %most : f32
    }
    ```
    After:
    ```mlir
    %six = arith.constant 6.0 : f32
    %1 = linalg.generic ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) {
    ^bb0(%in: f32, %out: f32):
      %2 = arith.minimumf %in, %six : f32
    }
    ```
    """

    name: ClassVar[str] = "dlas-inline-numbers"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            if op.name == "linalg.generic" and len(op.results) == 1:
                _inline(op)
        build.erase_dead(module)


def _inline(op: ir.Operation) -> None:
    *inputs, destination = op.operands
    numbers = {place: number for place, value in enumerate(inputs) if (number := _number(value)) is not None}
    if not numbers:
        return
    kept = [place for place in range(len(inputs)) if place not in numbers]
    maps = indexing_maps(op)
    with ir.InsertionPoint(op), op.location:
        constants = {place: arith.constant(number.type, number) for place, number in numbers.items()}  # type: ignore[attr-defined]

        def arguments(given: list[ir.Value]) -> list[ir.Value]:
            own = dict(zip(kept, given, strict=False)) | constants
            return [*(own[place] for place in range(len(inputs))), given[-1]]

        new = build.generic_like(
            op, [inputs[place] for place in kept], destination, [maps[i] for i in (*kept, -1)], iterators(op), arguments
        )
    op.results[0].replace_all_uses_with(new.results[0])
    op.erase()


def _number(value: ir.Value) -> ir.Attribute | None:
    """The number that a tensor of rank 0 is; None where it is none, or is computed."""
    kind = value.type
    return scalar_constant(value) if isinstance(kind, ir.RankedTensorType) and kind.rank == 0 else None
