"""The PTX of kernels: which instructions, no local memory, and what ptxas says of registers (extra gpu-check)."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_cases import Conv, schedule, varied
from ptx import assemble, ptxas, text_of

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.gpu.product import Product
from dlas_mlir.codegen.gpu.resources import Resources
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.compiler.presets import load_preset

WGMMA = "m64k16.f16.f32"
CODES, WIDE, TF32 = "m16n8k32.s8.s32", "m64k32.s8.s32", "m64k8.tf32.f32"
STEM = varied(size=(56, 56), channels=(8, 64), kernel=(7, 7), pad=(3,) * 4, stride=(2, 2))
# Layers of ResNet at sizes where tiles are large, and one that reads 49 taps.
KERNELS: dict[str, list[tuple[Conv, GpuSchedule]]] = {
    "cuda-sm80": [
        (varied(size=(28, 28), channels=(128, 128), residual=True), schedule(128, 128, 64, 64, 3)),
        (varied(size=(14, 14), channels=(64, 64)), schedule(32, 32, 16, 16, 4)),
        (STEM, schedule(64, 64, 32, 32, 3)),
        (varied(size=(20, 20), element="f32", result="f32"), schedule(64, 64, 32, 32, 3, "m16n8k8.tf32x3.f32")),
        (varied(size=(10, 10), element="i8", channels=(128, 64), unsigned=True), schedule(64, 64, 32, 32, 3, CODES)),
    ],
    "cuda-sm90": [
        (varied(size=(56, 56)), schedule(128, 64, 64, 64, 4, WGMMA)),
        (varied(size=(28, 28), channels=(128, 128), residual=True), schedule(128, 128, 64, 128, 4, WGMMA)),
        (varied(size=(7, 7), channels=(512, 512)), schedule(64, 64, 64, 64, 5, WGMMA, split=8)),
        (varied(size=(14, 14), channels=(256, 256)), schedule(128, 128, 64, 128, 4, WGMMA, halo=True)),
        (varied(size=(10, 10), element="i8", channels=(128, 64), unsigned=True), schedule(64, 64, 64, 64, 3, WIDE)),
        (varied(size=(20, 20), element="f32", result="f32", rounded="tf32"), schedule(64, 64, 64, 64, 3, TF32)),
    ],
}  # fmt: skip

# Layers of the zoo, which the rule schedules: wide and deep ones, the stem, 1x1, strides, groups, a linear layer.
ZOO = [
    varied(size=(56, 56), residual=True),
    varied(size=(7, 7), channels=(512, 512)),
    varied(size=(56, 56), channels=(128, 128), stride=(2, 2), batch=32),
    varied(size=(14, 14), channels=(1024, 256), kernel=(1, 1), pad=(0,) * 4, element="f32", result="f32"),
    varied(size=(28, 28), channels=(96, 24), kernel=(1, 1), pad=(0,) * 4),
    varied(size=(28, 28), channels=(128, 128), groups=4, element="bf16", result="bf16"),
    varied(size=(14, 14), channels=(256, 256), element="i8", unsigned=True),
    varied(size=(1, 1), channels=(512, 1000), kernel=(1, 1), pad=(0,) * 4),
    # Exact products of float32, for which NVIDIA's assembler by itself takes too few registers.
    varied(size=(14, 14), channels=(256, 256), batch=32, element="f32", result="f32", residual=True),
    STEM,
]
# By the types of operands: the instruction on devices with wgmma, and on others.
PRODUCTS = {
    "f16": ("wgmma.mma_async.sync.aligned", "mma.sync.aligned.m16n8k16.row.col.f32.f16"),
    "bf16": ("wgmma.mma_async.sync.aligned", "mma.sync.aligned.m16n8k16.row.col.f32.bf16"),
    "i8": ("wgmma.mma_async.sync.aligned", "mma.sync.aligned.m16n8k32.row.col.s32"),
    "f32": ("mma.sync.aligned.m16n8k8.row.col.f32.tf32", "mma.sync.aligned.m16n8k8.row.col.f32.tf32"),
}


WITHOUT_PTXAS = pytest.mark.skipif(ptxas() is None, reason="no ptxas is installed: pip install -e '.[gpu-check]'")


def zoo(target: GpuTarget, folder: Path) -> str:
    """The PTX of the layers of the zoo, as the rule schedules them."""
    workloads = [conv.workload() for conv in ZOO]
    return text_of([(one, backends.backend_for(one, target).rule(one, target)) for one in workloads], target, folder)


def target_of(name: str) -> GpuTarget:
    target = load_preset(f"{name}/f16-auto").target
    assert isinstance(target, GpuTarget)
    return target


@pytest.mark.parametrize("name", KERNELS)
def test_layers_of_the_zoo(name: str, tmp_path) -> None:
    """Each by its matrix instruction, copied asynchronously, its sums in registers."""
    text = zoo(target_of(name), tmp_path)
    assert ".local" not in text
    # Beside them are kernels that add up the parts of sums.
    entries = [entry for entry in text.split(".visible .entry ")[1:] if "cp.async.cg.shared.global" in entry]
    assert len(entries) == len(ZOO)
    for entry in entries:
        kernel = entry.partition("(")[0]
        element = kernel.split("_")[2]
        wide, narrow = PRODUCTS[element]
        assert (".minnctapersm 1" in entry) == (element == "f32")
        assert narrow in entry or (name == "cuda-sm90" and wide in entry), kernel
    # wgmma for those whose channels fill 128 bytes, at least.
    by_four_warps = sum("wgmma.mma_async" in entry for entry in entries)
    assert by_four_warps >= 4 if name == "cuda-sm90" else by_four_warps == 0


@WITHOUT_PTXAS
@pytest.mark.parametrize("name", KERNELS)
def test_layers_of_the_zoo_are_assembled(name: str, tmp_path) -> None:
    target = target_of(name)
    found, said = assemble(zoo(target, tmp_path), target.architecture or "sm_80", tmp_path)
    assert "serialized" not in said
    # Beside them is what adds up the parts of split sums. How much shared memory a launch takes ptxas does not know.
    assert len(found) >= len(ZOO)
    assert [kernel for kernel in found if kernel.stack or kernel.spilled] == []
    assert max(kernel.registers for kernel in found) <= target.registers


@pytest.mark.parametrize("name", KERNELS)
def test_ptx(name: str, tmp_path) -> None:
    target = target_of(name)
    text = text_of([(conv.workload(), one) for conv, one in KERNELS[name]], target, tmp_path)
    assert text.count(".visible .entry product_") == len(KERNELS[name])
    assert "cp.async.cg.shared.global" in text
    assert ".local" not in text
    if name == "cuda-sm90":
        assert ".target sm_90a" in text
        assert "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16" in text
        assert "reqnctapercluster" in text
        assert "ld.shared::cluster" in text
        assert "fence.proxy.async" in text
        assert "wgmma.mma_async.sync.aligned.m64n64k32.s32.u8.s8" in text
    else:
        assert "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32" in text
        assert "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32" in text
        assert "ldmatrix.sync.aligned.m8n8.x4.shared.b16" in text


@WITHOUT_PTXAS
@pytest.mark.parametrize("name", KERNELS)
def test_ptxas(name: str, tmp_path) -> None:
    target = target_of(name)
    text = text_of([(conv.workload(), one) for conv, one in KERNELS[name]], target, tmp_path)
    found, said = assemble(text, target.architecture or "sm_80", tmp_path)
    assert len(found) == len(KERNELS[name])
    # C7510: wgmma that ptxas waits for one by one.
    assert "serialized" not in said
    for kernel, (conv, one) in zip(sorted(found, key=lambda x: x.name), _by_name(name), strict=True):
        assert (kernel.stack, kernel.spilled) == (0, 0), kernel
        assert kernel.registers <= target.registers
        # What the rule believes is not far off.
        believed = Resources.of(Product.of(conv.workload()), one, target).registers
        assert abs(kernel.registers - believed) <= 60, (kernel, one)


def _by_name(name: str) -> list[tuple[Conv, GpuSchedule]]:
    """The kernels in the order of their names, which begin with their sizes."""

    def sizes(entry: tuple[Conv, GpuSchedule]) -> str:
        conv = entry[0]
        (oh, ow), (c, k), (r, s) = conv.out, conv.channels, conv.kernel
        return f"product_{oh * ow}x{k}x{r * s * c}"

    return sorted(KERNELS[name], key=sizes)
