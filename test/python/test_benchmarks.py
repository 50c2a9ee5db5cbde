"""The protocol of benchmarks/, with runtimes made up for it; the real ones where they are installed."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import readme, report
from benchmarks.grouped import by_groups, grouped_layers
from benchmarks.int8 import speedups
from benchmarks.layers import COMMANDS
from benchmarks.peers import MODULES, OTHERS, module_of
from benchmarks.rounds import compare, cpus_for, start
from benchmarks.stats import add_ratios, geomeans, summary
from benchmarks.workload import Case, Layer, parse_layer, read_commands
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.rounds import Protocol
from dlas_mlir.measure.turn import Turn

ROOT = Path(__file__).resolve().parents[2]
QUICK = Protocol(rounds=2, max_rounds=2, retries=0, min_seconds=0.0)
FAKE = """
import os
import numpy as np
from benchmarks.peers import Loaded

def versions():
    return {"fake": "1.0"}

def load(case, threads, variant):
    with np.load(case.golden) as arrays:
        output = arrays["output_0"]
    if variant == "wrong":
        output = output + 1
    def call():
        if variant == "crash":
            os._exit(7)
        if variant == "raise":
            raise ValueError("no such kernel")
    def outputs():
        return [output]
    return Loaded(call, outputs, flags={"threads": str(threads), "variant": variant})
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a runtime that answers with the golden outputs, or fails in the way its variant says."""
    package = tmp_path / "fakes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "peer.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    return "fakes.peer"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    golden = tmp_path / "golden.npz"
    np.savez(golden, input_0=np.ones((1, 2), np.float32), output_0=np.ones((1, 3), np.float32))
    return Case("conv -c 2 -k 3", "small", macs=6, golden=str(golden), source="")


def measured(runtimes: list[str], case: Case, directory: Path) -> dict[str, dict]:
    workers = start(runtimes, 1, directory)
    try:
        records = compare(workers, case, QUICK, lambda _: None)
    finally:
        for worker in workers:
            worker.stop()
    return {record["runtime"]: record for record in records}


def test_each_runtime_has_a_record_and_failures_do_not_end_the_run(fake: str, case: Case, tmp_path: Path):
    names = [fake, f"{fake}=wrong", f"{fake}=crash", f"{fake}=raise", "nobody.has.this"]
    records = measured(names, case, tmp_path)
    assert list(records) == names
    good = records[fake]
    assert good["verified"]
    assert good["max_rel_error"] == 0.0
    assert good["rounds"] == QUICK.rounds
    assert good["samples"] >= QUICK.rounds
    assert good["flags"] == {"threads": "1", "variant": ""}
    assert good["versions"] == {"fake": "1.0"}
    assert math.isclose(good["gflops"], 2 * case.macs / good["median_ms"] / 1e6)
    assert "wrong, so not timed" in records[f"{fake}=wrong"]["error"]
    assert "ended with code 7" in records[f"{fake}=crash"]["error"]
    assert records[f"{fake}=raise"]["error"] == "ValueError: no such kernel"
    assert "make peers" in records["nobody.has.this"]["error"]
    assert all(("median_ms" in record) == (name == fake) for name, record in records.items())


def test_a_dead_worker_starts_again(fake: str, case: Case, tmp_path: Path):
    (worker,) = start([f"{fake}=crash"], 1, tmp_path)
    try:
        worker.load(case)
        with pytest.raises(DlasError, match="code 7"):
            worker.turn(min_seconds=0, min_count=1)
        assert not worker.alive
        worker.restart()
        assert worker.load(case)["verified"]
    finally:
        worker.stop()
    assert not worker.alive


def test_more_threads_than_cpus_are_refused():
    with pytest.raises(DlasError, match="CPUs are there"):
        cpus_for((os.cpu_count() or 1) + 1)


def record(spec: str, runtime: str, ms: float, threads: int = 1) -> dict:
    turns = [Turn(ns=(int(ms * 1e6),) * 5)]
    base = {"workload": spec, "spec": spec, "runtime": runtime, "threads": threads}
    return base | summary(turns, macs=1_000_000)


def test_summary_takes_off_the_cost_of_a_call():
    turns = [Turn(ns=(3_000_000, 4_000_000, 5_000_000)), Turn(ns=(4_000_000,), waited=0.5)]
    figures = summary(turns, macs=1_500_000, overhead_ms=1.0)
    assert (figures["median_ms"], figures["gflops"], figures["samples"]) == (3.0, 1.0, 4)
    assert figures["disturbed"]


def test_ratios_and_geometric_means():
    records = [
        record("a", "host/auto", 2.0),
        record("a", "host/stock", 8.0),
        record("a", "openvino", 4.0),
        record("a", "eager", 6.0),
        record("b", "host/auto", 8.0),
        record("b", "openvino", 1.0),
        {"workload": "b", "spec": "b", "runtime": "eager", "threads": 1, "error": "no"},
        record("b", "openvino", 0.5, threads=2),
    ]
    add_ratios(records)
    assert records[0]["best_peer"] == "openvino"
    assert (records[0]["ratio"], records[0]["over_stock"]) == (0.5, 4.0)
    assert records[4]["ratio"] == 8.0
    assert "over_stock" not in records[4]
    rows = {(row["runtime"], row["threads"]): row for row in geomeans(records)}
    ours = rows["host/auto", 1]
    assert (ours["workloads"], ours["worst_ratio"]) == (2, 8.0)
    assert math.isclose(ours["ratio"], 2.0)
    assert math.isclose(ours["median_ms"], 4.0)
    assert rows["eager", 1]["workloads"] == 1
    assert rows["openvino", 2]["ratio"] == 1.0


def test_report_is_json_and_a_table_with_failures(tmp_path: Path):
    records = [
        record("a", "host/auto", 2.0) | {"disturbed": True},
        record("a", "openvino", 4.0) | {"versions": {"openvino": "9.9"}},
        {"workload": "a", "spec": "a", "runtime": "eager", "threads": 1, "error": "out of luck"},
    ]
    add_ratios(records)
    report.write("Title", "Notes.", records, {"rounds": 1}, tmp_path / "new" / "v1.2")
    document = json.loads((tmp_path / "new" / "v1.2.json").read_text())
    assert document["records"] == records
    assert {"date", "cpu", "cpu_features", "command"} <= document["environment"].keys()
    page = (tmp_path / "new" / "v1.2.md").read_text()
    assert "| a | ~ **2.000 ±0.000** | 4.000 ±0.000 | failed |" in page
    assert "openvino 9.9" in page
    assert "- a, eager, threads 1: out of luck" in page


def test_report_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DlasError, match="cannot be written"):
        report.write_text(tmp_path / "file" / "x.json", "{}")


def test_figures_for_the_readme():
    common = {"threads": 1, "workload": "net"}
    ours = {"runtime": "host/auto", "median_ms": 3.0, "ratio": 0.75, "best_peer": "openvino", "over_stock": 5.0}
    run = {
        "environment": {"cpu": "a CPU", "cpus": 2, "date": "2026-01-02T03:04"},
        "records": [
            common | ours,
            common | {"runtime": "openvino", "median_ms": 4.0, "ratio": 1.0},
            *(
                common | ours | {"threads": 2, "workload": name, "ratio": ratio}
                for name, ratio in (("a", 0.5), ("b", 2))
            ),
        ],
    }
    text = readme.block(run)
    assert text.startswith(readme.BEGIN)
    assert text.endswith(readme.END)
    assert "| net | 3.00 | 4.00 (openvino) | 0.75 | 5.0 |" in text
    assert "2 threads: geometric mean of the ratios 1.00, worst 2.00 (b), above 1 on 1 of 2 models." in text
    assert readme.BEGIN in (readme.ROOT / "README.md").read_text()
    for figures in (readme.table, readme.summary):
        with pytest.raises(DlasError, match="no figures"):
            figures(run, 3)


def test_layer_lines():
    line = "conv -n 1 -c 96 -H 112 -W 112 -k 96 -y 3 -x 3 -p 1 -q 1 -u 2 -v 2 -g 96 -F 1 -t 1 --in_layout NHWC"
    layer = parse_layer(line)
    assert (layer.channels, layer.groups, layer.stride_h, layer.kernel_w) == (96, 96, 2, 3)
    assert str(layer) == "3x3 96-96 @112 s2 dw"
    assert parse_layer("linear -c 2048 -k 1000") == Layer(1, 2048, 1000, linear=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pool -c 3 -k 3", "starts with one of conv, linear"),
        ("conv -k 3", "-c"),
        ("conv -c 3 -k x", "invalid int value"),
        ("conv -c 3 -k 4 -g 2", "2 groups do not divide"),
        ("conv -c 3 -k 4 -u 0", "stride_h is 0"),
    ],
)
def test_bad_layer_lines(line: str, message: str):
    with pytest.raises(DlasError, match=message):
        parse_layer(line)


def test_commands_files(tmp_path: Path):
    assert len(read_commands(COMMANDS)) == len(set(read_commands(COMMANDS))) > 20
    file = tmp_path / "layers.txt"
    file.write_text("# two\n\nlinear -c 3 -k 4  # a comment\nlinear -c 3\n")
    with pytest.raises(DlasError, match=r"layers.txt:4: .*-k"):
        read_commands(file)
    with pytest.raises(DlasError, match="cannot be read"):
        read_commands(tmp_path / "none.txt")


def test_unknown_runtimes_are_refused():
    with pytest.raises(DlasError, match="openvino"):
        module_of("openvinos")
    assert module_of("host/auto") == (MODULES["dlas"], "host/auto")
    assert module_of("host/auto=int8") == (MODULES["dlas"], "host/auto=int8")
    assert module_of("onnxruntime=int8") == (MODULES["onnxruntime"], "int8")


def test_a_variant_that_there_is_not(case: Case):
    with pytest.raises(DlasError, match="unknown variant `int4`"):
        case.onnx_file("int4")
    with pytest.raises(DlasError, match="no ONNX file"):
        case.onnx_file("int8")


def test_integers_are_compared_with_our_fp32():
    times = {"host/auto": 8.0, "host/auto=int8": 2.0, "openvino=int8": 4.0}
    records = [{"spec": "m", "threads": 1, "runtime": name, "median_ms": ms} for name, ms in times.items()]
    section = speedups(records).section
    assert "host/auto=int8: 4.00 (m 4.00)" in section
    assert "openvino=int8: 2.00 (m 2.00)" in section
    add_ratios(records)
    assert records[1]["ratio"] == 0.5


def test_grouped_layers_and_their_fall():
    lines = grouped_layers(8, 7)
    assert [parse_layer(line).groups for line in lines] == [1, 2, 4, 8]
    times = (8.0, 4.0, 5.0, 2.0)
    extra = by_groups([record(line, "eager", ms) for line, ms in zip(lines, times, strict=True)])
    (row,) = extra.entries["by_groups"]  # type: ignore[misc]
    assert row["fall"] == 4.0
    assert row["worst_step"] == 1.25
    assert "| 3x3 8 @7 | 1 | eager | 4.0x | 1.25 |" in extra.section


def run_layers(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.layers", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_script_from_end_to_end(tmp_path: Path):
    stem = tmp_path / "out"
    done = run_layers(
        *("--layer", "conv -c 8 -H 9 -W 9 -k 8 -y 3 -x 3 -p 1 -q 1", "--runtimes", "eager", "nobody.has.this"),
        *("--threads", "1", "--rounds", "2", "--turn", "0", "--output", str(stem)),
    )
    assert done.returncode == 1, done.stderr
    eager, missing = json.loads((tmp_path / "out.json").read_text())["records"]
    assert eager["verified"]
    assert eager["overhead_ms"] > 0
    assert eager["ratio"] == 1.0
    assert "is not installed" in missing["error"]
    assert "3x3 8-8 @9" in done.stdout


def test_bad_arguments_end_with_a_message(tmp_path: Path):
    for arguments in (["--layer", "conv"], ["--commands-file", str(tmp_path / "none")], ["--runtimes", "x"]):
        done = run_layers(*arguments, "--output", str(tmp_path / "out"))
        assert done.returncode in (1, 2)
        assert "error: " in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", OTHERS)
def test_peers_agree_with_pytorch(runtime: str, tmp_path: Path):
    needed = {"onnxruntime": ["onnxruntime", "onnxscript"], "openvino": ["openvino", "onnxscript"]}
    for package in needed.get(runtime, ["torch"]):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (make peers)")
    from benchmarks.workload import prepare

    ready = prepare("conv -c 8 -H 9 -W 9 -k 8 -y 3 -x 3 -p 1 -q 1 -g 2", tmp_path / "case")
    assert ready.macs == 9 * 9 * 8 * 9 * 4
    result = measured([runtime], ready, tmp_path)[runtime]
    assert "error" not in result
    assert result["max_rel_error"] < 1e-5


@pytest.mark.parametrize("runtime", ["onnxruntime=int8", "openvino=int8", "host/auto=int8"])
def test_integers_are_verified(runtime: str, quantized_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    assert not quantized_case.int8_error
    result = measured([runtime], quantized_case, tmp_path)[runtime]
    assert "error" not in result
    assert result["verified"]


@pytest.fixture(scope="module")
def quantized_case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A small model, as it is and in integers."""
    for package in ("onnxruntime", "openvino", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (make peers)")
    from benchmarks import quantized, workload

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        directory = tmp_path_factory.mktemp("case")
        case = workload.prepare("imported_model:small", directory)
        yield replace(case, **quantized.prepare(case, directory))
