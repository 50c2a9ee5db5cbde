"""dlas-round-constants: double-precision constants as the nearest numbers of single precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class RoundConstantsPass(Pass):
    """Round each float64 constant to the nearest float32 and leave it float64. Run it before
    iree-input-conversion-demote-f64-to-f32, which cuts digits off: of 1.1 it makes 1.0999999. Numbers out of the range
    of float32 stay.

    Before:
    ```mlir
    %c = arith.constant 1.1 : f64
    ```
    After:
    ```mlir
    %c = arith.constant 1.1000000238418579 : f64
    ```
    """

    name: ClassVar[str] = "dlas-round-constants"

    def run(self, module: ir.Module) -> None:
        module.operation.walk(_round)


def _round(op: ir.Operation) -> ir.WalkResult:
    if op.name == "arith.constant":
        rounded = _rounded(op.attributes["value"])
        if rounded is not None:
            op.attributes["value"] = rounded
    return ir.WalkResult.ADVANCE


def _rounded(attr: ir.Attribute) -> ir.Attribute | None:
    """The attribute of the rounded value; None where there is nothing to round."""
    f64 = ir.F64Type.get()
    if isinstance(attr, ir.FloatAttr):
        return ir.FloatAttr.get(f64, float(_nearest(np.asarray(attr.value)))) if attr.type == f64 else None
    if not isinstance(attr, ir.DenseFPElementsAttr):
        return None
    kind = ir.RankedTensorType(attr.type)
    if kind.element_type != f64:
        return None
    if attr.is_splat:
        value = float(_nearest(np.asarray(ir.FloatAttr(attr.get_splat_value()).value)))
        return ir.DenseElementsAttr.get_splat(kind, ir.FloatAttr.get(f64, value))
    return ir.DenseElementsAttr.get(_nearest(np.array(attr)), type=kind)


def _nearest(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(rounded), rounded, values)
