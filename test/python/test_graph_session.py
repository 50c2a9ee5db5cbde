"""Calls as CUDA graphs: what an artifact tells of its buffers, with a driver made up of the host's own memory, whose
kernels are NumPy's."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlas_mlir.compiler import tools
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.cuda_driver import Cuda
from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.graph_session import GraphSession, open_session
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.session import Session

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((64, 64)).astype(np.float32)
INSIDE = RANDOM.standard_normal((64, 64)).astype(np.float32)
# z = (x w) c, and the sums of its rows: w is a parameter, c is in the artifact, x w is a call's own.
TEXT = f"""
util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<64x64xf32>
func.func @main(%x: tensor<4x64xf32>, %one: tensor<4x64xf32> {{iree.abi.output = 0 : index}},
    %two: tensor<4xf32> {{iree.abi.output = 1 : index}}) -> (tensor<4x64xf32>, tensor<4xf32>) {{
  %w = util.global.load immutable @w : tensor<64x64xf32>
  %c = arith.constant dense<"0x{INSIDE.tobytes().hex().upper()}"> : tensor<64x64xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  %y = linalg.matmul ins(%x, %w : tensor<4x64xf32>, tensor<64x64xf32>) outs(%start : tensor<4x64xf32>)
      -> tensor<4x64xf32>
  %z = linalg.matmul ins(%y, %c : tensor<4x64xf32>, tensor<64x64xf32>) outs(%start : tensor<4x64xf32>)
      -> tensor<4x64xf32>
  %rows = tensor.empty() : tensor<4xf32>
  %none = linalg.fill ins(%zero : f32) outs(%rows : tensor<4xf32>) -> tensor<4xf32>
  %sums = linalg.reduce ins(%z : tensor<4x64xf32>) outs(%none : tensor<4xf32>) dimensions = [1]
      (%a: f32, %b: f32) {{ %s = arith.addf %a, %b : f32 linalg.yield %s : f32 }}
  return %z, %sums : tensor<4x64xf32>, tensor<4xf32>
}}
"""
DEVICE = Device("cuda", 1, caller=0)


def built(folder: Path, text: str, *flags: str) -> Path:
    (folder / "model.mlir").write_text(text)
    vmfb = folder / "model.vmfb"
    own = ["--iree-opt-level=O3", "--iree-hal-target-device=cuda", "--iree-cuda-target=sm_80", *flags]
    command = [tools.iree_compile(), folder / "model.mlir", *own, "-o", vmfb]
    subprocess.run(command, check=True, timeout=300)
    return vmfb


class Host:
    """NVIDIA's driver on the memory of this process. What is recorded in a graph is done when that is launched."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.names: list[str] = []
        self.graphs: list[list[Callable[[], None]]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.graphs_dropped = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(type(self), f"_{name}", None)
        return (lambda *arguments: method(self, *arguments) or 0) if method else (lambda *_: 0)

    def _do(self, work: Callable[[], None]) -> None:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def _cuMemAlloc_v2(self, found: Any, size: Any) -> None:
        block = (ctypes.c_uint8 * size.value)()
        self.memory[ctypes.addressof(block)] = block
        found._obj.value = ctypes.addressof(block)

    def _cuMemFree_v2(self, address: Any) -> None:
        del self.memory[address.value]

    def _cuMemcpyHtoD_v2(self, target: Any, source: Any, size: Any) -> None:
        ctypes.memmove(target.value, source, getattr(size, "value", size))

    def _cuMemcpyDtoH_v2(self, target: Any, source: Any, size: Any) -> None:
        ctypes.memmove(target, source.value, getattr(size, "value", size))

    def _cuModuleGetFunction(self, found: Any, module: Any, name: bytes) -> None:
        self.names.append(name.decode())
        found._obj.value = len(self.names)

    def _cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> None:
        self.recording = []

    def _cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> None:
        assert self.recording is not None
        self.graphs.append(self.recording)
        made._obj.value, self.recording = len(self.graphs), None

    def _cuGraphLaunch(self, graph: Any, stream: Any) -> None:
        for work in self.graphs[graph.value - 1]:
            work()

    def _cuGraphExecDestroy(self, graph: Any) -> None:
        self.graphs_dropped += 1

    def _cuMemsetD8Async(self, target: Any, value: Any, size: Any, stream: Any) -> None:
        start, byte, count = target.value, value.value, size.value
        self._do(lambda: array(start, (count,), np.uint8).fill(byte))

    def _cuMemsetD32Async(self, target: Any, value: Any, count: Any, stream: Any) -> None:
        start, number, size = target.value, value.value, count.value
        self._do(lambda: np.copyto(array(start, (size,), np.uint32), number))

    def _cuMemcpyDtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        to, start, count = target.value, source.value, size.value
        self._do(lambda: np.copyto(array(to, (count,), np.uint8), array(start, (count,), np.uint8)))

    def _cuLaunchKernel(self, function: Any, *rest: Any) -> None:
        *_, places, _ = rest
        name = self.names[function.value - 1]
        count = 4 if "matmul" in name else 2
        words = [ctypes.cast(place, ctypes.POINTER(ctypes.c_uint64))[0] for place in places[:3]]
        # Behind three addresses comes a number of 32 bits.
        words += [ctypes.cast(place, ctypes.POINTER(ctypes.c_uint32))[0] for place in places[3:]]
        assert len(words) == count
        self._do(lambda: kernel(name, words))


def array(address: int, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)


def kernel(name: str, pointers: list[int]) -> None:
    """What iree-compile makes of TEXT, and of others here."""
    own = 4 * 64 * 4
    if "matmul" in name:
        # One kernel for both: the second one reads the first of two parts of a call's own memory, and writes the other.
        left, right, result, second = pointers
        assert second in (0, own)
        array(result + second, (4, 64))[:] = array(left, (4, 64)) @ array(right, (64, 64))
    else:
        assert "reduction" in name
        array(pointers[1], (4,))[:] = array(pointers[0] + own, (4, 64)).sum(1)


def test_a_call_is_one_graph(tmp_path) -> None:
    host = Host()
    vmfb = built(tmp_path, TEXT, "--iree-execution-model=async-external")
    assert len(read_program(vmfb).launches) == 3
    session = open_session(vmfb, DEVICE, parameters={"w": WEIGHTS}, driver=Cuda(host))
    assert isinstance(session, GraphSession)
    x, other = (RANDOM.standard_normal((4, 64)).astype(np.float32) for _ in range(2))
    first, second = session.prepare([x]), session.prepare([other])
    assert [len(graph) for graph in host.graphs] == [4, 4]  # z is copied to its storage
    for arguments, given in ((first, x), (second, other), (first, x)):
        z, sums = session.fetch(session.invoke(arguments))
        np.testing.assert_allclose(z, given @ WEIGHTS @ INSIDE, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(sums, (given @ WEIGHTS @ INSIDE).sum(1), rtol=1e-4, atol=1e-3)
    for _ in range(3):
        session.queue(second)
    session.wait()
    np.testing.assert_allclose(session.fetch(second)[0], other @ WEIGHTS @ INSIDE, rtol=1e-4, atol=1e-4)
    # Called with arrays, it writes them to where the first of them were.
    for given in (x, other):
        np.testing.assert_allclose(session(given)[0], given @ WEIGHTS @ INSIDE, rtol=1e-4, atol=1e-4)
    assert len(host.graphs) == 3
    with pytest.raises(DlasError, match="the function takes 4x64 float32, not 2x64 float32"):
        session.prepare([x[:2]])
    # Arguments that nobody has any more are given back.
    held = len(host.memory)
    del second, arguments
    assert (len(host.memory), host.graphs_dropped) == (held - 1, 1)
    session.close()
    assert not host.memory
    assert host.graphs_dropped == 3


def test_what_is_no_graph_is_called_by_the_runtime(tmp_path, monkeypatch) -> None:
    """A call that allocates its result, and one whose parameter nobody has."""
    opened = []
    monkeypatch.setattr(Session, "__init__", lambda self, artifact, device, **_: opened.append(artifact))
    vmfb = built(tmp_path, TEXT.replace("{iree.abi.output = 0 : index}", "").replace("%one: tensor<4x64xf32> ,\n", ""))
    assert "none of its arguments" in read_program(vmfb).unknown
    open_session(vmfb, DEVICE, parameters={"w": WEIGHTS}, driver=Cuda(Host()))
    (tmp_path / "other").mkdir()
    whole = built(tmp_path / "other", TEXT)
    open_session(whole, DEVICE, driver=Cuda(Host()))
    assert opened == [vmfb, whole]
