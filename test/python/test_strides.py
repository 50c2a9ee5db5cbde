"""What is said of how affine expressions move, against all positions tried one by one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iree.compiler import ir

from dlas_mlir.ir import affine
from dlas_mlir.ir.strides import Span, form_of, offsets

LOOPS = 3


@pytest.fixture(scope="module", autouse=True)
def _context():
    with ir.Context(), ir.Location.unknown():
        yield


@st.composite
def expressions(draw, depth: int = 3):
    """An affine expression over the loops, as a function that builds it."""
    if depth == 0 or draw(st.booleans()):
        if draw(st.booleans()):
            loop = draw(st.integers(0, LOOPS - 1))
            return lambda: affine.dim(loop)
        value = draw(st.integers(-9, 9))
        return lambda: affine.constant(value)
    left, right = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
    factor, divisor = draw(st.integers(-5, 5)), draw(st.integers(1, 9))
    return draw(
        st.sampled_from(
            [
                lambda: left() + right(),
                lambda: left() * factor,
                lambda: ir.AffineExpr.get_floor_div(left(), divisor),
                lambda: ir.AffineExpr.get_ceil_div(left(), divisor),
                lambda: ir.AffineExpr.get_mod(left(), divisor),
            ]
        )
    )


spans = st.lists(
    st.builds(lambda low, count, step: Span(low, low + count * step, step), *(st.integers(0, 5) for _ in range(3))),
    min_size=LOOPS,
    max_size=LOOPS,
)


def positions(known: list[Span]):
    """All that the spans allow."""
    return itertools.product(*(range(span.low, span.high + 1, span.step or 1) for span in known))


def moves(expr: ir.AffineExpr, loop: int, count: int, known: list[Span]) -> set[tuple[int, ...]]:
    """How the values move from each position."""
    found = set()
    for point in positions(known):
        values = []
        for distance in range(count):
            at = list(point)
            at[loop] += distance
            values.append(affine.evaluate(expr, at))
        found.add(tuple(value - values[0] for value in values))
    return found


@settings(max_examples=400, deadline=None)
@given(expressions(), st.integers(0, LOOPS - 1), st.integers(1, 5), spans)
def test_what_is_said_holds_everywhere(build, loop, count, known):
    expr = build()
    said = offsets(expr, loop, count, known)
    assert said is None or moves(expr, loop, count, known) == {said}
    form = form_of(expr)
    assert form is not None
    span = form.span(known)
    values = {affine.evaluate(expr, point) for point in positions(known)}
    assert values <= set(range(span.low, span.high + 1, span.step or 1))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([ir.AffineExpr.get_floor_div, ir.AffineExpr.get_mod, ir.AffineExpr.get_ceil_div]),
    st.integers(-4, 4),
    st.integers(-9, 9),
    st.integers(1, 12),
    st.integers(1, 8),
    spans,
)
def test_nothing_is_missed_of_one_division(divide, factor, shift, divisor, count, known):
    """Of one dimension divided by a constant all is known that there is to know."""
    expr = divide(affine.dim(0) * factor + shift, divisor)
    found = moves(expr, 0, count, known)
    assert offsets(expr, 0, count, known) == (found.pop() if len(found) == 1 else None)


@pytest.mark.parametrize(
    ("text", "count", "span", "expected"),
    [
        ("d0 floordiv 8", 16, Span(0, 284, 16), (0,) * 8 + (1,) * 8),
        # A tile that was moved back begins at 284, which is no multiple of 8.
        ("d0 floordiv 8", 16, Span(0, 284, 4), None),
        ("d0 mod 40", 16, Span(0, 240, 16), None),
        ("d0 mod 40", 8, Span(0, 240, 8), tuple(range(8))),
        ("d0 mod 40", 16, Span(0, 24, 8), tuple(range(16))),
        ("-d0 + 7", 4, Span(0, 4), (0, -1, -2, -3)),
        ("(d0 floordiv 2) * 2 + d0 mod 2", 4, Span(0, 9), (0, 1, 2, 3)),
        ("(d0 * 16) floordiv 32", 2, Span(0, 6, 2), (0, 0)),
        ("7", 4, Span(0, 9), (0, 0, 0, 0)),
    ],
)
def test_examples(text, count, span, expected):
    expr = ir.AffineMapAttr(ir.Attribute.parse(f"affine_map<(d0) -> ({text})>")).value.results[0]
    assert offsets(expr, 0, count, [span]) == expected


def test_a_product_of_loops_is_not_known():
    assert offsets(affine.dim(0) * affine.dim(1), 0, 2, [Span(0, 3), Span(1, 1)]) is None
