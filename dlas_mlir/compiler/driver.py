"""From a model and a preset to an artifact: import, pass pipeline, iree-compile; all cached by content."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlas_mlir import process
from dlas_mlir.compiler import cache, choices, tuned
from dlas_mlir.compiler.artifact import GOLDEN, Artifact, facts_file, golden_file, load_artifact, weight_bytes
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.compiler.job import Clock, Job, copy
from dlas_mlir.compiler.keys import artifact_key
from dlas_mlir.compiler.network import Cut, network_of
from dlas_mlir.compiler.presets import Preset, load_preset

_RECORD = "artifact.json"


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
    copy(artifact.vmfb, output)
    if artifact.golden is not None:
        copy(artifact.golden, golden_file(output))
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
    preset = _with_measured(imported, preset, clock, timeout)
    folder = cache.entry("artifact", artifact_key(imported, preset))
    found = load_artifact(folder / _RECORD, imported.golden, imported.unchecked)
    if found and not mlir_out:
        return found
    job = Job.of(imported, preset, timeout)
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
        target=preset.target.figures(),
        element=preset.element,
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


def _with_measured(imported: Imported, preset: Preset, clock: Clock, timeout: float | None) -> Preset:
    """`preset`, with the primitives and schedules that measurement found, where its pipeline asks for them."""
    cut = Cut.of(preset.pipeline)
    if cut is None or not cut.is_open:
        return preset
    preset = choices.with_choices(imported, preset, tuned.threads_of(preset), clock.progress)
    cut = Cut.of(preset.pipeline)
    assert cut is not None
    network = network_of(imported, preset, clock, timeout)
    chosen = tuned.written(tuned.choose(network, preset, clock.progress))
    return dataclasses.replace(preset, pipeline=cut.with_schedules(chosen))


def _primitives(layers: list[dict[str, Any]], imported: int) -> dict[str, int]:
    """The layers by primitive; where no pass has lowered one, all are iree-compile's."""
    if not layers:
        return {"stock": imported} if imported else {}
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer["primitive"]] = counts.get(layer["primitive"], 0) + 1
    return counts
