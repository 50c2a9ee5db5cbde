"""dlas-attach-schedules: write on the root of each dispatch region how it is tiled, vectorised and distributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.region import stage_refusal
from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.sparse import attribute as sparse
from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import build
from dlas_mlir.ir.schedule import ATTRIBUTE
from dlas_mlir.opt.base import Pass, remark
from dlas_mlir.passes.schedule._rules import schedule_for
from dlas_mlir.passes.schedule._sparse_rules import sparse_schedule_for


@dataclass(frozen=True)
class AttachSchedulesPass(Pass):
    """Attach `dlas.schedule` to the root of every dispatch region that has none, by a rule that knows the target's
    registers and caches. A region whose root cannot become a kernel is dissolved, with a remark that says why.

    Before:
    ```mlir
    %1 = linalg.generic {iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction",
        "reduction", "reduction", "reduction"]} ins(%px, %pw)
    ```
    After:
    ```mlir
    %1 = linalg.generic {..., dlas.schedule = {distribution = array<i64: 0, 0, 7, 0, 0, 0, 0, 0, 0>, lanes = 16,
        order = array<i64: 0, 2, 1, 3, 4, 5, 6, 7, 8>, register_tile = array<i64: 1, 2, 1, 14, 16, 1, 1, 1, 1>,
        vector = 4}} ins(%px, %pw)
    ```
    """

    name: ClassVar[str] = "dlas-attach-schedules"

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        if target.kind == "gpu":
            return
        for op in build.operations(module):
            if op.name != "flow.dispatch.region":
                continue
            inner = [inner.operation for inner in op.regions[0].blocks[0].operations]
            root = next((candidate for candidate in inner if candidate.name == "linalg.generic"), None)
            if root is None or ATTRIBUTE in root.attributes:
                continue
            if sparse.ATTRIBUTE in root.attributes:
                root.attributes[ATTRIBUTE] = sparse_schedule_for(root, target).to_attr()
            elif (why := stage_refusal(root)) is not None:
                remark(op, f"left to the compiler's own schedule: {why}")
                dissolve(op)
            else:
                root.attributes[ATTRIBUTE] = schedule_for(root, target).to_attr()
