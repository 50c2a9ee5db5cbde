"""Run a module with encoded weights as upstream MLIR does: the sparsifier of torch-mlir's bindings and LLVM's JIT."""

from __future__ import annotations

import ctypes

import numpy as np
from torch_mlir import ir
from torch_mlir.execution_engine import ExecutionEngine
from torch_mlir.passmanager import PassManager
from torch_mlir.runtime import get_ranked_memref_descriptor, make_nd_memref_descriptor, ranked_memref_to_numpy

# Without the runtime library, which the wheel lacks, the sparsifier generates the code of conversions too.
_PIPELINE = "builtin.module(func.func(linalg-generalize-named-ops),sparsifier{enable-runtime-library=false vl=16})"


def run_upstream(text: str, inputs: list[np.ndarray], rank: int) -> np.ndarray:
    """What the function @main of `text`, with the attribute llvm.emit_c_interface, returns for float32 `inputs`: one
    tensor of `rank` dimensions. The module must be valid without any dialect of ours."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        PassManager.parse(_PIPELINE).run(module.operation)
        engine = ExecutionEngine(module)
        result = make_nd_memref_descriptor(rank, ctypes.c_float)()
        # The JIT may write to its arguments: the accumulator is one.
        copies = [np.array(array, np.float32) for array in inputs]
        arguments = [result, *(get_ranked_memref_descriptor(array) for array in copies)]
        pointers = [ctypes.pointer(ctypes.pointer(argument)) for argument in arguments]
        engine.invoke("main", *pointers)
        return ranked_memref_to_numpy(pointers[0][0]).copy()
