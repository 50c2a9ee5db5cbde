"""The passes of MLIR and IREE: whether one is known and takes these options, asked of the compiler itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import iree.compiler
from iree.compiler import ir
from iree.compiler.passmanager import PassManager

_T = TypeVar("_T")


def complaint(name: str, options: str | None) -> str | None:
    """What the compiler has against the pass `name` with `options`, or None. Needs a current context."""
    text = name if options is None else f"{name}{{{options}}}"

    def parse() -> None:
        PassManager.parse(f"any({text})", context=ir.Context.current)

    error, output = _with_stderr(parse)
    if error is None:
        return None
    if "does not refer to a registered pass" in str(error):
        return f"`{name}` is not a known pass"
    # The option library writes bad values to standard error, and unknown options into the exception.
    found = re.search(r"no such option .*|for the .*", f"{output}\n{error}")
    return found.group().strip() if found else str(error).strip().split("\n")[-1]


def _with_stderr(work: Callable[[], None]) -> tuple[Exception | None, str]:
    """What `work` raised, and what it wrote to standard error, natively too."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            work()
            error = None
        except ValueError as raised:
            error = raised
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        return error, file.read().decode(errors="replace")


@cache
def known_passes() -> dict[str, tuple[str, ...]]:
    """All native passes and pipelines with the names of their options, for suggestions."""
    listing = _iree_opt("--help")
    passes: dict[str, list[str]] = {}
    current: list[str] = []
    for line in listing.partition("Compiler passes to run")[2].splitlines():
        if match := re.match(r"( +)--([\w-]+)", line):
            if len(match[1]) == 6:
                current = passes.setdefault(match[2], [])
            elif len(match[1]) > 6:
                current.append(match[2])
            else:
                break
    return {name: tuple(options) for name, options in passes.items()}


def dialects() -> list[str]:
    """The names of the dialects that the compiler knows."""
    listing = _iree_opt("--show-dialects").partition(":")[2]
    return sorted(name for name in re.split(r"[\s,]+", listing) if name)


def _iree_opt(flag: str) -> str:
    """What iree-opt prints for `flag`; nothing when it cannot be run."""
    tool = Path(iree.compiler.__path__[0]) / "_mlir_libs" / "iree-opt"
    try:
        return subprocess.run([tool, flag], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
