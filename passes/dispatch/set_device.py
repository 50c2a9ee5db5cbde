"""dlas-set-device: write the device that kernels are compiled for on the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.opt.base import Pass

ATTRIBUTE = "hal.device.targets"
_CAN = (
    "compute = fp64|fp32|fp16|int64|int32|int16|int8, storage = b64|b32|b16|b8, subgroup = shuffle|arithmetic, "
    "dot = dp4xi8toi32"
)
# What iree-compile's own code may use; ours says its instructions itself.
_PRODUCTS = "[<NV_MMA_SYNC_F32_16x8x16_F16>, <NV_MMA_SYNC_F16_16x8x16_F16>, <NV_MMA_SYNC_F32_16x8x16_BF16>]"


@dataclass(frozen=True)
class SetDevicePass(Pass):
    """Write `hal.device.targets` for a GPU target that names a CUDA `architecture`, which goes before what iree-compile
    is told by flags: its flags know no architecture that has wgmma, and no more shared memory than older ones have. A
    module whose target names none, or that has the attribute, stays as it is.

    Before:
    ```mlir
    module attributes {dlas.target = {architecture = "sm_90a", kind = "gpu", shared_bytes = 232448 : i64, ...}}
    ```
    After:
    ```mlir
    module attributes {dlas.target = {...}, hal.device.targets = [#hal.device.target<"cuda",
        [#hal.executable.target<"cuda", "cuda-nvptx-fb", {iree_codegen.target_info = #iree_gpu.target<arch = "sm_90a",
            features = "+ptx80", wgp = <..., max_workgroup_memory_bytes = 232448, ...>>}>]> : !hal.device]}
    ```
    """

    name: ClassVar[str] = "dlas-set-device"

    def run(self, module: ir.Module) -> None:
        target, marks = Target.of(module), module.operation.attributes
        if isinstance(target, GpuTarget) and target.architecture and ATTRIBUTE not in marks:
            marks[ATTRIBUTE] = ir.Attribute.parse(f"[{_device(target)}]")


def _device(target: GpuTarget) -> str:
    limits = (
        f"subgroup_size_choices = [{target.subgroup_size}], max_workgroup_sizes = [1024, 1024, 64], "
        f"max_thread_count_per_workgroup = {target.workgroup_threads}, "
        f"max_workgroup_memory_bytes = {target.shared_bytes}, max_workgroup_counts = [2147483647, 65535, 65535]"
    )
    chip = f"chip = <wgp_count = {target.compute_units}>"
    gpu = (
        f'#iree_gpu.target<arch = "{target.architecture}", features = "{target.ptx}", '
        f"wgp = <{_CAN}, mma = {_PRODUCTS}, {limits}>, {chip}>"
    )
    executable = f'#hal.executable.target<"cuda", "cuda-nvptx-fb", {{iree_codegen.target_info = {gpu}}}>'
    return f'#hal.device.target<"cuda", [{executable}]> : !hal.device'
