"""The Python interface, which the commands use: compile, run, bench and profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlas_mlir.benchmark.bench import Request, bench_rows
from dlas_mlir.benchmark.profiling import profile_artifact
from dlas_mlir.compiler.artifact import SUFFIX, Artifact, load_file
from dlas_mlir.compiler.frontend.importer import Imported, check_batch, import_source
from dlas_mlir.compiler.frontend.input_spec import parse_input
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.rounds import Protocol
from dlas_mlir.process import LIMIT, limited
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from dlas_mlir.tuning.primitives_report import PrimitivesReport
    from dlas_mlir.tuning.report import Report

Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    """Progress that nobody is told."""


def compile(
    model: str | Path | nn.Module | ExportedProgram,
    *,
    preset: str,
    example_inputs: Sequence[Any] | Tensor | None = None,
    threads: int = 1,
    inputs: tuple[str, ...] | None = None,
    batch: int | None = None,
    weights: Path | str | None = None,
    output: Path | str | None = None,
    mlir: Path | str | None = None,
    progress: Progress = _quiet,
    timeout: float | None = LIMIT,
) -> Artifact:
    """Compile a model for `preset` ("target/recipe"), or find the artifact in the cache.

    `model` is a zoo name, `package.module:factory`, a file, an ExportedProgram, or an nn.Module, which is compiled
    in eval mode and left as it is. `example_inputs` are what an nn.Module is called with: a tensor, or a tuple of
    tensors and of numbers, which are constants in what is compiled; it may have them as its `example_inputs`. `inputs`
    are shapes such as ("1x3x224x224xf32",); `batch` replaces the first dimension of the inputs that there are;
    `weights` is a state_dict file; `output` receives a copy of the .vmfb, `mlir` the module after the pass pipeline.
    What is compiled takes the tensors among the inputs and returns those among the outputs, one after the other.
    Importing, the passes and iree-compile are each stopped after `timeout` seconds (None: never); a module is traced in
    this process, where only what is in Python code can be stopped. Raises DlasError.
    """
    if isinstance(model, str | Path) and Path(model).suffix == SUFFIX:
        return _compiled(Path(model), example_inputs, inputs, batch, weights)
    # What is compiled already runs where there is no compiler.
    from dlas_mlir.compiler.driver import Clock, compile_imported, compile_model, write_copy
    from dlas_mlir.compiler.presets import load_preset

    if isinstance(model, str | Path):
        if example_inputs is not None:
            raise DlasError(f"example_inputs goes with an nn.Module; {model} has its own (inputs gives their shapes)")
        return compile_model(
            str(model),
            preset,
            threads=threads,
            inputs=inputs,
            batch=batch,
            weights=weights,
            output=output,
            mlir_out=mlir,
            progress=progress,
            timeout=timeout,
        )
    if weights is not None:
        raise DlasError("weights goes with a model that is named; load them into the module: load_state_dict")
    chosen, clock = load_preset(preset, threads=threads), Clock(progress)
    with clock.stage(f"import {type(model).__name__}", "import"):
        imported = _imported(model, example_inputs, inputs, batch, timeout)
    artifact = compile_imported(imported, chosen, mlir_out=_path(mlir), clock=clock, timeout=timeout)
    if output is not None:
        write_copy(artifact, Path(output))
    return artifact


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)


def _compiled(path: Path, *given: Any) -> Artifact:
    if any(value is not None for value in given):
        raise DlasError(f"{path} is compiled already: inputs, batch and weights are for a model")
    return load_file(path)


def _imported(
    model: nn.Module | ExportedProgram,
    example_inputs: Sequence[Any] | Tensor | None,
    inputs: tuple[str, ...] | None,
    batch: int | None,
    timeout: float | None,
) -> Imported:
    from torch import nn
    from torch.export import ExportedProgram

    from dlas_mlir.compiler.frontend import torch_source

    name = type(model).__name__
    _load_all_of_torch()
    if isinstance(model, ExportedProgram):
        if any(given is not None for given in (example_inputs, inputs, batch)):
            raise DlasError("an ExportedProgram has its own inputs: leave out example_inputs, inputs and batch")
        with limited(f"reading {name}", timeout):
            program = torch_source.from_program(model, name)
        return import_source(program, timeout=timeout)
    if not isinstance(model, nn.Module):
        raise DlasError(f"a {name} cannot be compiled: give a name, a file, an nn.Module or an ExportedProgram")
    if batch is not None:
        check_batch(batch, inputs)
    shapes = tuple(map(parse_input, inputs)) if inputs is not None else None
    with _in_eval_mode(model):
        with limited(f"tracing {name}", timeout):
            source = torch_source.from_module(model, example_inputs, shapes, batch)
        return import_source(source, timeout=timeout)


@cache
def _load_all_of_torch() -> None:
    """Have PyTorch load what it loads when it first traces: stopped in the middle, that could not be loaded again."""
    import torch

    from dlas_mlir.compiler.frontend import torch_source

    torch_source.from_module(torch.nn.Identity(), torch.zeros(1), None).write_torch(Path(os.devnull))


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def run(artifact: Artifact, *inputs: np.ndarray, threads: int = 1, timeout: float | None = LIMIT) -> list[np.ndarray]:
    """The outputs for `inputs`, or for the artifact's example inputs when there are none. Raises DlasError, also after
    `timeout` seconds."""
    with Worker(artifact.vmfb, resolve(artifact.driver, threads), artifact.golden, timeout=timeout) as worker:
        return worker.run(list(inputs) or None)


def bench(
    models: str | Artifact | Sequence[str | Artifact],
    *,
    presets: Sequence[str] = ("host/auto",),
    threads: Sequence[int] = (1,),
    streams: int = 1,
    batch: int | None = None,
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    dense: bool = False,
    protocol: Protocol | None = None,
    progress: Progress = _quiet,
) -> list[dict[str, Any]]:
    """Check and time models x presets x threads, interleaved; one dict each, with `error` for what fails.

    An Artifact is timed as it is, and `presets` is for the models that are named. `streams` callers call at the same
    time, each with `threads`; `batch` replaces the first dimension of a model's inputs. With `dense`, the model without
    `weights` is timed too.
    """
    request = Request(
        models=(models,) if isinstance(models, str | Artifact) else tuple(models),
        presets=tuple(presets),
        threads=tuple(threads),
        streams=streams,
        batch=batch,
        inputs=inputs,
        weights=Path(weights) if weights is not None else None,
        dense=dense,
    )
    return bench_rows(request, protocol, progress=progress)


def profile(
    artifact: Artifact,
    *,
    threads: int = 1,
    seconds: float = 1.0,
    progress: Progress = _quiet,
    timeout: float | None = LIMIT,
) -> dict[str, Any]:
    """The time of each layer of `artifact`; see `profiling.profile_artifact`. Raises DlasError."""
    return profile_artifact(artifact, threads=threads, seconds=seconds, progress=progress, timeout=timeout)


def tune(model: str, preset: str = "host/auto", **options: Any) -> Report:
    """Search for faster schedules of the kernels of `model`, which presets `TARGET/RECIPE:tuned` take from then on; see
    `dlas_mlir.tuning.tune.tune`, which has the same arguments."""
    from dlas_mlir.tuning.tune import tune as search

    return search(model, preset, **options)


def tune_primitives(model: str, preset: str = "host/auto", **options: Any) -> PrimitivesReport:
    """Choose the primitive of each layer of `model` by measurement, which the preset with `:tuned` then takes; see
    `dlas_mlir.tuning.primitives.tune_primitives`, which has the same arguments."""
    from dlas_mlir.tuning.primitives import tune_primitives as choose

    return choose(model, preset, **options)
