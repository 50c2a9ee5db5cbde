"""torch.compile with inductor: C++ kernels and oneDNN, weights frozen so that they are packed once."""

from __future__ import annotations

import torch
import torch._dynamo
import torch._inductor.config as inductor

from benchmarks.peers import Loaded
from benchmarks.peers.torch_eager import as_numpy
from benchmarks.workload import Case, build


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def load(case: Case, threads: int, variant: str) -> Loaded:
    torch._dynamo.reset()
    torch.set_num_threads(threads)
    inductor.freezing = True
    inductor.cpp_wrapper = False
    module, inputs = build(case.spec)
    compiled = torch.compile(module, dynamic=False)

    def call():
        # Freezing needs no_grad; inference_mode would switch it off.
        with torch.no_grad():
            return compiled(*inputs)

    flags = {"freezing": "True", "cpp_wrapper": "False", "dynamic": "False", "num_threads": str(threads)}
    return Loaded(call, lambda: as_numpy(call()), flags=flags)
