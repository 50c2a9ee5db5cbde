"""`python -m dlas_mlir.compiler.onnx_import IN.onnx OUT.mlirbc`: an ONNX model in the torch dialect.

What `iree-import-onnx` does, but it writes bytecode: the text that the tool writes loses the names of the nodes.
It is a process of its own, for the reader of ONNX files is native code and the files are the user's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from iree.compiler import ir
from iree.compiler.extras import onnx_importer
from iree.compiler.tools.import_onnx.__main__ import load_onnx_model, parse_arguments


def main(source: str, target: str) -> int:
    """Convert one file; the exit code is 1, with one line on stderr, for a model that cannot be imported."""
    try:
        info = onnx_importer.ModelInfo(load_onnx_model(parse_arguments([source])))
        module = info.create_module(context=ir.Context()).operation
        onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
        module.verify()
    except Exception as error:  # protobuf's, the checker's, the importer's and MLIR's errors
        lines = str(error).strip().splitlines() or [type(error).__name__]
        print(lines[0], file=sys.stderr)
        return 1
    with Path(target).open("wb") as file:
        module.write_bytecode(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
