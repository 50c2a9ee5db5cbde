"""OpenVINO's CPU plugin, for latency, in f32: on its own it would choose bf16 where the CPU has it.

The variant may be `int8`: what is quantized then is in integers, and the rest in f32.
"""

from __future__ import annotations

import numpy as np
import openvino  # pyright: ignore[reportMissingImports]

from benchmarks.peers import Loaded
from benchmarks.workload import Case


def versions() -> dict[str, str]:
    return {"openvino": openvino.__version__}


def load(case: Case, threads: int, variant: str) -> Loaded:
    flags = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "YES",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(case.onnx_file(variant)), "CPU", flags)
    request = compiled.create_infer_request()
    with np.load(case.golden) as golden:
        for i, port in enumerate(compiled.inputs):
            request.set_tensor(port, openvino.Tensor(golden[f"input_{i}"].copy()))

    def call() -> None:
        request.infer()

    def outputs() -> list[np.ndarray]:
        call()
        return [request.get_tensor(port).data.copy() for port in compiled.outputs]

    return Loaded(call, outputs, flags=flags, golden=case.golden_file(variant))
