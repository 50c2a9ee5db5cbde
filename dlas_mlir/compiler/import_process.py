"""The import of one model, for a process of its own: user code, PyTorch, and the native code that reads and lowers.

`python -m dlas_mlir.compiler.import_process JSON` does the same in the process that it starts, for a debugger.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.process import entering

from . import cache, mlir_import, work
from .importer import GOLDEN, MODULE, TORCH, WITHOUT_TORCH, Request, request_for

if TYPE_CHECKING:
    from .torch_source import TorchSource


def run(spec: str, inputs: list[str] | None, weights: str | None, folder: str) -> dict[str, Any]:
    """Write the module, and golden outputs where there are some, into `folder`; return what is known of the model.

    The other arguments are those of `import_model`. Raises DlasError.
    """
    request = request_for(spec, tuple(inputs) if inputs is not None else None, Path(weights) if weights else None)
    module = Path(folder) / MODULE
    source = None if request.kind in WITHOUT_TORCH else _trace(request, Path(folder) / GOLDEN)
    if source is None:
        entering(f"the import of {request.spec}")
        mlir_import.write_linalg(Path(request.spec), module)
    else:
        source.write_linalg(module)
    known = _read(module, request.name)
    if source is None:
        return known
    files = {str(file): cache.file_digest(file) for file in source.files}
    return known | {"parameters": source.parameters, "nonzeros": source.nonzeros, "sources": files}


def lower(name: str, folder: str, notes: dict[str, Any]) -> dict[str, Any]:
    """The same for a model that its owner has written into `folder` in the torch dialect, with golden outputs.

    `notes` are what `vars` makes of `torch_lowering.Notes`. Raises DlasError.
    """
    from . import torch_lowering

    module = Path(folder) / MODULE
    torch_lowering.lower(Path(folder) / TORCH, module, name, torch_lowering.Notes(**notes))
    return _read(module, name)


def _read(module: Path, name: str) -> dict[str, Any]:
    entering("reading the imported module")
    imported = mlir_import.read_module(module)
    mlir_import.check_main(imported, name)
    counted = work.count(imported)
    return {
        "macs": counted.macs,
        "effective_macs": counted.effective,
        "parameters": counted.elements,
        "nonzeros": counted.nonzeros,
        "sources": {},
    }


def _trace(request: Request, golden: Path) -> TorchSource:
    """Trace the model, and write its golden outputs."""
    from . import torch_source

    with torch_source.one_thread():
        if request.kind == "zoo":
            source = torch_source.from_zoo(request.spec, request.inputs, request.weights)
        elif request.kind == "factory":
            source = torch_source.from_factory(request.spec, request.inputs, request.weights)
        else:
            source = torch_source.from_exported_file(Path(request.spec))
        source.write_golden(golden)
    return source


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1])), indent=1))
