"""Fine-tuning inside a recipe: the trainer, with a state for each time, so that an interruption loses an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from dlas_mlir.compression.accuracy import check_shape
from dlas_mlir.compression.train import RECIPES, Epoch, Report, check_classes, fastest_precision, fit, recipe_of
from dlas_mlir.datasets.dataset import Dataset

# Of the learning rate that the model is trained with from scratch.
_GENTLER = 0.2


class FineTuner:
    """A `Tune`, whose calls write `OUTPUT.tune1.part.safetensors` and so on after each epoch.

    A repeated run with the same `identity` (a hash of all that decides the result) goes on from these files: its
    calls find what they came to, and steps between them are done again. Raises DlasError when the dataset's images
    are not what the model takes, or its classes not what the model returns.
    """

    def __init__(
        self,
        model: str,
        dataset: Dataset,
        output: Path,
        identity: str,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        check_shape(model, dataset)
        self.model = model
        self.title = f"{model} {identity}"
        self.dataset = dataset
        self.output = output
        self.progress = progress
        self.calls = 0

    def __call__(self, model: nn.Module, epochs: int, learning_rate: float) -> None:
        self.calls += 1
        check_classes(model, dataset=self.dataset, name=self.model)
        recipe = RECIPES[recipe_of(self.dataset.name)]
        settings = replace(
            recipe, epochs=epochs, lr=learning_rate or recipe.lr * _GENTLER, precision=fastest_precision()
        )
        state = self.output.with_name(f"{self.output.stem}.tune{self.calls}.part.safetensors")
        fit(model, self.dataset, settings, state=state, title=self.title, report=Report(epoch=self._report))

    def _report(self, epoch: Epoch) -> None:
        test = f"test {epoch.accuracy.top1:.2%}, {epoch.seconds:.1f} s"
        self.progress(f"fine-tune {self.calls}, epoch {epoch.number} of {epoch.of}: loss {epoch.loss:.4f}, {test}")

    def remove_states(self) -> None:
        """Delete the files, once the result is written."""
        for state in states(self.output):
            state.unlink(missing_ok=True)


def states(output: Path) -> list[Path]:
    """The files of an interrupted run that was to write `output`."""
    return sorted(output.parent.glob(f"{output.stem}.tune*.part.safetensors"))
