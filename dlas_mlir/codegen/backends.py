"""The backends, and which one makes the kernel of a workload."""

from __future__ import annotations

from typing import Any

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.cpu import backend as cpu
from dlas_mlir.codegen.gpu import backend as gpu
from dlas_mlir.codegen.schedule import AnySchedule, ScheduleError
from dlas_mlir.codegen.simt import backend as simt
from dlas_mlir.codegen.sparse import backend as sparse
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload

BACKENDS: tuple[Backend, ...] = (sparse.BACKEND, cpu.BACKEND, gpu.TENSOR_CORE, simt.NONZEROS, simt.BACKEND, gpu.POOLED)


def on(target: Target) -> tuple[Backend, ...]:
    """The backends of a kind of targets; none where iree-compile schedules by itself."""
    return tuple(backend for backend in BACKENDS if backend.target == target.kind)


def backend_for(workload: Workload, target: Target) -> Backend:
    """The one that makes the kernel of `workload`, of those on `target`. Raises LookupError that says why none does."""
    reasons = []
    for backend in on(target):
        why = backend.refusal(workload, target)
        if why is None and _takes(backend, workload):
            return backend
        if why:
            reasons.append(why)
    because = f": {'; '.join(reasons)}" if reasons else ""
    raise LookupError(f"no kernel of this workload for the {target.kind} target {target.name}{because}")


def _takes(backend: Backend, workload: Workload) -> bool:
    return backend.takes(workload) and (workload.producer is None or backend.producers)


def backend_of(workload: Workload, schedule: AnySchedule) -> Backend:
    """The one that a schedule of `workload` is for."""
    return next(backend for backend in BACKENDS if backend.kind == schedule.kind and _takes(backend, workload))


def read_schedule(value: Any, workload: Workload, target: Target | None = None) -> Any:
    """The schedule, of the class of its kind, that `to_value` wrote for `workload`. Raises ScheduleError that says what
    is wrong or allowed: on `target`, where that is known."""
    kind = value.get("kind") if isinstance(value, dict) else None
    fitting = [backend for backend in (BACKENDS if target is None else on(target)) if _takes(backend, workload)]
    for backend in fitting:
        if backend.kind == kind:
            found = backend.schedule(value, workload)
            if target is not None and (why := backend.excess(workload, found, target)) is not None:
                raise ScheduleError(why)
            return found
    kinds = " or ".join(f"`{backend.kind}`" for backend in fitting) or "no schedule"
    where = f" on a {target.kind} target" if target else ""
    raise ScheduleError(f"kind: this workload takes {kinds}{where}, not {'none' if kind is None else f'`{kind}`'}")
