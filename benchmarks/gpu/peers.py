"""The others, in PyTorch: eager, what cuDNN does in a CUDA graph, and inductor. Each yields rows."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu import networks
from benchmarks.gpu.cases import Layer
from benchmarks.gpu.turns import turns
from dlas_mlir.measure.turn import sample
from dlas_mlir.runtime.cuda_driver import COPIES, REPLAYS

Row = dict[str, Any]
# Of inductor's, for each process.
_COMPILE_THREADS = 2


def graph_us(call: Callable[[], Any]) -> float:
    """Microseconds of one of many calls in a CUDA graph, by the device's events: the median, as ours are timed."""
    return _events_us(_graph(call, COPIES).replay) / COPIES


def _graph(call: Callable[[], Any], copies: int = 1) -> torch.cuda.CUDAGraph:
    """A CUDA graph of `copies` calls."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(copies):
            call()
    return graph


def _events_us(call: Callable[[], Any]) -> float:
    for _ in range(2):
        call()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events)) * 1e3


def call_us(call: Callable[[], Any], seconds: float = 0.2) -> float:
    """Microseconds of a call that is waited for: the median."""

    def waited() -> None:
        call()
        torch.cuda.synchronize()

    return statistics.median(sample(waited, min_seconds=seconds, warmup=3)) / 1e3


def _settings(tf32: bool = False) -> None:
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


def layer(one: Row) -> Iterator[Row]:
    """cuDNN's fused convolution, bias and ReLU; depthwise ones, which it does not fuse, as they are."""
    shape, element = Layer.of(one["case"]), one["element"]
    if element == "int8":
        yield from _int8(shape)
        return
    _settings(element == "tf32")
    kind = {"f16": torch.float16, "bf16": torch.bfloat16}.get(element, torch.float32)
    pad = shape.kernel // 2

    def on_device(*size: int) -> torch.Tensor:
        return torch.randn(*size, device="cuda", dtype=kind).contiguous(memory_format=torch.channels_last)

    x = on_device(shape.batch, shape.channels, shape.size, shape.size)
    w = on_device(shape.filters, shape.channels // shape.groups, shape.kernel, shape.kernel)
    b = torch.randn(shape.filters, device="cuda", dtype=kind)
    pairs = [shape.stride] * 2, [pad] * 2, [1] * 2
    if shape.groups == 1:
        us = graph_us(lambda: torch.cudnn_convolution_relu(x, w, b, *pairs, 1))
        yield {"who": "cudnn", "device_us": us, "how": f"cudnn_convolution_relu, {COPIES} in a CUDA graph"}
        return
    us = graph_us(lambda: functional.conv2d(x, w, b, shape.stride, pad, 1, shape.groups))
    yield {"who": "cudnn", "device_us": us, "how": f"conv2d with bias, without ReLU, {COPIES} in a CUDA graph"}


def _int8(shape: Layer) -> Iterator[Row]:
    """PyTorch has no convolution of integers on GPUs; a 1x1 one is its product of matrices."""
    if shape.kernel != 1 or shape.batch * shape.size**2 <= 16:
        return
    rows = shape.batch * ((shape.size - 1) // shape.stride + 1) ** 2
    x = torch.randint(-127, 127, (rows, shape.channels), device="cuda", dtype=torch.int8)
    w = torch.randint(-127, 127, (shape.filters, shape.channels), device="cuda", dtype=torch.int8).t()
    product = torch._int_mm  # pyright: ignore[reportPrivateImportUsage]
    us = graph_us(lambda: product(x, w))
    yield {"who": "int_mm", "device_us": us, "how": f"torch._int_mm, without what follows it, {COPIES} in a CUDA graph"}


def model(one: Row) -> Iterator[Row]:
    """Eager, and as a CUDA graph, channels last, batch norms folded."""
    with turns() as alone, torch.inference_mode():
        module, x = _model(one)
        alone()
        yield {"who": "eager", "call_us": call_us(lambda: module(x))}
        graph = _graph(lambda: module(x))
        yield {"who": "cuda graph", "call_us": call_us(graph.replay), "device_us": _events_us(graph.replay)}


def inductor(one: Row, mode: str) -> Iterator[Row]:
    """torch.compile in a `mode`, with frozen weights."""
    import torch._inductor.config as settings

    settings.freezing = True
    settings.compile_threads = _COMPILE_THREADS
    with turns() as alone, torch.no_grad():
        module, x = _model(one)
        start = time.perf_counter()
        compiled = torch.compile(module, mode=mode)
        for _ in range(3):
            compiled(x)
        torch.cuda.synchronize()
        took = time.perf_counter() - start
        alone()
        found = {"call_us": call_us(lambda: compiled(x)), "device_us": _events_us(lambda: compiled(x))}
    yield {"who": f"inductor {mode}", "compile_s": took, **found}


def _model(one: Row) -> tuple[torch.nn.Module, torch.Tensor]:
    _settings()
    name, _, batch = one["case"].rpartition("_n")
    kind = torch.float16 if one["element"] == "f16" else torch.float32
    module = networks.folded(name)
    networks.fill(module, networks.images(name, 1))
    module = module.to(device="cuda", dtype=kind, memory_format=torch.channels_last)  # pyright: ignore
    return module, networks.images(name, int(batch)).to("cuda", kind).contiguous(memory_format=torch.channels_last)
