"""dlas-lower-qdq: from quantize and dequantize operations around float ones to integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.ir import build, conv, quant
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.linalg import indexing_maps, iterators
from dlas_mlir.ir.quant import Dequantized
from dlas_mlir.opt.base import Pass, PassError, option, remark
from dlas_mlir.passes.quant._movement import MOVEMENTS, pooled
from dlas_mlir.passes.quant._requantize import Requantizer


@dataclass(frozen=True)
class LowerQdqPass(Pass):
    """Turn quantize-dequantize (QDQ) models into integer arithmetic, u8 x s8 -> s32 from end to end.

    - A convolution or linear layer of dequantized codes and weights (s8, one scale for each output channel) is done on
      the codes, which linalg.generics widen to i32; its result is corrected by the zero point of the input, scaled and
      biased in float32, which is fused into its dispatch.
    - Reshapes, padding (by the zero point), concatenation and maximum pooling move codes, and what they give is
      dequantized.
    - Quantizing what was dequantized with the same parameters is the codes themselves.
    - Quantizing the float result of a layer takes the factor into the scales before it, and a clamp (ReLU, ReLU6) that
      the range of the codes does anyway is dropped.
    - Any other element-wise operation or sum (residual addition, average pooling, gates) reads the codes and
      dequantizes them in its own body, so that only codes are in memory.

    A layer that stays in float is reported with the reason.

    Before:
    ```mlir
    %x = linalg.generic ins(%codes : tensor<1x64x58x58xi8>) { extui, subi %zero, sitofp, mulf %scale }
    %w = linalg.generic ins(%weights, %scales : tensor<64x64x3x3xi8>, tensor<64xf32>) { extsi, sitofp, mulf }
    %y = linalg.conv_2d_nchw_fchw ins(%x, %w : ...) outs(%bias : ...) -> tensor<1x64x56x56xf32>
    %z = linalg.generic ins(%y) { divf %s, roundeven, addf %zero, maximumf, minimumf, fptoui } -> tensor<1x64x56x56xi8>
    ```
    After:
    ```mlir
    %x = linalg.generic ins(%codes : tensor<1x64x58x58xi8>) { extui } -> tensor<1x64x58x58xi32>
    %w = linalg.generic ins(%weights : tensor<64x64x3x3xi8>) { extsi } -> tensor<64x64x3x3xi32>
    %y = linalg.conv_2d_nchw_fchw ins(%x, %w : ...) outs(%zeros : ...) -> tensor<1x64x56x56xi32>
    %f = linalg.generic ins(%y, %scales, %biases, %corrections) { addi, sitofp, fma } -> tensor<1x64x56x56xf32>
    %z = linalg.generic ins(%f) { clamp, round, trunci } -> tensor<1x64x56x56xi8>
    ```
    """

    name: ClassVar[str] = "dlas-lower-qdq"

    require: bool = option(
        False, "whether it is an error when no layer is done in integers, or the target does not compute with codes"
    )

    def run(self, module: ir.Module) -> None:
        if self.require:
            _check_target(module)
        lowering = _LowerQdq(Constants(module.operation))
        for op in build.operations(module):
            lowering.visit(op)
        if self.require and not lowering.layers:
            raise PassError("no convolution or linear layer is quantized; quantize the model first", module.operation)
        # What is left dequantized is read by other operations, which now do it themselves.
        for op in build.operations(module):
            lowering.take_in(op)
        build.erase_dead(module)


def _check_target(module: ir.Module) -> None:
    """Raises PassError for a target that does not compute with codes."""
    target = Target.known(module)
    if isinstance(target, GpuTarget) and "i8" not in target.elements:
        what = f"{target.name} does not compute with codes of 8 bits: take a target that does, or a recipe in float32"
        raise PassError(what, module.operation)


class _LowerQdq:
    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.known: dict[ir.Value, Dequantized] = {}
        # How many are done in integers.
        self.layers = 0
        self.requantizer = Requantizer(self.known, constants)

    def visit(self, op: ir.Operation) -> None:
        if op.name == "linalg.generic":
            found = quant.read_dequantize(op, self.constants)
            if found is not None:
                self.known[op.results[0]] = found
                return
        quantization = quant.read_quantize(op)
        with ir.InsertionPoint(op), op.location:
            if quantization is not None:
                _replace(op, self.requantizer.quantize(op.operands[0], quantization))
            elif (convolution := conv.view(op)) is not None:
                self._convolution(convolution)
            elif op.name in MOVEMENTS and any(value in self.known for value in op.operands):
                self._move(op, MOVEMENTS[op.name])

    def _move(self, op: ir.Operation, movement: Callable[..., Dequantized | None]) -> None:
        moved = movement(op, self.known, self.constants)
        if moved is not None:
            self._known_result(op, moved)

    def _known_result(self, op: ir.Operation, value: Dequantized) -> None:
        result = quant.dequantize(value)
        self.known[result] = value
        _replace(op, result)

    def take_in(self, op: ir.Operation) -> None:
        """Let `op` dequantize in its own body what it reads."""
        generic = op
        with ir.InsertionPoint(op), op.location:
            if op.name in ("linalg.pooling_nchw_max", "linalg.pooling_nchw_sum") and op.operands[0] in self.known:
                generic = pooled(op)
            if generic.name == "linalg.generic":
                self._take_in(generic)

    def _take_in(self, op: ir.Operation) -> None:
        inputs = list(op.operands)[:-1]
        read = [self.known.get(value) for value in inputs]
        if not any(found is not None and found.per_tensor for found in read) or op.results[0] in self.known:
            return
        sources = [
            found.codes if found is not None and found.per_tensor else value
            for found, value in zip(read, inputs, strict=True)
        ]
        new = build.generic_like(
            op, sources, op.operands[len(inputs)], indexing_maps(op), iterators(op), lambda codes: _numbers(read, codes)
        )
        _replace(op, new.results[0])

    # Convolutions and linear layers.

    def _convolution(self, convolution: conv.Convolution) -> None:
        data, weights = (self.known.get(convolution.op.operands[i]) for i in range(2))
        if data is None and weights is None:
            return
        reason = self._refusal(convolution, data, weights)
        if reason is not None or data is None or weights is None:
            layer = conv.layer_name(convolution.op)
            remark(convolution.op, f"layer '{layer}' ({convolution.shape.describe()}) stays in float: {reason}")
            return
        self.layers += 1
        whole, bias = convolution.channels_end(), convolution.bias(self.constants)
        assert whole is not None and bias is not None  # noqa: PT018
        result = _integer_form(convolution, data, weights)
        end, dim = whole
        if end.owner.operation.name == "tensor.collapse_shape":
            collapse = end.owner.operation
            with ir.InsertionPoint(collapse), collapse.location:
                result = build.collapse(result, [[0], [1, 2], [3], [4]])
        with ir.InsertionPoint(end.owner.operation), convolution.op.location:
            scales = np.broadcast_to(weights.scale, convolution.shape.out_channels).astype(np.float64) * float(
                data.scale
            )
            correction = -int(data.zero) * self._sums(convolution, weights)
            scaled = self.requantizer.scaled_result(result, dim, scales, bias, correction)
        _replace(end.owner.operation, scaled)

    def _refusal(
        self, convolution: conv.Convolution, data: Dequantized | None, weights: Dequantized | None
    ) -> str | None:
        """Why a layer cannot be done on codes."""
        if data is None or weights is None:
            return f"its {'input' if data is None else 'weights'} are not quantized"
        if not data.per_tensor or data.signed:
            return "its input is not u8 with one scale"
        if not weights.signed or np.any(weights.zero):
            return "its weights are not s8 around zero"
        expected = tuple(convolution.output_channel_dims()[0])
        if not weights.per_tensor and weights.dims != expected:
            return "the scales of its weights do not go by output channels"
        if self.constants.read(weights.codes) is None:
            return "its weights are not constant"
        if convolution.channels_end() is None:
            return "its output channels are not collapsed"
        return "its bias is not constant per channel" if convolution.bias(self.constants) is None else None

    def _sums(self, convolution: conv.Convolution, weights: Dequantized) -> np.ndarray:
        """The sum of the weights' codes of each output channel, [K]."""
        codes = self.constants.read(weights.codes)
        assert codes is not None
        dims, _ = convolution.output_channel_dims()
        others = tuple(i for i in range(codes.ndim) if i not in dims)
        sums = codes.astype(np.int64).sum(axis=others)
        return sums.transpose([sorted(dims).index(dim) for dim in dims]).reshape(-1)


