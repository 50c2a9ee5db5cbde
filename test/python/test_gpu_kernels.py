"""GPU kernels as they are emitted, run in NumPy by PTX's definitions; what the simulator refuses; ptxas on the PTX."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from gpu_cases import Conv, error, kernel, schedule, simulated, varied
from gpu_simulator import Race, Report, run
from iree.compiler import ir

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.gpu.backend import TENSOR_CORE
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.presets import load_preset

# Half of a unit in float16's last place, and what sums of float32 add.
TOLERANCE = 4e-4
WGMMA = "m64k16.f16.f32"

CASES = {
    "3x3": (Conv(), schedule(64, 64, 32, 32, 3)),
    "strides and a residual": (
        varied(channels=(128, 64), stride=(2, 2), residual=True),
        schedule(32, 32, 16, 16, 4),
    ),
    "1x1 of two images": (
        varied(batch=2, size=(8, 8), kernel=(1, 1), pad=(0, 0, 0, 0)),
        schedule(64, 32, 32, 16, 3),
    ),
    "1x1 with strides": (varied(kernel=(1, 1), pad=(0, 0, 0, 0), stride=(1, 2)), schedule(32, 64, 16, 32, 2)),
    "16 channels": (varied(channels=(16, 72)), schedule(64, 64, 32, 32, 3)),
    "24 channels, 10 results, dilations, padding on some sides": (
        varied(channels=(24, 10), dilation=(2, 1), pad=(2, 1, 0, 1)),
        schedule(64, 32, 32, 16, 2),
    ),
    "49 taps": (
        varied(size=(15, 15), kernel=(7, 7), channels=(8, 64), stride=(2, 2), pad=(3, 3, 3, 3)),
        schedule(32, 64, 16, 32, 4),
    ),
    "float32 results and no epilogue": (varied(epilogue=False, size=(5, 5)), schedule(32, 64, 16, 32, 3)),
    "groups": (varied(channels=(64, 128), groups=4, residual=True), schedule(64, 32, 32, 16, 3)),
    "groups, wgmma, a halo": (
        varied(channels=(128, 64), groups=2, size=(7, 7)),
        schedule(64, 32, 64, 32, 4, WGMMA, halo=True),
    ),
    "parts of sums, joined by a second kernel": (varied(residual=True), schedule(64, 32, 32, 16, 3, split=3)),
    "the same of ten columns": (varied(channels=(64, 10), size=(5, 5)), schedule(32, 32, 16, 16, 3, split=2)),
    "wgmma": (varied(size=(9, 9)), schedule(128, 64, 64, 64, 4, WGMMA)),
    "wgmma, strides, two blocks of rows, a residual": (
        varied(size=(9, 9), channels=(128, 128), stride=(2, 2), residual=True),
        schedule(128, 128, 128, 128, 3, WGMMA),
    ),
    "wgmma, two workgroups for a sum": (
        varied(size=(8, 8), channels=(128, 64), kernel=(1, 1), pad=(0,) * 4),
        schedule(64, 64, 64, 64, 4, WGMMA, split=2),
    ),
    "wgmma, three workgroups for nine steps, with a residual": (
        varied(residual=True),
        schedule(64, 32, 64, 32, 3, WGMMA, split=3),
    ),
    "wgmma, five workgroups for nine steps": (Conv(), schedule(64, 64, 64, 64, 4, WGMMA, split=5)),
    "a halo": (varied(size=(9, 7), batch=2), schedule(128, 64, 64, 64, 4, WGMMA, halo=True)),
    "a halo, two chunks of channels, a residual": (
        varied(size=(9, 9), channels=(128, 64), residual=True),
        schedule(64, 64, 64, 64, 4, WGMMA, halo=True),
    ),
    "a halo in images that somebody has padded": (
        varied(size=(11, 9), batch=2, pad=(0, 0, 0, 0)),
        schedule(128, 64, 64, 64, 4, WGMMA, halo=True),
    ),
    "a halo in one such image, two workgroups for a sum": (
        varied(size=(11, 9), channels=(128, 64), pad=(0, 0, 0, 0)),
        schedule(64, 64, 64, 64, 4, WGMMA, split=2, halo=True),
    ),
    "a halo and two workgroups for a sum": (
        varied(size=(7, 7), channels=(256, 64)),
        schedule(64, 64, 64, 64, 4, WGMMA, split=2, halo=True),
    ),
    "a halo, two blocks of rows, ragged columns": (
        varied(size=(7, 7), batch=2, channels=(64, 40)),
        schedule(128, 64, 128, 64, 3, WGMMA, halo=True),
    ),
    "a halo of 5x3 taps, padding on some sides": (
        varied(size=(8, 6), kernel=(5, 3), pad=(1, 2, 0, 1)),
        schedule(64, 64, 64, 64, 4, WGMMA, halo=True),
    ),
    "wgmma, 24 channels": (varied(channels=(24, 40)), schedule(64, 64, 64, 64, 3, WGMMA)),
    "one pixel": (varied(size=(1, 1), kernel=(1, 1), pad=(0,) * 4), schedule(32, 64, 16, 32, 2)),
}


# Element types: the convolution, the schedule, and by how much the result may be off.
TYPES = {
    "bf16": (varied(element="bf16", result="bf16"), schedule(64, 64, 32, 32, 3, "m16n8k16.bf16.f32"), 4e-3),
    "bf16, wgmma": (
        varied(element="bf16", result="bf16", residual=True),
        schedule(64, 64, 64, 64, 3, "m64k16.bf16.f32"),
        4e-3,
    ),
    "f32 of three products": (
        varied(element="f32", result="f32", channels=(32, 64)),
        schedule(64, 64, 32, 32, 3, "m16n8k8.tf32x3.f32"),
        5e-6,
    ),
    "f32, a long sum, which tensor cores would cut off": (
        varied(element="f32", result="f32", channels=(512, 32), size=(6, 6)),
        schedule(32, 32, 16, 16, 3, "m16n8k8.tf32x3.f32"),
        1e-6,
    ),
    "tf32": (
        varied(element="f32", result="f32", channels=(32, 64), rounded="tf32"),
        schedule(64, 64, 32, 32, 3, "m16n8k8.tf32.f32"),
        1e-3,
    ),
    "tf32, wgmma": (
        varied(element="f32", result="f32", rounded="tf32", residual=True),
        schedule(64, 32, 64, 32, 4, "m64k8.tf32.f32", split=4),
        1e-3,
    ),
    "int8": (
        varied(element="i8", result="f32", channels=(128, 64)),
        schedule(64, 64, 32, 32, 3, "m16n8k32.s8.s32"),
        1e-6,
    ),
    "int8, sums in 32 bits": (
        varied(element="i8", channels=(16, 24), epilogue=False),
        schedule(64, 32, 32, 16, 3, "m16n8k32.s8.s32"),
        0,
    ),
    "codes without a sign": (
        varied(element="i8", channels=(128, 64), epilogue=False, unsigned=True),
        schedule(64, 64, 32, 32, 3, "m16n8k32.s8.s32"),
        0,
    ),
    "codes without a sign, wgmma, a halo": (
        varied(element="i8", channels=(128, 64), epilogue=False, unsigned=True),
        schedule(64, 64, 64, 64, 3, "m64k32.s8.s32", halo=True),
        0,
    ),
    "int8, wgmma": (
        varied(element="i8", channels=(128, 64), epilogue=False),
        schedule(64, 64, 64, 64, 3, "m64k32.s8.s32", split=3),
        0,
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_element_types(name: str) -> None:
    conv, chosen, tolerance = TYPES[name]
    got, want = simulated(conv, chosen)
    assert error(got, want) <= tolerance


def test_exact_and_rounded_products_are_not_mixed_up() -> None:
    """float32 is multiplied exactly, unless somebody has said that it may be rounded."""
    target = load_preset("cuda-sm80/f16-auto").target
    exact, rounded = varied(element="f32", result="f32"), varied(element="f32", result="f32", rounded="tf32")
    assert backends.backend_for(exact.workload(), target).rule(exact.workload(), target).unit.products == 3
    assert backends.backend_for(rounded.workload(), target).rule(rounded.workload(), target).unit.products == 1
    with pytest.raises(ScheduleError, match="does not multiply f32 into f32"):
        backends.read_schedule(TYPES["tf32"][1].to_value(), exact.workload())


@pytest.mark.parametrize("name", CASES)
def test_kernels_compute_what_numpy_does(name: str) -> None:
    conv, chosen = CASES[name]
    report = Report()
    got, want = simulated(conv, chosen, report)
    assert error(got, want) < TOLERANCE
    for access in ("cp.async", "ldmatrix"):
        count, cycles = report.conflicts.get(access, (0, 0))
        assert cycles == count, f"{access} has conflicts of banks"


def test_the_rule_and_a_sample_of_its_space() -> None:
    target = load_preset("cuda-sm80/f16-auto").target
    conv = varied(size=(6, 7), residual=True)
    workload = conv.workload()
    backend = backends.backend_for(workload, target)
    space = list(backend.regular(workload, target))
    assert len(space) > 50
    costs = [backend.cost(workload, one, target) for one in space]
    rule = backend.rule(workload, target)
    assert backend.cost(workload, rule, target) == min(costs)
    for one in (rule, backend.naive(workload, target), *space[:: len(space) // 4]):
        assert backend.problem(workload, one, target) is None
        assert backends.read_schedule(one.to_value(), workload) == one
        got, want = simulated(conv, one)
        assert error(got, want) < TOLERANCE, one


def _without(name: str, number: int) -> Callable[[str], str]:
    """A change to a kernel's text: the operation `name` left out, the one of that number."""

    def change(text: str) -> str:
        lines = text.splitlines()
        places = [i for i, line in enumerate(lines) if name in line]
        del lines[places[number]]
        return "\n".join(lines)

    return change


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("the barrier of the loop", _without("nvvm.barrier", 0)),
        ("the barrier behind the loop", _without("nvvm.barrier", 1)),
        ("the barrier behind the sums", _without("nvvm.barrier", 2)),
        ("a group too few is waited for", lambda text: text.replace("wait.group 1", "wait.group 2")),
    ],
)
def test_the_simulator_sees(what: str, change: Callable[[str], str]) -> None:
    """What a GPU would do right most of the time is an error here, or a wrong number."""
    # The last of its four steps is in the place where the sums are laid out.
    conv, chosen = varied(kernel=(1, 1), pad=(0,) * 4, channels=(256, 64)), schedule(64, 64, 32, 32, 3)
    arrays = conv.arrays()
    with ir.Context():
        text = str(kernel(conv.workload(), chosen))
        changed = change(text)
        assert changed != text
        try:
            (result,) = run(ir.Module.parse(changed), arrays)
        except Race:
            return
        assert error(result.astype(np.float64), conv.expected(arrays)) > 0.01


