"""The hash of the kernel that a schedule makes of a workload: two schedules with one hash are one kernel."""

from __future__ import annotations

import hashlib

from iree.compiler import ir

from dlas_mlir.codegen.replace import emit_kernel
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.ir import build
from dlas_mlir.opt.base import PassError


def kernel_digest(workload: Workload, schedule: AnySchedule) -> str:
    """The SHA-256 of the kernel's text. Raises PassError where the emitter cannot make it."""
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = ir.Module.create()
        module.body.append(build_workload(workload, "main", schedule))
        region = next((op for op in build.operations(module) if op.name == "flow.dispatch.region"), None)
        if region is None:
            raise PassError("the workload has no dispatch region", module.operation)
        kernel = emit_kernel(region)
        # A kernel that addresses memory by itself is an executable, and what stands in its place calls that.
        apart = [op.operation for op in module.body.operations if op.operation.name == "hal.executable.source"]
        parts = (op.get_asm(print_generic_op_form=False, use_local_scope=True) for op in (kernel.op, *apart))
        text = "".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()
