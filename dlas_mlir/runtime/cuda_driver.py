"""NVIDIA's driver, without IREE's runtime: kernels of an artifact in a CUDA graph, timed by the device's own events."""

from __future__ import annotations

import ctypes
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.launches import Kernel, Program, read_program
from dlas_mlir.runtime.listing import Launch

_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_MORE_THAN_ALWAYS = 48 * 1024
_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED
# Launches of one kernel in a graph, so that what it takes to start a graph does not count.
COPIES = 64
REPLAYS = 12
# Different numbers of the noise that memory is filled with.
_NOISE = 1 << 20


@dataclass(frozen=True)
class Ready:
    """A kernel with all that its launch takes."""

    function: int
    grid: tuple[int, int, int]
    threads: tuple[int, int, int]
    shared_bytes: int
    pointers: tuple[int, ...]
    constants: tuple[int, ...] = ()


class Cuda:
    """The driver on its first device. Each method raises DlasError with the driver's name for what is wrong."""

    def __init__(self, library: Any = None) -> None:
        try:
            self._library = library or ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise DlasError(f"NVIDIA's driver is not installed: {error}") from None
        self._memory: list[int] = []
        self._modules: list[ctypes.c_void_p] = []
        self.call("cuInit", 0)
        device, context, self._stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuStreamCreate", ctypes.byref(self._stream), 1)

    def attribute(self, number: int) -> int:
        """A number that the driver knows of the device, by its CUdevice_attribute."""
        found = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(found), number, 0)
        return found.value

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver."""
        function = getattr(self._library, name, None)
        if function is None:
            raise DlasError(f"NVIDIA's driver is older than what is asked of it: it has no {name}")
        code = function(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            raise DlasError(f"{name}: {text.value.decode() if text.value else code}")

    def module(self, ptx: str) -> ctypes.c_void_p:
        """PTX, compiled and loaded."""
        found = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(found), ptx.encode() + b"\0")
        self._modules.append(found)
        return found

    def function(self, module: ctypes.c_void_p, name: str, shared_bytes: int = 0) -> int:
        """A kernel of a module, allowed that many bytes of shared memory."""
        found = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(found), module, name.encode())
        if shared_bytes > _MORE_THAN_ALWAYS:
            self.call("cuFuncSetAttribute", found, _DYNAMIC_SHARED, shared_bytes)
        assert found.value is not None
        return found.value

    def memory(self, size: int, *, noise: bool = True, content: bytes | None = None) -> int:
        """Device memory of `size` bytes that holds `content`, or, where none is given, random float16 from -1 to 1,
        since kernels are faster on zeros; or zeros."""
        found = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(found), ctypes.c_size_t(size))
        self._memory.append(found.value)
        if content is not None:
            self.call("cuMemcpyHtoD_v2", found, content[:size], ctypes.c_size_t(min(size, len(content))))
        elif noise:
            some = np.random.default_rng(0).uniform(-1, 1, _NOISE).astype(np.float16)
            content = np.resize(some, size // 2 + 1).tobytes()[:size]
            self.call("cuMemcpyHtoD_v2", found, content, ctypes.c_size_t(size))
        else:
            self.call("cuMemsetD8_v2", found, ctypes.c_ubyte(0), ctypes.c_size_t(size))
        return found.value

    def release(self) -> None:
        """Give back all memory and modules."""
        for address in self._memory:
            self.call("cuMemFree_v2", ctypes.c_uint64(address))
        for module in self._modules:
            self.call("cuModuleUnload", module)
        self._memory, self._modules = [], []

    def launch(self, ready: Ready) -> None:
        """Launch on the stream."""
        values: list[Any] = [ctypes.c_uint64(one) for one in ready.pointers]
        values += [ctypes.c_uint32(one) for one in ready.constants]
        places = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        shared, function = ctypes.c_uint(ready.shared_bytes), ctypes.c_void_p(ready.function)
        sizes = [ctypes.c_uint(size) for size in (*ready.grid, *ready.threads)]
        self.call("cuLaunchKernel", function, *sizes, shared, self._stream, places, None)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy between device memory, on the stream."""
        places = ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(size)
        self.call("cuMemcpyDtoDAsync_v2", *places, self._stream)

    def free(self, addresses: Sequence[int]) -> None:
        """Give back some of the memory."""
        for address in addresses:
            self._memory.remove(address)
            self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def fill(self, target: int, pattern: int, width: int, size: int) -> None:
        """Fill device memory with a number of 1, 2 or 4 bytes, on the stream."""
        kind = {1: ctypes.c_ubyte, 2: ctypes.c_ushort, 4: ctypes.c_uint}[width]
        count = ctypes.c_size_t(size // width)
        self.call(f"cuMemsetD{8 * width}Async", ctypes.c_uint64(target), kind(pattern), count, self._stream)

    def read(self, source: int, target: np.ndarray) -> None:
        """Copy device memory to an array, once the stream has come so far."""
        self.synchronize()
        self.call("cuMemcpyDtoH_v2", target.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(source), target.nbytes)

    def write(self, target: int, source: np.ndarray) -> None:
        """Copy an array to device memory, once the stream has come so far."""
        self.synchronize()
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(target), source.ctypes.data_as(ctypes.c_void_p), source.nbytes)

    def synchronize(self) -> None:
        """Wait for all that is on the stream."""
        self.call("cuStreamSynchronize", self._stream)

    def graph(self, record: Callable[[], object]) -> ctypes.c_void_p:
        """What `record` puts on the stream, as a CUDA graph."""
        record()  # what is loaded lazily is loaded outside of a capture
        self.synchronize()
        graph, made = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", self._stream, _RELAXED)
        record()
        self.call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        self.call("cuGraphInstantiateWithFlags", ctypes.byref(made), graph, ctypes.c_ulonglong(0))
        self.call("cuGraphDestroy", graph)
        return made

    def replay(self, graph: ctypes.c_void_p) -> None:
        """Put a graph on the stream."""
        self.call("cuGraphLaunch", graph, self._stream)

    def drop(self, graph: ctypes.c_void_p) -> None:
        """Give a graph back."""
        self.call("cuGraphExecDestroy", graph)

    def graph_us(self, record: Callable[[], object], replays: int = REPLAYS) -> float:
        """Microseconds that the device takes for what `record` puts on the stream, as a graph: the median by events."""
        made = self.graph(record)
        events = [ctypes.c_void_p() for _ in range(replays + 1)]
        for event in events:
            self.call("cuEventCreate", ctypes.byref(event), 0)
        for _ in range(2):
            self.replay(made)
        self.call("cuEventRecord", events[0], self._stream)
        for event in events[1:]:
            self.replay(made)
            self.call("cuEventRecord", event, self._stream)
        self.synchronize()
        spans = [self._between(*pair) for pair in itertools.pairwise(events)]
        for event in events:
            self.call("cuEventDestroy_v2", event)
        self.drop(made)
        return statistics.median(spans)

    def _between(self, start: ctypes.c_void_p, end: ctypes.c_void_p) -> float:
        milliseconds = ctypes.c_float()
        self.call("cuEventElapsedTime", ctypes.byref(milliseconds), start, end)
        return milliseconds.value * 1e3


