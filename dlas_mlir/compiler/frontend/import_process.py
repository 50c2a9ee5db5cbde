"""The import of one model, for a process of its own: user code, PyTorch, and the native code that reads and lowers.

`python -m dlas_mlir.compiler.frontend.import_process JSON` does the same in the process that it starts, for a debugger.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.compiler import cache, work
from dlas_mlir.compiler.frontend import mlir_import, workload_import
from dlas_mlir.compiler.frontend.importer import GOLDEN, MLIR, MODULE, ONNX, TORCH, WORKLOAD, Request, request_for
from dlas_mlir.errors import DlasError
from dlas_mlir.process import entering

if TYPE_CHECKING:
    from dlas_mlir.compiler.frontend.torch_source import TorchSource


def run(spec: str, inputs: list[str] | None, batch: int | None, weights: str | None, folder: str) -> dict[str, Any]:
    """Write the module, and golden outputs where there are some, into `folder`; return what is known of the model.

    The other arguments are those of `import_model`. Raises DlasError.
    """
    try:
        given = tuple(inputs) if inputs is not None else None
        return _run(request_for(spec, given, Path(weights) if weights else None, batch), folder)
    except OSError as error:
        if error.filename is not None:
            raise
        # Writing does not say where, when a disk is full.
        raise DlasError(f"cannot write {folder}: {error.strerror} (DLAS_CACHE names another place)") from None


def _run(request: Request, folder: str) -> dict[str, Any]:
    module = Path(folder) / MODULE
    if request.kind == ONNX:
        entering(f"the import of {request.spec}")
        files = _import_onnx(Path(request.spec), module, request)
        return _read(module, request.name) | {"sources": files}
    if request.kind in MLIR:
        entering(f"the import of {request.spec}")
        mlir_import.write_linalg(Path(request.spec), module)
        return _read(module, request.name)
    if request.kind == WORKLOAD:
        entering(f"the import of {request.spec}")
        macs = workload_import.write_linalg(Path(request.spec), module)
        return _read(module, request.name) | {"macs": macs}
    source = _trace(request, Path(folder) / GOLDEN)
    source.write_linalg(module)
    files = {str(file): cache.file_digest(file) for file in source.files}
    known = {"parameters": source.parameters, "nonzeros": source.nonzeros, "sources": files}
    return _read(module, request.name) | known


def lower(name: str, folder: str, notes: dict[str, Any]) -> dict[str, Any]:
    """The same for a model that its owner has written into `folder` in the torch dialect, with golden outputs.

    `notes` are what `vars` makes of `torch_lowering.Notes`. Raises DlasError.
    """
    from dlas_mlir.compiler.frontend import torch_lowering

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


def _import_onnx(path: Path, module: Path, request: Request) -> dict[str, str]:
    """Write an .onnx file as linalg; returns the digests of the files that it refers to, by the names that it has."""
    if find_spec("onnx") is None:
        raise DlasError(f"{path} needs the onnx package: install dlas-mlir[onnx]")
    from dlas_mlir.compiler.frontend.onnx import importing as onnx_import

    files = onnx_import.convert(path, module, request.inputs, request.batch)
    return {name: cache.file_digest(path.absolute().parent / name) for name in files}


def _trace(request: Request, golden: Path) -> TorchSource:
    """Trace the model, and write its golden outputs."""
    from dlas_mlir.compiler.frontend import torch_source

    with torch_source.one_thread():
        if request.kind == "zoo":
            source = torch_source.from_zoo(request.spec, request.inputs, request.weights, request.batch)
        elif request.kind == "factory":
            source = torch_source.from_factory(request.spec, request.inputs, request.weights, request.batch)
        else:
            source = torch_source.from_exported_file(Path(request.spec))
        source.write_golden(golden)
    return source


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1])), indent=1))
