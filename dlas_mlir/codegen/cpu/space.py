"""The schedules of a dense workload on a CPU: all that are legal, and the regular ones that the rule chooses among.

Regular schedules are those whose cost has been fitted: a register tile blocks the innermost columns (and rows, once
whole rows are in it) against vectors of one loop; the loops' order and the distribution follow from the tile.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations

from dlas_mlir.codegen.cpu.ahead import NOTHING, ahead_of
from dlas_mlir.codegen.cpu.cost import sharing_cost, tile_cost
from dlas_mlir.codegen.cpu.order import order
from dlas_mlir.codegen.cpu.roles import Roles
from dlas_mlir.codegen.cpu.within import problem as within_problem
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.schedule import MAX_DISTRIBUTED, Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload, element_bits

# Rows and vectors of weights in a regular tile, at most.
_ROWS, _VECTORS = 4, 8


def roles_of(workload: Workload, target: CpuTarget) -> Roles:
    """The regular choice: the innermost loop of the result in as many lanes as a register holds of the widest type."""
    out = [loop for loop in workload.out if loop is not None]
    vector = next((loop for loop in reversed(out) if workload.extents[loop] > 1), out[-1])
    return Roles(workload, vector, _lanes(workload, vector, target))


def _lanes(workload: Workload, vector: str, target: CpuTarget) -> int:
    root = workload.root
    bits = max(element_bits(element) for element in (*root.input_elements, root.element))
    lanes = max(1, target.lanes(bits))
    while lanes > workload.extents[vector]:
        lanes //= 2
    return lanes


def rule(workload: Workload, target: CpuTarget) -> Schedule:
    """The cheapest regular schedule."""
    roles = roles_of(workload, target)
    tile = min(_tiles(roles, target), key=lambda tile: tile_cost(roles, tile, target, _peeled(roles, tile, target)))
    return _regular(roles, tile, target)


def regular(workload: Workload, target: CpuTarget) -> Iterator[Schedule]:
    """All regular schedules, one for each regular tile."""
    roles = roles_of(workload, target)
    for tile in _tiles(roles, target):
        yield _regular(roles, tile, target)


def _regular(roles: Roles, tile: dict[str, int], target: CpuTarget) -> Schedule:
    tile = {**tile, **_unrolled(roles, tile, target)}
    loops = order(roles, tile, target)
    found = Schedule.of(
        roles.workload,
        kind="cpu",
        vector=roles.vector,
        lanes=roles.lanes,
        order=loops,
        distribute=_distribution(roles, tile, loops, target),
        tile=tile,
        peel=_peeled(roles, tile, target),
        producer=rule(roles.workload.producer.workload, target) if roles.workload.producer else None,
    )
    if roles.workload.producer is not None:
        if within_problem(roles.workload, found) is None:
            return found
        found = replace(found, apart=True)
    # Smaller weights are there before the arithmetic is done, or still in the cache.
    far = roles.weight_bytes >= target.cost.prefetch_share * target.l2_bytes
    return replace(found, prefetch=far and ahead_of(Nest.of(roles.workload, found)) is not None)


# Register tiles.


def _tiles(roles: Roles, target: CpuTarget) -> Iterator[dict[str, int]]:
    yield from _contraction_tiles(roles, target) if roles.is_contraction else _streaming_tiles(roles, target)


def _contraction_tiles(roles: Roles, target: CpuTarget) -> Iterator[dict[str, int]]:
    """Columns and rows against vectors, as many as the registers hold beside what is loaded."""
    extents, columns = roles.workload.extents, roles.columns
    budget = target.vector_registers - target.cost.scratch_registers
    across = extents[columns[-1]] if columns else 1
    down = extents[columns[-2]] if len(columns) > 1 else 1
    if not columns:
        budget = max(budget, _VECTORS)
    for a in range(1, min(across, budget) + 1):
        for r in range(1, (min(down, _ROWS) if a == across else 1) + 1):
            for b in range(1, min(roles.panels, _VECTORS) + 1):
                if a * r * b <= budget:
                    yield _contraction_tile(roles, a, r, b)


def _contraction_tile(roles: Roles, a: int, r: int, b: int) -> dict[str, int]:
    tile = {roles.vector: roles.lanes}
    for loop, size in zip(reversed(roles.columns), (a, r), strict=False):
        tile[loop] = size
    if roles.panel_loop is not None:
        tile[roles.panel_loop] = b * roles.lanes if roles.panel_loop == roles.vector else b
    return tile


def _streaming_tiles(roles: Roles, target: CpuTarget) -> Iterator[dict[str, int]]:
    """A few columns for independent chains; vectors where there are no other loops."""
    out = [loop for loop in roles.workload.out if loop is not None and loop != roles.vector]
    others = [loop for loop in out if roles.workload.extents[loop] > 1]
    most = min(target.cost.streaming_columns, target.vector_registers // 2)
    if others:
        for size in range(1, min(roles.workload.extents[others[-1]], most) + 1):
            yield {roles.vector: roles.lanes, others[-1]: size}
    else:
        for size in range(1, max(1, min(roles.units, most)) + 1):
            yield {roles.vector: size * roles.lanes}


def _peeled(roles: Roles, tile: dict[str, int], target: CpuTarget) -> tuple[str, ...]:
    """The columns and rows of a contraction whose first and last tile have so much less to compute that it is worth the
    code."""
    found: tuple[str, ...] = ()
    for loop in roles.columns if roles.is_contraction else ():
        if 1 < tile.get(loop, 1) < roles.workload.extents[loop]:
            more = (*found, loop)
            if tile_cost(roles, tile, target, more) < tile_cost(roles, tile, target, found):
                found = more
    return found


def _unrolled(roles: Roles, tile: dict[str, int], target: CpuTarget) -> dict[str, int]:
    """Unroll the columns of a window where neighbours share loads, the channels that lanes are shuffled by, and some
    blocks of channels around a window of a contraction."""
    workload, longest = roles.workload, target.cost.unrolled_reduction
    short = {loop for loop in workload.reductions if workload.extents[loop] <= longest}
    found: set[str] = set()
    for item in roles.inputs:
        forms = workload.forms(item)
        last = _names(workload, forms[-1].dims()) if forms else frozenset()
        plain = item.index and item.index[-1] == roles.vector
        if roles.vector in last and not plain:
            found |= short & last
        if roles.broadcast:
            continue
        for form in forms:
            dims = _names(workload, form.dims())
            window = dims & set(workload.reductions)
            if len(window) == 1 and any(tile.get(loop, 1) > 1 for loop in dims - window):
                found |= short & window
    blocks = target.cost.unrolled_blocks
    around = {loop: blocks for loop in _around_window(roles) if workload.extents[loop] % blocks == 0}
    return {**around, **{loop: workload.extents[loop] for loop in found}}


def _around_window(roles: Roles) -> tuple[str, ...]:
    """The reduction around those of a window, of a contraction of floating-point numbers that sums over something else
    within them too."""
    workload = roles.workload
    if not roles.is_contraction or not workload.root.element.startswith(("f", "bf")):
        return ()
    window: set[str] = set()
    for item in roles.broadcast:
        for form in workload.forms(item):
            dims = _names(workload, form.dims())
            window |= dims & set(workload.reductions) if dims - set(workload.reductions) else set()
    first, *rest = [loop for loop in workload.reductions if workload.extents[loop] > 1] or [""]
    return (first,) if window & set(rest) and set(rest) - window and first not in window else ()


def _names(workload: Workload, dims: set[int]) -> frozenset[str]:
    return frozenset(workload.names[dim] for dim in dims)


# Distribution.


def _distribution(roles: Roles, tile: dict[str, int], order: tuple[str, ...], target: CpuTarget) -> dict[str, int]:
    """Split the outer parallel loops into one workgroup for each thread, or more to even out, whatever costs least; for
    each number also without the loops of which parts would overlap. With blocks of weights outermost, as all of them
    are too many to be read again, workgroups of rows would each read all."""
    outermost = next((loop for loop in order if roles.workload.extents[loop] > 1), "")

    def cost(parts: dict[str, int]) -> float:
        again = bool(parts) and roles.is_contraction and outermost in roles.blocks and outermost not in parts
        return sharing_cost(roles.workload, parts, target) * (1.0 + target.cost.weights_miss * again)

    most = target.cost.workgroups_per_thread
    least = 1 if target.threads > 1 else most  # what is made for one thread may be run by more
    found = (parts for each in range(least, most + 1) for parts in _splits(roles, tile, order, target, each))
    return min(found, key=cost)


def _splits(
    roles: Roles, tile: dict[str, int], order: tuple[str, ...], target: CpuTarget, each: int
) -> Iterator[dict[str, int]]:
    """Into `each` workgroups for every thread, and so that no part overlaps another."""
    every = _split(roles, tile, order, target, each)
    yield every
    # Threads that write to one row each a few columns of it would share cache lines.
    kept = [loop for loop in order if loop != roles.vector or loop in every]
    even = [loop for loop in kept if roles.workload.extents[loop] % every.get(loop, 1) == 0]
    yield _split(roles, tile, tuple(even), target, each)


def _split(roles: Roles, tile: dict[str, int], order: tuple[str, ...], target: CpuTarget, each: int) -> dict[str, int]:
    wanted = each * target.threads
    found: dict[str, int] = {}
    count = 1
    for loop in order:
        extent, step = roles.workload.extents[loop], tile.get(loop, 1)
        if loop in roles.workload.reductions or count >= wanted or extent == 1 or len(found) == 2:
            continue
        if loop == roles.vector and extent // step < 2:
            continue
        enough = [part for part in range(step, extent, step) if -(-extent // part) * count >= wanted]
        # The least work, as the last part overlaps the one before where it does not divide, and the fewest parts.
        part = min(
            enough,
            key=lambda part: (sharing_cost(roles.workload, {**found, loop: part}, target), -part),
            default=min(step, extent),
        )
        if part < extent:
            found[loop] = part
            count *= -(-extent // part)
    return found


# All that are legal.


@dataclass(frozen=True)
class Space:
    """The legal schedules of a workload: any parallel loop of the result in the lanes, any tile whose accumulators fit
    in the registers, any order and distribution. Too many to list: `sample` draws one."""

    workload: Workload
    target: CpuTarget

    def problem(self, schedule: Schedule) -> str | None:
        """Why a schedule is not legal here, or None: it does not fit, or its results do not fit in the registers."""
        if (why := schedule.problem(self.workload)) is not None:
            return why
        if schedule.prefetch and ahead_of(Nest.of(self.workload, schedule)) is None:
            return NOTHING
        if (why := self._producer_problem(schedule)) is not None:
            return why
        work, most = schedule.accumulators(self.workload), self.accumulators
        return f"tile: {work} vectors of results; {most} registers can hold some" if work > most else None

    def _producer_problem(self, schedule: Schedule) -> str | None:
        if self.workload.producer is None or schedule.producer is None:
            return None
        why = Space(self.workload.producer.workload, self.target).problem(schedule.producer)
        return within_problem(self.workload, schedule) if why is None else f"producer: {why}"

    @property
    def accumulators(self) -> int:
        """Registers that can hold results: a vector of weights and a broadcast are beside them."""
        return self.target.vector_registers - 2

    def vectors(self) -> list[str]:
        """The loops whose iterations can be lanes."""
        return [loop for loop in self.workload.out if loop is not None and self.workload.extents[loop] > 1] or [
            next(loop for loop in self.workload.out if loop is not None)
        ]

    def lanes(self, vector: str) -> list[int]:
        """The sizes of vectors, from the widest that the loop fills."""
        most = _lanes(self.workload, vector, self.target)
        return [most >> shift for shift in range(most.bit_length())]

    def tiles(self, loop: str, most: int, step: int = 1) -> list[int]:
        """The tiles of a loop up to `most` times `step`."""
        extent = self.workload.extents[loop]
        if loop in self.workload.reductions:
            limit = self.target.cost.unrolled_reduction
            return [size for size in range(1, min(extent, limit) + 1) if extent % size == 0]
        return [size * step for size in range(1, max(1, min(most, extent // step)) + 1)]

    def parts(self, loop: str, tile: int) -> list[int]:
        """What of a loop a workgroup can do, with tiles of `tile`."""
        return [*range(tile, self.workload.extents[loop], tile), self.workload.extents[loop]]

    def orders(self) -> Iterator[tuple[str, ...]]:
        """All orders of the loops."""
        parallel = [x for x in self.workload.parallel if self.workload.extents[x] > 1]
        reductions = [x for x in self.workload.reductions if self.workload.extents[x] > 1]
        for outer in permutations(parallel):
            for inner in permutations(reductions):
                yield (*outer, *inner)

    def sample(self, rng: random.Random) -> Schedule:
        """A random legal schedule."""
        vector = rng.choice(self.vectors())
        lanes = rng.choice(self.lanes(vector))
        tile = {vector: lanes}
        room = self.accumulators
        loops = [*self.workload.parallel]
        rng.shuffle(loops)
        for loop in loops:
            step = lanes if loop == vector else 1
            tile[loop] = rng.choice(self.tiles(loop, room, step))
            room //= tile[loop] // step
        for loop in self.workload.reductions:
            tile[loop] = rng.choice(self.tiles(loop, 0))
        if self.workload.root.dot is not None:
            tile[self.workload.names[-1]] = 1
        split = rng.sample(self.workload.parallel, rng.randint(0, min(MAX_DISTRIBUTED, len(self.workload.parallel))))
        parallel, reductions = list(self.workload.parallel), list(self.workload.reductions)
        rng.shuffle(parallel)
        rng.shuffle(reductions)
        parts = {loop: rng.choice(self.parts(loop, tile.get(loop, 1))) for loop in split}
        producer = self.workload.producer
        found = Schedule.of(
            self.workload,
            kind="cpu",
            vector=vector,
            lanes=lanes,
            order=(*parallel, *reductions),
            distribute=parts,
            tile=tile,
            peel=[loop for loop in self.peels(vector, lanes, parts) if rng.random() < 0.5],
            producer=Space(producer.workload, self.target).sample(rng) if producer else None,
        )
        if producer is not None and (rng.random() < 0.5 or self.problem(found) is not None):
            found = replace(found, apart=True)
        fetching = replace(found, prefetch=rng.random() < 0.5)
        return fetching if self.problem(fetching) is None else found

    def peels(self, vector: str, lanes: int, parts: dict[str, int]) -> list[str]:
        """The loops that can be peeled, where `parts` of them are in a workgroup."""
        extents = self.workload.extents
        return [x for x in self.workload.parallel if x != vector or parts.get(x, extents[x]) % lanes == 0]
