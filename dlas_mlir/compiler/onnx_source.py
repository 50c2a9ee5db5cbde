"""ONNX files from outside: the processes that import one and compute what it answers, and their limits."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from dlas_mlir.errors import DlasError

from . import tools
from .input_spec import InputSpec

# Seconds. Importing takes one for each 50 MB or 500 nodes; the reference evaluator as much as an unoptimised network.
_IMPORT_LIMIT = 600
_CHECK_LIMIT = 120


def write_linalg(path: Path, output: Path, inputs: tuple[InputSpec, ...] | None) -> list[str]:
    """Write an .onnx file as bytecode of linalg on tensors; returns the files that it refers to, as it names them.

    Raises DlasError when one is damaged, an operation is not supported, or the onnx package is absent.
    """
    if find_spec("onnx") is None:
        raise DlasError(f"{path} needs the onnx package: install dlas-mlir[onnx]")
    command = _command("onnx_import", path, output, inputs)
    again = shlex.join([*command[:4], "/dev/null", *command[5:]])
    try:
        outcome = tools.run_tool(command, timeout=_IMPORT_LIMIT)
    except DlasError:
        raise DlasError(
            f"{path}: importing it was stopped after {_IMPORT_LIMIT} s (reproduce it with: {again})"
        ) from None
    if outcome.code:
        lines = outcome.stderr.strip().splitlines()
        if outcome.code == 1 and lines:
            raise DlasError(lines[-1])
        said = f": {lines[0]}" if lines else ""
        raise DlasError(f"{path}: importing it {outcome.how()}{said} (reproduce it with: {again})")
    return json.loads(outcome.stdout)


def write_golden(path: Path, output: Path, inputs: tuple[InputSpec, ...] | None) -> str:
    """Write example inputs and the outputs that go with them; returns why there are none, or nothing."""
    try:
        outcome = tools.run_tool(_command("onnx_golden", path, output, inputs), timeout=_CHECK_LIMIT)
    except DlasError:
        faster = "" if find_spec("onnxruntime") else "; onnxruntime, where it is installed, is faster"
        return f"what the model answers was not known after {_CHECK_LIMIT} s{faster}"
    lines = outcome.stderr.strip().splitlines() or [outcome.how()]
    return lines[-1] if outcome.code else ""


def _command(module: str, path: Path, output: Path, inputs: tuple[InputSpec, ...] | None) -> list[str]:
    shapes = [str(spec) for spec in inputs or ()]
    return [sys.executable, "-m", f"{__package__}.{module}", str(path), str(output), *shapes]
