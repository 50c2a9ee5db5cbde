"""What a backend is: the schedules that workloads can have on one kind of target, and the kernels made of them.

A backend is a folder here with a file `backend.py`, and one entry in `backends.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from iree.compiler import ir

from dlas_mlir.codegen.fitting import Source
from dlas_mlir.codegen.nest import AnyNest, Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.workload import Workload

# The decision by which a schedule differs from another: on CPUs, and on GPUs beside some of these.
Kind = Literal[
    "tile",
    "peel",
    "unroll",
    "distribute",
    "order",
    "reduce",
    "lanes",
    "prefetch",
    "apart",
    "threads",
    "across",
    "vector",
    "warp",
    "stages",
    "split",
    "halo",
    "instruction",
]


@dataclass(frozen=True)
class Backend:
    """Functions of a workload W, a schedule S (a Schedule, or what else has its methods: AnySchedule) and a target T of
    the kind that it is for.

    kind: that of its schedules. target: the kind of targets that it is for.
    takes(W): whether it makes the kernels of W. producers: it knows of what computes a tensor of W within its kernel.
    refusal(W, T): why it makes none of W for T, or None: T lacks what they need, or it does not take W.
    rule(W, T): the schedule of whoever asks no search: the cheapest regular tile, shared out over the threads.
    naive(W, T): the schedule of a compiler that knows vectors and threads, and nothing else of the machine.
    regular(W, T): the schedules that the rule chooses among: those whose cost was fitted to measurements.
    near(W, S, T): what differs from S in one decision, and in which; it need not be legal.
    fitted(source, W, T): schedules of W like the source's, which is of another workload of its family (and of the same
        kind), the most alike first; they need not be legal.
    cost(W, S, T): what S costs, relative to others of W.
    problem(W, S, T): why S is not legal, or None: it does not fit the loops, or what it keeps does not fit T.
    excess(W, S, T): why a kernel of S cannot run on T at all, or None (results alone that are more than a thread's
        registers count as that; a schedule that may have to spill some of the others can, slowly).
    emit(region, nest): the dispatches of the kernel at the insertion point, of which the last one has its results (and
        those before it what it joins). Raises PassError for what it cannot express.
    schedule(value, W): the schedule that `to_value` wrote. Raises ScheduleError.
    nest(W, S): the loops that follow from a schedule that fits.
    """

    kind: str
    target: str
    takes: Callable[[Workload], bool]
    rule: Callable[[Workload, Any], Any]
    naive: Callable[[Workload, Any], Any]
    regular: Callable[[Workload, Any], Iterator[Any]]
    near: Callable[[Workload, Any, Any], Iterator[tuple[Kind, Any]]]
    fitted: Callable[[Source, Workload, Any], Iterator[Any]]
    cost: Callable[[Workload, Any, Any], float]
    problem: Callable[[Workload, Any, Any], str | None]
    emit: Callable[[Region, Any], tuple[ir.Operation, ...]]
    refusal: Callable[[Workload, Any], str | None] = lambda workload, target: None
    excess: Callable[[Workload, Any, Any], str | None] = lambda workload, schedule, target: None
    producers: bool = False
    schedule: Callable[[Any, Workload], Any] = Schedule.from_value
    nest: Callable[[Workload, Any], AnyNest] = Nest.of
