"""A quantized network through the passes of a GPU: codes are those of a CPU, of each kernel and the whole network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gpu_cases import kernel
from gpu_regions import regions
from gpu_simulator import run
from iree.compiler import ir
from quantized_net import INPUTS, RANDOM, net
from workload_reference import evaluate, random_tensors

from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend import torch_import, torch_lowering, torch_source
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.pruning import Prune
from dlas_mlir.compression.step import Step
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build
from dlas_mlir.passes.clean.set_target import SetTargetPass
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session


@pytest.fixture(scope="module")
def quantized(tmp_path_factory) -> Path:
    """A quantized network as linalg on tensors."""
    return imported(tmp_path_factory.mktemp("quantized"), RANDOM)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> Path:
    """The same, most of whose weights are zero."""
    return imported(tmp_path_factory.mktemp("pruned"), Prune(0.8, scope="layer"), RANDOM)


def imported(folder: Path, *steps: Step) -> Path:
    done = compress_module(net().eval(), INPUTS, list(steps))
    program = torch_source.trace(done.model, INPUTS, "net")
    notes = torch_import.write_torch(program, folder / "torch.mlirbc", "net")
    torch_lowering.lower(folder / "torch.mlirbc", folder / "net.mlirbc", "net", notes)
    return folder / "net.mlirbc"


CPU = "x86-64-avx2/int8-spatial-pack"
# What is lowered and laid out already, as kernels of a CPU.
KERNELS = "dlas-form-dispatches,dlas-attach-schedules,dlas-lower-dispatches,dlas-legalize-linalg"


def results_of(path: Path, preset: str, device: str = "local", pipeline: str = "") -> list[np.ndarray]:
    return compiled_and_run(path, preset, device, pipeline)[1]


def compiled_and_run(path: Path, preset: str, device: str, pipeline: str = "") -> tuple[Artifact, list[np.ndarray]]:
    loaded = load_preset(preset)
    loaded = dataclasses.replace(loaded, pipeline=pipeline or loaded.pipeline)
    artifact = compile_imported(Imported("net", file_digest(path), path, 0, 0, None), loaded)
    session = Session(artifact.vmfb, resolve(device))
    found = session(INPUTS[0].numpy())
    session.close()
    return artifact, list(found)


def after_passes(path: Path, preset: str, out: Path) -> dict[Workload, AnySchedule]:
    """The kernels behind the passes of a preset; `out` gets the module with what they compute as plain operations."""
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = ir.Module.parse(path.read_bytes())
        found: dict[Workload, AnySchedule] = {}
        for op, _, workload, schedule in regions(module, preset):
            found[workload] = schedule
            dissolve(op)
        assert not any(op.name == "flow.dispatch.region" for op in build.operations(module))
        SetTargetPass.for_target(load_preset(CPU).target).run(module)
        with out.open("wb") as file:
            module.operation.write_bytecode(file)
    return found


@pytest.mark.parametrize("target", ["cuda-sm80", "cuda-sm90"])
def test_codes_are_those_of_a_cpu(quantized: Path, target: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    found = after_passes(quantized, f"{target}/int8-auto", tmp_path / "plain.mlirbc")
    products = {workload: one for workload, one in found.items() if isinstance(one, GpuSchedule)}
    # The convolutions and the linear layer, all but the depthwise one; some are the same kernel.
    assert len(products) >= 4
    for workload, schedule in products.items():
        assert schedule.unit.operand == "i8"
        tensors = random_tensors(workload)
        with ir.Context():
            results = run(kernel(workload, schedule), tensors)
        for got, want in zip(results, evaluate(workload, tensors), strict=True):
            assert np.array_equal(got, want.astype(got.dtype)), (workload.loops, schedule)
    (wanted,) = results_of(quantized, CPU)
    (ours,) = results_of(tmp_path / "plain.mlirbc", CPU, pipeline=KERNELS)
    assert np.array_equal(ours, wanted)


def test_a_device_without_bytes_says_so(quantized: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DlasError, match="vulkan does not compute with codes of 8 bits: take a target that does"):
        results_of(quantized, "vulkan/int8-auto", "vulkan")


def test_codes_on_vulkan(quantized: Path, vulkan, tmp_path, monkeypatch) -> None:
    """Kernels of threads, where the device has a type of theirs."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    (wanted,) = results_of(quantized, CPU)
    (ours,) = results_of(quantized, "vulkan-ada/int8-auto", "vulkan")
    assert np.array_equal(ours, wanted)


def test_codes_with_zeros_stay_dense(pruned: Path, vulkan, tmp_path, monkeypatch, capfd) -> None:
    """There are no sparse kernels of codes: that is said, and the codes are right."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    (wanted,) = results_of(pruned, CPU)
    capfd.readouterr()
    (ours,) = results_of(pruned, "vulkan-ada/int8-auto", "vulkan")
    assert np.array_equal(ours, wanted)
    said = capfd.readouterr().err
    assert "layer 'fc' stays dense: 80.0% of its weights are zero, and there are no sparse kernels of i8" in said


def test_quantized_weights_are_sparse_in_floats(pruned: Path, vulkan, tmp_path, monkeypatch) -> None:
    """A recipe that knows no codes multiplies the numbers that they stand for."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    (wanted,) = results_of(pruned, "host/stock")
    artifact, (ours,) = compiled_and_run(pruned, "vulkan-ada/sparse-direct", "vulkan")
    assert "sparse-direct" in {layer["primitive"] for layer in artifact.layers}
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
