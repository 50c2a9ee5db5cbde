"""The `dlas` command and the Python interface, on a small model."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlas_mlir as dlas
from dlas_mlir.cli.bench import reasons
from dlas_mlir.cli.console import print_table
from dlas_mlir.cli.dlas import main
from dlas_mlir.measure.rounds import Protocol
from dlas_mlir.runtime.devices import usable_cpus

HERE = Path(__file__).parent
MODEL = "imported_model:small"
FIELDS = {
    "model": str,
    "preset": str,
    "threads": int,
    "median_ms": float,
    "iqr_ms": float,
    "gflops": float,
    "percent_of_peak": float,
    "verified": bool,
    "max_rel_error": float,
    "primitives": dict,
    "artifact_sha256": str,
}
QUICK = ["--rounds", "2", "--min-time", "0.01"]
PROTOCOL = Protocol(rounds=2, min_seconds=0.01)
SCALE = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
"""


@pytest.fixture(autouse=True)
def _cache(shared_cache, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    monkeypatch.syspath_prepend(str(HERE))


def bench_json(tmp_path, *arguments):
    file = tmp_path / "bench.json"
    code = main(["bench", *arguments, *QUICK, "--json", str(file)])
    return code, json.loads(file.read_text())


def test_bench_writes_every_field(tmp_path, capsys):
    code, rows = bench_json(tmp_path, MODEL, "--preset", "host/stock", "host/auto", "--threads", "1")
    assert code == 0
    assert [(row["model"], row["preset"], row["threads"]) for row in rows] == [
        (MODEL, "host/stock", 1),
        (MODEL, "host/auto", 1),
    ]
    for row in rows:
        assert {name: type(row[name]) for name in FIELDS} == FIELDS
        assert row["verified"]
        assert row["max_rel_error"] < 1e-4
        assert row["median_ms"] > 0
        assert row["gflops"] == pytest.approx(2 * row["macs"] / row["median_ms"] / 1e6)
        assert row["percent_of_peak"] == pytest.approx(100 * row["gflops"] / row["peak_gflops"])
        assert sum(row["primitives"].values()) == 3
    assert rows[0]["primitives"] == {"stock": 3}
    assert rows[0]["artifact_sha256"] != rows[1]["artifact_sha256"]
    assert "host/auto" in capsys.readouterr().out


@pytest.mark.skipif(len(usable_cpus()) < 2, reason="needs two CPUs")
def test_bench_on_two_threads(tmp_path):
    code, rows = bench_json(tmp_path, MODEL, "--preset", "host/stock", "--threads", "2", "1")
    assert code == 0
    assert [(row["threads"], row["device"], len(row["cpus"])) for row in rows] == [
        (2, "local-task", 2),
        (1, "local-sync", 1),
    ]


def test_what_fails_is_an_object_and_the_others_still_run(tmp_path, capsys):
    models = ["no-such-model", "imported_model:unsupported", MODEL]
    code, rows = bench_json(
        tmp_path, *models, "--preset", "host/no-such-recipe", "host/stock", "--input", "1x3x9x9xf32"
    )
    assert code == 1
    assert [row["model"] for row in rows] == [model for model in models for _ in range(2)]
    assert "unknown model 'no-such-model'" in rows[0]["error"]
    assert "bessel_j0" in rows[3]["error"]
    assert "no recipe `no-such-recipe`" in rows[4]["error"]
    assert [row["median_ms"] is None and not row["verified"] for row in rows] == [True] * 5 + [False]
    assert "error" not in rows[5]
    said = capsys.readouterr()
    assert "error: " not in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    for start in ("imported_model:unsupported: ", "no-such-model: unknown", f"{MODEL}/host/no-such-recipe/threads:1: "):
        assert any(line.startswith(f"error: {start}") for line in lines)


def test_reasons_are_told_once_and_the_shortest_first():
    failed = [("a", "x/1", "a long reason"), ("a", "x/2", "short"), ("b", "x/1", "short"), ("b", "x/2", "short")]
    rows = [{"name": f"{model}/{preset}", "model": model, "error": error} for model, preset, error in failed]
    assert reasons([*rows, {"name": "c", "model": "c"}]) == [
        "error: a/x/2, b: short",
        "error: a/x/1: a long reason",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_takes_either_the_table_or_the_file(tmp_path, monkeypatch, capsys):
    """What was measured is never lost with both."""
    assert main(["models", "--json", "/dev/full"]) == 1
    said = capsys.readouterr()
    assert "resnet50" in said.out
    assert said.err == "error: cannot write /dev/full: No space left on device\n"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["models", "--json", str(tmp_path / "models.json")]) == 1
        monkeypatch.undo()
    assert "No space left on device" in capsys.readouterr().err
    assert any(row["name"] == "resnet50" for row in json.loads((tmp_path / "models.json").read_text()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_help_that_cannot_be_written_is_an_error(monkeypatch, capsys):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["bench", "--help"]) == 1
        monkeypatch.undo()
    assert capsys.readouterr().err == "error: No space left on device\n"


def table(columns, rows, spare, monkeypatch, width=None):
    """The lines that are printed: on a terminal of `width`, or into a file."""
    import io

    printed = io.StringIO()
    printed.isatty = lambda: width is not None  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setenv("COLUMNS", str(width or 20))
    print_table("title", columns, rows, spare)
    monkeypatch.undo()
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue()).splitlines()]


