"""dlas-lower-dispatches: turn scheduled dispatch regions into explicit vector kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import workload as workloads
from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.replace import ScheduleFault, chains_of, dissolve, emit_chain, emit_kernel
from dlas_mlir.codegen.schedule import ATTRIBUTE
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.zeros import zeros_of
from dlas_mlir.ir import attributes, build
from dlas_mlir.opt.base import Pass, PassError, remark
from dlas_mlir.passes.primitives import LAYER, LAYERS, PRIMITIVE, layer_of


@dataclass(frozen=True)
class LowerDispatchesPass(Pass):
    """Replace every scheduled flow.dispatch.region by flow.dispatch.workgroups with loops, vector loads and fused
    multiply-adds written out as the schedule says. So a schedule cannot get lost in the compiler: a region that
    cannot become a kernel is dissolved, and the compiler forms dispatches of its operations, with a remark that says
    why.

    The module attribute `dlas.layers` lists the layers in the order of their dispatches: name, primitive with its
    options, algebra, multiply-accumulates, key of its workload and schedule.

    Before:
    ```mlir
    %1 = flow.dispatch.region -> (tensor<1x4x56x56x16xf32>) {
      %2 = linalg.generic {dlas.schedule = {...}} ins(%x, %w) outs(%zeros)
      flow.return %2
    }
    ```
    After:
    ```mlir
    %1 = flow.dispatch.workgroups(%x, %w) : (...) -> tensor<1x4x56x56x16xf32>
        attributes {dlas.workload = "26fa5803e8afc1d2..."} = (...) {
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
        layers, target = [], Target.known(module)
        operations = build.operations(module)
        chains = {build.identity(op): ops for ops in chains_of(operations) for op in ops}
        for op in operations:
            if op.name != "flow.dispatch.region":
                continue
            if (chain := chains.get(build.identity(op))) is not None:
                if op == chain[-1]:
                    layers += _lower_chain(chain, target)
                continue
            root = scheduled_root(op)
            if root is None:
                continue
            made = [layer_of(inner) for inner in _generics(op) if inner != root]
            layer = layer_of(root)
            for inner in _generics(op):
                zeros_of(inner)  # raises: a slip in what a hand has written is no reason to leave it to the compiler
            try:
                kernel = emit_kernel(op, target)
            except ScheduleFault:
                raise
            except PassError as error:
                remark(op, f"left to the compiler's own schedule: {error}")
                dissolve(op)
                continue
            nest = kernel.nest
            for part in (*kernel.parts, kernel.op):
                part.attributes[workloads.ATTRIBUTE] = ir.StringAttr.get(nest.workload.exact)
            if nest.remark:
                remark(kernel.op, f"`{ATTRIBUTE}`: {nest.remark}")
            done = {"workload": nest.workload.exact, "schedule": nest.schedule.to_value()}
            layers += [found.to_plain() | done for found in (*made, layer) if found is not None]
            if layer is not None:
                kernel.op.attributes[LAYER] = ir.StringAttr.get(layer.name)
                kernel.op.attributes[PRIMITIVE] = ir.StringAttr.get(layer.primitive)
        module.operation.attributes[LAYERS] = attributes.from_plain(layers)


def _lower_chain(ops: Sequence[ir.Operation], target: Target | None) -> list[dict[str, Any]]:
    """Replace the regions of a chain by one kernel, which is called after the last layer in it. Returns its layers."""
    known = [layer_of(root) for op in ops if (root := scheduled_root(op)) is not None]
    found = emit_chain(ops, target)
    found.op.attributes[workloads.ATTRIBUTE] = ir.StringAttr.get(found.nests[-1].workload.exact)
    layers = []
    for layer, nest in zip(known, found.nests, strict=True):
        if layer is not None:
            made = {"workload": nest.workload.exact, "schedule": nest.schedule.to_value()}
            layers.append(layer.to_plain() | made)
            found.op.attributes[LAYER] = ir.StringAttr.get(layer.name)
            found.op.attributes[PRIMITIVE] = ir.StringAttr.get(layer.primitive)
    return layers


def _generics(region: ir.Operation) -> list[ir.Operation]:
    operations = (op.operation for op in region.regions[0].blocks[0].operations)
    return [op for op in operations if op.name == "linalg.generic"]
