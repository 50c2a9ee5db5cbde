"""Targets other than the host: what they compile to, and right numbers where this machine can run them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from iree.compiler import ir

from dlas_mlir import api, pipelines
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.presets import list_presets, load_preset
from dlas_mlir.compiler.presets.host import cpu_features
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import attributes
from dlas_mlir.measure.check import check, tolerance_of
from dlas_mlir.opt.pipeline import parse_pipeline
from dlas_mlir.passes.primitives import LAYERS
from dlas_mlir.runtime.gpus import gpus
from dlas_mlir.runtime.needs import missing, needs_of
from dlas_mlir.runtime.worker import load_golden, sorted_keys

HERE = Path(__file__).parent
# A plain, a depthwise, a strided and a grouped convolution, and a linear layer.
MODEL = "imported_model:kinds"
GPU_RECIPES = ("stock", "direct", "gemm", "spatial-pack")
CPU_RECIPES = (*GPU_RECIPES, "auto")
AVX512 = {"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
NEEDED = {
    "x86-64-avx2": {"avx2", "fma"},
    "x86-64-avx512": AVX512,
    "x86-64-zen5": {*AVX512, "avx512_vnni", "avx512_bf16", "avx512_vp2intersect", "avx_vnni"},
    "x86-64-sapphirerapids": {*AVX512, "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "avx_vnni"},
}
# Kernels are those of AVX-512: what is new is the CPU.
FEWER = {"x86-64-sapphirerapids": ("auto",)}
ELF_MACHINES = {**dict.fromkeys(NEEDED, 62), "aarch64-neon": 183}


@pytest.fixture(autouse=True)
def _surroundings(shared_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DLAS_PRESETS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def assert_numbers_are_right(artifact: Artifact, tolerance: float | None = None) -> None:
    golden = load_golden(str(artifact.golden))
    result = check(api.run(artifact), [golden[key] for key in sorted_keys(golden, "output_")], tolerance)
    assert result.verified, result.reason


def elf_machines(vmfb: Path) -> set[int]:
    """The machines (e_machine) of all ELF files inside an artifact."""
    data = vmfb.read_bytes()
    starts = [i for i in range(0, len(data) - 20, 4) if data[i : i + 6] == b"\x7fELF\x02\x01"]
    return {struct.unpack_from("<H", data, start + 18)[0] for start in starts}


def assert_nothing_of_a_cpu(mlir: Path, vmfb: Path) -> None:
    text = mlir.read_text()
    for trace in ("iree_cpu", "llvm.call_intrinsic", "llvm.intr.prefetch", "dlas.dot"):
        assert trace not in text
    assert elf_machines(vmfb) == set()


@pytest.mark.parametrize("recipe", GPU_RECIPES)
def test_vulkan_compiles(recipe, tmp_path):
    artifact = compile_model(MODEL, f"vulkan/{recipe}", mlir_out=tmp_path / "a.mlir")
    assert_nothing_of_a_cpu(tmp_path / "a.mlir", artifact.vmfb)
    assert struct.pack("<I", 0x07230203) in artifact.vmfb.read_bytes()  # SPIR-V
    assert artifact.driver == "vulkan"


@pytest.mark.parametrize("recipe", GPU_RECIPES)
def test_cuda_compiles(recipe, tmp_path):
    artifact = compile_model(MODEL, f"cuda-sm80/{recipe}", mlir_out=tmp_path / "a.mlir")
    assert_nothing_of_a_cpu(tmp_path / "a.mlir", artifact.vmfb)
    assert b".target sm_80" in artifact.vmfb.read_bytes()
    assert artifact.driver == "cuda"


def test_primitives_on_a_gpu():
    direct, gemm = (compile_model(MODEL, f"vulkan/{recipe}") for recipe in ("direct", "gemm"))
    assert direct.primitives == {"direct": 4, "gemm": 1}  # the linear layer
    assert gemm.primitives == {"gemm": 4, "direct": 1}  # the depthwise convolution


@pytest.mark.parametrize("target", ["cuda-sm80", "vulkan"])
def test_every_recipe_of_a_gpu_makes_kernels(target):
    """All layers become kernels of ours, but for bfloat16 on Vulkan, which few devices have."""
    imported = import_model(MODEL)
    for name in sorted(listed.name for listed in list_presets() if listed.name.startswith(f"{target}/")):
        recipe = name.partition("/")[2]
        if recipe == "stock" or recipe.startswith("int8-") or (target == "vulkan" and recipe.startswith("bf16-")):
            continue
        preset = load_preset(name)
        with ir.Context() as context, ir.Location.unknown():
            context.allow_unregistered_dialects = True
            module = ir.Module.parse(imported.path.read_bytes())
            parse_pipeline(preset.pipeline, context).run(module)
            layers = attributes.to_plain(module.operation.attributes[LAYERS])
            assert isinstance(layers, list)
        assert len(layers) == 5, name
        assert {layer["schedule"]["kind"] for layer in layers} <= {"gpu", "simt"}, name


def test_what_is_compiled_for_any_vulkan_device_needs_what_its_types_do():
    """A target for all devices leaves out what some have not, where a network does without."""
    assert set(needs_of(compile_model(MODEL, "vulkan/auto").vmfb)) <= {"vulkan-1.3"}
    half = set(needs_of(compile_model(MODEL, "vulkan/f16-auto").vmfb))
    assert half - {"vulkan-1.3"} == {"shaderFloat16", "storageBuffer16BitAccess"}


@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("recipe", ["stock", "direct", "gemm"])
def test_resnet18_on_vulkan(recipe):
    assert_numbers_are_right(compile_model("resnet18-cifar", f"vulkan/{recipe}"))


# Stock depthwise convolutions in NCHW come out wrong on some drivers (Mesa's lavapipe 22.3 among them).
@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("recipe", ["direct", "gemm", "spatial-pack", "f16-auto", "f16-spatial-pack"])
def test_every_kind_of_convolution_on_vulkan(recipe):
    artifact = compile_model(MODEL, f"vulkan/{recipe}")
    assert_numbers_are_right(artifact, tolerance_of(load_preset(f"vulkan/{recipe}").element))


def test_a_type_that_a_gpu_has_not_is_an_error():
    with pytest.raises(DlasError, match=r"vulkan does not compute with bf16: take .* one of its types \(f16, f32\)"):
        compile_model(MODEL, "vulkan/bf16-auto")


@pytest.mark.parametrize("target", ["rocm-gfx942", "metal", "vulkan-ada"])
def test_other_gpus_compile(target):
    """Nobody here has one: it compiles, into kernels of ours, and says what it needs."""
    artifact = compile_model(MODEL, f"{target}/f16-auto")
    assert {layer["schedule"]["kind"] for layer in artifact.layers} == {"simt"}
    wanted = {"rocm-gfx942": "gfx942", "metal": "metal", "vulkan-ada": "shaderFloat16"}[target]
    assert wanted in needs_of(artifact.vmfb)


def test_cooperative_matrices_are_used_where_sizes_allow():
    artifact = compile_model("resnet18-cifar", "vulkan-ada/f16-matrix")
    assert {"cooperativeMatrix", "subgroup-32"} <= set(needs_of(artifact.vmfb))
    # The channels of a small network are no multiples of 16: plain kernels, that any device with f16 runs.
    assert "cooperativeMatrix" not in needs_of(compile_model(MODEL, "vulkan-ada/f16-matrix").vmfb)


@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("model", [MODEL, "resnet18-cifar"])
def test_half_precision_on_vulkan(model):
    """Kernels of threads do without cooperative matrices: whatever computes in f16 runs them."""
    artifact = compile_model(model, "vulkan-ada/f16-auto")
    if said := missing(needs_of(artifact.vmfb), gpus("vulkan")[0]):
        pytest.skip(f"compiled, not run: {said}")
    assert_numbers_are_right(artifact, tolerance_of("float16"))


@pytest.mark.parametrize("recipe", CPU_RECIPES)
def test_aarch64_compiles(recipe):
    artifact = compile_model(MODEL, f"aarch64-neon/{recipe}")
    assert elf_machines(artifact.vmfb) == {ELF_MACHINES["aarch64-neon"]}


@pytest.mark.parametrize(("target", "recipe"), [(x, recipe) for x in NEEDED for recipe in FEWER.get(x, CPU_RECIPES)])
def test_x86_64_compiles_and_runs(target, recipe):
    artifact = compile_model(MODEL, f"{target}/{recipe}")
    assert elf_machines(artifact.vmfb) == {ELF_MACHINES[target]}
    if missing := NEEDED[target] - cpu_features():
        pytest.skip(f"compiled, not run: this CPU has no {', '.join(sorted(missing))}")
    assert_numbers_are_right(artifact)


def test_a_users_recipe_is_what_is_compiled(tmp_path, monkeypatch):
    """The shipped target with another `auto`, in a directory of the user's."""
    shipped = compile_model(MODEL, "x86-64-avx2/auto")
    file = Path(pipelines.__path__[0]) / "x86-64-avx2.toml"
    mine = """
    dlas-select-primitive{primitive=gemm fallback=direct}, dlas-lower-direct, dlas-lower-gemm,
    dlas-propagate-layouts, dlas-form-dispatches, dlas-attach-schedules, dlas-lower-dispatches"""
    changed = f'{file.read_text()}\n[recipes.auto]\ndescription = "mine"\npipeline = """{mine}"""\n'
    (tmp_path / file.name).write_text(changed)
    monkeypatch.setenv("DLAS_PRESETS", str(tmp_path))
    own = compile_model(MODEL, "x86-64-avx2/auto")
    assert shipped.primitives.keys() > {"spatial-pack"}
    assert own.primitives == {"gemm": 4, "direct": 1}
    monkeypatch.delenv("DLAS_PRESETS")
    again = compile_model(MODEL, "x86-64-avx2/auto")
    assert again.cached
    assert again.primitives == shipped.primitives
