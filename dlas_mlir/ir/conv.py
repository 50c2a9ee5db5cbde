"""The convolution view: one frozen description of whatever linalg form a convolution or linear layer has.

This is the only place that knows how many named linalg convolutions there are. Canonical forms are NCHW for
activations and OIHW ([K, C/G, R, S]) for weights; a linear layer is the 1x1 case with one pixel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import affine, build, quant, sparsity
from dlas_mlir.ir.constants import Constants, is_constant
from dlas_mlir.ir.linalg import indexing_maps, scalar_constant
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import PassError

# Name: the dimensions of the input, the weights and the output, one letter each. g: group, c: input channel of a
# group, f: output channel of a group, m: channel multiplier of a depthwise convolution.
_FORMS = {
    "linalg.conv_2d_nchw_fchw": ("nchw", "fchw", "nfhw"),
    "linalg.conv_2d_nhwc_hwcf": ("nhwc", "hwcf", "nhwf"),
    "linalg.conv_2d_nhwc_fhwc": ("nhwc", "fhwc", "nhwf"),
    "linalg.conv_2d_ngchw_gfchw": ("ngchw", "gfchw", "ngfhw"),
    "linalg.conv_2d_ngchw_fgchw": ("ngchw", "fgchw", "ngfhw"),
    "linalg.conv_2d_nhwgc_gfhwc": ("nhwgc", "gfhwc", "nhwgf"),
    "linalg.depthwise_conv_2d_nchw_chw": ("nghw", "ghw", "nghw"),
    "linalg.depthwise_conv_2d_nhwc_hwc": ("nhwg", "hwg", "nhwg"),
    "linalg.depthwise_conv_2d_nhwc_hwcm": ("nhwg", "hwgf", "nhwgf"),
    "linalg.matmul": ("nc", "cf", "nf"),
}
LINEAR = "linalg.matmul"
# Layers that have no view.
_OTHER_LAYER = re.compile(r"linalg\.((depthwise_)?conv_|quantized_matmul)")


@dataclass(frozen=True)
class Convolution:
    """A 2-D convolution or linear layer as it stands in the IR: the operation and its algebra."""

    op: ir.Operation
    shape: ConvShape

    @property
    def element(self) -> ir.Type:
        """The type of the input; of an integer convolution that of the codes."""
        return build.element_type(self.input)

    @property
    def accumulator(self) -> ir.Type:
        """The type of the result."""
        return build.element_type(self.op.results[0])

    @property
    def input(self) -> ir.Value:
        """The input; of an integer convolution the codes, as they were before they were widened."""
        return _codes(self.op.operands[0])

    @property
    def weights(self) -> ir.Value:
        """The dense weights, also where they are encoded or (codes) widened."""
        return _codes(sparsity.dense(self.op.operands[1]))

    @property
    def forms(self) -> tuple[str, str, str]:
        """The dimensions of the input, the weights and the output, a letter each: n, g, c, f, h, w."""
        return _FORMS[self.op.name]

    @property
    def weights_form(self) -> str:
        """The dimensions of the weights, a letter each: g, f, c, h, w."""
        return self.forms[1]

    def set_weights(self, weights: ir.Value) -> None:
        """Give the layer other dense weights of the same shape; an encoding stays. Built at the insertion point."""
        encoding = self.shape.encoding
        self.op.operands[1] = sparsity.encode(weights, encoding, self.weights_form) if encoding else weights

    @property
    def initial(self) -> ir.Value:
        return self.op.operands[2]

    def input_nchw(self) -> ir.Value:
        """The input as [N, C, H, W], built at the insertion point."""
        form = _FORMS[self.op.name][0]
        value = self.input
        source = build.defining(value)
        if form == "ngchw" and source is not None and source.name == "tensor.expand_shape":
            image = [self.shape.batch, self.shape.in_channels, *self.shape.in_size]
            if _shape(source.operands[0]) == image:
                return source.operands[0]
        return _canonical(value, form, ("n", "gc", "h", "w"))

    def weights_oihw(self) -> ir.Value:
        """The weights as [K, C/G, R, S], built at the insertion point."""
        return _canonical(self.weights, _FORMS[self.op.name][1], ("gf", "c", "h", "w"))

    def constant_oihw(self, constants: Constants) -> np.ndarray:
        """Constant weights as an array [K, C/G, R, S]. Raises PassError for weights that are not constant."""
        array = constants.read(self.weights)
        if array is None:
            raise PassError("the weights are not constant", self.op)
        form = _FORMS[self.op.name][1]
        letters = [x for x in "gfchw" if x in form]
        shape = (self.shape.out_channels, self.shape.group_in, *self.shape.kernel)
        return array.transpose([form.index(x) for x in letters]).reshape(shape)

    def in_form(self, weights: np.ndarray) -> np.ndarray:
        """An array [K, C/G, R, S] in the shape of the layer's own weights: what undoes `constant_oihw`."""
        sizes = dict(zip(self.weights_form, ir.RankedTensorType(self.weights.type).shape, strict=True))
        letters = [x for x in "gfchw" if x in sizes]
        return weights.reshape([sizes[x] for x in letters]).transpose([letters.index(x) for x in self.weights_form])

    def multiply_accumulate(self, a: ir.Value, b: ir.Value, accumulator: ir.Value) -> ir.Value:
        """The scalar accumulator + a * b for an element of the input and one of the weights, by the operation's own
        body: it says how types are converted."""
        block = self.op.regions[0].blocks[0]
        wide = [
            value if found is None else (arith.extsi if found[1] else arith.extui)(argument.type, value)
            for argument, value, found in zip(
                block.arguments, (a, b), (quant.narrow(operand) for operand in self.op.operands), strict=False
            )
        ]
        return build.inline_body(block, [*wide, accumulator])

    def is_signed(self, place: int) -> bool:
        """Whether integers of the input (0) or of the weights (1) are signed."""
        found = quant.narrow(self.op.operands[place])
        argument = self.op.regions[0].blocks[0].arguments[place]
        return found[1] if found is not None else all(user.name != "arith.extui" for user in build.users(argument))

    def bias(self, constants: Constants) -> np.ndarray | None:
        """What the initial accumulator holds per output channel; None when that is not known, or differs in one."""
        uniform = self.uniform_initial()
        if uniform is not None:
            return np.full(self.shape.out_channels, uniform.value)  # type: ignore[attr-defined]
        if self.shape.result_nchw == [1, self.shape.out_channels, 1, 1] and is_constant(self.initial):
            array = constants.read(self.initial)
            return None if array is None else array.reshape(-1)
        op = build.defining(self.initial)
        _, out_dims = self.output_channel_dims()
        if op is not None and op.name == "tensor.expand_shape" and _shape(op.operands[0]) == self.shape.result_nchw:
            op, out_dims = build.defining(op.operands[0]), [1]
        if op is None or op.name != "linalg.broadcast":
            return None
        added = list(ir.DenseI64ArrayAttr(op.attributes["dimensions"]))
        if [i for i in range(len(_shape(op.results[0]))) if i not in added] != out_dims:
            return None
        array = constants.read(op.operands[0])
        return None if array is None else array.reshape(-1)

    def uniform_initial(self) -> ir.Attribute | None:
        """The constant that every element of the initial accumulator is; None where there is none, or not known."""
        op = build.defining(self.initial)
        while op is not None and op.name in ("tensor.expand_shape", "tensor.collapse_shape"):
            op = build.defining(op.operands[0])
        if op is None or op.name not in ("linalg.fill", "arith.constant"):
            return None
        attr = scalar_constant(op.operands[0] if op.name == "linalg.fill" else op.results[0])
        return attr if isinstance(attr, ir.FloatAttr | ir.IntegerAttr) else None

    def channels_end(self) -> tuple[ir.Value, int] | None:
        """Where the output channels are whole: the result, or behind the collapse of [G, K/G], and their dimension."""
        _, out_dims = self.output_channel_dims()
        end = self.op.results[0]
        if len(out_dims) == 1:
            return end, out_dims[0]
        users = build.users(end)
        if out_dims != [1, 2] or len(users) != 1 or users[0].name != "tensor.collapse_shape":
            return None
        whole = users[0].results[0]
        return (whole, 1) if _shape(whole) == self.shape.result_nchw else None

    def initial_nchw(self) -> ir.Value:
        """The initial accumulator as [N, K, OH, OW], built at the insertion point."""
        return _canonical(self.initial, _FORMS[self.op.name][2], ("n", "gf", "h", "w"))

    def output_channel_dims(self) -> tuple[list[int], list[int]]:
        """The dimensions of the weights and of the output that together are the output channel, outermost first."""
        _, weights, output = _FORMS[self.op.name]
        return [weights.index(x) for x in "gf" if x in weights], [output.index(x) for x in "gf" if x in output]

    def replace(self, result: ir.Value) -> None:
        """Put `result`, [N, K, OH, OW], in the place of the operation and erase it."""
        form = _FORMS[self.op.name][2]
        final = result
        for user in build.users(self.op.results[0]):
            # The usual collapse of the groups behind a grouped convolution undoes what would be done here.
            if form == "ngfhw" and user.name == "tensor.collapse_shape" and user.results[0].type == result.type:
                user.results[0].replace_all_uses_with(result)
                user.erase()
        if list(self.op.results[0].uses):
            final = _from_nchw(result, form, ir.RankedTensorType(self.op.results[0].type), self.shape.groups)
            self.op.results[0].replace_all_uses_with(final)
        self.op.erase()