def test_a_table_is_never_folded(monkeypatch):
    columns = [("name", "left"), ("a detail", "left"), ("ms", "right")]
    rows = [["x" * 200, "y" * 50 + "[/]", "1.0"]]
    lines = table(columns, rows, ["a detail"], monkeypatch)
    assert lines[0] == "title"
    assert f"{'x' * 200}  {'y' * 50}[/]  1.0" in lines[4]
    assert lines == table(columns, rows, ["a detail"], monkeypatch, width=300)
    narrow = table(columns, rows, ["a detail", "ms"], monkeypatch, width=240)
    assert f"{'x' * 200}  1.0" in narrow[4]
    assert narrow[-1] == "not shown, for want of columns: a detail"
    assert "x" * 200 in table(columns, rows, ["a detail", "ms"], monkeypatch, width=80)[4]


def test_versions(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("dlas-mlir", "iree-base-compiler", "iree-base-runtime", "torch-mlir", "torch"):
        assert f"{name} {version(name)}" in lines


def test_no_command_but_those_that_compute_with_it_imports_torch(tmp_path):
    script = f"""
import sys
from dlas_mlir.cli.bench import reasons
from dlas_mlir.cli.console import print_table
from dlas_mlir.cli.dlas import main
for command in (["bench", "--rounds", "1", "--min-time", "0.001"], ["run"], ["compile"], ["models"], ["presets"]):
    named = [{MODEL!r}, "--preset", "host/stock"] if command[0] in ("bench", "run", "compile") else []
    assert main([command[0], *named, *command[1:]]) == 0
assert not {{"torch", "torch_mlir", "iree.runtime"}} & set(sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_too_many_threads_is_an_object(tmp_path):
    code, rows = bench_json(tmp_path, MODEL, "--preset", "host/stock", "--threads", "4096")
    assert code == 1
    assert "4096 threads asked for" in rows[0]["error"]


def wrong_artifact(tmp_path):
    """An artifact whose golden outputs are another model's."""
    artifact = dlas.compile(MODEL, preset="host/stock")
    assert artifact.golden is not None
    with np.load(artifact.golden) as arrays:
        golden = dict(arrays)
    golden["output_0"] = golden["output_0"] + 1
    named: dict = golden
    np.savez(tmp_path / "wrong.npz", **named)
    return dataclasses.replace(artifact, golden=tmp_path / "wrong.npz")


def test_a_wrong_output_is_not_verified_and_not_timed(tmp_path):
    (row,) = dlas.bench(wrong_artifact(tmp_path), protocol=PROTOCOL)
    assert row["verified"] is False
    assert row["max_rel_error"] > 0.01
    assert row["median_ms"] is None
    assert "wrong output" in row["error"]


def test_the_tolerance_can_be_given(tmp_path):
    protocol = dataclasses.replace(PROTOCOL, tolerance=100.0)
    (row,) = dlas.bench(wrong_artifact(tmp_path), protocol=protocol)
    assert row["verified"]


def test_an_artifact_that_crashes_is_an_object(tmp_path):
    broken = tmp_path / "broken.vmfb"
    artifact = dlas.compile(MODEL, preset="host/stock")
    broken.write_bytes(artifact.vmfb.read_bytes()[:1000])
    rows = dlas.bench([dataclasses.replace(artifact, vmfb=broken), artifact], protocol=PROTOCOL)
    assert "cannot be loaded" in rows[0]["error"]
    assert rows[1]["verified"]


def test_a_model_without_pytorch_is_timed_but_not_verified(tmp_path):
    (tmp_path / "scale.mlir").write_text(SCALE)
    code, rows = bench_json(tmp_path, str(tmp_path / "scale.mlir"), "--preset", "host/stock")
    assert code == 0
    assert rows[0]["verified"] is False
    assert rows[0]["max_rel_error"] is None
    assert rows[0]["median_ms"] > 0


def test_google_benchmark_layout(tmp_path):
    code, report = bench_json(tmp_path, MODEL, "nothing", "--preset", "host/stock", "--json-layout", "google-benchmark")
    assert code == 1
    assert report["context"]["num_cpus"] == os.cpu_count()
    good, bad = report["benchmarks"]
    assert good["name"] == f"{MODEL}/host/stock/threads:1"
    assert good["real_time"] == good["median_ms"]
    assert (good["time_unit"], good["run_type"]) == ("ms", "iteration")
    assert bad["error_occurred"] is True
    assert "unknown model" in bad["error_message"]


def test_run_compares_with_pytorch_and_writes(tmp_path, capsys):
    assert main(["run", MODEL, "--preset", "host/stock", "--output", str(tmp_path / "out.npz")]) == 0
    printed = capsys.readouterr().out
    assert "output_0: 1x5 float32" in printed
    assert "equal to PyTorch" in printed
    assert np.load(tmp_path / "out.npz")["output_0"].shape == (1, 5)


def test_run_on_a_file(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 9, 9), np.float32))
    assert main(["run", MODEL, "--preset", "host/stock", "--input", str(tmp_path / "x.npy")]) == 0
    assert "PyTorch" not in capsys.readouterr().out


