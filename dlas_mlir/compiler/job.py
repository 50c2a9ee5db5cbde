"""The stages of compiling: the pass pipeline and iree-compile, each in a process of its own."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from dlas_mlir import process
from dlas_mlir.compiler import cache, tools
from dlas_mlir.compiler.dispatches import PRINT_FLAGS, parse_dispatches, split_dump
from dlas_mlir.compiler.elf import undefined_symbols
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError

_PASSES = "dlas_mlir.compiler.pipeline_process"


@dataclass(frozen=True)
class Job:
    """A module on its way through passes and iree-compile. Every stage is a process: native code may crash.

    `title` says what it is in messages. `preset` is the name of the preset that `pipeline` is the whole of, if it is;
    `timeout` is in seconds, for each stage.
    """

    title: str
    source: Path
    pipeline: str
    iree_flags: tuple[str, ...]
    timeout: float | None
    preset: str | None = None

    @staticmethod
    def of(imported: Imported, preset: Preset, timeout: float | None) -> Job:
        """The job of a whole model."""
        # The preset alone stands for one thread.
        alone = preset.target.kind == "gpu" or preset.target.threads == 1
        title = f"{imported.name} for {preset.name}"
        named = preset.name if alone else None
        return Job(title, imported.path, preset.pipeline, preset.iree_flags, timeout, named)

    def run_pipeline(self, module: Path, text: Path | None) -> dict[str, Any]:
        """Write the bytecode after the passes to `module`, and to `text` what the user asked to see."""
        request = {
            "source": str(self.source),
            "pipeline": self.pipeline,
            "bytecode": str(module),
        }
        if text is None:
            return self._pipeline_process({**request, "text": None})
        if text.suffix == ".mlirbc":
            report = self._pipeline_process({**request, "text": None})
            copy(module, text)
            return report
        report: dict[str, Any] = {}
        write(text, lambda path: report.update(self._pipeline_process({**request, "text": str(path)})))
        return report

    def _pipeline_process(self, request: dict[str, Any]) -> dict[str, Any]:
        what = "the pass pipeline"
        try:
            return process.call(f"{_PASSES}:run", request, what=what, timeout=self.timeout, preload=[_PASSES])
        except DlasError as error:
            again = f"reproduce with: {shlex.join(self._dlas_opt())}"
            raise DlasError(f"{self.title}: {error}\n{again}") from None

    def _dlas_opt(self) -> Sequence[str]:
        chosen = f"--preset={self.preset}" if self.preset else f"--pass-pipeline={self.pipeline}"
        return ["dlas-opt", str(self.source), chosen, "--emit-bytecode", "-o", "/dev/null"]

    def iree_compile(self, module: Path, vmfb: Path) -> list[dict[str, str]]:
        """Write the artifact to `vmfb` and return its dispatches, or raise the command that fails."""
        command = [tools.iree_compile(), str(module), *self.iree_flags, "-o", str(vmfb)]
        outcome = process.run([*command, *PRINT_FLAGS], timeout=self.timeout)
        dump, messages = split_dump(outcome.stderr)
        if outcome.code == 0:
            if imports := undefined_symbols(vmfb):
                raise DlasError(
                    f"{self.title}: the generated code calls {', '.join(sorted(imports))}, which no "
                    "device offers (a dispatch needs a temporary buffer: its schedule does not fit it)\n"
                    f"reproduce with: {shlex.join(self._kept(command, module))}"
                )
            return parse_dispatches(dump)
        if "No space left on device" in outcome.stderr:
            raise DlasError(
                f"cannot write {cache.root()}: No space left on device, there or in {tempfile.gettempdir()} "
                "(DLAS_CACHE and TMPDIR name other places)"
            )
        said = dataclasses.replace(outcome, stderr=messages)
        raise DlasError(
            f"{self.title}: iree-compile {said.how()}{said.tail()}\n"
            f"reproduce with: {shlex.join(self._kept(command, module))}"
        )

    def _kept(self, command: list[str], module: Path) -> list[str]:
        """The command on a copy of its input that stays."""
        return [command[0], str(cache.keep(module)), *command[2:-1], "/dev/null"]


class Clock:
    """The time of each stage, and who is told of it."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, title: str, name: str):
        self.progress(title)
        start = perf_counter()
        yield
        self.seconds[name] = round(perf_counter() - start, 3)


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all. Raises DlasError."""
    write(target, lambda path: shutil.copyfile(source, path))


def write(target: Path, made_by: Callable[[Path], object]) -> None:
    """Have `made_by` write a file, whole or not at all. Raises DlasError for a place where none can be."""
    if not target.parent.is_dir():
        raise DlasError(f"cannot write {target}: there is no directory {target.parent}")
    if target.is_dir():
        raise DlasError(f"cannot write {target}: it is a directory")
    cache.write_atomically(target, made_by)
