"""How an affine expression moves as a loop does, exactly: what is said holds at every position that the loops have.

An expression is brought into the form constant + sum of coefficient * term, where a term is a dimension or the floor of
such a form divided by a constant; `a mod m` is a - m * (a floordiv m). What is known of a position is a Span.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iree.compiler import ir


@dataclass(frozen=True)
class Span:
    """Integers of which is known that they are among `low`, `low + step`, ... up to `high`. With `step` 0 there is but
    one."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        # `high` is one of the numbers, and a single one has no step.
        last = self.low + (self.high - self.low) // self.step * self.step if self.step else self.low
        object.__setattr__(self, "high", last)
        object.__setattr__(self, "step", self.step if last != self.low else 0)

    @staticmethod
    def of(extent: int) -> Span:
        """All positions of a loop."""
        return Span(0, extent - 1)

    def plus(self, value: int) -> Span:
        """The same, moved on."""
        return Span(self.low + value, self.high + value, self.step)

    def times(self, factor: int) -> Span:
        """All numbers times `factor`."""
        ends = sorted((self.low * factor, self.high * factor))
        return Span(ends[0], ends[1], self.step * abs(factor))

    def floordiv(self, divisor: int) -> Span:
        """All numbers divided by `divisor`, rounded down."""
        step = self.step // divisor if self.step % divisor == 0 else 1
        return Span(self.low // divisor, self.high // divisor, step)

    def remainders(self, divisor: int) -> tuple[int, int]:
        """The least and the greatest that these numbers may leave when divided by `divisor`."""
        if self.low // divisor == self.high // divisor:
            return self.low % divisor, self.high % divisor
        step = math.gcd(self.step, divisor)
        if (self.high - self.low) // self.step + 1 >= divisor // step:
            # A whole cycle.
            return self.low % step, divisor - step + self.low % step
        left = [number % divisor for number in range(self.low, self.high + 1, self.step)]
        return min(left), max(left)


def _sum(spans: Iterable[Span], constant: int) -> Span:
    low, high, step = constant, constant, 0
    for span in spans:
        low, high, step = low + span.low, high + span.high, math.gcd(step, span.step)
    return Span(low, high, step)


@dataclass(frozen=True)
class Floor:
    """`form` divided by `divisor` (positive), rounded down."""

    form: Form
    divisor: int


@dataclass(frozen=True)
class Form:
    """constant + sum of the terms times their coefficients. A term is the position of a dimension, or a Floor."""

    constant: int
    terms: frozenset[tuple[int | Floor, int]] = frozenset()

    @staticmethod
    def _of(constant: int, terms: Mapping[int | Floor, int]) -> Form:
        return Form(constant, frozenset((term, factor) for term, factor in terms.items() if factor))

    def plus(self, other: Form) -> Form:
        """The sum of two forms."""
        terms = dict(self.terms)
        for term, factor in other.terms:
            terms[term] = terms.get(term, 0) + factor
        return Form._of(self.constant + other.constant, terms)

    def times(self, factor: int) -> Form:
        """The form times `factor`."""
        return Form._of(self.constant * factor, {term: own * factor for term, own in self.terms})

    def floordiv(self, divisor: int) -> Form:
        """The form divided by `divisor`, rounded down. What it divides is taken out of the floor."""
        out = {term: factor // divisor for term, factor in self.terms if factor % divisor == 0}
        rest = {term: factor for term, factor in self.terms if factor % divisor}
        whole = Form._of(self.constant // divisor, out)
        common = math.gcd(divisor, *rest.values())
        form = Form._of(self.constant % divisor // common, {term: factor // common for term, factor in rest.items()})
        return whole.plus(Form(0, frozenset({(Floor(form, divisor // common), 1)}))) if rest else whole

    def dims(self) -> set[int]:
        """The positions of the dimensions in it."""
        found: set[int] = set()
        for term, _ in self.terms:
            found |= term.form.dims() if isinstance(term, Floor) else {term}
        return found

    def at(self, positions: Sequence[Any]) -> Any:
        """Its value where dimension i is at `positions[i]`: an integer, or an array of them."""
        total: Any = self.constant
        for term, factor in self.terms:
            value = term.form.at(positions) // term.divisor if isinstance(term, Floor) else positions[term]
            total = total + value * factor
        return total

    def span(self, spans: Sequence[Span]) -> Span:
        """What is known of its value where dimension i is in `spans[i]`."""
        return _sum((_span(term, spans).times(factor) for term, factor in self.terms), self.constant)

    def moved(self, loop: int, distance: int, spans: Sequence[Span]) -> int | None:
        """By how much it grows when `loop` goes on by `distance` from a position in `spans`; None if that differs from
        one position to another, or may."""
        total = 0
        for term, factor in self.terms:
            if isinstance(term, Floor):
                change = term.form.moved(loop, distance, spans)
                if change:
                    low, high = term.form.span(spans).remainders(term.divisor)
                    steps = (low + change) // term.divisor, (high + change) // term.divisor
                    change = steps[0] if steps[0] == steps[1] else None
            else:
                change = distance if term == loop else 0
            if change is None:
                return None
            total += factor * change
        return total


def _span(term: int | Floor, spans: Sequence[Span]) -> Span:
    return term.form.span(spans).floordiv(term.divisor) if isinstance(term, Floor) else spans[term]


def form_of(expr: ir.AffineExpr) -> Form | None:
    """The form of `expr`; None where it has none (a product of dimensions, a divisor that is not positive)."""
    expr = expr.maybe_downcast()
    if isinstance(expr, ir.AffineDimExpr):
        return Form(0, frozenset({(expr.position, 1)}))
    if isinstance(expr, ir.AffineConstantExpr):
        return Form(expr.value)
    if not isinstance(expr, ir.AffineBinaryExpr):
        return None
    left, right = form_of(expr.lhs), form_of(expr.rhs)
    if left is None or right is None:
        return None
    if isinstance(expr, ir.AffineAddExpr):
        return left.plus(right)
    if isinstance(expr, ir.AffineMulExpr) and not left.terms:
        return right.times(left.constant)
    if right.terms:
        return None
    if isinstance(expr, ir.AffineMulExpr):
        return left.times(right.constant)
    return _divided(expr, left, right.constant)


def _divided(expr: ir.AffineExpr, left: Form, divisor: int) -> Form | None:
    if divisor <= 0:
        return None
    if isinstance(expr, ir.AffineFloorDivExpr):
        return left.floordiv(divisor)
    if isinstance(expr, ir.AffineCeilDivExpr):
        return left.plus(Form(divisor - 1)).floordiv(divisor)
    if isinstance(expr, ir.AffineModExpr):
        return left.plus(left.floordiv(divisor).times(-divisor))
    return None


def offsets(expr: ir.AffineExpr, loop: int, count: int, spans: Sequence[Span]) -> tuple[int, ...] | None:
    """How far the values of `expr` at the next `count` iterations of `loop` are from that at the first of them: where
    that is the same wherever the first one is, with dimension i anywhere in `spans[i]`. Else None."""
    form = form_of(expr)
    if form is None:
        return None
    found = [form.moved(loop, distance, spans) for distance in range(count)]
    known = tuple(offset for offset in found if offset is not None)
    return known if len(known) == count else None
