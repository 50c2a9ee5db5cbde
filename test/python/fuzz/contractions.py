"""Contractions: named convolutions, matrix products and poolings, with the linalg.generic that each is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fuzz import bodies
from fuzz.build import CHANNELS, MOST_ITERATIONS, BodyBuilder, Builder, generic, plain
from fuzz.elements import Tensor, is_float
from fuzz.program import Body, Broadcast, Expr, Map, Pad, loop
from fuzz.steps import initial_value

# The dimensions of the input, the weights and the output, a letter each. x, y, z: image, with a letter of the window
# (u, v, w) in the weights. g: group, c: channel of the input, f: of the output.
FORMS = {
    "linalg.conv_2d_nchw_fchw": ("ncxy", "fcuv", "nfxy"),
    "linalg.conv_2d_nhwc_hwcf": ("nxyc", "uvcf", "nxyf"),
    "linalg.conv_2d_nhwc_fhwc": ("nxyc", "fuvc", "nxyf"),
    "linalg.conv_2d_ngchw_gfchw": ("ngcxy", "gfcuv", "ngfxy"),
    "linalg.conv_2d_ngchw_fgchw": ("ngcxy", "fgcuv", "ngfxy"),
    "linalg.conv_2d_nhwgc_gfhwc": ("nxygc", "gfuvc", "nxygf"),
    "linalg.depthwise_conv_2d_nchw_chw": ("ngxy", "guv", "ngxy"),
    "linalg.depthwise_conv_2d_nhwc_hwc": ("nxyg", "uvg", "nxyg"),
    "linalg.depthwise_conv_2d_nhwc_hwcm": ("nxyg", "uvgf", "nxygf"),
    "linalg.conv_1d_ncw_fcw": ("ncx", "fcu", "nfx"),
    "linalg.conv_1d_nwc_wcf": ("nxc", "ucf", "nxf"),
    "linalg.depthwise_conv_1d_ncw_cw": ("ngx", "gu", "ngx"),
    "linalg.depthwise_conv_1d_nwc_wc": ("nxg", "ug", "nxg"),
    "linalg.conv_2d": ("xy", "uv", "xy"),
    "linalg.conv_3d_ncdhw_fcdhw": ("ncxyz", "fcuvw", "nfxyz"),
}
USUAL = ("linalg.conv_2d_nchw_fchw",) * 8 + ("linalg.conv_2d_ngchw_gfchw", "linalg.depthwise_conv_2d_nchw_chw") * 3
PLAIN = ("linalg.conv_2d",)  # Without strides and dilations.
MATMULS = {
    "linalg.matmul": ("nc", "cf", "nf"),
    "linalg.batch_matmul": ("bnc", "bcf", "bnf"),
    "linalg.matvec": ("nc", "c", "n"),
    "linalg.vecmat": ("c", "cf", "f"),
    "linalg.batch_matvec": ("bnc", "bc", "bn"),
    "linalg.dot": ("c", "c", ""),
}
POOLINGS = {
    "linalg.pooling_nchw_max": ("ncxy", "max"),
    "linalg.pooling_nchw_sum": ("ncxy", "add"),
    "linalg.pooling_nhwc_max": ("nxyc", "max"),
    "linalg.pooling_nhwc_min": ("nxyc", "min"),
    "linalg.pooling_nhwc_sum": ("nxyc", "add"),
    "linalg.pooling_ncw_max": ("ncx", "max"),
    "linalg.pooling_nwc_sum": ("nxc", "add"),
}
_WINDOW = {"x": "u", "y": "v", "z": "w"}


@dataclass(frozen=True)
class _Window:
    """Sizes of the letters, and stride and dilation of each letter of the image."""

    sizes: dict[str, int]
    strides: dict[str, int]
    dilations: dict[str, int]

    def shape(self, form: str, image: str) -> tuple[int, ...]:
        """Of an operand; `image` is in, where the letters of the image are the input's, or out."""
        return tuple(self.sizes[f"{image}{x}"] if x in _WINDOW else self.sizes[x] for x in form)

    def attributes(self) -> str:
        if not self.strides:
            return ""
        parts = []
        for name, values in (("dilations", self.dilations), ("strides", self.strides)):
            parts.append(f"{name} = dense<{list(values.values())}> : tensor<{len(values)}xi64>")
        return f" {{{', '.join(parts)}}}"


