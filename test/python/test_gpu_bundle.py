"""The bundle for a machine with a GPU: built, and run on a Vulkan device, which may be the CPU; weights and tables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
from test_cuda_driver import Driver

from benchmarks.gpu import build, cases, layer_kernels, measuring, report, running, weights
from benchmarks.gpu.cases import Layer
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime import cuda_driver
from dlas_mlir.runtime.cuda_driver import Cuda

ROOT = Path(__file__).resolve().parents[2]


def start(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks.gpu`, with what is in `where` alone."""
    environment = os.environ | {"PYTHONPATH": str(where)}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=500)


def test_bundle(vulkan, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    bundle, results = tmp_path / "bundle", tmp_path / "results"
    layer, sparse, model = "conv_144x7_144_k3_s1_g144_n1", "conv_16x7_16_k3_s1_g1_n2_z90", "tiny"
    some = ["--elements", "f32", "int8", "--models", model, "--layers", layer, sparse, "--batches", "1"]
    done = start(ROOT, "build", str(bundle), "--target", "vulkan-ada", *some, "--grid", "1", "--python", "")
    assert done.returncode == 0, done.stderr
    assert " MiB (" in done.stdout
    manifest = cases.read_json(bundle / "manifest.json")
    built = ["grid_0-f32", f"{layer}-f32", f"{layer}-int8", f"{sparse}-f32", f"{model}_n1-f32", f"{model}_n1-int8"]
    assert [one["id"] for one in manifest["cases"]] == built
    assert [one["part"] for one in manifest["cases"]] == ["grid", "layers", "layers", "sparse", "models", "models"]
    # All large weights are made again from their seeds, none are carried.
    for of_model in manifest["cases"][-2:]:
        assert {how["of"] for how in of_model["recipes"].values()} >= {"2.weight"}
        assert of_model["raw_bytes"] == 0
        assert (bundle / "files" / f"{of_model['vmfb']}.gz").stat().st_size < 100_000
    # What nobody could compile is a row, and the end of nothing.
    manifest["cases"].insert(0, {"part": "layers", "case": layer, "element": "f16", "id": "x", "error": "no kernel"})
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    chosen = ["--parts", "facts", "grid", "layers", "sparse", "models", "--patience", "10", "--turn", "0.01"]
    done = start(bundle, "run", "--bundle", str(bundle), "--output", str(results), *chosen)
    assert done.returncode == 1
    rows = running.read_rows(results / "rows.jsonl")
    assert [row["error"] for row in rows if "error" in row] == ["not compiled: no kernel"]
    (grid,) = (row for row in rows if "right" in row)
    assert (grid["right"], grid["of"], grid["wrong"]) == (12, 12, [])
    assert grid["error_of_max"] < 1e-5
    measured = [row for row in rows if "call_us" in row]
    assert [f"{row['case']}-{row['element']}" for row in measured] == built[1:]
    for row in measured:
        # Layers of codes are right to the code; what PyTorch makes of a network's codes it makes in float32.
        whole = {"int8": 2e-2, "f32": 1e-5}
        assert row["error_of_max"] <= (whole if row["part"] == "models" else cases.TOLERANCES["layers"])[row["element"]]
        assert row["queued_us"] > 0
    assert "| 3x3 depthwise 144-144@7 | 1 | f32 |" in done.stdout
    assert "| 3x3 16-16@7, 90 % zeros | 2 | f32 |" in done.stdout
    software = next(row["software"] for row in rows if "software" in row)
    assert (report.FUNCTION_ONLY in done.stdout) == software


ALONE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        known = {*sys.stdlib_module_names, "numpy", "iree", "ml_dtypes", "dlas_mlir", "benchmarks"}
        if name.partition(".")[0] not in known:
            raise ImportError(f"{name} is not installed there")

sys.meta_path.insert(0, Absent())
from benchmarks.gpu import __main__, measuring
print(measuring.__file__)
"""


def test_what_is_carried_is_all_that_is_needed_beside_numpy(tmp_path) -> None:
    needed = {re.split(r"[^\w-]", text)[0] for text in requires("iree-base-runtime") or ()}
    assert needed == {"numpy", *build.CARRIED} - {"iree-base-runtime"}
    build.copy_code(tmp_path)
    command = [sys.executable, "-c", ALONE]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "benchmarks" / "gpu" / "measuring.py")


def test_a_folder_that_is_no_bundle(tmp_path) -> None:
    done = start(ROOT, "run", "--bundle", str(tmp_path), "--output", str(tmp_path / "results"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path} is no bundle")


def test_weights_are_made_as_passes_lay_them_out() -> None:
    model = weights.seeded(
        [
            {"name": "a", "shape": [16, 3, 5, 7], "scale": 0.5, "bias": True},
            {"name": "b", "shape": [24, 1, 3, 3], "scale": 0.25, "bias": False},
        ]
    )
    assert list(model) == ["a.weight", "a.bias", "b.weight"]
    packed = np.zeros((16, 5, 7, 8), np.float16)
    packed[..., :3] = model["a.weight"].transpose(0, 2, 3, 1)
    rows = np.ascontiguousarray(model["b.weight"].transpose(1, 2, 3, 0))
    for wanted, of, shape, dtype in (
        (packed, "a.weight", (16, 5, 7, 8), "f16"),
        (rows, "b.weight", (1, 3, 3, 24), "f32"),
        (model["a.bias"].reshape(1, 16), "a.bias", (1, 16), "f32"),
    ):
        how = weights.recipe(wanted.tobytes(), shape, dtype, model)
        assert how is not None
        assert how["of"] == of
        np.testing.assert_array_equal(weights.made(how, model), wanted)
        assert weights.is_right(how, wanted)
        assert not weights.is_right(how, wanted + 1)
    assert weights.recipe((packed + 1).tobytes(), packed.shape, "f16", model) is None


def test_names_of_layers_say_all_of_them() -> None:
    for layer in cases.layers():
        assert Layer.of(layer.name) == layer
    assert {layer.dense for layer in cases.layers()} == {layer for layer in cases.layers() if not layer.zeros}
    assert Layer.of("conv_128x56_128_k3_s2_g1_n32").title == "3x3 s2 128-128@56"
    assert Layer.of("conv_128x56_128_k3_s2_g1_n32").macs == 32 * 28 * 28 * 128 * 128 * 9


def _row(part: str, case: str, element: str, who: str, **times: float) -> dict:
    return {"part": part, "case": case, "element": element, "who": who, **times}


def test_what_is_required_beside_what_was_measured() -> None:
    one, other = "conv_64x56_64_k3_s1_g1_n1", "conv_512x7_512_k3_s1_g1_n1"
    many = "conv_64x56_64_k3_s1_g64_n32"
    rows = [
        _row("sparse", f"{one}_z90", "f16", "ours", device_us=2.4),
        _row("peaks", "peaks", "", "peaks") | {"tflops": {"f16": 800.0}, "bandwidth_gbs": 4000.0},
        _row("layers", one, "f16", "ours", device_us=3.0),
        _row("layers", other, "f16", "ours", device_us=13.0),
        _row("layers-torch", one, "f16", "cudnn", device_us=6.0),
        _row("layers-torch", other, "f16", "cudnn", device_us=10.0),
        # At the other batch as much is won as is lost here: each is told by itself.
        _row("layers", many, "f16", "ours", device_us=2.0),
        _row("layers-torch", many, "f16", "cudnn", device_us=20.0),
        _row("models", "resnet18_n1", "f16", "ours", call_us=200.0, device_us=180.0, macs=1.8e9),
        _row("inductor", "resnet18_n1", "f16", "inductor reduce-overhead", call_us=290.0),
        _row("inductor-autotuned", "resnet18_n1", "f16", "inductor max-autotune", call_us=280.0),
    ]
    text = report.tables(rows)
    # 0.5 and 1.3: the mean is met, the worst is not.
    head = "layers f16 batch"
    limits = "mean <= 1.0, each <= 1.2"
    assert f"| {head} 1 over cudnn | {limits} | mean 0.81 of 2, worst 1.30 ({other}) | NO |" in text
    assert f"| {head} 32 over cudnn | {limits} | mean 0.10 of 1, worst 0.10 ({many}) | yes |" in text
    # Of 800 TFLOP/s and 4000 GB/s; products of depthwise layers are no measure.
    assert "| 3x3 64-64@56 | 1 | f16 | 3 | 6 | 0.5 | 77.1 | 9.63 | 7.3 | - | - | - |" in text
    assert "| 3x3 depthwise 64-64@56 | 32 | f16 | 2 | 20 | 0.1 | 57.8 | - | 321 | - | - | - |" in text
    assert "| resnet18 | 1 | f16 | 0.2 | - | 0.18 | 2.5 | - |" in text
    assert "| models f16 batch 1 over inductor | each <= 0.8 | mean 0.71 of 1, worst 0.71 (resnet18_n1) | yes |" in text
    assert "| layers f32 batch 32 over cudnn | mean <= 0.667 | nothing | - |" in text
    exact = "| layers f32, error over the largest value | each <= 1e-05 |"
    assert f"{exact} nothing | - |" in text
    errors = [_row("layers", case, "f32", "ours", error_of_max=off) for case, off in ((one, 3e-6), (other, 2e-5))]
    assert f"{exact} worst 3.0e-06 of 1 ({one}) | yes |" in report.tables(errors[:1])
    assert f"{exact} worst 2.0e-05 of 2 ({other}) | NO |" in report.tables(errors)
    measured = f"mean 0.80 of 1, worst 0.80 ({one}_z90)"
    assert f"| sparse f16 batch 1 over ours dense f16 | mean <= 1.0 | {measured} | yes |" in text
    assert "| 3x3 64-64@56, 90 % zeros | 1 | f16 | 2.4 | 3 | 0.8 | 3 | 0.8 | - |" in text


def test_what_is_wrong_of_a_layer_may_be_rounding_in_a_network() -> None:
    """A code that is not the CPU's; float32 that is no better than tf32, in layers and in networks."""
    for error, element, wrong in (
        (1e-6, "int8", {"layers", "sparse"}),
        (5e-5, "f32", {"grid", "layers", "sparse"}),
        (2e-4, "f32", {"grid", "layers", "sparse", "models", "apart", "zoo"}),
    ):
        parts = [part for part, known in cases.TOLERANCES.items() if element in known]
        rows = {part: measuring._compared(error, {"part": part, "element": element}) for part in parts}
        assert {part for part, row in rows.items() if "error" in row} == wrong


def test_rows_of_a_run_that_was_cut_off(tmp_path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"part": "facts", "who": "run", "seconds": 1}\n{"part": "lay')
    assert running.read_rows(tmp_path / "rows.jsonl") == [{"part": "facts", "who": "run", "seconds": 1}]


PART = """#!{python}
import json, os, sys, time

first = int(sys.argv[sys.argv.index("--first") + 1])
for number in range(first, 4):
    # Two lines at once: the next case begins as the last one's row is there.
    print(json.dumps({{"begin": number}}), flush=number != 3)
    if number == 1:
        print("it burns", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 11)
    if number == 2:
        time.sleep(60)
    row = {{"part": "models", "case": f"net{{number}}_n1", "element": "f16", "who": "ours", "call_us": 1.0}}
    print(json.dumps(row), flush=True)
"""


def test_what_dies_or_hangs_costs_its_case_alone(tmp_path, monkeypatch) -> None:
    program = tmp_path / "python"
    program.write_text(PART.format(python=sys.executable))
    program.chmod(0o755)
    some = [{"part": "models", "case": f"net{number}_n1", "element": "f16", "id": str(number)} for number in range(4)]
    (tmp_path / "manifest.json").write_text(json.dumps({"device": "vulkan", "cases": some}))
    monkeypatch.setattr(sys, "executable", str(program))
    limits = {"turn": 0.01, "seconds": 60.0, "patience": 0.05}
    options = Namespace(bundle=tmp_path, output=tmp_path / "out", parts=["models"], elements=["f16"], **limits)
    rows = running.run(options)
    assert [row["case"] for row in rows if "call_us" in row] == ["net0_n1", "net3_n1"]
    died, hung = (row for row in rows if "error" in row and "case" in row)
    assert (died["case"], died["error"]) == ("net1_n1", "the process ended: SIGSEGV: it burns")
    assert (hung["case"], hung["error"]) == ("net2_n1", "stopped after 2 s without a row")
    assert running.read_rows(tmp_path / "out" / "rows.jsonl") == rows
    assert "it burns" in (tmp_path / "out" / "parts.log").read_text()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"rows.jsonl", "parts.log", "results.json", "results.md"}


def test_schedules_of_a_layer(tmp_path, monkeypatch) -> None:
    """The rule's, then others, each loaded before any is timed."""
    layer = cases.Layer(64, 7, 64)
    one = {"case": layer.name, "element": "f16", "id": "layer-f16", "count": 3}
    files = tmp_path / "files"
    files.mkdir()
    one |= layer_kernels.make_candidates(one, "cuda-sm90", files)
    schedules = [known["schedule"] for known in one["candidates"]]
    assert len({json.dumps(schedule) for schedule in schedules}) == 3
    for known in one["candidates"]:
        build._pack(files / known["vmfb"])
    driver = Driver()
    monkeypatch.setattr(cuda_driver, "Cuda", lambda: Cuda(driver))
    rows = [{"part": "candidates", "who": "ours", **one, **row} for row in measuring.candidates(one, tmp_path)]
    assert [row["schedule"] for row in rows] == schedules
    # 128 us for 64 launches; those that add up parts of a sum are a launch of their own.
    assert all(row["device_us"] >= 2 for row in rows)
    rows[2]["device_us"] = 1.0
    text = report.tables(rows)
    assert f"| 3x3 64-64@7 | 1 | f16 | {rows[0]['device_us']:.3g} | 1 | {rows[0]['device_us']:.3g} | 3 | m" in text
    with pytest.raises(DlasError, match="no kernel with instructions for matrices"):
        layer_kernels.make_candidates(one | {"case": cases.Layer(64, 7, 64, groups=64).name}, "cuda-sm90", files)


def test_networks_of_which_each_kernel_is_a_launch() -> None:
    options = Namespace(
        **{"grid": 0, "layers": [], "elements": ["f16", "int8"], "zoo": None, "batches": [32], "candidates": 0},
        **{"models": ["resnet50"], "apart": True},
    )
    together, alone, codes = build.wanted(options)
    assert [one["part"] for one in (together, alone, codes)] == ["models", "apart", "models"]
    assert alone["id"] == "resnet50_n32-f16-apart"
    assert "dlas-chain-dispatches" in layer_kernels.preset_of(together, "cuda-sm90").pipeline
    assert "dlas-chain-dispatches" not in layer_kernels.preset_of(alone, "cuda-sm90").pipeline
    times = ({"device_us": 90.0, "dispatches": 5}, {"device_us": 120.0, "dispatches": 7})
    rows = [{"who": "ours", **one, **row} for one, row in zip((together, alone), times, strict=True)]
    assert "| resnet50 | 32 | 5 | 0.09 | 7 | 0.12 | 0.75 |" in report.tables(rows)
