"""A copy of a tensor that nothing folds away: a dispatch that reads it and writes it."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.dispatch import dispatch, load, store


def copied(value: ir.Value) -> ir.Value:
    """A copy of `value`, a tensor of static shape and any element type, in a buffer of its own."""

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        store(load(sources[0], value.type), targets[0], [0] * ir.RankedTensorType(value.type).rank)

    return dispatch([1, 1, 1], [value], [value.type], [None], body).result
