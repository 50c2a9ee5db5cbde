"""Top-1 accuracy of compiled artifacts, beside PyTorch's of the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dlas_mlir import models
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.datasets.dataset import Dataset, Split
from dlas_mlir.datasets.predictions import predictions
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.stats import wilson
from dlas_mlir.models.architecture import quantization_of
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Accuracy:
    """`correct` of `n` images; `low` and `high` bound the true share with 95 % confidence (Wilson's interval)."""

    top1: float
    correct: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, correct: int, n: int) -> Accuracy:
        """The shares, 0..1, of a count. `n` is at least 1."""
        return cls(correct / n, correct, n, *wilson(correct, n))

    def __str__(self) -> str:
        return f"{self.top1:.2%} ({self.correct} of {self.n}; 95 % interval {self.low:.2%} to {self.high:.2%})"


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of an artifact and PyTorch's of the same weights, and the size of what was evaluated.

    `agreement` is the share of the images to which both give the same class. `pytorch` and `agreement` are None
    where there is no PyTorch model (an ONNX or MLIR file). `weight_bytes` are those of the constants in the .vmfb,
    `effective_macs` the MACs of weights that are not zero.
    """

    model: str
    preset: str
    dataset: str
    artifact_sha256: str
    parameters: int
    nonzeros: int
    weight_bytes: int
    macs: int
    effective_macs: int
    artifact: Accuracy
    pytorch: Accuracy | None
    agreement: float | None

    def as_row(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)


def evaluate(
    model: str | Path,
    preset: str,
    dataset: Dataset,
    *,
    weights: Path | str | None = None,
    threads: int = 1,
    limit: int | None = None,
    progress: Progress = lambda _: None,
) -> Evaluation:
    """Compile `model` as `compile_model` does, and run artifact and PyTorch over the test images, one at a time.

    `limit` takes fewer images, the classes in turn. Raises DlasError, also when the model does not take or does not
    return what the dataset gives.
    """
    split = dataset.test if limit is None else dataset.test.subset(limit)
    spec, file = str(model), Path(weights) if weights is not None else None
    check_shape(spec, dataset)  # before it is compiled
    artifact = compile_model(spec, preset, threads=threads, weights=file, progress=progress)
    found = artifact_predictions(artifact, dataset, split, threads=threads, progress=progress)
    run = _in_pytorch(spec, file)
    expected = None if run is None else _predictions(run, dataset, split, f"{spec} in PyTorch", progress)
    return Evaluation(
        model=artifact.model,
        preset=preset,
        dataset=dataset.name,
        artifact_sha256=artifact.sha256,
        parameters=artifact.parameters,
        nonzeros=artifact.nonzeros,
        weight_bytes=artifact.weight_bytes,
        macs=artifact.macs,
        effective_macs=sum(artifact.effective_macs.values()),
        artifact=_accuracy(found, split),
        pytorch=None if expected is None else _accuracy(expected, split),
        agreement=None if expected is None else float((found == expected).mean()),
    )


def artifact_predictions(
    artifact: Artifact,
    dataset: Dataset,
    split: Split,
    *,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> np.ndarray:
    """The classes, int64 [n], that an artifact of batch 1 gives to the images of `split`. Raises DlasError."""
    with Worker(artifact.vmfb, resolve(artifact.driver, threads), artifact.golden) as worker:
        return _predictions(worker.run_each, dataset, split, f"{artifact.model} for {artifact.preset}", progress)


@torch.no_grad()
def module_accuracy(model: nn.Module, dataset: Dataset) -> Accuracy:
    """PyTorch's accuracy on the test images. The model is in eval mode afterwards. Raises DlasError."""
    model.eval()
    return _accuracy(
        _predictions(_module_runner(model), dataset, dataset.test, "PyTorch", lambda _: None), dataset.test
    )


def _predictions(
    run: Callable[[np.ndarray], np.ndarray], dataset: Dataset, split: Split, title: str, progress: Progress
) -> np.ndarray:
    return predictions(run, split, len(dataset.classes), title=title, dataset=dataset.name, progress=progress)


def _accuracy(found: np.ndarray, split: Split) -> Accuracy:
    return Accuracy.of(int((found == split.labels).sum()), len(split))


def check_shape(name: str, dataset: Dataset) -> None:
    """Raises DlasError when a model of the zoo takes other images; of another model nothing is known by its name."""
    entry = models.find(name)
    if entry is not None and entry.input_shape[1:] != dataset.shape:
        takes, gives = ("x".join(map(str, shape)) for shape in (entry.input_shape[1:], dataset.shape))
        raise DlasError(f"{name} takes images of {takes}; those of {dataset.name} are {gives}")


def _in_pytorch(spec: str, weights: Path | None) -> Callable[[np.ndarray], np.ndarray] | None:
    """What runs the same model in PyTorch, None where there is none."""
    if models.find(spec) is not None:
        model = models.build(spec, weights)
        if quantization_of(model) is None:
            return _module_runner(model)
    from dlas_mlir.compiler.frontend import torch_source

    suffix = Path(spec).suffix
    if suffix == ".pt2":
        return _one_by_one(torch_source.from_exported_file(Path(spec)).run)
    if models.find(spec) is not None:
        return _one_by_one(torch_source.from_zoo(spec, None, weights).run)
    if ":" in spec and suffix not in (".onnx", ".mlir", ".mlirbc"):
        return _one_by_one(torch_source.from_factory(spec, None, weights).run)
    return None


def _module_runner(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    def run(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(inputs)).float().numpy()

    return run


def _one_by_one(call: Callable[..., Any]) -> Callable[[np.ndarray], np.ndarray]:
    """A traced program takes the batch that it was traced with."""

    def run(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            outputs = [call(torch.from_numpy(image[None])) for image in inputs]
        if not all(isinstance(output, torch.Tensor) for output in outputs):
            raise DlasError("the model returns something that is no tensor; it has no class to evaluate")
        return torch.cat(outputs).float().numpy()

    return run
