"""Rules for what reads between the elements: GridSample and Resize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from dlas_mlir.compiler.frontend.onnx.fold import evaluate
from dlas_mlir.compiler.frontend.onnx.graph import Array, Graph, attributes, node
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, fixed_shape

# The numbers that a weight of a row of samples takes.
_LARGEST = 1 << 22


def _grid_sample(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """Two-dimensional samples, of the nearest element or four of them; the lowering reads beyond the image.

    x [N, C, H, W] and grid [N, OH, OW, 2] give [N, C, OH, OW].
    """
    values = attributes(each)
    shape = fixed_shape(graph, each.input[0])
    mode = str(values.get("mode", "linear"))
    if mode not in ("linear", "bilinear", "nearest") or len(shape) != 4:
        raise ValueError(
            f"{mode} samples of {len(shape) - 2} dimensions are not supported: only linear and nearest of 2"
        )
    sampler = _GridSampler(graph, each)
    places = [sampler.place(axis, size) for axis, size in ((0, shape[3]), (1, shape[2]))]
    sampler.sample(places, nearest=mode == "nearest")
    return sampler.nodes


class _GridSampler(Writer):
    """Places are in elements of the image, [N, OH * OW]; x comes before y."""

    def __init__(self, graph: Graph, each: NodeProto) -> None:
        super().__init__(graph, each)
        values = attributes(each)
        self._corners = bool(values.get("align_corners", 0))
        self._padding = str(values.get("padding_mode", "zeros"))
        self._shape = fixed_shape(graph, each.input[0])
        self._outs = fixed_shape(graph, each.input[1])[1:3]
        self._element = helper.tensor_dtype_to_np_dtype(graph.element(each.input[0]))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, self._element), "number")

    def place(self, axis: int, size: int) -> str:
        """Where the samples lie along one dimension of the image, of `size`."""
        taken = self.add("Gather", [self.each.input[1], self.constant(np.array(axis, np.int64), "axis")], axis=-1)
        flat = self.add("Reshape", [taken, self.constant([self._shape[0], -1], "flat")])
        factor = (size - 1) / 2 if self._corners else size / 2
        offset = (size - 1) / 2
        place = self.add("Add", [self.add("Mul", [flat, self.number(factor)]), self.number(offset)])
        if self._padding == "reflection":
            low, high = (0.0, size - 1.0) if self._corners else (-0.5, size - 0.5)
            place = self._reflected(place, low, high)
        return place if self._padding == "zeros" else self._clipped(place, size)

    def _reflected(self, place: str, low: float, high: float) -> str:
        """Places beyond the border turned back as often as needed."""
        if high <= low:
            return self.add("Mul", [place, self.number(0.0)])
        away = self.add("Abs", [self.add("Sub", [place, self.number(low)])])
        period = self.number(2 * (high - low))
        whole = self.add("Mul", [self.add("Floor", [self.add("Div", [away, period])]), period])
        within = self.add("Sub", [away, whole])
        turned = self.add("Min", [within, self.add("Sub", [period, within])])
        return self.add("Add", [turned, self.number(low)])

    def _clipped(self, place: str, size: int) -> str:
        return self.add("Clip", [place, self.number(0.0), self.number(size - 1.0)])

    def sample(self, places: list[str], *, nearest: bool) -> None:
        """The result: elements at whole places, weighted."""
        if nearest:
            total = self._elements([self.add("Round", [place]) for place in places], [])
        else:
            total = self._of_four(places)
        shape = [*self._shape[:2], *self._outs]
        self.nodes.append(
            node("Reshape", [total, self.constant(shape, "shape")], [self.each.output[0]], self.each.name)
        )

    def _of_four(self, places: list[str]) -> str:
        firsts = [self.add("Floor", [place]) for place in places]
        seconds = [self.add("Add", [first, self.number(1.0)]) for first in firsts]
        after = [self.add("Sub", [place, first]) for place, first in zip(places, firsts, strict=True)]
        before = [self.add("Sub", [self.number(1.0), part]) for part in after]
        total = ""
        for x, wide in ((firsts[0], before[0]), (seconds[0], after[0])):
            for y, high in ((firsts[1], before[1]), (seconds[1], after[1])):
                part = self._elements([x, y], [wide, high])
                total = self.add("Add", [total, part]) if total else part
        return total

    def _elements(self, places: list[str], weights: list[str]) -> str:
        """The elements [N, C, OH * OW] at whole places, times all weights; zero beyond the image."""
        sizes = (self._shape[3], self._shape[2])
        inside = [self.add("Equal", [p, self._clipped(p, n)]) for p, n in zip(places, sizes, strict=True)]
        mask = self.add("Cast", [self.add("And", inside)], to=helper.np_dtype_to_tensor_dtype(np.dtype(self._element)))
        kept = [self._clipped(place, size) for place, size in zip(places, sizes, strict=True)]
        whole = [self.add("Cast", [place], to=TensorProto.INT64) for place in kept]
        width = self.constant(np.array(self._shape[3], np.int64), "width")
        index = self.add("Add", [self.add("Mul", [whole[1], width]), whole[0]])
        batch, channels = self._shape[:2]
        points = int(np.prod(self._outs))
        spread = self.constant([batch, channels, points], "spread")
        index = self.add("Expand", [self._column(index), spread])
        flat = self.add("Reshape", [self.each.input[0], self.constant([batch, channels, -1], "flat")])
        found = self.add("GatherElements", [flat, index], axis=2)
        for weight in (*weights, mask):
            found = self.add("Mul", [found, self._column(weight)])
        return found

    def _column(self, value: str) -> str:
        """[N, P] as [N, 1, P]."""
        return self.add("Reshape", [value, self.constant([self._shape[0], 1, -1], "column")])


def _resize(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """A row of weights for each result along each resized axis, where the lowering does not know the form."""
    values = attributes(each)
    shape, outs = fixed_shape(graph, each.input[0]), fixed_shape(graph, each.output[0])
    if _is_lowered(graph, each, values, shape):
        return None
    cropped = values.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if cropped and values.get("extrapolation_value"):
        raise ValueError("an extrapolation_value other than 0 is not supported")
    write = Writer(graph, each)
    current = each.input[0]
    for axis in _axes(values, len(shape)):
        if shape[axis] == outs[axis] and not cropped:
            continue
        if shape[axis] * outs[axis] > _LARGEST:
            raise ValueError(f"this form of it is not supported for {shape[axis]} elements along axis {axis}")
        current = _along(write, current, axis, len(shape), _weights(graph, each, axis, shape, outs))
    write.add("Identity", [current], each.output[0])
    return write.nodes


def _is_lowered(graph: Graph, each: NodeProto, values: dict[str, object], shape: tuple[int, ...]) -> bool:
    """Whether torch-mlir lowers a Resize with these attributes, and right; or this file knows no better."""
    if values.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return True
    if values.get("antialias") or values.get("axes") or values.get("exclude_outside"):
        return False
    mode, places = values.get("mode", "nearest"), values.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        return places in ("asymmetric", "half_pixel", "pytorch_half_pixel") and len(shape) <= 4
    if places == "align_corners":  # it takes the last result for the last element, the standard where it would be
        scales = graph.constant(each.input[2]) if len(each.input) > 2 and each.input[2] else np.ones(len(shape))
        if scales is None or (scales.size and not np.array_equal(shape * scales, np.floor(shape * scales))):
            return False
    elif places not in ("asymmetric", "half_pixel", "pytorch_half_pixel"):
        return False
    return len(shape) == 4 and (mode == "linear" or values.get("cubic_coeff_a", -0.75) == -0.75)


def _axes(values: dict[str, object], rank: int) -> list[int]:
    axes = values.get("axes")
    return [axis % rank for axis in axes] if isinstance(axes, Sequence) and axes else list(range(rank))


def _weights(graph: Graph, each: NodeProto, axis: int, shape: tuple[int, ...], outs: tuple[int, ...]) -> Array:
    """[OUT, IN]: what onnx's own evaluator makes of the unit vectors, resized along one axis alone."""
    inputs = [*each.input, "", "", ""][:4]
    axes = _axes(attributes(each), len(shape))
    given = {name: graph.constant(name) for name in inputs[1:] if name}
    if any(value is None for value in given.values()):
        raise ValueError("its scales, sizes and regions must be constant")
    place = axes.index(axis)
    size = shape[axis]
    one = NodeProto()
    one.CopyFrom(each)
    kept = [found for found in one.attribute if found.name not in ("axes", "keep_aspect_ratio_policy")]
    del one.attribute[:], one.input[:]
    one.attribute.extend(kept)
    one.input.extend(["x", "roi", "scales", "sizes"])
    feeds: dict[str, Array] = {"x": np.eye(size, dtype=np.float32)}
    roi = given.get(inputs[1]) if inputs[1] else None
    region = [0.0, 0.0, 1.0, 1.0] if roi is None or not roi.size else [0.0, roi[place], 1.0, roi[place + len(axes)]]
    feeds["roi"] = np.array(region, np.float32)
    scales = given.get(inputs[2]) if inputs[2] else None
    if scales is not None and scales.size:
        feeds["scales"] = np.array([1.0, scales[place]], np.float32)
        one.input[3] = ""
    else:
        feeds["sizes"] = np.array([size, outs[axis]], np.int64)
        one.input[2] = ""
    return evaluate(one, feeds, graph)[0].T.astype(helper.tensor_dtype_to_np_dtype(graph.element(each.input[0])))


def _along(write: Writer, value: str, axis: int, rank: int, weights: Array) -> str:
    """`value` times `weights` [OUT, IN] along `axis`."""
    if np.array_equal(weights.sum(1), np.ones(len(weights))) and set(np.unique(weights)) <= {0, 1}:
        return write.add("Gather", [value, write.constant(weights.argmax(1), "places")], axis=axis)
    order = [*(dim for dim in range(rank) if dim != axis), axis]
    back = [order.index(dim) for dim in range(rank)]
    turned = value if axis == rank - 1 else write.add("Transpose", [value], perm=order)
    product = write.add("MatMul", [turned, write.constant(np.ascontiguousarray(weights.T), "weights")])
    return product if axis == rank - 1 else write.add("Transpose", [product], perm=back)


RULES: dict[str, Rule] = {"GridSample": _grid_sample, "Resize": _resize}