def _input_of(b: Builder, form: str, given: tuple[int, ...] | None, plain_window: bool, loose: bool) -> _Window:
    """A window over an input of the shape `given`, or of one that fits."""
    sizes: dict[str, int] = {}
    strides, dilations = {}, {}
    pixels = b.choose((1, 2, 3, 4, 5, 6, 7, 8))
    for place, letter in enumerate(form):
        if letter not in _WINDOW:
            sizes[letter] = given[place] if given else _channels(b, letter, form)
            continue
        stride, dilation = (1, 1) if plain_window else (b.choose((1, 1, 1, 2, 3)), b.choose((1, 1, 1, 1, 2)))
        window = b.choose((1, 1, 2, 3, 3, 3, 5))
        if given:
            while window > 1 and (window - 1) * dilation >= given[place]:
                window, dilation = window - 1, 1
            size = given[place]
        else:
            out = max(1, pixels + b.integer(-1, 1))
            size = (out - 1) * stride + (window - 1) * dilation + 1 + (b.integer(0, stride - 1) if loose else 0)
        sizes[f"in{letter}"] = size
        sizes[f"out{letter}"] = (size - (window - 1) * dilation - 1) // stride + 1
        sizes[_WINDOW[letter]] = window
        strides[letter], dilations[letter] = stride, dilation
    return _Window(sizes, {} if plain_window else strides, {} if plain_window else dilations)


def _channels(b: Builder, letter: str, form: str) -> int:
    if letter == "n":
        return b.choose((1, 1, 1, 2, 3))
    if letter == "g":
        return b.choose(CHANNELS) if "c" not in form else b.choose((1, 2, 2, 3, 4, 8))
    return b.choose((1, 2, 3, 4, 6, 8, 16)) if "g" in form else b.choose(CHANNELS)


def _maps(forms: tuple[str, str, str], window: _Window) -> tuple[list[Map], list[int], list[str]]:
    """The maps, extents and iterators: the output's loops first, then the rest."""
    data, weights, out = forms
    letters = [*out, *(x for x in dict.fromkeys(weights + data) if x not in out)]
    place = {letter: i for i, letter in enumerate(letters)}

    def read(letter: str) -> Expr:
        if letter not in _WINDOW:
            return loop(place[letter])
        stride, dilation = window.strides.get(letter, 1), window.dilations.get(letter, 1)
        step = ("*", loop(place[letter]), ("c", stride))
        return ("+", step, ("*", loop(place[_WINDOW[letter]]), ("c", dilation)))

    extents = [window.sizes[f"out{x}"] if x in _WINDOW else window.sizes[x] for x in letters]
    kinds = ["parallel" if x in out else "reduction" for x in letters]
    maps = [tuple(map(read, data)), *(tuple(loop(place[x]) for x in form) for form in (weights, out))]
    return maps, extents, kinds


def _multiply_add(b: Builder, types: tuple[str, str, str]) -> Body:
    """The body of named contractions: operands are widened as signed numbers."""
    body = BodyBuilder(b, types)
    element = types[2]
    values = []
    for i in (0, 1):
        have = types[i]
        widen = "arith.extf" if is_float(have) else "arith.extsi"
        values.append(i if have == element else body.op(widen, element, i))
    suffix = "f" if is_float(element) else "i"
    product = body.op(f"arith.mul{suffix}", element, *values)
    return body.done(body.op(f"arith.add{suffix}", element, 2, product))


def _types(b: Builder, element: str) -> tuple[str, str]:
    """The type of the weights and of the result, for an input of `element`."""
    if element == "f32":
        return "f32", "f32"
    if element in ("f16", "bf16"):
        return element, b.choose((element, "f32"))
    return element, element if element in ("i32", "i64") else b.choose(("i32", "i32", "i32", element))


