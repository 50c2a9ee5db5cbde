"""Weights that are read next, on their way into the second-level cache while a kernel computes with others.

The tiles of pixels within one block of output channels read the same panel of weights, which is in the second-level
cache for all but the first of them. The panel of the next block comes from beyond: a share of it is asked for in each
of the tiles, a line or more in every step of its sum, so that memory is busy as long as the arithmetic is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dlas_mlir.codegen.cpu.roles import Roles
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.workload import Workload

NOTHING = "prefetch: no tiles one after the other read the same vectors, so there is nothing to fetch ahead"


@dataclass(frozen=True)
class Ahead:
    """What is fetched: the vectors of input `number`, one step of the loop `block` on (behind its last step, the first
    one of the next step of the loop `around` it, if those read other vectors); the tiles of the loops `sharers` within
    it read the same, and fetch a share each. `lines` are the loops over the vectors of one step of the sum."""

    number: int
    around: Axis | None
    block: Axis
    sharers: tuple[Axis, ...]
    lines: tuple[Axis, ...]

    @property
    def tiles(self) -> int:
        """How many tiles share the fetching."""
        return math.prod(axis.count for axis in self.sharers)

    @property
    def vectors(self) -> int:
        """How many vectors one step of the sum reads."""
        return math.prod(axis.count for axis in self.lines)


def ahead_of(nest: Nest) -> Ahead | None:
    """What can be fetched ahead of a contraction; None where no tiles read again what others have."""
    roles = Roles(nest.workload, nest.schedule.vector, nest.lanes)
    if not roles.is_contraction or len(roles.vectors) != 1:
        return None
    (weights,) = roles.vectors
    read = nest.workload.loops_of(weights)
    axes = [axis for axis in nest.cache if axis.count > 1]
    places = [place for place, axis in enumerate(axes) if axis.loop in read]
    if not places or places[-1] == len(axes) - 1:
        return None
    return Ahead(
        nest.workload.root.inputs.index(weights),
        axes[places[-2]] if places[-2:] == [places[-1] - 1, places[-1]] else None,
        axes[places[-1]],
        tuple(axes[places[-1] + 1 :]),
        tuple(axis for axis in (*nest.unroll, *nest.register) if axis.loop in read),
    )


def nest_of(workload: Workload, schedule: Schedule) -> Nest:
    """The nest of a schedule that fits; it says where there is nothing to fetch ahead."""
    nest = Nest.of(workload, schedule)
    return replace(nest, remark=NOTHING) if schedule.prefetch and ahead_of(nest) is None else nest
