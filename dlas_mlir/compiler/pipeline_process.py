"""Runs a preset's pass pipeline on one file, for a process of its own.

The compiler is native code that may abort; and the process that asked for a cached artifact never loads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from iree.compiler import ir

from dlas_mlir.errors import DlasError
from dlas_mlir.ir import attributes, conv, sparsity
from dlas_mlir.opt.base import PassError
from dlas_mlir.opt.diagnostics import from_mlir, render
from dlas_mlir.opt.pipeline import PassFailure, parse_pipeline
from dlas_mlir.passes.primitives import LAYERS, SHAPE, layer_of


def run(source: str, pipeline: str, bytecode: str | None, text: str | None) -> dict[str, Any]:
    """Run `pipeline` on the file `source`, write bytecode and text where asked, return the layers.

    The module is verified when it is read, and after each pass. Remarks and warnings go to stderr. Raises DlasError.
    """
    with ir.Context() as context:
        context.allow_unregistered_dialects = True
        context.emit_error_diagnostics = True  # or those of passes that go on are lost
        said: list[str] = []
        context.attach_diagnostic_handler(lambda info: said.append(render(from_mlir(info))) or True)
        try:
            checked = parse_pipeline(pipeline, context)
            module = ir.Module.parseFile(source, context)
            imported = count_layers(module)
            checked.run(module)
            sparsity.drop_encodings(module)
            layers = read_layers(module)
        except PassFailure as failure:
            raise DlasError(str(failure) if failure.diagnostics else "\n".join(said)) from None
        except ir.MLIRError as error:
            raise DlasError("\n".join([*said, str(error)])) from None
        except PassError as error:  # marks of layers, which no pass of this pipeline has read
            raise DlasError("\n".join([*said, f"{source}: {error}"])) from None
        print(*said, sep="\n", end="\n" if said else "", file=sys.stderr)
        if bytecode:
            with _written(bytecode) as file:
                module.operation.write_bytecode(file)
        if text:
            with _written(text) as file:
                module.operation.print(file=file, binary=True, enable_debug_info=True)
    return {"layers": layers, "imported_layers": imported}


@contextmanager
def _written(path: str) -> Iterator[BinaryIO]:
    """The file to write. Raises DlasError that names it; Python's own error for a full disk does not."""
    try:
        with Path(path).open("wb") as file:
            yield file
    except OSError as error:
        raise DlasError(f"cannot write {path}: {error.strerror or error}") from None


def count_layers(module: ir.Module) -> int:
    """The number of convolutions and linear layers in `module`, as the importer writes them."""
    count = 0

    def visit(op: ir.Operation) -> ir.WalkResult:
        nonlocal count
        count += conv.is_layer(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return count


def read_layers(module: ir.Module) -> list[dict[str, Any]]:
    """The dictionaries of the module attribute `dlas.layers`, in order; where no pass has written it (dispatches are
    left to iree-compile), those of the operations that lowering passes have marked. Empty when there are none."""
    marks = module.operation.attributes
    if LAYERS in marks:
        return attributes.to_plain(marks[LAYERS])
    marked = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if SHAPE in op.attributes:
            marked.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return [layer.to_plain() for op in marked if (layer := layer_of(op)) is not None]