def convolution(b: Builder, place: int | None, loose: bool = False) -> int:
    """A convolution of the value at `place`, where its shape allows one."""
    given = b.kind(place) if place is not None and b.kind(place).element != "i1" else None
    names = [name for name, forms in FORMS.items() if given is None or len(forms[0]) == len(given.shape)]
    names += [name for name in USUAL if name in names]
    if not names or (given is not None and given.size > 4000):
        given, names = None, [*FORMS, *USUAL]
    name = b.choose(names)
    element = given.element if given else b.choose(("f32",) * 8 + ("f16", "bf16", "i8", "i8", "i32"))
    forms = FORMS[name]
    window = _input_of(b, forms[0], given.shape if given else None, name in PLAIN, loose)
    if "f" in forms[1]:
        window.sizes["f"] = b.choose((1, 2, 3, 4, 8)) if "g" in forms[1] else b.choose(CHANNELS)
    _shrink(window, forms, given is not None)
    order = b.chance(3)  # The weights are made before the input.
    weight_type, out_type = _types(b, element)
    weights_kind = Tensor(window.shape(forms[1], "in"), weight_type)
    made = _weights(b, weights_kind) if order else None
    data = place if given is not None and place is not None else b.source(Tensor(window.shape(forms[0], "in"), element))
    weights = made if made is not None else _weights(b, weights_kind)
    return _contract(b, name, forms, window, data, weights, out_type)


