"""The native tools: where they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from dlas_mlir.errors import DlasError


def iree_compile() -> str:
    """The path of the iree-compile binary, found without importing the compiler."""
    try:
        spec = importlib.util.find_spec("iree.compiler")
    except ModuleNotFoundError:  # not even `iree`
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "_mlir_libs" / "iree-compile"
        if binary.exists():
            return str(binary)
    raise DlasError("iree-compile is not installed: pip install 'dlas-mlir[compiler]'")