def test_pipes_and_devices_are_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["models", "--json", str(pipe)]) == 0
        assert b'"resnet50"' in os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_compile_prints_the_file(tmp_path, capsys):
    target = tmp_path / "model.vmfb"
    assert main(["compile", MODEL, "--preset", "host/stock", "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert target.stat().st_size > 1000


def test_profile_gives_every_layer(tmp_path, capsys):
    file = tmp_path / "profile.json"
    assert main(["profile", MODEL, "--preset", "host/auto", "--seconds", "0.05", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    layers = {row["layer"]: row for row in result["layers"]}
    assert {"conv", "block.grouped", "fc"} <= layers.keys()
    assert sum(row["share"] for row in result["layers"]) == pytest.approx(100)
    assert layers["conv"]["macs"] == 25 * 8 * 27
    assert layers["conv"]["primitive"]
    assert layers["conv"]["schedule"]["kind"] == "cpu"
    assert len(layers["conv"]["workload"]) == 64
    assert layers["conv"]["percent_of_peak"] > 0
    assert "block.grouped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nets/mine.py"], "name the function that returns the model, as in mine:FUNCTION"),
        (["compile", "no-such-model"], "unknown model 'no-such-model'"),
        (["compile", MODEL, "--preset", "nowhere/auto"], "there is no target `nowhere`"),
        (["compile", MODEL, "--preset", "host"], "expected a preset TARGET/RECIPE"),
        (["compile", MODEL, "-o", "/no/such/folder/a.vmfb"], "there is no directory /no/such/folder"),
        (["compile", "none.mlir", "--preset", "host/stock"], "none.mlir"),
        (["run", MODEL, "--input", "none.npy"], "cannot read none.npy as a .npy array"),
        (["run", MODEL, "--threads", "9999", "--preset", "host/stock"], "9999 threads asked for"),
        (["bench", MODEL, "--json", "/no/such/folder/a.json"], "there is no directory /no/such/folder"),
        (["bench", MODEL, "--json", "/"], "it is a directory"),
    ],
)
def test_bad_input(arguments, message, capsys):
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert "error: " in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", MODEL, "--threads", "0"], "expected a whole number from 1, found `0`"),
        (["bench", MODEL, "--rounds", "x"], "expected a whole number from 1, found `x`"),
        (["bench", MODEL, "--min-time", "nan"], "expected a number above 0, found `nan`"),
        (["bench"], "MODEL"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_bug_is_no_traceback(monkeypatch, capsys):
    def broken(*_, **__):
        raise KeyError("shape")

    monkeypatch.setattr("dlas_mlir.benchmark.bench.bench", broken)
    assert main(["bench", MODEL]) == 1
    assert "error: dlas broke: KeyError: 'shape' (a bug" in capsys.readouterr().err


def test_what_is_told_to_stop_ends_its_children_and_leaves_nothing(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "dlas_mlir.cli.dlas", "bench", MODEL, "--preset", "host/stock", "--rounds", "9999"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any(line.startswith("time ") for line in process.stderr)
    worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.terminate()
    out, said = process.communicate()
    assert (process.returncode, out) == (143, "")
    assert "Traceback" not in said
    assert worker
    assert not [pid for pid in worker if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.glob("dlas-*"))


def test_help_imports_neither_torch_nor_the_compilers():
    slow = ("torch", "torch_mlir", "iree.compiler", "numpy")
    script = f"import sys, dlas_mlir.cli.dlas as d; d.build_parser(); print([m for m in {slow} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_python_interface_takes_a_module():
    import torch
    from torch import nn

    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    x = torch.randn(1, 2, 6, 6)
    artifact = dlas.compile(model, preset="host/stock", example_inputs=(x,))
    assert artifact.model == "Sequential"
    (output,) = dlas.run(artifact, x.numpy())
    np.testing.assert_allclose(output, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(dlas.DlasError, match="the Sequential has no inputs: `example_inputs` must be"):
        dlas.compile(model, preset="host/stock")


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = dlas.nothing  # type: ignore[attr-defined]