def extents(program: Program) -> dict[str, int]:
    """How large the buffers of a program are: as they are read and written, in bytes."""
    sizes: dict[str, int] = {}
    for step in program.steps:
        for one in step.bindings:
            sizes[one.buffer] = max(sizes.get(one.buffer, 0), one.offset + one.length)
    return sizes


class Kernels:
    """The kernels of a program, each loaded once."""

    def __init__(self, cuda: Cuda, program: Program) -> None:
        self._cuda, self._program = cuda, program
        self._modules: dict[str, ctypes.c_void_p] = {}
        self._known: dict[str, tuple[int, Kernel]] = {}

    def ready(self, launch: Launch, pointers: tuple[int, ...]) -> Ready:
        """A launch with what it takes, on these addresses."""
        if launch.name not in self._known:
            kernel = self._program.kernel(launch)
            if launch.file not in self._modules:
                self._modules[launch.file] = self._cuda.module(kernel.ptx)
            function = self._cuda.function(self._modules[launch.file], kernel.name, kernel.shared_bytes)
            self._known[launch.name] = function, kernel
        function, kernel = self._known[launch.name]
        return Ready(function, launch.workgroups, kernel.threads, kernel.shared_bytes, pointers, launch.constants)


def prepare(cuda: Cuda, program: Program) -> list[Ready]:
    """The launches of one call, with memory of their own: buffers are as large as they are read and written. Constants
    are what they are, for where a kernel reads may be one of them (places of non-zeros)."""
    memory = {name: cuda.memory(size, content=program.content(name)) for name, size in extents(program).items()}
    kernels = Kernels(cuda, program)
    return [
        kernels.ready(launch, tuple(memory[one.buffer] + one.offset for one in launch.bindings))
        for launch in program.launches
    ]


def replayed(cuda: Cuda, program: Program, *, alone: bool = True) -> dict[str, Any]:
    """The device's time for one call of a program as one CUDA graph, `device_us`, and, if each is wanted `alone`,
    `launches`: `name` and `us` of each kernel, from many launches of it in a graph, on the same buffers."""
    ready = prepare(cuda, program)

    def all_of(some: Sequence[Ready]) -> float:
        return cuda.graph_us(lambda: [cuda.launch(one) for one in some])

    found: dict[str, Any] = {"device_us": all_of(ready), "launches": []}
    if alone:
        each = {launch.work: one for launch, one in zip(program.launches, ready, strict=True)}
        us = {work: all_of([one] * COPIES) / COPIES for work, one in each.items()}
        found["launches"] = [{"name": launch.name, "us": us[launch.work]} for launch in program.launches]
    cuda.release()
    return found


def times(vmfb: str, alone: bool) -> dict[str, Any]:
    """What `replayed` says of an artifact; for a process of its own."""
    program = read_program(Path(vmfb))
    return replayed(Cuda(), program, alone=alone)
