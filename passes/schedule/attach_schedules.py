"""dlas-attach-schedules: write on the root of each dispatch region how it is tiled, vectorised and distributed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.chosen import read_chosen
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.schedule import ATTRIBUTE, AnySchedule, ScheduleError
from dlas_mlir.codegen.sparse.attribute import sparsity_of
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.zeros import zeros_of
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import attributes, build
from dlas_mlir.opt.base import Pass, PassError, option, remark

RULE, NAIVE, TUNED = "rule", "naive", "tuned"
SCHEDULES = (RULE, NAIVE, TUNED)


@dataclass(frozen=True)
class AttachSchedulesPass(Pass):
    """Attach `dlas.schedule` to the root of every dispatch region that has none. A region that cannot become a kernel
    is dissolved, with a remark that says why.

    `rule` takes the cheapest of the regular schedules of a workload, by the figures of the target. `naive` is what
    others are compared with, that of a compiler that knows of the machine only its vectors and threads: one vector of
    results at a time, the loops in their order, no blocks, the outermost loop that is long enough in a part for each
    thread. `tuned` takes for each workload the schedule in the file `records` (JSON lines of `{"workload": KEY,
    "schedule": {...}}`, with the exact key), and the rule's where that has none; one that does not fit is a remark, and
    the rule's is taken.

    Before:
    ```mlir
    %1 = linalg.generic {dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "r", "s", "c"], iterator_types = [...]}
        ins(%px, %pw)
    ```
    After:
    ```mlir
    %1 = linalg.generic {..., dlas.schedule = {distribute = {oh = 7}, kind = "cpu", lanes = 16,
        order = ["oh", "kb", "ow", "k", "cb", "r", "s", "c"], tile = {k = 16, kb = 2, ow = 14}, vector = "k"}}
    ```
    """

    name: ClassVar[str] = "dlas-attach-schedules"
    schedule: str = option(RULE, "how schedules are found", choices=SCHEDULES)
    records: str = option("", "for `tuned`: a file of schedules, as `dlas records schedules` writes it")

    def reads(self) -> tuple[str, ...]:
        return (self.records,) if self.records else ()

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        chosen = self._read_chosen(module)
        if not backends.on(target):
            return
        for op in build.operations(module):
            if op.name != "flow.dispatch.region":
                continue
            inner = [inner.operation for inner in op.regions[0].blocks[0].operations]
            generics = [candidate for candidate in inner if candidate.name == "linalg.generic"]
            if not generics or scheduled_root(op) is not None:
                continue
            for generic in generics:
                sparsity_of(generic)  # raises: nobody else can do what is wrongly called sparse
                zeros_of(generic)  # likewise: a slip in what a hand has written
            try:
                region = read_region(op)
                workload = read_workload(region)
            except PassError as error:
                remark(op, f"left to the compiler's own schedule: {error}")
                dissolve(op)
                continue
            try:
                schedule = self._find(op, workload, target, chosen)
            except LookupError as error:
                remark(op, f"left to the compiler's own schedule: {error}")
                dissolve(op)
            else:
                region.root.op.attributes[ATTRIBUTE] = attributes.from_plain(schedule.to_value())

    def _read_chosen(self, module: ir.Module) -> Mapping[str, dict[str, Any]]:
        if (self.schedule == TUNED) != bool(self.records):
            raise PassError(f"schedule={TUNED} and records=FILE go together", module.operation)
        if not self.records:
            return {}
        try:
            return read_chosen(Path(self.records))
        except DlasError as error:
            raise PassError(str(error), module.operation) from None

    def _find(
        self, op: ir.Operation, workload: Workload, target: Target, chosen: Mapping[str, dict[str, Any]]
    ) -> AnySchedule:
        backend = backends.backend_for(workload, target)
        if self.schedule == NAIVE:
            return backend.naive(workload, target)
        if workload.exact in chosen:
            try:
                return backends.read_schedule(chosen[workload.exact], workload, target)
            except ScheduleError as error:
                remark(op, f"{self.records}: the schedule of {workload.exact[:16]} is not taken: {error}")
        return backend.rule(workload, target)
