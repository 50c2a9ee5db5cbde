"""`compress`: a model and the steps of a recipe to a checkpoint with its recipe inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlas_mlir import models
from dlas_mlir.compiler.frontend.input_spec import parse_input
from dlas_mlir.compression import checkpoint
from dlas_mlir.compression.effective import Cost, cost
from dlas_mlir.compression.recipe import as_json, check_order
from dlas_mlir.compression.step import Calibration, Context, Step, StepError, Tune
from dlas_mlir.errors import DlasError
from dlas_mlir.models.metadata import read_metadata
from dlas_mlir.models.results import differ, results_of

# Of the largest: how far the results of one model may be apart that is built twice.
_REPEATED = 1e-5


@dataclass(frozen=True)
class Compressed:
    """A compressed model in eval mode, and what it costs, before and after.

    `metadata` is what its checkpoint says: model, all steps so far, the architecture, what steps had to leave as it was
    (`left`: step, layer, reason), and, of a trained model, what
    the training said. `rebuild` makes the model of a checkpoint, where it is known how.
    """

    model: nn.Module
    metadata: dict[str, Any]
    before: Cost
    after: Cost
    example_inputs: tuple[Tensor, ...] = ()
    rebuild: Callable[[Path], nn.Module] | None = None

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all. Raises DlasError, also when it does not give the model back."""
        checkpoint.save(path, self.model.state_dict(), self.metadata, self._check)

    def _check(self, written: Path) -> None:
        """Load a checkpoint as other commands will, and compare what the model gives."""
        if self.rebuild is None:
            return
        try:
            loaded = self.rebuild(written)
            found, expected = (results_of(each, self.example_inputs) for each in (loaded, self.model))
        except Exception as error:
            reason = str(error).replace(str(written), "it")
            raise DlasError(f"the checkpoint cannot be loaded again: {reason}; nothing is written") from None
        if len(found) != len(expected) or any(differ(a, b, _REPEATED) for a, b in zip(found, expected, strict=True)):
            raise DlasError(
                "the model of the checkpoint gives other results than the one that was compressed: what it computes "
                "depends on more than its parameters and buffers; nothing is written"
            )

    def as_json(self) -> dict[str, Any]:
        """The recipe and both costs as an object of JSON."""
        return self.metadata | {"before": self.before.as_json(), "after": self.after.as_json()}


def compress(
    name: str,
    steps: Sequence[Step],
    *,
    inputs: tuple[str, ...] | None = None,
    weights: Path | None = None,
    tune: Tune | None = None,
    calibration: Calibration | None = None,
    progress: Callable[[str], None] = lambda text: None,
    report: Callable[[str], None] = lambda text: None,
) -> Compressed:
    """Compress a model, with seeded weights or those of a checkpoint (which may be compressed already).

    `name` is one of the zoo, or `package.module:factory`, whose `example_inputs` are taken unless `inputs` says the
    shapes. `tune` trains the model in place, where steps ask for epochs; `calibration` gives the images to calibrate
    on; `report` is told what a step could not do. Raises DlasError, naming the step, the key and the layer.
    """
    metadata = read_metadata(weights) if weights is not None else {}
    model, example_inputs = _load(name, inputs, weights)
    done = compress_module(
        model,
        example_inputs,
        steps,
        name=name,
        metadata=metadata,
        tune=tune,
        calibration=calibration,
        progress=progress,
        report=report,
    )
    return replace(done, rebuild=lambda path: _load(name, inputs, path)[0])


def _load(name: str, inputs: tuple[str, ...] | None, weights: Path | None) -> tuple[nn.Module, tuple[Tensor, ...]]:
    specs = tuple(map(parse_input, inputs)) if inputs is not None else None
    entry = models.find(name)
    if entry is None and ":" in name:
        from dlas_mlir.compiler.frontend.torch_source import load_factory

        return load_factory(name, specs, weights)
    if Path(name).suffix in (".pt2", ".onnx", ".mlir", ".mlirbc"):
        raise DlasError(f"{name} is a file; what is compressed is a model of the zoo or package.module:factory")
    shape = models.lookup(name).input_shape
    if specs is not None:
        if len(specs) != 1:
            raise DlasError(f"--input: {name} takes one input, {len(specs)} were given")
        shape = specs[0].shape
    return models.build(name, weights), (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)


def compress_module(
    model: nn.Module,
    example_inputs: tuple[Tensor, ...],
    steps: Sequence[Step],
    *,
    name: str = "",
    metadata: Mapping[str, Any] | None = None,
    tune: Tune | None = None,
    calibration: Calibration | None = None,
    progress: Callable[[str], None] = lambda text: None,
    report: Callable[[str], None] = lambda text: None,
) -> Compressed:
    """Compress any module in place. `metadata` is that of the checkpoint which the module was loaded from."""
    metadata = dict(metadata or {})
    earlier, architecture = metadata.get("recipe", []), dict(metadata.get("architecture", {}))
    check_order(steps)
    for last, what in (("half", "in half precision"), ("int8", "quantized")):
        if last in architecture:
            raise DlasError(f"the weights are {what} already; compress the float32 ones they were made from")
    if tune is None and any(step.epochs_needed for step in steps):
        raise DlasError("epochs: there is no data to fine-tune on; name a dataset, or set epochs to 0")
    model.eval()
    shapes = _shapes(model, example_inputs)
    before = cost(model, example_inputs)
    context = Context(example_inputs, tune, progress, calibration, report, architecture)
    for number, step in enumerate(steps, 1):
        try:
            step.apply(model, context)
        except DlasError as error:
            raise StepError(f"step {number} ({step.kind}): {error}") from None
    if (now := _shapes(model, example_inputs)) != shapes:
        raise DlasError(f"the compressed model gives results of {now}, the original {shapes}: exclude its last layers")
    stored: dict[str, Any] = {
        "model": name or metadata.get("model", ""),
        "recipe": [*earlier, *map(as_json, steps)],
        "architecture": context.architecture,
    }
    if left := [*metadata.get("left", []), *context.left]:
        stored["left"] = left
    origin = {key: value for key, value in metadata.items() if key not in (*stored, "left")}
    if origin:
        stored["made_from"] = origin.get("made_from", origin)
    return Compressed(model, stored, before, cost(model, example_inputs), example_inputs)


def _shapes(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(each.shape) for each in results_of(model, inputs)]
