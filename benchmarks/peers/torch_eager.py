"""PyTorch as it comes: oneDNN convolutions, no compilation."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers import Loaded
from benchmarks.workload import Case, build


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def as_numpy(result: torch.Tensor | tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    tensors = [result] if isinstance(result, torch.Tensor) else result
    return [tensor.detach().numpy().copy() for tensor in tensors]


def load(case: Case, threads: int, variant: str) -> Loaded:
    torch.set_num_threads(threads)
    module, inputs = build(case.spec)

    def call():
        with torch.inference_mode():
            return module(*inputs)

    return Loaded(call, lambda: as_numpy(call()), flags={"mode": "inference_mode", "num_threads": str(threads)})