def _numbers(read: list[Dequantized | None], codes: list[ir.Value]) -> list[ir.Value]:
    """The arguments of a body, dequantized where codes are read."""
    return [
        quant.number(found, code) if found is not None and found.per_tensor else code
        for found, code in zip([*read, None], codes, strict=True)
    ]


def _integer_form(convolution: conv.Convolution, data: Dequantized, weights: Dequantized) -> ir.Value:
    """The same named operation on widened codes."""
    op = convolution.op
    i32 = ir.IntegerType.get_signless(32)
    shape = ir.RankedTensorType(op.results[0].type).shape
    start = build.fill(build.zero(i32), shape)
    new = ir.Operation.create(
        op.name,
        results=[start.type],
        operands=[quant.widen(data.codes, data.signed), quant.widen(weights.codes, weights.signed), start],
        attributes={named.name: named.attr for named in build.attributes_of(op)},
        regions=1,
        loc=op.location,
    )
    block = new.regions[0].blocks.append(i32, i32, i32, arg_locs=[op.location] * 3)
    with ir.InsertionPoint(block):
        product = arith.muli(block.arguments[0], block.arguments[1])
        ir.Operation.create("linalg.yield", operands=[arith.addi(block.arguments[2], product)])
    return new.results[0]


def _replace(op: ir.Operation, result: ir.Value) -> None:
    """Let everybody read `result` instead; `op` is erased with all that is dead at the end."""
    op.results[0].replace_all_uses_with(result)
