"""Reading an ExportedProgram file without running what is in it.

`torch.export.load` unpickles with full power where the archive asks for it, evaluates symbolic sizes and
compiles guards. So an archive is looked through before PyTorch gets to see it: one that holds such things is
refused.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # registers the operations of quantized programs
from torch.export import ExportedProgram

from dlas_mlir.errors import DlasError

_SAFE_TARGET = re.compile(
    r"torch\.ops\.\w+\.\w+\.\w+|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)|_operator\.getitem"
)
_MODEL = "models/model.json"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")


def load_exported(path: Path) -> ExportedProgram:
    """The program in `path`. Raises DlasError for a damaged file, and for more than tensors and ops."""
    try:
        reason = _why_refused(path)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise DlasError(
            f"{path} is no ExportedProgram: {error} (it may be truncated, or come from an old PyTorch)"
        ) from None
    if reason:
        raise DlasError(f"{path} is refused: {reason}")
    try:
        with warnings.catch_warnings(), _weights_only(), _without_log() as logged:
            warnings.simplefilter("ignore", FutureWarning)
            return torch.export.load(path)
    except Exception as error:  # the reader raises many kinds
        # One that only points to what it has logged says nothing.
        reason = str(logged[-1] if logged else error).strip().splitlines()
        raise DlasError(f"cannot read {path}: {reason[0] if reason else type(error).__name__}") from None


def _why_refused(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = {PurePosixPath(name).parts[0] for name in names}
        if len(set(names)) != len(names) or len(roots) != 1:
            return "its archive holds a name twice, or more than one root"
        (root,) = roots
        program = json.loads(archive.read(f"{root}/{_MODEL}"))
        payloads = [json.loads(archive.read(f"{root}/{name}")) for name in _PAYLOADS]
    for payload in payloads:
        for name, entry in payload["config"].items():
            if entry["use_pickle"] or not entry["path_name"].startswith(("weight_", "tensor_")):
                return f"{name} is a pickled object, which could run code; export the model with plain tensors"
    if program.get("guards_code"):
        return "it carries guards, which are code; export it with fixed shapes"
    for key, value in _items(program):
        if key == "expr_str":
            return "it has symbolic sizes, which are expressions to evaluate; export it with fixed shapes"
        if key == "target" and isinstance(value, str) and "." in value and not _SAFE_TARGET.fullmatch(value):
            return f"it calls {value}, which is no PyTorch operator"
    return None


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """All key-value pairs in nested JSON, but those of the signature: its targets are parameters."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            if key != "signature":
                yield from _items(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _items(inner)


@contextmanager
def _without_log() -> Iterator[list[BaseException]]:
    """Keep what torch.export logs from stderr: the exceptions in it."""
    logged: list[BaseException] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1]:
            logged.append(record.exc_info[1])
        return False

    logger = logging.getLogger("torch.export")
    logger.addFilter(keep)
    try:
        yield logged
    finally:
        logger.removeFilter(keep)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Make every torch.load refuse code, also where PyTorch asks for weights_only=False."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