def _shrink(window: _Window, forms: tuple[str, str, str], given: bool) -> None:
    """Halve the channels until the loops are few enough to be interpreted."""
    for letter in ("f", "g", "c") * 6:
        _, extents, _ = _maps(forms, window)
        if np.prod(extents) <= 4 * MOST_ITERATIONS:
            return
        if letter in window.sizes and not (given and letter in forms[0]):
            window.sizes[letter] = max(1, window.sizes[letter] // 2)


def _weights(b: Builder, kind: Tensor) -> int:
    return b.constant(kind) if b.chance(6) else b.source(kind)


def _contract(
    b: Builder, name: str, forms: tuple[str, str, str], window: _Window, data: int, weights: int, out_type: str
) -> int:
    kind = Tensor(window.shape(forms[2], "out"), out_type)
    maps, extents, kinds = _maps(forms, window)
    initial = _bias_before(b, kind, forms[2]) if b.chance(2) else initial_value(b, kind)
    types = (b.kind(data).element, b.kind(weights).element, out_type)
    operands = [data, weights]
    named: tuple[str, str] | None = (name, window.attributes())
    if b.chance(1):
        named = None
        if b.chance(5):
            operands, maps, types = operands[::-1], [maps[1], maps[0], maps[2]], (types[1], types[0], types[2])
    body = _multiply_add(b, types)
    return generic(b, kind, operands, maps, extents, kinds, body, initial, named)


def _bias_before(b: Builder, kind: Tensor, form: str) -> int:
    """An initial value that is a bias for each output channel."""
    dim = form.index("f") if "f" in form else form.index("g") if "g" in form else None
    if dim is None:
        return b.fill(kind)
    bias = b.source(Tensor((kind.shape[dim],), kind.element))
    return b.add(Broadcast(kind, (bias,), tuple(i for i in range(len(kind.shape)) if i != dim)))


def matmul(b: Builder, place: int | None) -> int:
    given = b.kind(place) if place is not None and b.kind(place).element != "i1" else None
    names = [name for name, forms in MATMULS.items() if given is None or len(forms[0]) == len(given.shape)]
    if not names or (given is not None and given.size > 4000):
        given, names = None, list(MATMULS)
    name = b.choose(names + ["linalg.matmul"] * 3 * ("linalg.matmul" in names))
    forms = MATMULS[name]
    element = given.element if given else b.choose(("f32",) * 8 + ("f16", "bf16", "i8", "i32"))
    letters = dict.fromkeys("".join(forms))
    sizes = {letter: b.choose((1, 2, 3)) if letter == "b" else b.choose(CHANNELS) for letter in letters}
    if given is not None:
        sizes |= dict(zip(forms[0], given.shape, strict=True))
    window = _Window(sizes, {}, {})
    _shrink(window, forms, given is not None)
    weight_type, out_type = _types(b, element)
    kind = Tensor(window.shape(forms[1], "in"), weight_type)
    weights = _weights(b, kind)
    data = place if given is not None and place is not None else b.source(Tensor(window.shape(forms[0], "in"), element))
    if name == "linalg.matmul" and b.chance(2):
        return _transposed(b, window, data, weight_type, out_type)
    return _contract(b, name, forms, window, data, weights, out_type)


def _transposed(b: Builder, window: _Window, data: int, weight_type: str, out_type: str) -> int:
    """A linalg.matmul whose second operand is transposed by its map."""
    forms = ("nc", "fc", "nf")
    weights = _weights(b, Tensor(window.shape("fc", "in"), weight_type))
    maps = "affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>"
    attributes = f" indexing_maps = [{maps}, affine_map<(d0, d1, d2) -> (d0, d1)>]"
    place = _contract(b, "linalg.matmul", forms, window, data, weights, out_type)
    node = b.nodes[place]
    if getattr(node, "named", None):
        b.nodes[place] = replace(node, named=("linalg.matmul", attributes))  # type: ignore[call-arg]
    return place


def pooling(b: Builder, place: int | None, loose: bool = False) -> int:
    given = b.kind(place) if place is not None and b.kind(place).element != "i1" else None
    names = [name for name, (form, _) in POOLINGS.items() if given is None or len(form) == len(given.shape)]
    if not names:
        given, names = None, list(POOLINGS)
    name = b.choose(names)
    form, combine = POOLINGS[name]
    element = given.element if given else b.choose(("f32",) * 6 + ("f16", "bf16", "i8", "i32"))
    window = _input_of(b, form, given.shape if given else None, False, loose)
    shape = "uv" if "y" in form else "u"
    data = place if given is not None and place is not None else b.source(Tensor(window.shape(form, "in"), element))
    kind = Tensor(window.shape(form, "out"), element if is_float(element) or b.chance(7) else "i32")
    maps, extents, kinds = _maps((form, shape, form), window)
    initial = initial_value(b, kind, combine)
    read = b.add(_empty(Tensor(tuple(window.sizes[x] for x in shape), b.choose((element, element, "f32")))))
    if b.kind(read).element != element and not is_float(element):
        b.nodes[read] = _empty(Tensor(b.kind(read).shape, element))
    types = [element, b.kind(read).element, kind.element]
    body = BodyBuilder(b, types)
    value = 0 if element == kind.element else body.op("arith.extsi", kind.element, 0)
    body = body.done(body.op(bodies._combination(combine, kind.element), kind.element, 2, value))
    return generic(b, kind, [data, read], maps, extents, kinds, body, initial, (name, window.attributes()))


def _empty(kind: Tensor):
    from fuzz.program import Empty

    return Empty(kind, ())


def padded(b: Builder, place: int, dims: tuple[int, ...]) -> int:
    """Zeros (or, rarely, something else) around an image."""
    kind = b.kind(place)
    low = tuple(b.choose((0, 1, 1, 2)) if i in dims else 0 for i in range(len(kind.shape)))
    high = tuple(b.choose((0, 1, 1, 2)) if i in dims else 0 for i in range(len(kind.shape)))
    shape = tuple(sum(sizes) for sizes in zip(low, kind.shape, high, strict=True))
    value = b.fill_value(kind.element) if b.chance(3) else 0.0
    return b.add(Pad(Tensor(shape, kind.element), (place,), low, high, value))


def widened(b: Builder, place: int) -> int:
    """Codes of 8 bits as i32, as importers of quantized models write them."""
    kind = b.kind(place)
    body = BodyBuilder(b, [kind.element, "i32"])
    last = body.op(b.choose(("arith.extsi", "arith.extui")), "i32", 0)
    maps = [plain(len(kind.shape))] * 2
    result = Tensor(kind.shape, "i32")
    return generic(b, result, [place], maps, kind.shape, ["parallel"] * len(kind.shape), body.done(last))
