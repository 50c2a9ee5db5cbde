"""What GPUs a machine has, what artifacts need of one, and what is said where it is missing or fails."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import fake_gpus
import preset_files
import pytest

from dlas_mlir.cli.dlas import main
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.compiler import tools
from dlas_mlir.compiler.presets import host_gpu, load_preset
from dlas_mlir.compiler.presets.here import here
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime import gpus, needs
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.failures import explained
from dlas_mlir.runtime.gpus import Gpu, NoGpu

H100 = fake_gpus.cuda("NVIDIA H100", "9.0")
A100 = fake_gpus.cuda("NVIDIA A100", "8.0", units=108, shared=167936)
V100 = fake_gpus.cuda("NVIDIA V100", "7.0", units=80, shared=98304)
RTX = fake_gpus.vulkan("NVIDIA GeForce RTX 4090")
PHONE = fake_gpus.vulkan("Adreno", type="integrated-gpu", f16=False, matrix=False)
PRODUCT = """func.func @main(%a: tensor<64x64xf16>, %b: tensor<64x64xf16>) -> tensor<64x64xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<64x64xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<64x64xf32>) -> tensor<64x64xf32>
  %r = linalg.matmul ins(%a, %b : tensor<64x64xf16>, tensor<64x64xf16>) outs(%f : tensor<64x64xf32>)
    -> tensor<64x64xf32>
  return %r : tensor<64x64xf32>
}
"""
# 4 GiB, of which Mesa's driver for CPUs gives 2.
LARGE = """func.func @main(%a: tensor<f32>) -> tensor<1024x1024x1024xf32> {
  %e = tensor.empty() : tensor<1024x1024x1024xf32>
  %b = linalg.broadcast ins(%a : tensor<f32>) outs(%e : tensor<1024x1024x1024xf32>) dimensions = [0, 1, 2]
  return %b : tensor<1024x1024x1024xf32>
}
"""


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset_files.only_in(tmp_path, monkeypatch)


def built(text: str, preset: str, folder: Path) -> Path:
    """An artifact of MLIR, by iree-compile alone."""
    source, vmfb = folder / "a.mlir", folder / "a.vmfb"
    source.write_text(text)
    subprocess.run([tools.iree_compile(), source, *load_preset(preset).iree_flags, "-o", vmfb], check=True)
    return vmfb


def gpu(told: dict[str, str], driver: str = "cuda") -> Gpu:
    """What `gpus` makes of a device."""
    (found,) = gpus.told(driver, {"devices": [told]})
    return found


def test_what_drivers_tell_is_read() -> None:
    a100, rtx = gpu(A100), gpu(RTX, "vulkan")
    assert (a100.capability, a100.number("multiprocessor-max-shared-memory"), a100.software) == ((8, 0), 167936, False)
    assert str(a100) == "NVIDIA A100, compute capability 8.0"
    assert (rtx.facts["cooperativeMatrix"], rtx.facts["maxSubgroupSize"], rtx.capability) == ("yes", "32", None)
    assert gpu(fake_gpus.LAVAPIPE, "vulkan").software
    amd = gpus.read_facts("\n- gpu-compute-capability: 9.4\n- gpu-arch-name: gfx942:sramecc+:xnack-\n")
    assert Gpu("hip", "MI300X", facts=amd).architecture == "gfx942"


@pytest.mark.parametrize(
    ("wanted", "told", "message"),
    [
        ("sm_90a cuda-12.4", H100, ""),
        ("sm_80", H100, ""),
        (
            "sm_90a",
            A100,
            "its code is for compute capability 9.0 alone; choose the target cuda-sm80, which runs on 8.0 and all",
        ),
        ("sm_90a", fake_gpus.cuda("B200", "10.0"), "compute capability 9.0 alone; choose the target cuda-sm80"),
        ("sm_80", V100, "capability 8.0 or later; choose a target that is no cuda: those of ours begin at 8.0"),
        (
            "cuda-12.4",
            fake_gpus.cuda("old driver", "9.0", driver="12.2"),
            "its driver knows CUDA 12.2, and its code is of CUDA 12.4; choose a newer driver",
        ),
        ("shaderFloat16", H100, "its kernels are for vulkan, not for cuda; choose a preset whose device is cuda"),
    ],
)
def test_what_an_nvidia_gpu_has_not(wanted: str, told: dict[str, str], message: str) -> None:
    said = needs.missing(wanted.split(), gpu(told))
    assert message in said
    assert bool(said) == bool(message)


@pytest.mark.parametrize(
    ("wanted", "told", "message"),
    [
        ("vulkan-1.3 shaderFloat16 cooperativeMatrix", RTX, ""),
        (
            "shaderFloat16 storageBuffer16BitAccess cooperativeMatrix",
            PHONE,
            "it has no arithmetic in f16 (shaderFloat16), it has no 16-bit elements in memory "
            "(storageBuffer16BitAccess), it has no cooperative matrices (cooperativeMatrix); choose a recipe in "
            "float32, such as vulkan/auto or the target `vulkan`, which is for any device",
        ),
        ("sm_80", RTX, "its kernels are for cuda, not for vulkan"),
        ("subgroup-32", PHONE, "its subgroups have 8 threads, and kernels are for 32; choose the target `vulkan`"),
    ],
)
def test_what_a_vulkan_device_has_not(wanted: str, told: dict[str, str], message: str) -> None:
    said = needs.missing(wanted.split(), gpu(told, "vulkan"))
    assert message in said
    assert bool(said) == bool(message)


def test_what_an_amd_gpu_has_not() -> None:
    mi250 = Gpu("hip", "MI250", facts={"gpu-arch-name": "gfx90a:sramecc+"})
    assert "it is compiled for AMD's gfx942, not gfx90a; choose" in needs.missing(["gfx942"], mi250)
    assert needs.missing(["gfx90a"], mi250) == ""


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("cuda-sm80/stock", {"sm_80"}),
        ("vulkan-ada/stock", {"shaderFloat16", "cooperativeMatrix"}),
        ("rocm-gfx942/stock", {"gfx942"}),
        ("metal/stock", {"metal"}),
        ("host/stock", set()),
    ],
)
def test_artifacts_say_what_they_need(preset: str, wanted: set[str], tmp_path: Path) -> None:
    found = needs.needs_of(built(PRODUCT, preset, tmp_path))
    assert wanted <= set(found)
    assert bool(found) == bool(wanted)


def test_what_is_no_artifact_needs_nothing_that_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "a.vmfb").write_text("nothing")
    with pytest.raises(DlasError, match=r"a\.vmfb` is no artifact"):
        needs.needs_of(tmp_path / "a.vmfb")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "c/runtime/x.c:1: INVALID_ARGUMENT; exports[0] requires 230400B of shared memory and exceeds the device "
            "maximum of 101376B per block",
            "a kernel takes 230400 bytes of shared memory, and the device has 101376 for a workgroup; choose the "
            "target host-gpu",
        ),
        ("exports[0] block dims 2048x1x1 exceeds device maximum 1024x1024x64", "workgroups of 2048x1x1 threads"),
        ("CUDA error 'CUDA_ERROR_OUT_OF_MEMORY' (2): out of memory", "too little memory; choose a smaller --batch"),
        ("VK_ERROR_OUT_OF_DEVICE_MEMORY", "too little memory; choose a smaller --batch"),
        ("CUDA error 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES' (701): x", "more registers or threads than a multiprocessor"),
        ("CUDA error 'CUDA_ERROR_ILLEGAL_ADDRESS' (700): x", "a kernel failed on the device"),
        ("[vkQueueSubmit2] VK_ERROR_DEVICE_LOST", "a kernel failed on the device"),
        ("CUDA error 'CUDA_ERROR_LAUNCH_TIMEOUT' (702): x", "did not end within the time that the driver gives one"),
        ("CUDA error 'CUDA_ERROR_UNSUPPORTED_PTX_VERSION' (222): x", "the driver is older than the PTX in it"),
        (
            "CUDA error 'CUDA_ERROR_INVALID_PTX' (218): x; mismatched target chip?",
            "its code is not for this GPU; choose the target host-gpu",
        ),
        (
            "pipelines[0] requires subgroup size 32 outside device range [8, 8]",
            "subgroups of 32 threads, and the device has 8; choose the target `vulkan`",
        ),
        ("c/runtime/src/iree/x.c:476: UNKNOWN; something new\nmore", "something new"),
    ],
)
def test_errors_of_drivers_are_explained(error: str, message: str) -> None:
    said = explained(error)
    assert message in said
    assert "\n" not in said
    assert "runtime/src" not in said


def test_no_driver_and_no_device_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus.install(monkeypatch, cuda=fake_gpus.NO_CUDA, vulkan=[])
    with pytest.raises(NoGpu, match=r"`cuda` cannot be opened: no driver is installed here: it takes NVIDIA's driver"):
        gpus.gpus("cuda")
    with pytest.raises(NoGpu, match=r"there is no Vulkan 1.3 device here; `dlas presets` shows what runs here"):
        gpus.gpus("vulkan")
    with pytest.raises(NoGpu, match="the IREE runtime that is installed has no such driver"):
        gpus.gpus("metal")
    fake_gpus.install(monkeypatch, cuda=fake_gpus.NO_NVIDIA_GPU)
    with pytest.raises(NoGpu, match="there is no NVIDIA GPU here"):
        gpus.gpus("cuda")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "asking the driver ended with exit code -6"),
        ("import sys; print('bad'); sys.exit('no such thing')", "exit code 1: no such thing"),
        ("import time; time.sleep(100)", "the driver did not say within 1 s what it has"),
    ],
)
def test_a_driver_that_crashes_or_hangs_is_told(code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "python", lambda _: [sys.executable, "-c", code])
    monkeypatch.setattr(gpus, "_LIMIT", 1.0)
    assert message in gpus._asked.__wrapped__("cuda")["error"]


@pytest.mark.parametrize(
    ("found", "target", "figures"),
    [
        ({"cuda": [H100], "vulkan": [RTX]}, "cuda-sm90", (132, 232448)),
        ({"cuda": [A100]}, "cuda-sm80", (108, 166912)),
        ({"cuda": [V100], "vulkan": [RTX]}, "vulkan-ada", (76, 49152)),
        ({"cuda": fake_gpus.NO_CUDA, "vulkan": [PHONE]}, "vulkan", (8, 16384)),
    ],
)
def test_the_gpu_that_is_here_is_recognised(
    found: dict, target: str, figures: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus.install(monkeypatch, **found)
    preset = load_preset("host-gpu/auto")
    assert isinstance(preset.target, GpuTarget)
    assert (preset.name, preset.target_name) == ("host-gpu/auto", target)
    assert (preset.target.compute_units, preset.target.shared_bytes) == figures
    assert f"dlas-set-target{{target={target}" in preset.pipeline


def test_what_is_no_gpu_of_ours_is_told_by_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus.install(monkeypatch, cuda=[V100], vulkan=[fake_gpus.LAVAPIPE])
    with pytest.raises(DlasError) as error:
        load_preset("host-gpu/auto")
    said = str(error.value)
    assert said.startswith("no GPU is here that a target is for (`host` is the CPU): cuda: NVIDIA V100, compute cap")
    assert "vulkan: llvmpipe is a CPU, which the target `vulkan` runs on, right and slow" in said


def test_presets_say_what_runs_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_gpus.install(monkeypatch, cuda=[A100], vulkan=[fake_gpus.LAVAPIPE])
    assert main(["presets", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (found["cuda-sm80/auto"]["runs"], found["cuda-sm80/auto"]["on"]) == (True, str(gpu(A100)))
    assert (found["cuda-sm90/auto"]["runs"], found["vulkan-ada/auto"]["runs"]) == (False, False)
    assert "choose the target cuda-sm80" in found["cuda-sm90/auto"]["reason"]
    assert "for function only" in found["vulkan/auto"]["reason"]
    assert found["vulkan/auto"]["runs"]
    assert main(["presets"]) == 0
    text = capsys.readouterr().out
    assert "  - cannot run here: no driver is installed here: it takes AMD's ROCm" in text
    assert "  + runs here, on NVIDIA A100, compute capability 8.0" in text
    assert "host-gpu is cuda-sm80 with the figures of NVIDIA A100, compute capability 8.0" in text


def test_cpus_are_told_by_their_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlas_mlir.compiler.presets import host

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "cpu_features", lambda: {"avx2", "fma"})
    assert here(load_preset("x86-64-avx2/stock")).runs
    assert here(load_preset("x86-64-avx512/stock")).reason.startswith("this CPU has no avx512f, avx512bw")
    assert here(load_preset("aarch64-neon/stock")).reason == "it is for aarch64, and this is x86_64"


@pytest.mark.parametrize("command", ["run", "bench", "profile", "tune", "evaluate"])
def test_commands_say_it_before_they_compile(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpus.install(monkeypatch, cuda=[A100])
    assert main([command, "resnet18-cifar", "--preset", "cuda-sm90/auto"]) == 1
    said = capsys.readouterr().err
    assert "cuda-sm90/auto cannot run on NVIDIA A100, compute capability 8.0: its code is for" in said
    assert "choose the target cuda-sm80" in said
    assert "import" not in said
    fake_gpus.install(monkeypatch)
    assert main([command, "resnet18-cifar", "--preset", "cuda-sm90/auto"]) == 1
    assert "no driver is installed here: it takes NVIDIA's driver" in capsys.readouterr().err


def test_the_target_of_hosts_gpu_is_not_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus.install(monkeypatch, cuda=[A100])
    (tmp_path / "cuda-sm80.toml").write_text(preset_files.GOOD)
    assert host_gpu.find()[0] == "cuda-sm80"
    with pytest.raises(DlasError, match=r"cuda-sm80.toml: `host-gpu` is this GPU, and this target is a CPU"):
        load_preset("host-gpu/plain")


@pytest.mark.usefixtures("vulkan")
def test_a_device_without_what_an_artifact_needs_is_told(tmp_path: Path) -> None:
    if gpus.gpus("vulkan")[0].facts.get("cooperativeMatrix") != "no":
        pytest.skip("this device has cooperative matrices")
    vmfb = built(PRODUCT, "vulkan-ada/stock", tmp_path)
    with pytest.raises(DlasError, match=r"cannot run on .*: it has no cooperative matrices .*; choose the target `vul"):
        Worker(vmfb, Device("vulkan"))


@pytest.mark.usefixtures("vulkan")
def test_too_little_memory_is_told_and_the_worker_goes_on(tmp_path: Path) -> None:
    if not gpus.gpus("vulkan")[0].software:
        pytest.skip("this GPU may have the memory")
    vmfb = built(LARGE, "vulkan/stock", tmp_path)
    with Worker(vmfb, Device("vulkan"), timeout=60) as worker:
        for _ in range(2):
            with pytest.raises(DlasError, match=r"the device has too little memory; choose a smaller --batch"):
                worker.run()


@pytest.mark.usefixtures("vulkan")
def test_a_kernel_that_does_not_end_is_told(tmp_path: Path) -> None:
    with Worker(built(LARGE.replace("1024", "64"), "vulkan/stock", tmp_path), Device("vulkan")) as worker:
        worker._timeout = 0.0
        with pytest.raises(DlasError, match=r"no answer within 0 s of `run`; stopped; a kernel may hang: choose anoth"):
            worker.run()
