"""Crash reproducers: a module and the pipeline that breaks it in one file, in MLIR's own form."""

from __future__ import annotations

import re
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Recipe:
    """How a reproducer runs its module."""

    pipeline: str
    threading: bool
    verify_each: bool


def read(path: Path) -> Recipe:
    """What is written in the reproducer at `path`. Raises DlasError when there is nothing, and OSError."""
    # The block is at the end, behind all the weights.
    data = path.read_bytes()
    block = data[max(data.rfind(b"mlir_reproducer:"), 0) :]
    found = re.match(rb'mlir_reproducer:\s*\{\s*pipeline:\s*"((?:[^"\\]|\\.)*)"', block)
    if not found:
        raise DlasError(f"{path}: there is no `mlir_reproducer` in it")
    # Each byte that MLIR does not print stands as two hexadecimal digits.
    text = re.sub(rb"\\([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), found[1])
    return Recipe(
        pipeline=text.decode(errors="replace"),
        threading=not re.search(rb"disable_threading:\s*true", block),
        verify_each=not re.search(rb"verify_each:\s*false", block),
    )
