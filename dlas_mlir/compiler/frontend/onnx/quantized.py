"""Rules for arithmetic on codes, which becomes arithmetic on numbers."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from dlas_mlir.compiler.frontend.onnx.graph import Graph
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, fixed_shape, set_attributes
from dlas_mlir.compiler.frontend.onnx.windows import dilated, padding


def _numbers(code: Writer, codes: str, zero: str, axis: int, element: int) -> str:
    """Codes without their zero points, as `element`; zero points along `axis` of what has fixed shape."""
    wide = code.add("Cast", [codes], to=element)
    if not zero:
        return wide
    point = code.add("Cast", [zero], to=element)
    return code.add("Sub", [wide, code.along(point, zero, axis, code.rank(codes))])


def _quantized_convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """QLinearConv: the convolution of the numbers that the codes stand for, rounded to codes.

    What a kernel computes on the codes is left as a convolution between DequantizeLinear and QuantizeLinear; in any
    other, whole numbers meet in the convolution, whose sums are exact up to 2^24.
    """
    x, xs, xz, w, ws, wz, ys, yz = each.input[:8]
    code = Writer(graph, each)
    rank = code.rank(w)
    scale = code.add("Mul", [xs, ws])
    bias = code.add("Cast", [each.input[8]], to=TensorProto.FLOAT) if len(each.input) > 8 and each.input[8] else ""
    convolution = NodeProto()
    convolution.CopyFrom(each)
    convolution.op_type = "Conv"
    convolution.output[0] = graph.fresh(f"{each.output[0]}/sums")
    sizes = graph.shape(x)
    kernel = dilated(each, fixed_shape(graph, w)[2:])
    if sizes is not None:
        set_attributes(convolution, auto_pad=None, pads=padding(sizes[2:], each, kernel))
    del convolution.input[:]
    if _is_for_codes(graph, each):
        convolution.input.append(code.add("DequantizeLinear", [x, xs, xz]))
        convolution.input.append(code.add("DequantizeLinear", [w, ws, wz], axis=0))
        convolution.input.extend([code.add("Mul", [bias, scale])] if bias else [])
        code.nodes.append(convolution)
        code.add("QuantizeLinear", [convolution.output[0], ys, yz], each.output[0])
        return code.nodes
    convolution.input.append(_numbers(code, x, xz, 1, TensorProto.FLOAT))
    convolution.input.append(_numbers(code, w, wz, 0, TensorProto.FLOAT))
    convolution.input.extend([bias] if bias else [])
    code.nodes.append(convolution)
    scaled = code.add("Mul", [convolution.output[0], code.along(scale, ws, 1, rank)])
    code.add("QuantizeLinear", [scaled, ys, yz], each.output[0])
    return code.nodes


def _is_for_codes(graph: Graph, each: NodeProto) -> bool:
    """Whether it is one of unsigned codes and signed ones around zero, and all parameters are constants."""
    x, xs, xz, w, ws, wz, ys, yz = each.input[:8]
    values = [graph.constant(name) for name in (xs, xz, ws, wz, ys, yz)]
    if any(value is None for value in values) or values[0] is None or values[0].size > 1:
        return False
    kinds = graph.element(x), graph.element(w)
    return kinds == (TensorProto.UINT8, TensorProto.INT8) and not np.any(values[3])


def _quantized_product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """QLinearMatMul: the product of the numbers that the codes stand for, rounded to codes."""
    a, s, az, b, bs, bz, ys, yz = each.input
    code = Writer(graph, each)
    left = _numbers(code, a, az, -2, TensorProto.FLOAT)
    right = _numbers(code, b, bz, -1, TensorProto.FLOAT)
    rank = max(code.rank(a), code.rank(b))
    sums = code.add("MatMul", [left, right])
    scales = [code.add("Cast", [name], to=TensorProto.FLOAT) for name in (s, bs, ys)]
    scaled = code.add(
        "Mul", [code.add("Mul", [sums, code.along(scales[0], s, -2, rank)]), code.along(scales[1], bs, -1, rank)]
    )
    code.add("QuantizeLinear", [scaled, scales[2], yz], each.output[0])
    return code.nodes


def _integer_product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MatMulInteger: a product of 32-bit integers without their zero points."""
    code = Writer(graph, each)
    a, b, az, bz = (*each.input, "", "")[:4]
    left, right = _numbers(code, a, az, -2, TensorProto.INT32), _numbers(code, b, bz, -1, TensorProto.INT32)
    code.add("MatMul", [left, right], each.output[0])
    return code.nodes


def _integer_convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """ConvInteger: a convolution of whole numbers in f32, where its sums are exact there."""
    x, w, xz, wz = (*each.input, "", "")[:4]
    shape = fixed_shape(graph, w)
    if int(np.prod(shape[1:])) * 255 * 255 >= 1 << 24:
        return None
    code = Writer(graph, each)
    convolution = NodeProto()
    convolution.CopyFrom(each)
    convolution.op_type = "Conv"
    del convolution.input[:]
    convolution.input.extend([_numbers(code, x, xz, 1, TensorProto.FLOAT), _numbers(code, w, wz, 0, TensorProto.FLOAT)])
    convolution.output[0] = graph.fresh(f"{each.output[0]}/sums")
    pads = padding(fixed_shape(graph, x)[2:], each, dilated(each, shape[2:]))
    set_attributes(convolution, auto_pad=None, pads=pads)
    code.nodes.append(convolution)
    code.add("Cast", [convolution.output[0]], each.output[0], to=TensorProto.INT32)
    return code.nodes


RULES: dict[str, Rule] = {
    "ConvInteger": _integer_convolution,
    "MatMulInteger": _integer_product,
    "QLinearConv": _quantized_convolution,
    "QLinearMatMul": _quantized_product,
}