def _codes(value: ir.Value) -> ir.Value:
    found = quant.narrow(value)
    return value if found is None else found[0]


def _shape(value: ir.Value) -> list[int]:
    return list(ir.RankedTensorType(value.type).shape)


def _canonical(value: ir.Value, form: str, wanted: tuple[str, ...]) -> ir.Value:
    """`value`, with dimensions named by `form`, as a tensor with the dimensions `wanted` (letters are collapsed)."""
    letters = [x for group in wanted for x in group if x in form]
    permutation = [form.index(x) for x in letters]
    if permutation != sorted(permutation):
        value = build.transpose(value, permutation)
    groups: list[list[int]] = []
    missing: list[int] = []
    place = 0
    for i, group in enumerate(wanted):
        present = [x for x in group if x in form]
        if present:
            groups.append(list(range(place, place + len(present))))
            place += len(present)
        else:
            missing.append(i)
    if any(len(group) > 1 for group in groups):
        value = build.collapse(value, groups)
    if missing:
        shape = list(ir.RankedTensorType(value.type).shape)
        for i in missing:
            shape.insert(i, 1)
        value = build.expand(value, _unit_groups(len(wanted), missing), shape)
    return value


def _unit_groups(rank: int, missing: list[int]) -> list[list[int]]:
    """Reassociation that adds unit dimensions at `missing`: each joins the dimension before it (or the first)."""
    groups: list[list[int]] = []
    pending: list[int] = []
    for i in range(rank):
        if i in missing:
            (groups[-1] if groups else pending).append(i)
        else:
            groups.append([*pending, i])
            pending = []
    return groups


