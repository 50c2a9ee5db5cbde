"""Schedules of one workload fitted to another of its family: the same decisions, in the sizes of the other's loops.

A family has the same loops by name, so order and vector loop carry over as they are. Tiles, unrolling and distribution
are numbers of iterations, and mean something else where the loop has another extent. How is the backends' own
(`refit.py` in their folders); what they come to is legal here, or is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.fitting import Source
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.target import AnyTarget
from dlas_mlir.codegen.workload import Workload


def refit(source: Source, workload: Workload, target: AnyTarget) -> AnySchedule:
    """The schedule of `workload` that is most like the source's; the rule's where nothing of it can be kept."""
    return next(refits(source, workload, target))


def refits(source: Source, workload: Workload, target: AnyTarget) -> Iterator[AnySchedule]:
    """Schedules of `workload` like the source's, each once, the most alike first, all legal. At least one: the rule's
    is the last that is thought of.

    `workload` is of the family of the source's.
    """
    backend = backends.backend_for(workload, target)
    seen: set[AnySchedule] = set()
    if source.schedule.kind == backend.kind:
        for found in backend.fitted(source, workload, target):
            if found not in seen and backend.problem(workload, found, target) is None:
                seen.add(found)
                yield found
    if not seen:
        yield backend.rule(workload, target)
