"""What a backend is: the schedules that workloads can have on one kind of target, and the kernels made of them.

A backend is a folder here with a file `backend.py`, and one entry in `backends.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload


class Backend(ABC):
    """`kind` is that of its schedules, `target` the kind of targets that it is for."""

    kind: ClassVar[str]
    target: ClassVar[str]

    @abstractmethod
    def takes(self, workload: Workload) -> bool:
        """Whether it makes the kernels of `workload`."""

    @abstractmethod
    def rule(self, workload: Workload, target: Any) -> Schedule:
        """The schedule of whoever asks no search: the cheapest regular tile, shared out over the threads."""

    @abstractmethod
    def regular(self, workload: Workload, target: Any) -> Iterator[Schedule]:
        """The schedules that the rule chooses among: those whose cost was fitted to measurements."""

    @abstractmethod
    def cost(self, workload: Workload, schedule: Schedule, target: Any) -> float:
        """What a schedule costs, relative to others of the same workload."""

    @abstractmethod
    def problem(self, workload: Workload, schedule: Schedule, target: Any) -> str | None:
        """Why a schedule is not legal, or None: it does not fit the loops, or what it keeps does not fit the target."""

    def schedule(self, value: Any, workload: Workload) -> Schedule:
        """The schedule that `to_value` wrote. Raises ScheduleError."""
        return Schedule.from_value(value, workload)

    def nest(self, workload: Workload, schedule: Schedule) -> Nest:
        """The loops that follow from a schedule that fits."""
        return Nest.of(workload, schedule)

    @abstractmethod
    def emit(self, region: Region, nest: Nest) -> ir.Operation:
        """The kernel of `region` at the insertion point. Raises PassError for what it cannot express."""

    def is_for(self, target: Target) -> bool:
        """Whether it is for that kind of targets."""
        return target.kind == self.target
