"""A quantized network through the passes of a GPU: codes are those of a CPU, of each kernel and the whole network (what
`gpu_codes` asks of a network of the zoo)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu_codes import CPU, KERNELS, after_passes, compiled_and_run, differing, imported, products_of
from quantized_net import INPUTS, RANDOM, net

from dlas_mlir.compression.pruning import Prune


@pytest.fixture(scope="module")
def quantized(tmp_path_factory) -> Path:
    """A quantized network as linalg on tensors."""
    return imported(net(), INPUTS, tmp_path_factory.mktemp("quantized"), [RANDOM])


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> Path:
    """The same, most of whose weights are zero."""
    return imported(net(), INPUTS, tmp_path_factory.mktemp("pruned"), [Prune(0.8, scope="layer"), RANDOM])


def result_of(path: Path, preset: str, device: str = "local", pipeline: str = "") -> np.ndarray:
    return compiled_and_run(path, INPUTS[0].numpy(), preset, device, pipeline)[1]


@pytest.mark.parametrize("target", ["cuda-sm80", "cuda-sm90"])
def test_codes_are_those_of_a_cpu(quantized: Path, target: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    products = products_of(after_passes(quantized, f"{target}/int8-auto", tmp_path / "plain.mlirbc"))
    # The convolutions; threads do the depthwise one and the linear layer. Some are the same kernel.
    assert len(products) == 3
    for workload, schedule in products.items():
        assert schedule.unit.operand == "i8"
        assert differing(workload, schedule) == 0, (workload.loops, schedule)
    wanted = result_of(quantized, CPU)
    assert np.array_equal(result_of(tmp_path / "plain.mlirbc", CPU, pipeline=KERNELS), wanted)


@pytest.mark.parametrize("target", ["vulkan", "vulkan-ada"])
def test_codes_on_vulkan(quantized: Path, target: str, vulkan, tmp_path, monkeypatch) -> None:
    """Kernels of threads."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    assert np.array_equal(result_of(quantized, f"{target}/int8-auto", "vulkan"), result_of(quantized, CPU))


def test_codes_with_zeros_stay_dense(pruned: Path, vulkan, tmp_path, monkeypatch, capfd) -> None:
    """There are no sparse kernels of codes: that is said, and the codes are right."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    wanted = result_of(pruned, CPU)
    capfd.readouterr()
    assert np.array_equal(result_of(pruned, "vulkan-ada/int8-auto", "vulkan"), wanted)
    said = capfd.readouterr().err
    assert "layer 'fc' stays dense: 80.0% of its weights are zero, and there are no sparse kernels of i8" in said


def test_quantized_weights_are_sparse_in_floats(pruned: Path, vulkan, tmp_path, monkeypatch) -> None:
    """A recipe that knows no codes multiplies the numbers that they stand for."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    wanted = result_of(pruned, "host/stock")
    artifact, ours = compiled_and_run(pruned, INPUTS[0].numpy(), "vulkan-ada/sparse-direct", "vulkan")
    assert "sparse-direct" in {layer["primitive"] for layer in artifact.layers}
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
