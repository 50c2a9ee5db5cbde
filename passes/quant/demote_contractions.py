"""dlas-demote-contractions: convolutions and linear layers of float32 on operands of 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.read_workload import ROUNDED
from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.ir import build, conv
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass, PassError, option, remark

TF32 = "tf32"
_RESHAPES = ("tensor.expand_shape", "tensor.collapse_shape")
_DTYPES = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}


@dataclass(frozen=True)
class DemoteContractionsPass(Pass):
    """Round the operands of float32 convolutions and linear layers to bfloat16 or float16; sums stay in float32, and so
    does everything else. The rounding of an input joins the dispatch that computes it, so that it is stored in 16 bits.

    `tf32` is no type of tensors: the layer is marked with `dlas.rounded`, which lets kernels look at 10 bits of each
    operand's fraction; one that has no such kernel does it in float32.

    A GPU whose target does not compute with such elements is an error. Run it after dlas-fold-batch-norm. A layer whose
    weights are no constants, or out of the range of float16, stays as it is, with a remark.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros)
    ```
    After `dlas-demote-contractions{element=bf16}`:
    ```mlir
    %h = linalg.generic ins(%x : tensor<1x64x58x58xf32>) { truncf } -> tensor<1x64x58x58xbf16>
    %1 = linalg.conv_2d_nchw_fchw ins(%h, %v : tensor<1x64x58x58xbf16>, tensor<64x64x3x3xbf16>) outs(%zeros)
    ```
    """

    name: ClassVar[str] = "dlas-demote-contractions"

    element: str = option("bf16", "the type of the operands", choices=(*_DTYPES, TF32))

    def run(self, module: ir.Module) -> None:
        constants = Constants(module.operation)
        demoted: dict[ir.Value, ir.Value] = {}
        for op in build.operations(module):
            convolution = conv.view(op)
            if convolution is None or not isinstance(convolution.element, ir.F32Type):
                continue
            if self.element == TF32:
                op.attributes[ROUNDED] = ir.StringAttr.get(TF32)
            else:
                self._check(module, op)
                self._demote(convolution, constants, demoted)
        build.erase_dead(module)

    def _check(self, module: ir.Module, op: ir.Operation) -> None:
        target = Target.known(module)
        if isinstance(target, GpuTarget) and self.element not in target.elements:
            known = ", ".join(element for element in target.elements if element.endswith(("f16", "f32")))
            what = f"{target.name} does not compute with {self.element}"
            raise PassError(f"{what}: take a target that does, or a recipe in one of its types ({known})", op)

    def _demote(self, convolution: conv.Convolution, constants: Constants, demoted: dict[ir.Value, ir.Value]) -> None:
        op = convolution.op
        weights = constants.read(convolution.weights)
        reason = "its weights are not constant" if weights is None else ""
        if weights is not None:
            with np.errstate(over="ignore"):
                narrow = weights.astype(_DTYPES[self.element])
            reason = "" if np.all(np.isfinite(narrow)) else f"its weights are out of the range of {self.element}"
        if weights is None or reason:
            remark(op, f"layer '{conv.layer_name(op)}' ({convolution.shape.describe()}) stays in float32: {reason}")
            return
        with ir.InsertionPoint(op), op.location:
            convolution.set_weights(constant(weights.astype(_DTYPES[self.element]), "weights"))
            op.operands[0] = self._narrowed(op.operands[0], demoted)
            _extend_operands(op)

    def _narrowed(self, value: ir.Value, demoted: dict[ir.Value, ir.Value]) -> ir.Value:
        """`value` rounded where it is computed: before it is padded or reshaped, once for all its readers."""
        if value in demoted:
            return demoted[value]
        op = build.defining(value)
        element = ir.Type.parse(self.element)
        if (padding := Padding.of(op)) is not None:
            source = self._narrowed(padding.source, demoted)
            with ir.InsertionPoint(padding.op), padding.op.location:
                filler = arith.truncf(element, padding.filler())
                result = build.pad(source, padding.low, padding.high, filler)
        elif op is not None and op.name in _RESHAPES:
            # Behind it, the rounding would have another shape than what computes the value, and not join it.
            source = self._narrowed(op.operands[0], demoted)
            with ir.InsertionPoint(op), op.location:
                result = _reshaped(op, source)
        else:
            point = ir.InsertionPoint.after(op) if op is not None else ir.InsertionPoint.at_block_begin(value.owner)
            with point:
                result = build.truncated(value, element)
        demoted[value] = result
        return result


def _reshaped(op: ir.Operation, source: ir.Value) -> ir.Value:
    """What the reshape `op` makes of a tensor with other elements."""
    shape = ir.RankedTensorType(op.results[0].type).shape
    kind = build.tensor(shape, build.element_type(source))
    attributes = {named.name: named.attr for named in build.attributes_of(op)}
    return ir.Operation.create(op.name, results=[kind], operands=[source], attributes=attributes).result


def _extend_operands(op: ir.Operation) -> None:
    """Give a named operation the body that its operands' types call for."""
    block = op.regions[0].blocks[0]
    accumulator = block.arguments[2].type
    for inner in reversed(list(block.operations)):
        inner.operation.erase()
    for place in range(2):
        block.arguments[place].set_type(build.element_type(op.operands[place]))
    with ir.InsertionPoint(block):
        data, weights = (arith.extf(accumulator, block.arguments[place]) for place in range(2))
        total = arith.addf(block.arguments[2], arith.mulf(data, weights))
        ir.Operation.create("linalg.yield", operands=[total])
