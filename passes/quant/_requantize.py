"""Requantisation: from accumulators, and sums of them with codes, to the codes of the next layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, math

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.evaluate import CannotEvaluate, evaluate_body, is_elementwise
from dlas_mlir.ir.linalg import indexing_maps
from dlas_mlir.ir.quant import Dequantized, Quantization

_ROUNDING = 1.5 * 2**23


@dataclass(frozen=True)
class _Result:
    """The float result of an integer layer: (sums + corrections) * scales + bias, per channel of dimension `dim`."""

    sums: ir.Value
    dim: int
    scales: np.ndarray
    bias: np.ndarray
    corrections: np.ndarray


class Requantizer:
    """Builds results and quantizations. `known` holds the values that are dequantized codes."""

    def __init__(self, known: Mapping[ir.Value, Dequantized], constants: Constants) -> None:
        self.known, self.constants = known, constants
        self.results: dict[ir.Value, _Result] = {}

    def scaled_result(
        self, sums: ir.Value, dim: int, scales: np.ndarray, bias: np.ndarray, corrections: np.ndarray
    ) -> ir.Value:
        """The float result of integer `sums`, [K] values along dimension `dim` each."""
        return self._build(_Result(sums, dim, scales.astype(np.float64), bias.astype(np.float64), corrections))

    def _build(self, result: _Result) -> ir.Value:
        shape = ir.RankedTensorType(result.sums.type).shape
        identity = [affine.dim(i) for i in range(len(shape))]
        channel = [affine.dim(result.dim)]
        inputs = [
            result.sums,
            constant(result.scales.astype(np.float32), "scales"),
            constant(result.bias.astype(np.float32), "bias"),
        ]
        maps = [identity, channel, channel]
        if np.any(result.corrections):
            inputs.append(constant(result.corrections.astype(np.int32), "corrections"))
            maps.append(channel)
        f32 = ir.F32Type.get()

        def body(total: ir.Value, scale: ir.Value, shift: ir.Value, *rest: ir.Value) -> ir.Value:
            corrected = arith.addi(total, rest[0]) if len(rest) == 2 else total
            return math.fma(arith.sitofp(f32, corrected), scale, shift)

        kinds = ["parallel"] * len(shape)
        value = build.generic(inputs, build.empty(shape, f32), [*maps, identity], kinds, body).results[0]
        self.results[value] = result
        return value

    def quantize(self, value: ir.Value, to: Quantization) -> ir.Value:
        """The codes of `value`, built at the insertion point."""
        found = self.known.get(value)
        if found is not None and found.same_parameters(to):
            return found.codes
        low, high = float(to.low - to.zero), float(to.high - to.zero)
        while (clamp := _clamp(value, self.constants)) is not None:
            # Rounding keeps the order, so that bounds can be rounded and applied afterwards.
            low = max(low, float(np.rint(clamp[1] / to.scale)))
            high = min(high, float(np.rint(clamp[2] / to.scale)))
            value = clamp[0]
        scaled = self._scaled(value, 1.0 / to.scale)
        shape = ir.RankedTensorType(value.type).shape
        identity = [affine.dim(i) for i in range(len(shape))]

        def body(number: ir.Value, _: ir.Value) -> ir.Value:
            return _round(number, low, max(low, high), to)

        codes = build.empty(shape, ir.IntegerType.get_signless(8))
        return build.generic([scaled], codes, [identity, identity], ["parallel"] * len(shape), body).results[0]

    def _scaled(self, value: ir.Value, factor: float) -> ir.Value:
        """`value` * `factor`, with the factor taken into the constants of what computes it."""
        leaves = _addends(value)
        if len(leaves) == 1 and value not in self.known and not self._own(value):
            return _times(value, factor)
        offset, codes, others = 0.0, [], []
        results = []
        for leaf in leaves:
            found = self.known.get(leaf)
            if found is not None and found.per_tensor:
                codes.append((found, factor * float(found.scale)))
                offset -= factor * float(found.scale) * int(found.zero)
            elif self._own(leaf):
                results.append(self.results[leaf])
            else:
                others.append(_times(leaf, factor))
        for result in results:
            bias = result.bias * factor + offset
            others.append(
                self._build(_Result(result.sums, result.dim, result.scales * factor, bias, result.corrections))
            )
            offset = 0.0
        return others[0] if len(others) == 1 and not codes else _sum(others, codes, offset)

    def _own(self, value: ir.Value) -> bool:
        """Whether `value` is the result of an integer layer that nobody else reads."""
        return value in self.results and len(list(value.uses)) == 1


def _round(number: ir.Value, low: float, high: float, to: Quantization) -> ir.Value:
    """The code of a scaled number: clamped, rounded half to even, and moved by the zero point."""
    f32, i32, i8 = ir.F32Type.get(), ir.IntegerType.get_signless(32), ir.IntegerType.get_signless(8)
    for bound, predicate in ((low, arith.CmpFPredicate.OGT), (high, arith.CmpFPredicate.OLT)):
        limit = build.scalar(f32, bound)
        number = arith.select(arith.cmpf(predicate, number, limit), number, limit)
    # At 1.5 * 2^23 neighbours are 1 apart: the sum is rounded, and its low bits are the number. iree-compile turns
    # math.roundeven into twenty instructions.
    code = arith.bitcast(i32, arith.addf(number, build.scalar(f32, _ROUNDING)))
    if to.zero:
        code = arith.addi(code, build.scalar(i32, to.zero))
    return arith.trunci(i8, code)


def _clamp(value: ir.Value, constants: Constants) -> tuple[ir.Value, float, float] | None:
    """What `value` is a clamp of, with the bounds (infinite where there is none), if nobody else reads it."""
    op = build.defining(value)
    if op is None or not is_elementwise(op) or len(list(value.uses)) > 1:
        return None
    inputs = list(op.operands)[:-1]
    bounds = [constants.read(operand) for operand in inputs]
    moving = [i for i, bound in enumerate(bounds) if bound is None or bound.size != 1]
    if len(moving) != 1:
        return None
    maps = indexing_maps(op)
    source, target = maps[moving[0]], maps[-1]
    names = {inner.operation.name for inner in op.regions[0].blocks[0].operations}
    if source != target or not names <= {
        "arith.cmpf",
        "arith.select",
        "arith.maximumf",
        "arith.minimumf",
        "linalg.yield",
    }:
        return None
    samples = np.concatenate([np.linspace(-50, 50, 2001), [-1e30, 1e30]]).astype(np.float32)
    try:
        arguments = [samples if i in moving else bound for i, bound in enumerate(bounds)]
        found = evaluate_body(op.regions[0].blocks[0], [*arguments, None])
    except CannotEvaluate:
        return None
    low, high = float(found[-2]), float(found[-1])
    if not np.array_equal(found, np.clip(samples, low, high)):
        return None
    return inputs[moving[0]], -np.inf if low <= -1e30 else low, np.inf if high >= 1e30 else high


def _addends(value: ir.Value) -> list[ir.Value]:
    """The values that `value` is the sum of, where nobody else reads the sums."""
    op = build.defining(value)
    if op is None or not is_elementwise(op) or len(op.operands) != 3 or len(list(value.uses)) > 1:
        return [value]
    body = op.regions[0].blocks[0]
    names = [inner.operation.name for inner in body.operations]
    maps = indexing_maps(op)
    plain = names == ["arith.addf", "linalg.yield"] and all(map_ == maps[-1] for map_ in maps)
    if not plain or set(body.operations[0].operands) != set(list(body.arguments)[:2]):
        return [value]
    return [leaf for operand in list(op.operands)[:2] for leaf in _addends(operand)]


def _times(value: ir.Value, factor: float) -> ir.Value:
    kind = ir.RankedTensorType(value.type)
    identity = [affine.dim(i) for i in range(kind.rank)]
    return build.generic(
        [value],
        build.empty(kind.shape, kind.element_type),
        [identity, identity],
        ["parallel"] * kind.rank,
        lambda x, _: arith.mulf(x, build.scalar(kind.element_type, factor)),
    ).results[0]


def _sum(values: list[ir.Value], codes: list[tuple[Dequantized, float]], offset: float) -> ir.Value:
    """The sum of `values`, of codes times their factors and of `offset`."""
    inputs = [*values, *(found.codes for found, _ in codes)]
    kind = ir.RankedTensorType(inputs[0].type)
    identity = [affine.dim(i) for i in range(kind.rank)]
    f32 = ir.F32Type.get()

    def body(*arguments: ir.Value) -> ir.Value:
        total = None if offset == 0.0 and values else build.scalar(f32, offset)
        for number in arguments[: len(values)]:
            total = number if total is None else arith.addf(total, number)
        for (found, factor), code in zip(codes, arguments[len(values) :], strict=False):
            exact = (arith.sitofp if found.signed else arith.uitofp)(f32, code)
            assert total is not None
            total = math.fma(exact, build.scalar(f32, factor), total)
        assert total is not None
        return total

    maps = [identity] * (len(inputs) + 1)
    return build.generic(inputs, build.empty(kind.shape, f32), maps, ["parallel"] * kind.rank, body).results[0]
