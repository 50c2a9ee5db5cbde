"""dlas-dump-workloads: write the workload and the schedule of each dispatch region to a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.replace import attached_schedule
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.workload_file import write_file
from dlas_mlir.ir import build
from dlas_mlir.opt.base import Pass, PassError, option, remark


@dataclass(frozen=True)
class DumpWorkloadsPass(Pass):
    """Write each distinct workload of the scheduled regions, with its schedule, to a JSON file in the directory `to`,
    named by the first digits of the workload's key. A remark at the region names the file and shows the loop nest. The
    module stays as it is.

    `dlas compile`, `run` and `bench` take such a file as a model.

    Before:
    ```mlir
    %3 = flow.dispatch.region -> (tensor<1x4x56x56x16xf32>) {
      %2 = linalg.generic {dlas.schedule = {...}} ins(%x, %w) outs(%zeros)
      flow.return %2
    }
    ```
    After: the same, and
    ```mlir
    // remark: workload 26fa5803e8afc1d2 in kernels/26fa5803e8afc1d2.json
    // for workgroup in oh by 14 (4)
    //   for oh in 14
    //     ...
    ```
    """

    name: ClassVar[str] = "dlas-dump-workloads"

    to: str = option("", "the directory to write to, which is made if there is none; empty: only remarks")

    def run(self, module: ir.Module) -> None:
        target = Target.known(module)
        for op in build.operations(module):
            if op.name != "flow.dispatch.region" or (root := scheduled_root(op)) is None:
                continue
            workload = read_workload(read_region(op))
            schedule = attached_schedule(root, workload, target)
            where = f" in {self._write(workload, schedule)}" if self.to else ""
            nest = backends.backend_of(workload, schedule).nest(workload, schedule)
            remark(op, f"workload {workload.exact[:16]}{where}\n{nest}")

    def _write(self, workload: Workload, schedule: AnySchedule) -> Path:
        path = Path(self.to) / f"{workload.exact[:16]}.json"
        try:
            write_file(path, workload, schedule)
        except OSError as error:
            raise PassError(f"cannot write {path}: {error.strerror}") from None
        return path
