"""The native tools: where they are, running them, and what to say when they fail or crash."""

from __future__ import annotations

import importlib.util
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlas_mlir.errors import DlasError


@dataclass(frozen=True)
class Outcome:
    """How a tool ended; `signal` is the name of what killed it, or empty."""

    code: int
    stdout: str
    stderr: str

    @property
    def signal(self) -> str:
        return signal.Signals(-self.code).name if self.code < 0 else ""

    def how(self) -> str:
        """The words for a failure."""
        return f"was killed by {self.signal}" if self.signal else f"failed with exit code {self.code}"


def iree_compile() -> str:
    """The path of the iree-compile binary, found without importing the compiler."""
    spec = importlib.util.find_spec("iree.compiler")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "_mlir_libs" / "iree-compile"
        if binary.exists():
            return str(binary)
    raise DlasError("iree-compile is not installed: pip install iree-base-compiler")


def run_tool(command: Sequence[str], *, timeout: float | None = None) -> Outcome:
    """Run `command` without a shell. Raises DlasError when it is stopped after `timeout` seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout)
    except subprocess.TimeoutExpired:
        raise DlasError(f"stopped after {timeout:g} s: {shlex.join(command)}") from None
    return Outcome(done.returncode, done.stdout, done.stderr)
