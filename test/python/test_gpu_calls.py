"""Calls on GPUs: several on their way, storage that stays, weights beside the artifact; and what a .vmfb launches."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dlas_mlir.compiler import tools
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.session import Session, TensorType

WEIGHTS = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
# y = x w, and twice that; the storage of both is passed.
TEXT = """
util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<64x64xf32>
func.func @main(%x: tensor<4x64xf32>, %one: tensor<4x64xf32> {iree.abi.output = 0 : index},
    %two: tensor<4x64xf32> {iree.abi.output = 1 : index}) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %w = util.global.load immutable @w : tensor<64x64xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  %y = linalg.matmul ins(%x, %w : tensor<4x64xf32>, tensor<64x64xf32>) outs(%start : tensor<4x64xf32>)
      -> tensor<4x64xf32>
  %z = arith.addf %y, %y : tensor<4x64xf32>
  return %y, %z : tensor<4x64xf32>, tensor<4x64xf32>
}
"""


def built(folder: Path, device: str, flags: Sequence[str] = ()) -> Path:
    (folder / "model.mlir").write_text(TEXT)
    vmfb = folder / f"{device}.vmfb"
    own = ["--iree-opt-level=O3", f"--iree-hal-target-device={device}", "--iree-execution-model=async-external"]
    subprocess.run([tools.iree_compile(), folder / "model.mlir", *own, *flags, "-o", vmfb], check=True, timeout=300)
    return vmfb


def test_calls_on_their_way(vulkan, tmp_path) -> None:
    session = Session(built(tmp_path, "vulkan"), resolve("vulkan"), parameters={"w": WEIGHTS})
    assert session.can_queue
    assert session.inputs == [TensorType((4, 64), "float32")]
    x = session.inputs[0].example()
    wanted = x.astype(np.float64) @ WEIGHTS
    arguments = session.prepare([x])
    results = [session.queue(arguments) for _ in range(8)]
    session.wait()
    y, z = session.fetch(results[-1])
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(z, 2 * wanted, rtol=1e-5, atol=1e-4)
    # The next call writes to the same storage.
    other = session.invoke(session.prepare([-x]))
    np.testing.assert_allclose(session.fetch(results[0])[0], -wanted, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(session.fetch(other)[0], -wanted, rtol=1e-5, atol=1e-4)
    with pytest.raises(DlasError, match="the function takes 4x64 float32, not"):
        session.prepare([x, x])
    del results, other, arguments
    session.close()


def test_what_is_launched_on_vulkan(tmp_path) -> None:
    program = read_program(built(tmp_path, "vulkan"))
    assert program.format == "vulkan-spirv-fb"
    assert len(program.launches) >= 1
    for launch in program.launches:
        assert launch.name.startswith("main_dispatch")
        assert min(launch.workgroups) >= 1
        assert all(binding.length > 0 for binding in launch.bindings)
        assert program.executable(launch.file)[:4] == b"VKE1"
    buffers = {binding.buffer for launch in program.launches for binding in launch.bindings}
    assert {"slot 0", "slot 1", "slot 2"} <= buffers


def test_what_is_launched_on_cuda(tmp_path) -> None:
    program = read_program(built(tmp_path, "cuda", ["--iree-cuda-target=sm_80"]))
    assert program.format == "cuda-nvptx-fb"
    assert len(program.launches) >= 1
    for launch in program.launches:
        kernel = program.kernel(launch)
        assert kernel.name == launch.name
        assert f".visible .entry {kernel.name}(" in kernel.ptx
        x, y, z = kernel.threads
        assert f".maxntid {x}, {y}, {z}" in kernel.ptx.partition(f"entry {kernel.name}(")[2]


def test_what_is_not_for_a_gpu(tmp_path) -> None:
    (tmp_path / "cpu.mlir").write_text(
        "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }"
    )
    flags = ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
    command = [tools.iree_compile(), tmp_path / "cpu.mlir", *flags, "-o", tmp_path / "cpu.vmfb"]
    subprocess.run(command, check=True, timeout=300)
    with pytest.raises(DlasError, match="has no kernels for CUDA or Vulkan in it"):
        read_program(tmp_path / "cpu.vmfb")
