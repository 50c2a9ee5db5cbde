"""The Python interface, which the commands use: compile, run, bench and profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlas_mlir.benchmark import Protocol, bench_rows
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.process import LIMIT
from dlas_mlir.profiling import profile_artifact
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    """Progress that nobody is told."""


def compile(
    model: str | Path | nn.Module,
    *,
    preset: str,
    example_inputs: Sequence[Tensor] | None = None,
    threads: int = 1,
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    output: Path | str | None = None,
    mlir: Path | str | None = None,
    progress: Progress = _quiet,
    timeout: float | None = LIMIT,
) -> Artifact:
    """Compile a model for `preset` ("target/recipe"), or find the artifact in the cache.

    `model` is a zoo name, `package.module:factory`, a file, or an nn.Module with `example_inputs`. `inputs`
    are shapes such as ("1x3x224x224xf32",); `weights` a state_dict file; `output` receives a copy of the
    .vmfb, `mlir` the module after the pass pipeline. Importing, the passes and iree-compile are each stopped after
    `timeout` seconds (None: never). Raises DlasError.
    """
    with cache.workspace() as scratch:
        named = isinstance(model, str | Path)
        return compile_model(
            model if named else _exported(model, example_inputs, scratch),
            preset,
            name=None if named else type(model).__name__,
            threads=threads,
            inputs=inputs,
            weights=weights,
            output=output,
            mlir_out=mlir,
            progress=progress,
            timeout=timeout,
        )


def _exported(model: nn.Module, example_inputs: Sequence[Tensor] | None, folder: Path) -> Path:
    """A module of the caller's as a file that the importer takes, named by its class."""
    import torch

    from dlas_mlir.compiler.torch_source import trace
    from dlas_mlir.errors import DlasError

    given = example_inputs if example_inputs is not None else getattr(model, "example_inputs", None)
    name = type(model).__name__
    if given is None:
        raise DlasError(f"example_inputs is needed to compile a {name}: the tensors that it is called with")
    program = trace(model.eval(), tuple(given), name)
    path = folder / f"{name}.pt2"
    torch.export.save(program, path)
    return path


def run(artifact: Artifact, *inputs: np.ndarray, threads: int = 1) -> list[np.ndarray]:
    """The outputs for `inputs`, or for the artifact's example inputs when there are none. Raises DlasError."""
    with Worker(artifact.vmfb, resolve(artifact.driver, threads), artifact.golden) as worker:
        return worker.run(list(inputs) or None)


def bench(
    models: str | Artifact | Sequence[str | Artifact],
    *,
    presets: Sequence[str] = ("host/auto",),
    threads: Sequence[int] = (1,),
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    dense: bool = False,
    protocol: Protocol | None = None,
    progress: Progress = _quiet,
) -> list[dict[str, Any]]:
    """Check and time models x presets x threads, interleaved; one dict each, with `error` for what fails.

    An Artifact is timed as it is, and `presets` is for the models that are named. With `dense`, the model without
    `weights` is timed too.
    """
    listed = [models] if isinstance(models, str | Artifact) else models
    return bench_rows(
        listed, presets, threads, inputs=inputs, weights=weights, dense=dense, protocol=protocol, progress=progress
    )


def profile(
    artifact: Artifact, *, threads: int = 1, seconds: float = 1.0, progress: Progress = _quiet
) -> dict[str, Any]:
    """The time of each layer of `artifact`; see `profiling.profile_artifact`. Raises DlasError."""
    return profile_artifact(artifact, threads=threads, seconds=seconds, progress=progress)
