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
from .importer import GOLDEN, MODULE, WITHOUT_TORCH, Request, request_for

if TYPE_CHECKING:
    from .torch_source import TorchSource


def run(spec: str, inputs: list[str] | None, weights: str | None, name: str | None, folder: str) -> dict[str, Any]:
    """Write the module, and golden outputs where there are some, into `folder`; return what is known of the model.

    The other arguments are those of `import_model`. Raises DlasError.
    """
    request = request_for(spec, tuple(inputs) if inputs is not None else None, Path(weights) if weights else None, name)
    module = Path(folder) / MODULE
    source = None if request.kind in WITHOUT_TORCH else _trace(request, Path(folder) / GOLDEN)
    if source is None:
        entering(f"the import of {request.spec}")
        mlir_import.write_linalg(Path(request.spec), module)
    else:
        source.write_linalg(module)
    entering("reading the imported module")
    imported = mlir_import.read_module(module)
    mlir_import.check_main(imported, request.name)
    counted = work.count(imported)
    return {
        "macs": counted.macs,
        "effective_macs": counted.effective,
        "parameters": source.parameters if source is not None else counted.elements,
        "nonzeros": source.nonzeros if source is not None else counted.nonzeros,
        "sources": {str(file): cache.file_digest(file) for file in source.files} if source is not None else {},
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
            source = torch_source.from_exported_file(Path(request.spec), request.title)
        source.write_golden(golden)
    return source


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1])), indent=1))
