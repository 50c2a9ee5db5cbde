"""dlas-attach-schedules: write on the root of each dispatch region how it is tiled, vectorised and distributed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.schedule import ATTRIBUTE, Schedule
from dlas_mlir.codegen.sparse.attribute import sparsity_of
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.zeros import zeros_of
from dlas_mlir.ir import attributes, build
from dlas_mlir.opt.base import Pass, PassError, option, remark

# Who finds the schedule of a workload for a target, by the name in the option.
FINDERS: dict[str, Callable[[Workload, Target], Schedule]] = {
    "rule": lambda workload, target: backends.backend_for(workload, target).rule(workload, target),
    "naive": lambda workload, target: backends.backend_for(workload, target).naive(workload, target),
}


@dataclass(frozen=True)
class AttachSchedulesPass(Pass):
    """Attach `dlas.schedule` to the root of every dispatch region that has none. A region that cannot become a kernel
    is dissolved, with a remark that says why.

    `rule` takes the cheapest of the regular schedules of a workload, by the figures of the target. `naive` is what
    others are compared with, that of a compiler that knows of the machine only its vectors and threads: one vector of
    results at a time, the loops in their order, no blocks, the outermost loop that is long enough in a part for each
    thread.

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
    schedule: str = option("rule", "how schedules are found", choices=tuple(FINDERS))

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        find = FINDERS[self.schedule]
        if not backends.on(target):
            return
        for op in build.operations(module):
            if op.name != "flow.dispatch.region":
                continue
            inner = [inner.operation for inner in op.regions[0].blocks[0].operations]
            root = next((candidate for candidate in inner if candidate.name == "linalg.generic"), None)
            if root is None or ATTRIBUTE in root.attributes:
                continue
            sparsity_of(root)  # raises: nobody else can do what is wrongly called sparse
            zeros_of(root)  # likewise: a slip in what a hand has written
            try:
                workload = read_workload(read_region(op))
            except PassError as error:
                remark(op, f"left to the compiler's own schedule: {error}")
                dissolve(op)
            else:
                root.attributes[ATTRIBUTE] = attributes.from_plain(find(workload, target).to_value())
