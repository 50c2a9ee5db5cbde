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
_SPIRV = "spirv:"
# Of Vulkan: what an artifact uses of it, it says that it needs.
_MAY = "compute = fp32|fp16|int64|int32|int16|int8, storage = b64|b32|b16|b8, subgroup = none"
# What iree-compile's own code may use; ours says its instructions itself.
_PRODUCTS = "[<NV_MMA_SYNC_F32_16x8x16_F16>, <NV_MMA_SYNC_F16_16x8x16_F16>, <NV_MMA_SYNC_F32_16x8x16_BF16>]"


@dataclass(frozen=True)
class SetDevicePass(Pass):
    """Write `hal.device.targets` for a GPU target that names an `architecture`, which goes before what iree-compile is
    told by flags. Of CUDA's (sm_90a) its flags know none that has wgmma, and no more shared memory than older ones
    have. Of any Vulkan device (spirv:v1.3) they say that it has nothing but 32 bits, and what iree-compile makes of
    other types out of these is often wrong; written here, it may use other types, and what it has used stands in the
    artifact. A module whose target names none, or that has the attribute, stays as it is.

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
    driver, executable, features, wgp, chip = _vulkan(target) if _is_spirv(target) else _cuda(target)
    info = f'#iree_gpu.target<arch = "{target.architecture}", features = "{features}", wgp = <{wgp}>{chip}>'
    made = f"#hal.executable.target<{executable}, {{iree_codegen.target_info = {info}}}>"
    return f'#hal.device.target<"{driver}", [{made}]> : !hal.device'


def _is_spirv(target: GpuTarget) -> bool:
    return target.architecture.startswith(_SPIRV)


def _cuda(target: GpuTarget) -> tuple[str, ...]:
    limits = (
        f"subgroup_size_choices = [{target.subgroup_size}], max_workgroup_sizes = [1024, 1024, 64], "
        f"{_limits(target)}, max_workgroup_counts = [2147483647, 65535, 65535]"
    )
    chip = f", chip = <wgp_count = {target.compute_units}>"
    return "cuda", '"cuda", "cuda-nvptx-fb"', target.ptx, f"{_CAN}, mma = {_PRODUCTS}, {limits}", chip


def _vulkan(target: GpuTarget) -> tuple[str, ...]:
    # No subgroups: those of a device may have any size.
    threads = target.workgroup_threads
    limits = (
        f"subgroup_size_choices = [64], max_workgroup_sizes = [{threads}, {threads}, 64], "
        f"{_limits(target)}, max_workgroup_counts = [65535, 65535, 65535]"
    )
    return "vulkan", '"vulkan-spirv", "vulkan-spirv-fb"', f"{target.architecture},cap:Shader", f"{_MAY}, {limits}", ""


def _limits(target: GpuTarget) -> str:
    return (
        f"max_thread_count_per_workgroup = {target.workgroup_threads}, "
        f"max_workgroup_memory_bytes = {target.shared_bytes}"
    )
