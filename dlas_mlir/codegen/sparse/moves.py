"""Schedules of a sparse contraction on a CPU that differ from one another in one decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dlas_mlir.codegen.backend import Kind
from dlas_mlir.codegen.cpu.moves import changed, distributions
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse.space import regular
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def near(workload: Workload, schedule: Schedule, target: CpuTarget) -> Iterator[tuple[Kind, Schedule]]:
    """`tile` takes the register tile of a regular schedule, and `distribute` shares one or two parallel loops out
    otherwise. What else there is follows from the tile."""
    for kind, fields in _changes(workload, schedule, target):
        if (found := changed(workload, schedule, fields)) is not None:
            yield kind, found


def _changes(workload: Workload, schedule: Schedule, target: CpuTarget) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    for other in regular(workload, target):
        # Lanes go with the tile: half as many, and twice as many accumulators, may be faster.
        yield "tile", {"vector": other.vector, "lanes": other.lanes, "order": other.order, "tile": dict(other.tile)}
    for parts in distributions(workload, schedule):
        yield "distribute", {"distribute": parts}