def _from_nchw(value: ir.Value, form: str, kind: ir.RankedTensorType, groups: int) -> ir.Value:
    """[N, K, OH, OW] as the result type of an operation whose output dimensions are `form`."""
    shape = list(ir.RankedTensorType(value.type).shape)
    letters = "nfhw"
    if "h" not in form:
        return build.collapse(value, [[0], [1, 2, 3]])
    if "g" in form and "f" in form:
        value = build.expand(value, [[0], [1, 2], [3], [4]], [shape[0], groups, shape[1] // groups, *shape[2:]])
        letters = "ngfhw"
    elif "g" in form:
        letters = "nghw"
    permutation = [letters.index(x) for x in form]
    return value if permutation == sorted(permutation) else build.transpose(value, permutation)


def view(op: ir.Operation) -> Convolution | None:
    """The convolution view of `op`, or None when it is no convolution or linear layer of real numbers with a static
    shape."""
    if op.name not in _FORMS or len(op.results) != 1:
        return None
    kinds = [ir.RankedTensorType(value.type) for value in op.operands]
    if not all(kind.has_static_shape and _is_real(kind.element_type) for kind in kinds):
        return None
    if op.name == LINEAR and not _plain_matmul(op):
        return None
    sizes = [dict(zip(form, kind.shape, strict=True)) for form, kind in zip(_FORMS[op.name], kinds, strict=True)]
    return Convolution(op, _algebra(op, *sizes))


def _algebra(op: ir.Operation, data: dict[str, int], weights: dict[str, int], out: dict[str, int]) -> ConvShape:
    """The algebra of `op`, of which the sizes of the input, the weights and the result are known by letters."""
    groups = data.get("g", 1)
    elements = [str(build.element_type(_codes(sparsity.dense(op.operands[place])))) for place in range(2)]
    return ConvShape(
        batch=data["n"],
        groups=groups,
        in_channels=groups * data.get("c", 1),
        out_channels=groups * weights.get("f", 1),
        in_size=(data.get("h", 1), data.get("w", 1)),
        out_size=(out.get("h", 1), out.get("w", 1)),
        kernel=(weights.get("h", 1), weights.get("w", 1)),
        strides=pair(op, "strides"),
        dilations=pair(op, "dilations"),
        linear=op.name == LINEAR,
        element=elements[0],
        weights=elements[1],
        accumulator=str(build.element_type(op.results[0])),
        constant=is_constant(_codes(sparsity.dense(op.operands[1]))),
        encoding=sparsity.known_encoding(op.operands[1], _FORMS[op.name][1]),
        zeros=sparsity.share_of(op),
    )


def is_layer(op: ir.Operation) -> bool:
    """Whether `op` is a convolution or linear layer, of whatever kind, types and shapes. This is the one place that
    decides it. (Products of batches of matrices, as attention has them, are none.)"""
    return len(op.results) == 1 and (op.name in _FORMS or _OTHER_LAYER.match(op.name) is not None)


def why_no_view(op: ir.Operation) -> str:
    """What is special about a layer that has no view."""
    if op.name not in _FORMS:
        return op.name
    kinds = [ir.RankedTensorType(value.type) for value in op.operands]
    if not all(_is_real(kind.element_type) for kind in kinds):
        return f"{op.name} on numbers of type {kinds[0].element_type}"
    if not all(kind.has_static_shape for kind in kinds):
        return f"{op.name} on dynamic shapes"
    return f"{op.name} with other indexing maps than its plain ones"


def _is_real(element: ir.Type) -> bool:
    """Whether these are numbers. Bits are not: they are combined by `or`, and no vectors of ours hold them."""
    return isinstance(element, ir.FloatType) or (isinstance(element, ir.IntegerType) and element.width > 1)


def _plain_matmul(op: ir.Operation) -> bool:
    if "indexing_maps" not in op.attributes:
        return True
    plain = [(0, 2), (2, 1), (0, 1)]
    return all(
        len(map_.results) == 2 and all(affine.is_dim(expr, dim) for expr, dim in zip(map_.results, dims, strict=True))
        for map_, dims in zip(indexing_maps(op), plain, strict=True)
    )


def pair(op: ir.Operation, name: str) -> tuple[int, int]:
    """The attribute `strides` or `dilations` of a convolution or pooling, ones where it is left out."""
    if name not in op.attributes:
        return (1, 1)
    values = [int(value) for value in ir.DenseIntElementsAttr(op.attributes[name])]
    return (values[0], values[-1])


def layer_name(op: ir.Operation) -> str:
    """The name of a layer: the NameLoc that the importer left, else where it stands in its file."""
    location = op.location
    if isinstance(location, ir.NameLoc):
        return location.name_str
    if isinstance(location, ir.FileLineColLoc):
        return f"{Path(str(location.filename)).name}:{location.start_line}:{location.start_col}"
    return str(location)
