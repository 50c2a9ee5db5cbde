"""Exact minimisation of a sum of tables over few states each: variable elimination, and the k best assignments.

A variable is a name with a number of states; a factor is a table of costs over some variables. What is wanted is the
state of each variable that makes the sum of all tables smallest. Variables are eliminated one after the other, that
with the fewest neighbours first, so the work is exponential in the width of the graph alone, and not in its size.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dlas_mlir.errors import DlasError

# The entries of one table: beyond this the graph is no chain, tree or ladder of layers.
_MOST = 1 << 24


@dataclass(frozen=True)
class Factor:
    """Costs over `variables`, all different: an array with a dimension for each. Infinite: not allowed."""

    variables: tuple[str, ...]
    costs: np.ndarray


@dataclass(frozen=True)
class Solution:
    """A state of every variable, and what they cost together."""

    cost: float
    states: Mapping[str, int]


def minimise(sizes: Mapping[str, int], factors: Sequence[Factor]) -> Solution | None:
    """The cheapest assignment of states 0..size-1 to the variables; of several the same one each time. None where every
    one has an infinite cost. Raises DlasError where a table would not fit into memory."""
    tables = list(factors)
    left = dict(sizes)
    eliminated: list[tuple[str, Factor]] = []
    while left:
        variable = min(left, key=lambda name: (_width(name, tables, sizes), name))
        del left[variable]
        touching = [table for table in tables if variable in table.variables]
        tables = [table for table in tables if variable not in table.variables]
        joined = _joined(variable, touching, sizes)
        eliminated.append((variable, joined))
        tables.append(Factor(joined.variables[1:], joined.costs.min(axis=0)))
    total = float(sum(table.costs for table in tables)) if tables else 0.0
    if not np.isfinite(total):
        return None
    states: dict[str, int] = {}
    for variable, joined in reversed(eliminated):
        places = tuple(states[name] for name in joined.variables[1:])
        states[variable] = int(np.argmin(joined.costs[(slice(None), *places)]))
    return Solution(total, {name: states[name] for name in sizes})


def best(sizes: Mapping[str, int], factors: Sequence[Factor], count: int, over: Sequence[str] = ()) -> list[Solution]:
    """The `count` cheapest assignments, or all where there are fewer, the cheapest first. Those that differ in none of
    the variables `over` (all, if it is empty) are one.

    What a solution leaves of a set of assignments is divided into sets in which a first part of the variables is as in
    the solution and the next one is not (Lawler, 1972).
    """
    wanted = tuple(over) or tuple(sizes)
    found: list[Solution] = []
    heap: list[tuple[float, int, Solution, dict[str, frozenset[int]]]] = []
    number = 0

    def push(banned: dict[str, frozenset[int]]) -> None:
        nonlocal number
        solution = minimise(sizes, [*factors, *_bans(sizes, banned)])
        if solution is not None:
            heapq.heappush(heap, (solution.cost, number, solution, banned))
            number += 1

    push({})
    while heap and len(found) < count:
        _, _, solution, banned = heapq.heappop(heap)
        found.append(solution)
        if len(found) == count:
            break
        for place, name in enumerate(wanted):
            state = solution.states[name]
            narrowed = {**banned, name: banned.get(name, frozenset()) | {state}}
            for before in wanted[:place]:
                narrowed[before] = frozenset(range(sizes[before])) - {solution.states[before]}
            if len(narrowed[name]) < sizes[name]:
                push(narrowed)
    return found


def _bans(sizes: Mapping[str, int], banned: Mapping[str, frozenset[int]]) -> Iterator[Factor]:
    for name, states in banned.items():
        costs = np.zeros(sizes[name])
        costs[list(states)] = np.inf
        yield Factor((name,), costs)


def _width(variable: str, tables: Sequence[Factor], sizes: Mapping[str, int]) -> int:
    """The entries of the table that eliminating a variable makes."""
    names = {name for table in tables if variable in table.variables for name in table.variables} | {variable}
    entries = 1
    for name in names:
        entries *= sizes[name]
    return entries


def _joined(variable: str, tables: Sequence[Factor], sizes: Mapping[str, int]) -> Factor:
    """The sum of tables, with `variable` as the first dimension."""
    others = sorted({name for table in tables for name in table.variables} - {variable})
    names = (variable, *others)
    shape = [sizes[name] for name in names]
    if np.prod(shape, dtype=float) > _MOST:
        raise DlasError(
            f"the choices of {len(others)} layers depend on each other and on that of {variable}: too many to be "
            "minimised over exactly"
        )
    costs = np.zeros(shape)
    for table in tables:
        order = sorted(range(len(table.variables)), key=lambda place: names.index(table.variables[place]))
        present = {table.variables[place] for place in order}
        view = np.transpose(table.costs, order)
        costs += view.reshape([sizes[name] if name in present else 1 for name in names])
    return Factor(names, costs)
