"""What `dlas bench` and `dlas profile` measure on GPUs: on a Vulkan device, and what peaks make of times."""

from __future__ import annotations

import json
from pathlib import Path

import fake_gpus
import pytest

from dlas_mlir.benchmark import on_gpu
from dlas_mlir.benchmark.on_gpu import Peaks
from dlas_mlir.cli.dlas import main
from dlas_mlir.cli.profile import schedule_lines
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.gpus import gpus
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.listing import Binding, Launch
from dlas_mlir.runtime.profile import profile_dispatches


@pytest.fixture
def net(vulkan, tmp_path, monkeypatch):
    """A small network compiled for Vulkan."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(Path(__file__).parent)
    return "imported_model:small"


def test_each_time_has_its_name(net, tmp_path, capsys) -> None:
    rows, layers = tmp_path / "rows.json", tmp_path / "layers.json"
    short = ["--rounds", "1", "--starts", "1", "--min-time", "0.01"]
    assert main(["bench", net, "--preset", "vulkan/auto", *short, "--json", str(rows)]) == 0
    said = capsys.readouterr().out
    assert "median ms is a call that is waited for; queued ms one of" in said
    (row,) = json.loads(rows.read_text())
    gpu = row["gpu"]
    assert gpu["queued_ms"] > 0
    assert gpu["device_ms"] is not None
    assert gpu["device_ms_by"] == on_gpu.BY_REPEATS
    artifact = compile_model(net, "vulkan/auto")
    assert gpu["launches"] == len(read_program(artifact.vmfb).launches) == len(artifact.dispatches)
    assert ("for function only" in said) == gpu["function_only"] == gpus("vulkan")[0].software

    assert main(["profile", net, "--preset", "vulkan/auto", "--schedules", "--json", str(layers)]) == 0
    said = capsys.readouterr().out
    found = json.loads(layers.read_text())
    assert found["ms_by"] == on_gpu.IN_PLACE
    assert sum(len(layer["dispatches"]) for layer in found["layers"]) == gpu["launches"]
    assert {layer["primitive"] for layer in found["layers"]} >= set(row["primitives"])
    assert all(layer["ms"] > 0 for layer in found["layers"])
    assert " threads; order " in said
    of_ours = [layer for layer in found["layers"] if layer["workload"]]
    assert of_ours
    assert all(layer["gbs"] > 0 for layer in of_ours)


def test_what_fails_beside_the_turns_is_a_row(net, tmp_path, monkeypatch) -> None:
    def measured(*_, **__):
        raise DlasError("a kernel hangs")

    monkeypatch.setattr(on_gpu, "measured", measured)
    rows = tmp_path / "rows.json"
    short = ["--rounds", "1", "--starts", "1", "--max-rounds", "1", "--min-time", "0.01", "--json", str(rows)]
    assert main(["bench", net, "--preset", "vulkan/auto", "host/auto", *short]) == 1
    gpu, cpu = json.loads(rows.read_text())
    assert gpu["error"] == "a kernel hangs"
    assert ("error" in cpu, cpu["median_ms"] > 0) == (False, True)


@pytest.mark.parametrize("name", ["vulkan", "vulkan-ada"])
def test_the_bandwidth_is_that_of_the_target(name, monkeypatch) -> None:
    fake_gpus.install(monkeypatch, vulkan=[fake_gpus.vulkan("NVIDIA GeForce RTX 4090")])
    target = load_preset(f"{name}/auto").target
    assert isinstance(target, GpuTarget)
    artifact = Artifact(Path("x.vmfb"), "", "net", f"{name}/auto", "vulkan", target.figures(), "f32")
    found = on_gpu.peaks_of(artifact, print)
    assert found == Peaks({}, target.bandwidth_gbs, f"bandwidth of the target {name}, not measured")
    fake_gpus.install(monkeypatch, vulkan=[fake_gpus.LAVAPIPE])
    assert on_gpu.peaks_of(artifact, print) == Peaks()


GPU = {"kind": "gpu", "tile": {"rows": 64, "columns": 32}, "warp": {"rows": 32, "columns": 16}, "stages": 3, "split": 2}


@pytest.mark.parametrize(
    ("schedule", "peak"),
    [
        ({**GPU, "instruction": "m64k16.f16.f32"}, 900.0),
        ({**GPU, "instruction": "m16n8k8.tf32x3.f32"}, 150.0),
        ({**GPU, "instruction": "m16n8k32.s8.s32"}, None),
        ({"kind": "simt"}, 60.0),
        (None, 60.0),
    ],
)
def test_a_layer_has_the_peak_of_its_type(schedule, peak) -> None:
    peaks = Peaks({"f16": 900.0, "tf32": 450.0, "fma": 60.0}, 3000.0, "made up")
    assert peaks.of({"schedule": schedule}) == peak


def test_schedules_of_tensor_cores_are_shown_in_few_words() -> None:
    lines = schedule_lines({**GPU, "instruction": "m64k16.f16.f32", "halo": True})
    assert lines == ["m64k16.f16.f32; tile rows 64, columns 32; warp rows 32, columns 16", "stages 3, split 2, halo"]


def test_bytes_are_those_of_our_kernels_alone() -> None:
    dispatches = ({"name": "product", "layer": "a", "workload": "12ab"}, {"name": "copy", "layer": "", "workload": ""})
    artifact = Artifact(Path("x.vmfb"), "", "net", "cuda-sm90/auto", "cuda", {}, "f32", dispatches=dispatches)
    bindings = (Binding("slot 0", 0, 100), Binding("slot 1", 50, 20))
    assert on_gpu.bytes_of(Launch("product", "a.fb", 0, (1, 1, 1), (), bindings), artifact) == 120
    assert on_gpu.bytes_of(Launch("copy", "a.fb", 1, (1, 1, 1), (), bindings), artifact) is None


def test_what_is_no_artifact_is_an_error_of_its_process(tmp_path) -> None:
    (tmp_path / "a.vmfb").write_text("nothing")
    with pytest.raises(DlasError, match=r"a\.vmfb` is no artifact: File is not a zip file"):
        profile_dispatches(tmp_path / "a.vmfb", Device("cuda"), [], calls=1)
