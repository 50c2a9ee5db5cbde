"""Kernels that follow each other in one launch on GPUs: right on a Vulkan device, as few as they can be."""

from __future__ import annotations

import numpy as np
import pytest

from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported, compile_model
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.measure.check import tolerance_of
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.session import Session

pytestmark = pytest.mark.usefixtures("tuning_surroundings")

# The means of rows, in three rounds of 32 threads of which 16 have one together; what is left of the rows, in two
# rounds; and the sums of that over rows. One image to a workgroup.
CHAIN = """
#all = affine_map<(n, h, c) -> (n, h, c)>
#rows = affine_map<(n, h, c) -> (n, h, 0)>
#columns = affine_map<(n, h, c) -> (n, 0, c)>
func.func @main(%x: tensor<3x5x48xf32>) -> tensor<3x1x48xf32> {
  %zero = arith.constant 0.0 : f32
  %0 = flow.dispatch.region -> (tensor<3x5x1xf32>) {
    %e = tensor.empty() : tensor<3x5x1xf32>
    %s = linalg.fill ins(%zero : f32) outs(%e : tensor<3x5x1xf32>) -> tensor<3x5x1xf32>
    %1 = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x : tensor<3x5x48xf32>) outs(%s : tensor<3x5x1xf32>)
      attrs = {dlas.loops = ["n", "h", "c"], dlas.chain = {chain = 0, shared = 1}, dlas.schedule = {kind = "simt",
        vector = "h", lanes = 1, tile = {c = 3}, order = ["n", "h", "c"], threads = 32, across = {c = 16}}} {
    ^bb0(%a: f32, %o: f32):
      %b = arith.addf %o, %a : f32
      linalg.yield %b : f32
    } -> tensor<3x5x1xf32>
    flow.return %1 : tensor<3x5x1xf32>
  }
  %2 = flow.dispatch.region -> (tensor<3x5x48xf32>) {
    %e = tensor.empty() : tensor<3x5x48xf32>
    %1 = linalg.generic {indexing_maps = [#all, #rows, #all], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %0 : tensor<3x5x48xf32>, tensor<3x5x1xf32>) outs(%e : tensor<3x5x48xf32>)
      attrs = {dlas.loops = ["n", "h", "c"], dlas.chain = {chain = 0, shared = 1}, dlas.schedule = {kind = "simt",
        vector = "c", lanes = 4, tile = {c = 4}, order = ["n", "h", "c"], threads = 32}} {
    ^bb0(%a: f32, %m: f32, %o: f32):
      %b = arith.subf %a, %m : f32
      linalg.yield %b : f32
    } -> tensor<3x5x48xf32>
    flow.return %1 : tensor<3x5x48xf32>
  }
  %3 = flow.dispatch.region -> (tensor<3x1x48xf32>) {
    %e = tensor.empty() : tensor<3x1x48xf32>
    %s = linalg.fill ins(%zero : f32) outs(%e : tensor<3x1x48xf32>) -> tensor<3x1x48xf32>
    %1 = linalg.generic {indexing_maps = [#all, #columns], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%2 : tensor<3x5x48xf32>) outs(%s : tensor<3x1x48xf32>)
      attrs = {dlas.loops = ["n", "h", "c"], dlas.chain = {chain = 0, shared = 1}, dlas.schedule = {kind = "simt",
        vector = "c", lanes = 2, tile = {c = 2}, order = ["n", "c", "h"], threads = 32}} {
    ^bb0(%a: f32, %o: f32):
      %b = arith.addf %o, %a : f32
      linalg.yield %b : f32
    } -> tensor<3x1x48xf32>
    flow.return %1 : tensor<3x1x48xf32>
  }
  return %3 : tensor<3x1x48xf32>
}
"""


@pytest.mark.usefixtures("vulkan")
def test_kernels_that_a_hand_has_chained(tmp_path) -> None:
    path = tmp_path / "chain.mlir"
    path.write_text(CHAIN)
    imported = Imported("chain", file_digest(path), path, 0, 0, None)
    artifact = compile_imported(imported, load_preset("vulkan/auto"))
    program = read_program(artifact.vmfb)
    assert len(program.steps) == 1
    x = np.random.default_rng(0).standard_normal((3, 5, 48)).astype(np.float32)
    session = Session(artifact.vmfb, resolve("vulkan"))
    (found,) = session(x)
    session.close()
    wanted = x.astype(np.float64)
    wanted = (wanted - wanted.sum(2, keepdims=True)).sum(1, keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


# With f16 an artifact for another device, which this one can run.
@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("preset", ["vulkan/auto", "vulkan-ada/f16-auto"])
@pytest.mark.parametrize(
    ("model", "launches"),
    [
        # The first convolution (and for float16 its input's layout); all from the depthwise one to the gate's
        # product; the last convolution; its transposition.
        ("squeezed", {"vulkan/auto": 4, "vulkan-ada/f16-auto": 4}),
        # (The input rounded;) two products, each with a norm behind it; the sum.
        ("normed", {"vulkan/auto": 5, "vulkan-ada/f16-auto": 6}),
        # What is scaled; its norm; a product.
        ("large", {"vulkan/auto": 3, "vulkan-ada/f16-auto": 3}),
    ],
)
def test_networks(model: str, launches: dict[str, int], preset: str) -> None:
    artifact = compile_model(f"gpu_model:{model}", preset)
    program = read_program(artifact.vmfb)
    assert len(program.steps) == len(program.launches) == launches[preset]
    with Worker(artifact.vmfb, resolve("vulkan"), artifact.golden) as worker:
        check = worker.check(tolerance_of(load_preset(preset).element))
    assert check.verified, check.reason
