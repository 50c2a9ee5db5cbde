"""The outputs that candidates are held to, where a model has none of its own or other kernels are the standard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlas_mlir.compiler.frontend.importer import Imported


def write_expected(
    path: Path,
    imported: Imported,
    element: str | None,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    reference: str,
) -> Path:
    """Write `outputs` for `inputs` as golden ones, computed by `reference`: what is compared with them may be off by
    what goes with the element type of the recipe, else of the network, or by what rounding alone does to it."""
    arrays = {f"input_{i}": value for i, value in enumerate(inputs)}
    arrays |= {f"output_{i}": value for i, value in enumerate(outputs)}
    if imported.golden is not None:
        with np.load(imported.golden, allow_pickle=False) as golden:
            arrays |= {key: golden[key] for key in ("element", "limits") if key in golden.files}
    if element:
        arrays["element"] = np.array(element)
    arrays["reference"] = np.array(reference)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path
