"""Checkpoints: safetensors files with tensors, and what they are as JSON in the metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dlas_mlir.compiler.cache import write_atomically
from dlas_mlir.errors import DlasError
from dlas_mlir.models.metadata import METADATA_KEY, read_metadata


def save(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    check: Callable[[Path], None] = lambda written: None,
) -> None:
    """Write `path` whole or not at all; `metadata` is what JSON can hold. Raises DlasError when it cannot.

    `check` is given the file under its temporary name; what it raises passes, and then nothing is written.
    """
    # safetensors neither takes tensors that share memory nor strides such as channels-last.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    described = {METADATA_KEY: json.dumps(metadata, sort_keys=True)}

    def write(temporary: Path) -> None:
        save_file(whole, temporary, described)
        check(temporary)

    try:
        write_atomically(path, write)
    except SafetensorError as error:
        raise DlasError(f"cannot write {path}: {error}") from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata that `save` wrote. Raises DlasError when the file cannot be read."""
    try:
        return load_file(path), read_metadata(path)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise DlasError(f"cannot read {path}: {error} (it must be a safetensors file)") from None
