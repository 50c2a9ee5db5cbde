"""ONNX Runtime's CPU provider, every graph optimisation, inputs and outputs bound once. The variant may be `int8`."""

from __future__ import annotations

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]

from benchmarks.peers import Loaded
from benchmarks.workload import Case


def versions() -> dict[str, str]:
    return {"onnxruntime": onnxruntime.__version__}


def load(case: Case, threads: int, variant: str) -> Loaded:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(case.onnx_file(variant), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    with np.load(case.golden) as golden:
        for i, value in enumerate(session.get_inputs()):
            binding.bind_ortvalue_input(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(golden[f"input_{i}"]))
    for value in session.get_outputs():
        binding.bind_output(value.name)

    def call() -> None:
        session.run_with_iobinding(binding)

    def outputs() -> list[np.ndarray]:
        call()
        return binding.copy_outputs_to_cpu()

    flags = {
        "graph_optimization_level": "ORT_ENABLE_ALL",
        "intra_op_num_threads": str(threads),
        "allow_spinning": "default (on within a run)",
        "io_binding": "True",
    }
    return Loaded(call, outputs, flags=flags, golden=case.golden_file(variant))
