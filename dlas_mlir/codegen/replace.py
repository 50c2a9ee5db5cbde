"""Replace a scheduled dispatch region by its kernel."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.nest import AnyNest
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.schedule import ATTRIBUTE, AnySchedule, ScheduleError
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.ir import attributes
from dlas_mlir.opt.base import PassError


class ScheduleFault(PassError):
    """The schedule that a region carries does not fit its loops."""


@dataclass(frozen=True)
class Kernel:
    """What a region has become: the flow.dispatch.workgroups, or the flow.dispatch of an executable, and the loops in
    it. `parts` are the dispatches whose results `op` joins, where its sums are split."""

    op: ir.Operation
    nest: AnyNest
    parts: tuple[ir.Operation, ...] = ()


def emit_kernel(region_op: ir.Operation, target: Target | None = None) -> Kernel:
    """Replace a scheduled flow.dispatch.region by flow.dispatch.workgroups.

    Raises PassError (and leaves the region as it was) when it holds something a kernel cannot express, ScheduleFault
    for a schedule that is wrong: of a kind that is not for `target`, where that is known.
    """
    region = read_region(region_op)
    workload = read_workload(region)
    schedule = attached_schedule(region.root.op, workload, target)
    backend = backends.backend_of(workload, schedule)
    nest = backend.nest(workload, schedule)
    with ir.InsertionPoint(region_op), region.root.op.location:
        *parts, op = backend.emit(region, nest)
    if len(op.results) > 1 and _reads_nothing(op):
        op.erase()
        # iree-compile computes it again for each reader, and may then take its first result for another.
        raise PassError("a kernel of several results has to read something", region_op)
    for old, new in zip(region_op.results, op.results, strict=True):
        old.replace_all_uses_with(new)
    region_op.erase()
    return Kernel(op, nest, tuple(parts))


def _reads_nothing(kernel: ir.Operation) -> bool:
    """Whether the results of `kernel` are constants, be it after what it computes is folded (x - x)."""
    if not len(kernel.operands):
        return True
    if not kernel.regions:
        return False  # A product of two tensors.
    folded = kernel.clone()
    try:
        PassManager.parse("any(canonicalize,cse,canonicalize)").run(folded)
        return not any(
            list(argument.uses) for argument in folded.regions[0].blocks[0].arguments[: len(kernel.operands)]
        )
    finally:
        folded.erase()


def attached_schedule(root: ir.Operation, workload: Workload, target: Target | None = None) -> AnySchedule:
    """What stands on the root of a region. Raises ScheduleFault for what is no schedule of `workload` (on `target`,
    where that is known)."""
    try:
        return backends.read_schedule(attributes.to_plain(root.attributes[ATTRIBUTE]), workload, target)
    except (ScheduleError, ValueError) as error:
        raise ScheduleFault(f"`{ATTRIBUTE}`: {error}", root) from None


def dissolve(region_op: ir.Operation) -> None:
    """Put the operations of a dispatch region where it stands: the compiler forms dispatches of its own."""
    returned: list[ir.Value] = []
    for inner in list(region_op.regions[0].blocks[0].operations):
        inner = inner.operation
        if inner.name == "flow.return":
            returned = list(inner.operands)
            continue
        if ATTRIBUTE in inner.attributes:
            del inner.attributes[ATTRIBUTE]
        inner.move_before(region_op)
    for old, new in zip(region_op.results, returned, strict=True):
        old.replace_all_uses_with(new)
    region_op.erase()
