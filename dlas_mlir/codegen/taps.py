"""Which products of a sum of products are zero, because an operand's border is.

Padding that its producer has written is a border of zeros around what a convolution reads. A tap on it adds nothing to
the sum, and need not be computed. That the border is zero is a fact of the workload (`Access.zeros`), as is what the
root does with it; where a tap lies follows from the index.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from dlas_mlir.codegen.workload import Access, Step, Workload
from dlas_mlir.ir.strides import Form, Span

_EXTENSIONS = frozenset({"arith.extf", "arith.extui", "arith.extsi", "arith.uitofp", "arith.sitofp"})
_PRODUCTS, _SUMS = frozenset({"arith.mulf", "arith.muli"}), frozenset({"arith.addf", "arith.addi"})


@dataclass(frozen=True)
class Border:
    """A dimension of an operand: where `form`, its index over the loops, is not in `low` ... `end` - 1, it is zero."""

    form: Form
    low: int
    end: int

    @cached_property
    def loops(self) -> frozenset[int]:
        """The loops that decide where in the dimension it is read."""
        return frozenset(self.form.dims())

    def is_zero(self, spans: Sequence[Span]) -> bool:
        """Whether all that is read where loop i is in `spans[i]` is zero."""
        span = self.form.span(spans)
        return span.high < self.low or span.low >= self.end

    def coefficient(self, loop: int) -> int:
        """By how much the index grows with `loop`; 0 where that is not one number."""
        return dict(self.form.terms).get(loop, 0) if all(isinstance(term, int) for term, _ in self.form.terms) else 0


@lru_cache(maxsize=256)
def borders_of(workload: Workload) -> tuple[Border, ...]:
    """The dimensions in which a factor of what the root sums has a border of zeros."""
    found = []
    root = workload.root
    for place in factors(root.body, root.yields, len(root.inputs)):
        item = root.inputs[place]
        if not isinstance(item, Access):
            continue
        for form, size, (low, high) in zip(workload.forms(item), item.shape, item.zeros, strict=False):
            if low or high:
                found.append(Border(form, low, size - high))
    return tuple(found)


def factors(body: Sequence[Step], yields: str, inputs: int) -> list[int]:
    """The inputs, of so many, without which a body adds nothing to its last argument: it adds their product to that, or
    one of them. None where it does something else."""
    if not body or yields != f"%{len(body) - 1}" or body[-1].op not in _SUMS:
        return []
    operands = body[-1].operands
    if operands.count("init") != 1 or any("init" in step.operands for step in body[:-1]):
        return []
    (added,) = (name for name in operands if name != "init")
    multiplied = _multiplied(body, added)
    return [place for place in range(inputs) if f"in{place}" in multiplied]


def _multiplied(body: Sequence[Step], name: str) -> set[str]:
    """The operands that are factors of `name`, an operand or a step."""
    if not name.startswith("%"):
        return {name}
    step = body[int(name[1:])]
    if step.op in _EXTENSIONS or step.op in _PRODUCTS:
        return set().union(*(_multiplied(body, operand) for operand in step.operands))
    return set()


def any_of(borders: Iterable[Border], loop: int) -> bool:
    """Whether `loop` decides where one of the borders is read."""
    return any(loop in border.loops for border in borders)


def computed_share(
    workload: Workload, tile: Mapping[str, int], peel: Collection[str], parts: Mapping[str, int]
) -> float:
    """Of all products of the root, those that a kernel computes: with register tiles of `tile`, the first and last of
    which are code of their own for the loops `peel`, and `parts` of the loops in each workgroup."""
    share = 1.0
    for border in borders_of(workload):
        names = [workload.names[loop] for loop in sorted(border.loops)]
        across = [name for name in names if name not in workload.reductions]
        window = [name for name in names if name in workload.reductions]
        if len(across) == 1:
            (loop,), extent = across, workload.extents[across[0]]
            size = tile.get(loop, 1)
            exact = parts.get(loop, extent) == extent and (size >= extent or loop in peel)
            looped = len(window) == 1 and tile.get(window[0], 1) == 1
            extents = tuple(item.extent for item in workload.loops)
            dims = tuple(workload.names.index(name) for name in (loop, *window))
            share *= _computed(border, extents, dims, size, exact, looped)
    return share


@lru_cache(maxsize=4096)
def _computed(
    border: Border, extents: tuple[int, ...], dims: tuple[int, ...], size: int, exact: bool, looped: bool
) -> float:
    """That share along the first of the loops `dims`; the others are a window. In tiles that are code of their own
    (`exact`: the first and the last) each point has its own taps, in others all have those that one of them has, where
    the window is a loop (`looped`)."""
    extent, *window = (extents[dim] for dim in dims)
    every = math.prod(window)
    positions: list[Any] = [0] * len(extents)
    grid = np.indices([extent, *window]).reshape(len(dims), -1)
    for dim, values in zip(dims, grid, strict=True):
        positions[dim] = values
    index = np.broadcast_to(border.form.at(positions), grid[0].shape)
    taps = ((index >= border.low) & (index < border.end)).reshape(extent, every)
    done = 0
    for begin in range(0, extent, size):
        own = taps[begin : begin + size]
        if exact and (begin == 0 or begin + size >= extent):
            done += int(own.sum())
        else:
            moved = taps[min(begin, extent - size) : begin + size]
            done += len(own) * (int(moved.any(0).sum()) if looped else every)
    return done / (extent * every)
