"""What compression should bring and brings: work, bytes, expected and actual speed-up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from imported_model import kinds
from iree.compiler import ir

from dlas_mlir.benchmark.speedup import add_actual, expected, is_dense, rates
from dlas_mlir.cli.dlas import main
from dlas_mlir.codegen.target import AnyTarget, Target
from dlas_mlir.compiler.work import count
from dlas_mlir.compression.channel_pruning import ChannelPrune
from dlas_mlir.compression.compress import compress_module

MODULE = """
func.func @main(%x: tensor<1x4xf32>, %image: tensor<1x1x4x4xf32>) -> (tensor<1x2xf32>, tensor<1x2x3x3xf32>) {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 3.0]]> : tensor<2x4xf32>
  %q = arith.constant dense<[[[[1, 0], [0, 0]]], [[[0, 0], [0, 3]]]]> : tensor<2x1x2x2xi8>
  %e = tensor.empty() : tensor<4x2xf32>
  %t = linalg.transpose ins(%w : tensor<2x4xf32>) outs(%e : tensor<4x2xf32>) permutation = [1, 0]
  %o = tensor.empty() : tensor<1x2xf32>
  %f = linalg.fill ins(%zero : f32) outs(%o : tensor<1x2xf32>) -> tensor<1x2xf32>
  %y = linalg.matmul ins(%x, %t : tensor<1x4xf32>, tensor<4x2xf32>) outs(%f : tensor<1x2xf32>) -> tensor<1x2xf32>
  %qe = tensor.empty() : tensor<2x1x2x2xf32>
  %dq = linalg.generic {
      indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%q : tensor<2x1x2x2xi8>) outs(%qe : tensor<2x1x2x2xf32>) {
  ^bb0(%in: i8, %out: f32):
    %s = arith.sitofp %in : i8 to f32
    linalg.yield %s : f32
  } -> tensor<2x1x2x2xf32>
  %p = tensor.empty() : tensor<1x2x3x3xf32>
  %g = linalg.fill ins(%zero : f32) outs(%p : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %z = linalg.conv_2d_nchw_fchw ins(%image, %dq : tensor<1x1x4x4xf32>, tensor<2x1x2x2xf32>)
      outs(%g : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  return %y, %z : tensor<1x2xf32>, tensor<1x2x3x3xf32>
}
"""


def test_work_is_counted_through_transposes_and_dequantization():
    with ir.Context(), ir.Location.unknown():
        work = count(ir.Module.parse(MODULE))
    assert work.macs == 8 + 72
    assert work.effective == {"f32": 3, "i8": 18}
    assert (work.elements, work.nonzeros) == (16, 5)


def _target(name: str, kind: str = "cpu", **figures: str | int) -> AnyTarget:
    return Target.from_figures({"name": name, "kind": kind, **figures})


VECTORS = _target("vnni", vector_bits=512, int8_dot="vpdpbusd", bf16_dot="vdpbf16ps")


@pytest.mark.parametrize(
    ("effective", "target", "speedup"),
    [
        ({"f32": 1000}, VECTORS, 1.0),
        ({"f32": 100}, VECTORS, 10.0),
        ({"bf16": 1000}, VECTORS, 2.0),
        ({"i8": 800, "f32": 200}, VECTORS, 1000 / (200 + 200)),
        # Two instructions for two products: no faster than fp32.
        ({"i8": 1000}, _target("avx2", vector_bits=256, int8_dot="vpmaddwd"), 1.0),
        ({"bf16": 1000}, _target("plain", vector_bits=256), 1.0),
        ({"bf16": 1000}, _target("gpu", "gpu"), None),
        ({"f32": 500}, _target("gpu", "gpu"), 2.0),
        ({"f32": 0}, VECTORS, None),
    ],
)
def test_expected_speedup_is_from_effective_macs_and_peaks(effective: dict, target: AnyTarget, speedup: float | None):
    assert expected(effective, 1000, target) == (None if speedup is None else pytest.approx(speedup))
    assert rates(target)["f32"] == 1.0


def test_only_fp32_without_zeros_is_dense():
    assert is_dense({"f32": 995}, 1000)
    assert not is_dense({"f32": 500}, 1000)
    assert not is_dense({"bf16": 1000}, 1000)


def row(preset: str, ms: float | None, *, dense: bool, threads: int = 1) -> dict:
    return {"model": "m", "preset": preset, "threads": threads, "median_ms": ms, "dense": dense}


def test_actual_speedup_is_over_the_dense_auto_of_the_same_target_and_threads():
    rows = [
        row("host/auto", 2.0, dense=False),
        row("host/gemm", 5.0, dense=True),
        row("host/auto", 8.0, dense=True),
        row("host/auto", 3.0, dense=False, threads=2),
        row("other/auto", 1.0, dense=False),
        row("host/direct", None, dense=False),
    ]
    add_actual(rows)
    assert [each["actual_speedup"] for each in rows] == [4.0, 1.6, 1.0, None, None, None]


def test_bench_of_a_pruned_checkpoint_beside_the_dense_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    model = kinds().eval()
    weights, report = tmp_path / "pruned.safetensors", tmp_path / "bench.json"
    compress_module(model, model.example_inputs, [ChannelPrune(0.5, round_to=4)]).save(weights)  # type: ignore[arg-type]
    command = ["bench", "imported_model:kinds", "--preset", "host/auto", "--rounds", "1", "--min-time", "0.001"]
    assert main([*command, "--weights", str(weights), "--dense", "--json", str(report)]) == 0
    dense, pruned = json.loads(report.read_text())
    assert (dense["weights"], pruned["weights"]) == (None, "pruned")
    assert (dense["dense"], pruned["dense"]) == (True, False)
    assert dense["expected_speedup"] == dense["actual_speedup"] == 1.0
    assert pruned["expected_speedup"] == pytest.approx(dense["macs"] / pruned["macs"])
    assert pruned["actual_speedup"] == pytest.approx(dense["median_ms"] / pruned["median_ms"])
    assert pruned["parameters"] == pruned["nonzeros"] < dense["parameters"]
    assert 4 * pruned["parameters"] <= pruned["weight_bytes"] < dense["weight_bytes"]
    printed = capsys.readouterr().out
    assert "expected" in printed
    assert "eff. MMACs" in printed
    assert main([*command, "--dense"]) == 1
    assert "--dense goes with --weights" in capsys.readouterr().err
