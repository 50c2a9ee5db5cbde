"""Replace a scheduled dispatch region by its kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.gpu import pooling
from dlas_mlir.codegen.gpu import schedule as gpu
from dlas_mlir.codegen.nest import AnyNest, Nest
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import Region, scheduled_root
from dlas_mlir.codegen.schedule import ATTRIBUTE, AnySchedule, ScheduleError
from dlas_mlir.codegen.simt import chain
from dlas_mlir.codegen.simt import schedule as simt
from dlas_mlir.codegen.simt.chain import ATTRIBUTE as CHAIN
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.ir import attributes, build
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
        try:
            *parts, op = backend.emit(region, nest)
        except ScheduleError as error:
            raise ScheduleFault(f"`{ATTRIBUTE}`: {error}", region.root.op) from None
    if len(op.results) > 1 and _reads_nothing(op):
        op.erase()
        # iree-compile computes it again for each reader, and may then take its first result for another.
        raise PassError("a kernel of several results has to read something", region_op)
    for old, new in zip(region_op.results, op.results, strict=True):
        old.replace_all_uses_with(new)
    region_op.erase()
    return Kernel(op, nest, tuple(parts))


@dataclass(frozen=True)
class Chain:
    """What regions have become that are one launch, and the loops of each."""

    op: ir.Operation
    nests: tuple[AnyNest, ...]


def chains_of(operations: Iterable[ir.Operation]) -> list[list[ir.Operation]]:
    """The scheduled regions of each chain that `dlas.chain` says, in order; each function numbers its own. Raises
    PassError for what is no such attribute."""
    found: dict[tuple[int, int], list[ir.Operation]] = {}
    for op in operations:
        root = scheduled_root(op) if op.name == "flow.dispatch.region" else None
        if root is not None and CHAIN in root.attributes:
            assert op.parent is not None
            function = build.identity(op.parent.operation)
            found.setdefault((function, _chain(root)["chain"]), []).append(op)
    return [ops for ops in found.values() if len(ops) > 1]


def _chain(root: ir.Operation) -> dict[str, int]:
    value = attributes.to_plain(root.attributes[CHAIN])
    if (
        not isinstance(value, dict)
        or set(value) not in ({"chain"}, {"chain", "shared"})
        or not all(type(one) is int and one >= 0 for one in value.values())
    ):
        raise PassError(f"`{CHAIN}`: expected {{chain = NUMBER}}, and for threads shared = NUMBER", root)
    return value


def emit_chain(ops: Sequence[ir.Operation], target: Target | None = None) -> Chain:
    """Replace scheduled regions of one chain by one kernel: of threads, or of a product and a pooling behind it. Raises
    as `emit_kernel` does."""
    regions = [read_region(op) for op in ops]
    nests: list[Any] = []
    for region in regions:
        workload = read_workload(region)
        schedule = attached_schedule(region.root.op, workload, target)
        nests.append(backends.backend_of(workload, schedule).nest(workload, schedule))
    last, roots = ops[-1], [region.root.op for region in regions]
    readers = [user for op in ops[:-1] for result in op.results for user in build.users(result)]
    if not all(any(_is_in(user, op) for op in ops) for user in readers):
        raise ScheduleFault(f"`{CHAIN}`: what a kernel computes before the last one is read elsewhere", roots[0])
    with ir.InsertionPoint(last), roots[-1].location:
        try:
            op = _emit_together(regions, nests)
        except ScheduleError as error:
            raise ScheduleFault(f"`{CHAIN}`: {error}", roots[-1]) from None
    for old, new in zip(last.results, op.results, strict=True):
        old.replace_all_uses_with(new)
    for done in reversed(ops):
        done.erase()
    return Chain(op, tuple(nests))


def _emit_together(regions: Sequence[Region], nests: Sequence[Any]) -> ir.Operation:
    shared = {_chain(region.root.op).get("shared") for region in regions}
    if [nest.schedule.kind for nest in nests] == [gpu.KIND, pooling.KIND]:
        if shared != {None}:
            raise ScheduleError("a product and its pooling have no `shared` dimensions")
        from dlas_mlir.codegen.gpu import tensor_core

        return tensor_core.emit_pooled(regions[0], nests[0], regions[1], nests[1])
    for nest in nests:
        if not isinstance(nest, Nest) or nest.schedule.kind != simt.KIND or nest.workload.sparsity is not None:
            kinds = f"dense kernels of kind `{simt.KIND}`, or one of kind `{gpu.KIND}` and one of kind `{pooling.KIND}`"
            raise ScheduleError(f"is for {kinds}")
    first, *others = shared
    if others or first is None:
        raise ScheduleError("its kernels say different numbers of `shared` dimensions, or none")
    return chain.emit([chain.Link(region, nest) for region, nest in zip(regions, nests, strict=True)], first)


def _is_in(op: ir.Operation, outer: ir.Operation) -> bool:
    inside: ir.Operation | None = op
    while inside is not None and inside != outer:
        inside = inside.parent.operation if inside.parent is not None else None
    return inside is not None


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
        for mark in (ATTRIBUTE, CHAIN):
            if mark in inner.attributes:
                del inner.attributes[mark]
        inner.move_before(region_op)
    for old, new in zip(region_op.results, returned, strict=True):
        old.replace_all_uses_with(new)
    region_op.erase()
