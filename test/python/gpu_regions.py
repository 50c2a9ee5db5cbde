"""The regions behind the passes of a preset, before they become kernels."""

from __future__ import annotations

from collections.abc import Iterator

from iree.compiler import ir

from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.replace import attached_schedule
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.ir import build
from dlas_mlir.opt.pipeline import Pipeline, PythonPass, parse_pipeline
from dlas_mlir.passes.clean.set_target import SetTargetPass
from dlas_mlir.passes.dispatch.lower_dispatches import LowerDispatchesPass


def regions(module: ir.Module, preset: str) -> Iterator[tuple[ir.Operation, ir.Operation, Workload, AnySchedule]]:
    """What the passes of `preset` make of `module`: each region with a schedule, its root, its workload and that."""
    loaded = load_preset(preset)
    elements = parse_pipeline(loaded.pipeline).elements
    names = [one.instance.name if isinstance(one, PythonPass) else "" for one in elements]
    SetTargetPass.for_target(loaded.target).run(module)
    Pipeline(elements[: names.index(LowerDispatchesPass.name)]).run(module)
    for op in build.operations(module):
        if op.name == "flow.dispatch.region" and (root := scheduled_root(op)) is not None:
            workload = read_workload(read_region(op))
            yield op, root, workload, attached_schedule(root, workload)
