"""What an ONNX model answers, asked in a process of its own: it may take long, or not be known."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dlas_mlir import process
from dlas_mlir.errors import DlasError

_GOLDEN = "dlas_mlir.compiler.frontend.onnx.golden"
# Seconds that knowing the right answer is worth.
LIMIT = 120.0


def write_golden(path: Path, output: Path, inputs: tuple[str, ...] | None, batch: int | None = None) -> str:
    """Write example inputs and the outputs that go with them; returns why there are none, or nothing."""
    arguments = {"spec": str(path), "output": str(output), "inputs": inputs, "batch": batch}
    try:
        process.call(f"{_GOLDEN}:run", arguments, what="asking for the right answer", timeout=LIMIT, preload=[_GOLDEN])
    except process.Died as died:
        output.unlink(missing_ok=True)  # half written, perhaps
        faster = "" if find_spec("onnxruntime") else "; onnxruntime, where it is installed, is faster"
        return f"{died}{faster}".splitlines()[0]
    except DlasError as error:
        return str(error)
    return ""
