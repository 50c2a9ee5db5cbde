"""A module of PyTorch as linalg on tensors, without the importer's cache and golden outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from dlas_mlir.compiler.frontend import torch_import, torch_lowering


def write_linalg(module: nn.Module, inputs: tuple[Any, ...], path: Path, name: str) -> None:
    """Write bytecode of `module` traced with `inputs` to `path`, and of the torch dialect beside it."""
    source = path.with_name("torch.mlirbc")
    notes = torch_import.write_torch(torch_import.export(module, inputs, name), source, name)
    torch_lowering.lower(source, path, name, notes)
