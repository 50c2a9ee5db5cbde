"""From a model and a preset to an artifact: import, pass pipeline, iree-compile; all cached by content."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from dlas_mlir import errors, process
from dlas_mlir.compiler import cache, tools
from dlas_mlir.compiler.artifact import GOLDEN, Artifact, facts_file, golden_file, load_artifact, weight_bytes
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.dispatches import PRINT_FLAGS, parse_dispatches, split_dump
from dlas_mlir.compiler.elf import undefined_symbols
from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.pipeline import parse_pipeline
from dlas_mlir.opt.pipeline_elements import is_file
from dlas_mlir.opt.registry import ENTRY_POINTS
from dlas_mlir.runtime.devices import cpu_features, cpu_model

_RECORD = "artifact.json"
_DISTRIBUTIONS = ("dlas-mlir", "iree-base-compiler")
_PASSES = "dlas_mlir.compiler.pipeline_process"


def compile_model(
    spec: str | Path,
    preset: str | Preset,
    *,
    threads: int = 1,
    inputs: tuple[str, ...] | None = None,
    batch: int | None = None,
    weights: Path | str | None = None,
    output: Path | str | None = None,
    mlir_out: Path | str | None = None,
    progress: Callable[[str], None] = lambda _: None,
    timeout: float | None = process.LIMIT,
) -> Artifact:
    """Compile `spec`, as `import_model` takes it, for `preset` ("target/recipe") and `threads` workers.

    `output` receives a copy of the .vmfb, `mlir_out` the module after the pass pipeline (bytecode if it ends
    in .mlirbc, else text). `progress` is told each stage that starts; `timeout` is in seconds for each
    (None: none), after which it is stopped.
    Raises DlasError; one for the compiler holds the command that reproduces it.
    """
    chosen = load_preset(preset, threads=threads) if isinstance(preset, str) else preset
    clock = Clock(progress)
    with clock.stage(f"import {spec}", "import"):
        imported = import_model(str(spec), inputs=inputs, batch=batch, weights=weights, timeout=timeout)
    artifact = compile_imported(
        imported, chosen, mlir_out=Path(mlir_out) if mlir_out else None, clock=clock, timeout=timeout
    )
    if output:
        write_copy(artifact, Path(output))
    return artifact


def write_copy(artifact: Artifact, output: Path) -> None:
    """Write the .vmfb to `output`, and beside it what is known of it and the right outputs. Raises DlasError."""
    _copy(artifact.vmfb, output)
    if artifact.golden is not None:
        _copy(artifact.golden, golden_file(output))
    cache.write_record(
        facts_file(output), artifact.facts() | {GOLDEN: artifact.golden and file_digest(artifact.golden)}
    )


def compile_imported(
    imported: Imported,
    preset: Preset,
    *,
    mlir_out: Path | None = None,
    clock: Clock | None = None,
    timeout: float | None = process.LIMIT,
) -> Artifact:
    """Compile what is imported already; see `compile_model`."""
    clock = clock or Clock(lambda _: None)
    folder = cache.entry("artifact", artifact_key(imported, preset))
    found = load_artifact(folder / _RECORD, imported.golden, imported.unchecked)
    if found and not mlir_out:
        return found
    job = _Job(imported, preset, timeout)
    with cache.workspace() as scratch:
        module = scratch / "module.mlirbc"
        with clock.stage(f"passes {imported.name} for {preset.name}", "passes"):
            report = job.run_pipeline(module, mlir_out)
        if found:
            return found
        with clock.stage(f"iree-compile {imported.name} for {preset.name}", "compile"):
            dispatches = job.iree_compile(module, scratch / "module.vmfb")
            vmfb, sha256 = cache.publish(scratch / "module.vmfb", folder)
    layers = report["layers"]
    artifact = Artifact(
        vmfb=vmfb,
        sha256=sha256,
        model=imported.name,
        preset=preset.name,
        driver="local" if preset.device.startswith("local") else preset.device,
        macs=imported.macs,
        parameters=imported.parameters,
        nonzeros=imported.nonzeros,
        effective_macs=imported.effective_macs,
        weight_bytes=weight_bytes(vmfb),
        golden=imported.golden,
        unchecked=imported.unchecked,
        primitives=_primitives(layers, report["imported_layers"]),
        layers=tuple(layers),
        dispatches=tuple(dispatches),
        flags=preset.iree_flags,
        versions=cache.versions("dlas-mlir", "iree-base-compiler", "iree-base-runtime", "torch-mlir", "torch"),
        seconds=clock.seconds,
    )
    cache.write_record(folder / _RECORD, artifact.facts())
    return artifact


def artifact_key(imported: Imported, preset: Preset) -> str:
    """The hash of everything an artifact is made from. Raises DlasError for a file of choices that is missing."""
    # `host` in a flag means this machine, which a cache on a shared disk may outlive.
    host = [cpu_model(), cpu_features()] if any("host" in flag for flag in preset.iree_flags) else []
    # The pipeline's text holds the target's figures. Threads matter only as far as it does.
    canonical = [preset.name, preset.pipeline, preset.iree_flags, preset.device.startswith("local")]
    read = [cache.file_digest(file) for file in _files_read(preset)]
    names = [imported.key, imported.name]
    return cache.digest(names, canonical, read, host, cache.versions(*_DISTRIBUTIONS), _own_sources())


def _files_read(preset: Preset) -> list[Path]:
    """The files that passes and iree-compile are told to read; of a flag, each word of its value that is a file."""
    words = [word for flag in preset.iree_flags for word in re.split(r"[=,]", flag)]
    return [Path(file) for file in (*parse_pipeline(preset.pipeline).reads(), *filter(is_file, words))]


def _own_sources() -> str:
    """The hash of the sources that decide what a pipeline makes; passes and primitives of others by their versions."""
    from importlib import metadata

    package = Path(errors.__file__).parent
    files = sorted(file for part in ("codegen", "ir", "opt", "passes") for file in (package / part).rglob("*.py"))
    own = ("artifact.py", "driver.py", "dispatches.py", "pipeline_process.py")
    files += [Path(__file__).with_name(name) for name in own]
    foreign = sorted(
        f"{point.dist.name} {point.dist.version}"
        for group in ENTRY_POINTS
        for point in metadata.entry_points(group=group)
        if point.dist
    )
    return cache.digest([file.read_text() for file in files], foreign)


@dataclass(frozen=True)
class _Job:
    """One model on its way through the compiler. Every stage is a process: native code may crash."""

    imported: Imported
    preset: Preset
    timeout: float | None

    def run_pipeline(self, module: Path, text: Path | None) -> dict[str, Any]:
        """Write the bytecode after the passes to `module`, and to `text` what the user asked to see."""
        request = {
            "source": str(self.imported.path),
            "pipeline": self.preset.pipeline,
            "bytecode": str(module),
        }
        if text is None:
            return self._pipeline_process({**request, "text": None})
        if text.suffix == ".mlirbc":
            report = self._pipeline_process({**request, "text": None})
            _copy(module, text)
            return report
        report: dict[str, Any] = {}
        _write(text, lambda path: report.update(self._pipeline_process({**request, "text": str(path)})))
        return report

    def _pipeline_process(self, request: dict[str, Any]) -> dict[str, Any]:
        what = "the pass pipeline"
        try:
            return process.call(f"{_PASSES}:run", request, what=what, timeout=self.timeout, preload=[_PASSES])
        except DlasError as error:
            again = f"reproduce with: {shlex.join(self._dlas_opt())}"
            raise DlasError(f"{self._title()}: {error}\n{again}") from None

    def _dlas_opt(self) -> Sequence[str]:
        # The preset alone stands for one thread.
        target = self.preset.target
        one = target.kind == "gpu" or target.threads == 1
        chosen = f"--preset={self.preset.name}" if one else f"--pass-pipeline={self.preset.pipeline}"
        return ["dlas-opt", str(self.imported.path), chosen, "--emit-bytecode", "-o", "/dev/null"]

    def iree_compile(self, module: Path, vmfb: Path) -> list[dict[str, str]]:
        """Write the artifact to `vmfb` and return its dispatches, or raise the command that fails."""
        command = [tools.iree_compile(), str(module), *self.preset.iree_flags, "-o", str(vmfb)]
        outcome = process.run([*command, *PRINT_FLAGS], timeout=self.timeout)
        dump, messages = split_dump(outcome.stderr)
        if outcome.code == 0:
            if imports := undefined_symbols(vmfb):
                raise DlasError(
                    f"{self._title()}: the generated code calls {', '.join(sorted(imports))}, which no "
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
            f"{self._title()}: iree-compile {said.how()}{said.tail()}\n"
            f"reproduce with: {shlex.join(self._kept(command, module))}"
        )

    def _kept(self, command: list[str], module: Path) -> list[str]:
        """The command on a copy of its input that stays."""
        return [command[0], str(cache.keep(module)), *command[2:-1], "/dev/null"]

    def _title(self) -> str:
        return f"{self.imported.name} for {self.preset.name}"


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


def _primitives(layers: list[dict[str, Any]], imported: int) -> dict[str, int]:
    """The layers by primitive; where no pass has lowered one, all are iree-compile's."""
    if not layers:
        return {"stock": imported} if imported else {}
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer["primitive"]] = counts.get(layer["primitive"], 0) + 1
    return counts


def _copy(source: Path, target: Path) -> None:
    _write(target, lambda path: shutil.copyfile(source, path))


def _write(target: Path, write: Callable[[Path], object]) -> None:
    if not target.parent.is_dir():
        raise DlasError(f"cannot write {target}: there is no directory {target.parent}")
    if target.is_dir():
        raise DlasError(f"cannot write {target}: it is a directory")
    cache.write_atomically(target, write)
