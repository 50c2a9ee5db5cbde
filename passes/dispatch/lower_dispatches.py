"""dlas-lower-dispatches: turn scheduled dispatch regions into explicit vector kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.replace import ScheduleFault, dissolve, emit_kernel
from dlas_mlir.ir import attributes, build
from dlas_mlir.opt.base import Pass, PassError, remark
from dlas_mlir.passes.primitive._lower import LAYER, MACS, PRIMITIVE

LAYERS = "dlas.layers"


@dataclass(frozen=True)
class LowerDispatchesPass(Pass):
    """Replace every scheduled flow.dispatch.region by flow.dispatch.workgroups with loops, vector loads and fused
    multiply-adds written out as the schedule says. So a schedule cannot get lost in the compiler: a region that
    cannot become a kernel is dissolved, and the compiler forms dispatches of its operations, with a remark that says
    why.

    The module attribute `dlas.layers` lists the layers in the order of their dispatches: name, primitive and
    multiply-accumulates.

    Before:
    ```mlir
    %1 = flow.dispatch.region -> (tensor<1x4x56x56x16xf32>) {
      %2 = linalg.generic {dlas.schedule = {...}} ins(%x, %w) outs(%zeros)
      flow.return %2
    }
    ```
    After:
    ```mlir
    %1 = flow.dispatch.workgroups(%x, %w) : (...) -> tensor<1x4x56x56x16xf32> = (...) {
      scf.for ... {
        %acc:28 = scf.for ... { %w0 = vector.transfer_read ...; %b = vector.broadcast ...; vector.fma ... }
        vector.transfer_write ...
      }
      iree_tensor_ext.dispatch.tensor.store ...
    }
    ```
    """

    name: ClassVar[str] = "dlas-lower-dispatches"

    def run(self, module: ir.Module) -> None:
        layers = []
        for op in build.operations(module):
            if op.name != "flow.dispatch.region":
                continue
            root = scheduled_root(op)
            layer = _layer(root) if root is not None else None
            if root is None:
                continue
            try:
                kernel = emit_kernel(op)
            except ScheduleFault:
                raise
            except PassError as error:
                remark(op, f"left to the compiler's own schedule: {error}")
                dissolve(op)
                continue
            if layer is not None:
                layers.append(layer)
                for key in (LAYER, PRIMITIVE):
                    kernel.attributes[key] = layer[key.removeprefix("dlas.")]
        module.operation.attributes[LAYERS] = ir.ArrayAttr.get([ir.DictAttr.get(layer) for layer in layers])


def _layer(root: ir.Operation) -> dict[str, ir.Attribute] | None:
    """What `dlas.layers` says of the layer that `root` does; None where it is marked as none."""
    if PRIMITIVE not in root.attributes:
        return None
    names = {key: ir.StringAttr.get(attributes.text(root, key)) for key in (LAYER, PRIMITIVE)}
    work = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), attributes.integer(root, MACS))
    return {key.removeprefix("dlas."): value for key, value in {**names, MACS: work}.items()}
