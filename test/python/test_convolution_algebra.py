"""Properties of affine expressions, the convolution view, packing and the evaluation of scalar bodies."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from iree.compiler import ir
from torch.utils.flop_counter import FlopCounterMode

from dlas_mlir.ir import affine, attributes, build, conv
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.pipeline import parse_pipeline

CONTEXT = ir.Context()
LOOPS = 4
points = st.lists(st.integers(0, 50), min_size=LOOPS, max_size=LOOPS)


@dataclass(frozen=True)
class Expression:
    """An affine expression as a tree: a dimension, a constant, or (operation, left, right)."""

    tree: object

    def at(self, point: list[int]) -> int:
        """Its value, worked out in Python."""

        def value(tree):
            if isinstance(tree, str):
                return point[int(tree)]
            return tree if isinstance(tree, int) else tree[0](value(tree[1]), value(tree[2]))

        return value(self.tree)

    def build(self) -> ir.AffineExpr:
        """The same as MLIR has it."""
        made = {
            operator.add: ir.AffineExpr.get_add,
            operator.mul: ir.AffineExpr.get_mul,
            operator.floordiv: ir.AffineExpr.get_floor_div,
            operator.mod: ir.AffineExpr.get_mod,
        }

        def expr(tree):
            if isinstance(tree, str):
                return affine.dim(int(tree))
            return affine.constant(tree) if isinstance(tree, int) else made[tree[0]](expr(tree[1]), expr(tree[2]))

        return expr(self.tree)


def _larger(inner):
    positive = st.integers(1, 9)
    return st.one_of(
        st.tuples(st.just(operator.add), inner, inner),
        st.tuples(st.just(operator.mul), inner, st.integers(0, 9)),
        st.tuples(st.sampled_from([operator.floordiv, operator.mod]), inner, positive),
    )


leaves = st.one_of(st.sampled_from([str(i) for i in range(LOOPS)]), st.integers(0, 20))
expressions = st.recursive(leaves, _larger, max_leaves=8).map(Expression)


@given(expressions, points)
def test_evaluate_is_arithmetic(expression, point):
    with CONTEXT:
        assert affine.evaluate(expression.build(), point) == expression.at(point)


@given(expressions, points, points)
def test_an_expression_depends_on_its_dimensions_only(expression, point, other):
    with CONTEXT:
        expr = expression.build()
        mixed = [point[i] if i in affine.dims_of(expr) else other[i] for i in range(LOOPS)]
        assert affine.evaluate(expr, mixed) == affine.evaluate(expr, point)


@given(expressions, st.lists(expressions, min_size=LOOPS, max_size=LOOPS), points)
def test_substitution_is_composition(expression, replacements, point):
    with CONTEXT:
        replaced = affine.substitute(expression.build(), [inner.build() for inner in replacements], LOOPS)
        assert affine.evaluate(replaced, point) == expression.at([inner.at(point) for inner in replacements])


@given(expressions)
def test_a_plain_dimension_is_recognised(expression):
    with CONTEXT:
        expr = expression.build()
        assert affine.is_dim(expr) == any(expr == affine.dim(i) for i in range(LOOPS))
        if affine.is_dim(expr):
            assert affine.is_dim(expr, affine.dim_position(expr))


sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def convolutions(draw):
    """torch.nn.functional.conv2d's arguments: input shape, weight shape, strides, dilations, groups."""
    groups = draw(st.integers(1, 4))
    c, k = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    kernel, stride, dilation = draw(sizes), draw(sizes), draw(sizes)
    out = draw(sizes)
    # A few rows and columns may be left unread.
    image = [
        (out[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 + draw(st.integers(0, stride[i] - 1))
        for i in range(2)
    ]
    return (draw(st.integers(1, 3)), c, *image), (k, c // groups, *kernel), stride, dilation, groups


def _module(x: tuple, w: tuple, stride, dilation, groups: int, out: tuple) -> str:
    """The convolution as torch-mlir writes it."""
    n, c, h, width = x
    k, _, oh, ow = out[1], w[1], out[2], out[3]
    name, data, weights, result = "conv_2d_nchw_fchw", x, w, out
    if groups > 1 and groups == c == k:
        name, weights = "depthwise_conv_2d_nchw_chw", (c, *w[2:])
    elif groups > 1:
        name, data, result = "conv_2d_ngchw_gfchw", (n, groups, c // groups, h, width), (n, groups, k // groups, oh, ow)
        weights = (groups, k // groups, *w[1:])
    x_type, w_type, y_type = (f"tensor<{'x'.join(map(str, shape))}xf32>" for shape in (data, weights, result))
    strides, dilations = (f"dense<{list(pair)}> : vector<2xi64>" for pair in (stride, dilation))
    return f"""func.func @f(%x: {x_type}, %w: {w_type}, %s: {y_type}) -> {y_type} {{
      %y = linalg.{name} {{strides = {strides}, dilations = {dilations}}}
          ins(%x, %w : {x_type}, {w_type}) outs(%s : {y_type}) -> {y_type}
      return %y : {y_type}
    }}"""


@given(convolutions())
@settings(deadline=None)
def test_view_says_what_pytorch_computes(drawn):
    x, w, stride, dilation, groups = drawn
    with FlopCounterMode(display=False) as counter:
        out = torch.nn.functional.conv2d(torch.empty(x), torch.empty(w), None, stride, 0, dilation, groups)
    shape = tuple(out.shape)
    module = ir.Module.parse(_module(x, w, stride, dilation, groups, shape), CONTEXT)
    with CONTEXT:
        (view,) = (found for op in build.operations(module) if (found := conv.view(op)))
    assert (view.shape.batch, view.shape.out_channels, *view.shape.out_size) == shape
    assert (view.shape.batch, view.shape.in_channels, *view.shape.in_size) == x
    assert (view.shape.out_channels, view.shape.group_in, *view.shape.kernel) == w
    assert (view.shape.strides, view.shape.dilations, view.shape.groups) == (stride, dilation, groups)
    assert 2 * view.shape.macs == counter.get_total_flops()
    assert view.shape.depthwise == (groups > 1 and w[1] == 1)
    assert ConvShape.from_json(view.shape.to_json()) == view.shape
    with CONTEXT:
        assert ConvShape.from_plain(attributes.to_plain(attributes.from_plain(view.shape.to_plain()))) == view.shape


@st.composite
def packs(draw):
    """The arguments of a linalg.pack: shape, tiled dimensions, their tiles, and the padding value."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    dims = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1, max_size=len(shape)))
    tiles = draw(st.lists(st.integers(1, 4), min_size=len(dims), max_size=len(dims)))
    return shape, dims, tiles, draw(st.integers(-3, 3))


def naive_pack(array: np.ndarray, dims: list[int], tiles: list[int], fill: float) -> np.ndarray:
    """linalg.pack, element by element, as its definition has it."""
    outer = list(array.shape)
    for dim, tile in zip(dims, tiles, strict=True):
        outer[dim] = -(-outer[dim] // tile)
    packed = np.full([*outer, *tiles], fill, array.dtype)
    for place in np.ndindex(*array.shape):
        block, inner = list(place), []
        for dim, tile in zip(dims, tiles, strict=True):
            block[dim], lane = divmod(place[dim], tile)
            inner.append(lane)
        packed[(*block, *inner)] = array[place]
    return packed


@given(packs())
@settings(deadline=None)
def test_packed_constants_are_packed(drawn):
    shape, dims, tiles, fill = drawn
    array = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    wanted = naive_pack(array, dims, tiles, fill)
    source, result = (f"tensor<{'x'.join(map(str, a.shape))}xf32>" for a in (array, wanted))
    module = ir.Module.parse(
        f"""func.func @f() -> {result} {{
          %fill = arith.constant {float(fill)} : f32
          %w = arith.constant dense<{array.tolist()}> : {source}
          %e = tensor.empty() : {result}
          %p = linalg.pack %w padding_value(%fill : f32) inner_dims_pos = {dims} inner_tiles = {tiles}
              into %e : {source} -> {result}
          return %p : {result}
        }}""",
        CONTEXT,
    )
    with CONTEXT:
        parse_pipeline("dlas-fold-constants").run(module)
        constant, _ = build.operations(module)
        folded = Constants(module.operation).read(constant.results[0])
    assert folded is not None
    np.testing.assert_array_equal(folded, wanted)


@given(st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=12), st.floats(0.5, 4, width=32))
@settings(deadline=None)
def test_scalar_bodies_are_evaluated_as_pytorch_does(values, divisor):
    assume(len(set(values)) > 1)
    x = np.array(values, np.float32)
    kind = f"tensor<{len(values)}xf32>"
    module = ir.Module.parse(
        f"""func.func @f() -> {kind} {{
          %x = arith.constant dense<{[float(v) for v in values]}> : {kind}
          %e = tensor.empty() : {kind}
          %y = linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                                iterator_types = ["parallel"]}}
              ins(%x : {kind}) outs(%e : {kind}) {{
          ^bb0(%a: f32, %o: f32):
            %zero = arith.constant 0.0 : f32
            %d = arith.constant {float(divisor)!r} : f32
            %negative = arith.cmpf olt, %a, %zero : f32
            %b = arith.select %negative, %zero, %a : f32
            %c = arith.divf %b, %d : f32
            %e1 = math.tanh %c : f32
            %s = arith.subf %e1, %a : f32
            linalg.yield %s : f32
          }} -> {kind}
          return %y : {kind}
        }}""",
        CONTEXT,
    )
    with CONTEXT:
        parse_pipeline("dlas-fold-constants").run(module)
        constant, _ = build.operations(module)
        folded = Constants(module.operation).read(constant.results[0])
    tensor = torch.from_numpy(x)
    wanted = torch.tanh(torch.relu(tensor) / divisor) - tensor
    assert folded is not None
    np.testing.assert_allclose(folded, wanted.numpy(), rtol=1e-5, atol=1e-6)
