"""Crash reproducers: a module and the pipeline that breaks it in one file, in MLIR's own form."""

from __future__ import annotations

import re
from pathlib import Path

from iree.compiler import ir

from dlas_mlir.errors import DlasError

_BLOCK = """
{{-#
  external_resources: {{
    mlir_reproducer: {{
      pipeline: "{pipeline}",
      disable_threading: {disable_threading},
      verify_each: {verify_each}
    }}
  }}
#-}}
"""
_PIPELINE = re.compile(rb'mlir_reproducer:\s*\{\s*pipeline:\s*"((?:[^"\\]|\\.)*)"')


def write(path: Path, module: ir.Module, pipeline: str, *, threading: bool, verify_each: bool) -> None:
    """Write the reproducer to `path`. Raises OSError."""
    block = _BLOCK.format(
        pipeline=re.sub(r'["\\\n]', lambda match: f"\\{ord(match.group()):02X}", pipeline),
        disable_threading=str(not threading).lower(),
        verify_each=str(verify_each).lower(),
    )
    with path.open("wb") as file:
        # A module that does not verify has to be printed too.
        module.operation.print(file=file, binary=True, enable_debug_info=True, assume_verified=True)
        file.write(block.encode())


def pipeline_in(data: bytes, name: str) -> str:
    """The pipeline written in the reproducer `data`. Raises DlasError when there is none in it."""
    found = _PIPELINE.findall(data)
    if not found:
        raise DlasError(f"{name}: there is no `mlir_reproducer` in it")
    return re.sub(r"\\([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), found[-1].decode())