@pytest.mark.parametrize(
    ("barrier", "instead", "message"),
    [
        ("arrive", "nvvm.barrier", "reads what another workgroup has written since the cluster's last barrier"),
        ("arrive.relaxed", "", "a workgroup may end while another one reads its shared memory"),
    ],
)
def test_the_simulator_sees_other_workgroups(barrier: str, instead: str, message: str) -> None:
    """A barrier of each workgroup is none of the cluster."""
    conv, chosen = varied(kernel=(1, 1), pad=(0,) * 4, channels=(256, 64)), schedule(64, 64, 64, 64, 3, WGMMA, split=2)
    with ir.Context():
        text = str(kernel(conv.workload(), chosen))
        changed = re.sub(rf"nvvm\.cluster\.{barrier} aligned\s+nvvm\.cluster\.wait aligned", instead, text)
        assert changed != text
        with pytest.raises(Race, match=message):
            run(ir.Module.parse(changed), conv.arrays())


def _changed(**changes) -> dict:
    return schedule(64, 64, 32, 32, 3).to_value() | changes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_changed(stages=1), "stages: at least 2, found 1"),
        (_changed(instruction="m8n8k4.f64"), "instruction: there is no `m8n8k4.f64`; there are m16n8k16.f16.f32"),
        (_changed(instruction="m16n8k16.bf16.f32"), "instruction: `m16n8k16.bf16.f32` does not multiply f16 into f32"),
        (_changed(warp={"rows": 24, "columns": 32}), "warp: 24 rows do not divide the 64 rows of the tile"),
        (_changed(warp={"rows": 64, "columns": 64}), "warp: 32 threads; copies are shared out over a multiple of 64"),
        (_changed(warp={"rows": 32, "columns": 8}), "warp: 8 columns are no multiple of 16"),
        (_changed(halo=True), "halo: there is none with `m16n8k16.f16.f32`, only with wgmma"),
        (_changed(split=99), "split: 1 to 8 parts of the sum, found 99"),
        (_changed(tile={"rows": 64}), "missing required field `columns`"),
        (_changed(depth=4), "unknown field `depth`"),
        (_changed(kind="cpu"), "kind: this workload takes `gpu` or `simt` on a gpu target, not `cpu`"),
    ],
)
def test_a_wrong_schedule_names_the_key(value: dict, message: str) -> None:
    with pytest.raises(ScheduleError, match=re.escape(message)):
        backends.read_schedule(value, Conv().workload(), load_preset("cuda-sm80/f16-auto").target)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (schedule(256, 256, 64, 64, 2), "tile: 271360 bytes of shared memory; cuda-sm80 has 101376 in a workgroup"),
        (schedule(64, 64, 32, 32, 7), "stages: 115712 bytes of shared memory; cuda-sm80 has 101376 in a workgroup"),
        (schedule(256, 256, 32, 32, 2), "warp: 2048 threads; cuda-sm80 has 1024 in a workgroup"),
        (schedule(128, 128, 128, 64, 2), "warp: 256 registers for a thread's sums; cuda-sm80 has 255 for 64"),
        (schedule(128, 96, 64, 96, 2), "warp: some 328 registers in a thread; cuda-sm80 has 255 for 64"),
        (schedule(64, 64, 64, 64, 3, WGMMA), "instruction: cuda-sm80 has no `m64k16.f16.f32`"),
    ],
)
def test_what_does_not_fit_the_target_names_key_and_limit(chosen: GpuSchedule, message: str) -> None:
    target = load_preset("cuda-sm80/f16-auto").target
    assert isinstance(target, GpuTarget)
    workload = Conv().workload()
    problem = backends.backend_of(workload, chosen).problem(workload, chosen, target)
    assert problem is not None
    assert message in problem


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (varied(channels=(3, 64)), "3 channels of f16 are no whole 16 bytes"),
        (varied(element="bf16", result="bf16"), None),
    ],
)
def test_what_tensor_cores_do_not_take_is_left_to_threads(conv: Conv, reason: str | None) -> None:
    target = load_preset("cuda-sm80/f16-auto").target
    assert TENSOR_CORE.refusal(conv.workload(), target) == reason
    assert backends.backend_for(conv.workload(), target).kind == ("simt" if reason else "gpu")


@pytest.mark.parametrize("model", ["squeezed", "normed"])
def test_what_is_rounded_to_bfloat16_compiles_for_cuda(model: str) -> None:
    """Padding that is read, and results of a kernel that it reads again: iree-compile ended with an assertion."""
    artifact = compile_model(f"gpu_model:{model}", "cuda-sm90/bf16-auto")
    assert artifact.primitives["implicit-gemm"] >= 2
