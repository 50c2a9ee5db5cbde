"""Runs the passes before schedules are attached, and lists the kernels that there will be; for a process of its own."""

from __future__ import annotations

from typing import Any

from iree.compiler import ir

from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.schedule import ATTRIBUTE
from dlas_mlir.codegen.simt.chain import ATTRIBUTE as CHAIN
from dlas_mlir.compiler import pipeline_process
from dlas_mlir.ir import attributes, build
from dlas_mlir.opt.pipeline import Pipeline, PythonPass
from dlas_mlir.passes.primitives import layer_of
from dlas_mlir.passes.schedule.attach_schedules import AttachSchedulesPass


def run(source: str, pipeline: str, bytecode: str) -> dict[str, Any]:
    """Run `pipeline` on the file `source` and write bytecode. Returns the number of layers in `source` and, of each
    region that becomes a kernel of its own, in order, its workload (JSON), the rule's schedule, and its layer and
    primitive (or nothing). Raises DlasError."""
    report = pipeline_process.run(source, pipeline, bytecode, None)
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = ir.Module.parseFile(bytecode, context)
        Pipeline((PythonPass(AttachSchedulesPass()),)).run(module)
        kernels = []
        for op in build.operations(module):
            if op.name != "flow.dispatch.region" or (root := scheduled_root(op)) is None or CHAIN in root.attributes:
                continue
            layer = layer_of(root)
            kernels.append(
                {
                    "workload": read_workload(read_region(op)).to_json(),
                    "rule": attributes.to_plain(root.attributes[ATTRIBUTE]),
                    "layer": layer.name if layer else "",
                    "primitive": layer.primitive if layer else "",
                }
            )
    return {"imported_layers": report["imported_layers"], "kernels": kernels}
