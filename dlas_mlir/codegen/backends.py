"""The backends, and which one makes the kernel of a workload."""

from __future__ import annotations

from typing import Any

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.cpu import backend as cpu
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.sparse import backend as sparse
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload

BACKENDS: tuple[Backend, ...] = (sparse.BACKEND, cpu.BACKEND)


def on(target: Target) -> tuple[Backend, ...]:
    """The backends of a kind of targets; none where iree-compile schedules by itself."""
    return tuple(backend for backend in BACKENDS if backend.target == target.kind)


def backend_for(workload: Workload, target: Target) -> Backend:
    """The one that makes the kernel of `workload`, of those on `target`. Raises LookupError where there is none."""
    for backend in on(target):
        if backend.takes(workload):
            return backend
    raise LookupError(f"no backend makes kernels of this workload for the {target.kind} target {target.name}")


def backend_of(schedule: Schedule) -> Backend:
    """The one that the schedule is for."""
    return next(backend for backend in BACKENDS if backend.kind == schedule.kind)


def read_schedule(value: Any, workload: Workload) -> Schedule:
    """The schedule that `to_value` wrote, for `workload`. Raises ScheduleError that says what is wrong or allowed."""
    kind = value.get("kind") if isinstance(value, dict) else None
    fitting = [backend for backend in BACKENDS if backend.takes(workload)]
    for backend in fitting:
        if backend.kind == kind:
            return backend.schedule(value, workload)
    kinds = " or ".join(f"`{backend.kind}`" for backend in fitting)
    raise ScheduleError(f"kind: this workload takes {kinds}, not {'none' if kind is None else f'`{kind}`'}")
