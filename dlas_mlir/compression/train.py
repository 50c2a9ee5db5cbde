"""Training and fine-tuning: SGD with a one-cycle learning rate, resumable after every epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from dlas_mlir import models
from dlas_mlir.compression import checkpoint
from dlas_mlir.compression.accuracy import Accuracy, check_shape, module_accuracy
from dlas_mlir.datasets.dataset import Dataset, Split
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import cpu_features

_MOMENTUM = 0.9
_PAD = 4  # pixels that an image may be shifted by
_MODEL, _MOMENTA = "model.", "momentum."


@dataclass(frozen=True)
class Settings:
    """How to train. `lr` is the highest learning rate of the cycle, `precision` that of convolutions."""

    epochs: int
    lr: float
    batch: int
    weight_decay: float
    flip: bool
    seed: int = 0
    precision: str = "f32"


def fastest_precision() -> str:
    """ "bf16" where this CPU computes it natively, else "f32"."""
    return "bf16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(cpu_features().split()) else "f32"


# `mnist5k` and `digits` take a model of the zoo's CIFAR size to 97 % in minutes; `cifar` is the study's.
RECIPES = {
    "mnist5k": Settings(epochs=6, lr=0.05, batch=32, weight_decay=5e-4, flip=False),
    "digits": Settings(epochs=14, lr=0.05, batch=32, weight_decay=5e-4, flip=False),
    "cifar": Settings(epochs=200, lr=0.05, batch=256, weight_decay=5e-4, flip=True),
}


def recipe_of(dataset: str) -> str:
    """Which of RECIPES a dataset has by default."""
    return dataset if dataset in RECIPES else "cifar"


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to: `number` counts from 1, `loss` is the mean over its batches."""

    number: int
    of: int
    loss: float
    accuracy: Accuracy
    seconds: float


@dataclass(frozen=True)
class Report:
    """Who is told of the training: `step` gets the images done and all of them in the epoch, `epoch` its end."""

    step: Callable[[int, int, int], None] = lambda epoch, done, total: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


def train(
    model: str,
    dataset: Dataset,
    settings: Settings,
    output: Path,
    *,
    resume: bool = False,
    report: Report | None = None,
) -> Accuracy:
    """Train a model of the zoo from PyTorch's initialisation, and write a checkpoint; the accuracy on the test images.

    While it is under way, `part_file(output)` holds the state after the last epoch, from which `resume` goes on with
    the same settings. The checkpoint's metadata are model, dataset, settings, epoch, seed and accuracy. Raises
    DlasError.
    """
    entry = models.lookup(model)
    check_shape(model, dataset)
    state = part_file(output)
    if state.exists() and not resume:
        raise DlasError(f"{state} is of a training that was interrupted: --resume goes on with it; else delete it")
    if resume and not state.exists():
        raise DlasError(f"there is nothing to resume: {state} does not exist")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = entry.build()
    check_classes(module, dataset, model)
    accuracy = fit(module, dataset, settings, state=state, title=model, report=report)
    described = {
        "model": model,
        "dataset": dataset.name,
        "epoch": settings.epochs,
        "seed": settings.seed,
        "accuracy": asdict(accuracy),
        "training": asdict(settings),
    }
    checkpoint.save(output, module.state_dict(), described)
    state.unlink(missing_ok=True)
    return accuracy


def part_file(output: Path) -> Path:
    """Where the state of an unfinished training to `output` is."""
    return output.with_name(f"{output.stem}.part.safetensors")


def fit(
    model: nn.Module,
    dataset: Dataset,
    settings: Settings,
    *,
    state: Path | None = None,
    title: str = "model",
    report: Report | None = None,
) -> Accuracy:
    """Train `model` in place, in eval mode afterwards, and return its accuracy on the test images.

    `state` is written after every epoch; where it is there at the start, the training goes on from it, and where
    that was the last epoch, nothing but loading is left to do. It must be of the same title, dataset and settings.
    Raises DlasError for a state of others, a dataset without training images and a loss that is no number.
    """
    report = report or Report()
    split = dataset.train
    if split is None:
        raise DlasError(f"{dataset.name}: the folder has no images to train on, only to test on")
    optimizer = torch.optim.SGD(
        model.parameters(), settings.lr, _MOMENTUM, weight_decay=settings.weight_decay, nesterov=True
    )
    identity = {"title": title, "dataset": dataset.name, **asdict(settings)}
    done = _restore(state, model, optimizer, identity) if state is not None and state.exists() else 0
    _lay_out(model, torch.channels_last)
    scheduler = _scheduler(optimizer, settings, _steps(split, settings), done)
    accuracy = None
    for number in range(done + 1, settings.epochs + 1):
        start = perf_counter()
        loss = _epoch(model, split, settings, number, optimizer, scheduler, report)
        accuracy = module_accuracy(model, dataset)
        if state is not None:
            checkpoint.save(state, _state_tensors(model, optimizer), {"state": {**identity, "epoch": number}})
        report.epoch(Epoch(number, settings.epochs, loss, accuracy, perf_counter() - start))
    _lay_out(model, torch.contiguous_format)
    return accuracy or module_accuracy(model, dataset)


def _epoch(
    model: nn.Module,
    split: Split,
    settings: Settings,
    number: int,
    optimizer: torch.optim.Optimizer,
    scheduler: OneCycleLR,
    report: Report,
) -> float:
    """One pass over the images; the mean loss. Its random numbers depend on seed and epoch alone."""
    model.train()
    steps = _steps(split, settings)
    total = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed * 1_000_003 + number)
        order = torch.randperm(len(split)).numpy()
        for step in range(steps):
            chosen = order[step * settings.batch : (step + 1) * settings.batch]
            inputs = _augmented(split, chosen, flip=settings.flip).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
                outputs = model(inputs)
            loss = nn.functional.cross_entropy(outputs.float(), torch.from_numpy(split.labels[chosen]))
            if not torch.isfinite(loss):
                raise DlasError(f"the loss is no finite number in epoch {number}: lower the learning rate (--lr)")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
            report.step(number, min((step + 1) * settings.batch, len(split)), len(split))
    return total / steps


def _steps(split: Split, settings: Settings) -> int:
    """Whole batches; what is left over has its turn in other epochs, as the order changes."""
    return max(1, len(split) // settings.batch)


def _augmented(split: Split, chosen: np.ndarray, *, flip: bool) -> Tensor:
    """Inputs of which each is shifted by up to 4 pixels, black coming in, and, with `flip`, mirrored or not."""
    pixels = split.pixels(chosen)
    height, width = pixels.shape[2:]
    padded = np.pad(pixels, ((0, 0), (0, 0), (_PAD, _PAD), (_PAD, _PAD)))
    corners = torch.randint(0, 2 * _PAD + 1, (len(chosen), 2)).tolist()
    mirrored = torch.randint(0, 2, (len(chosen),)).tolist() if flip else [0] * len(chosen)
    for index, ((top, left), mirror) in enumerate(zip(corners, mirrored, strict=True)):
        shifted = padded[index, :, top : top + height, left : left + width]
        pixels[index] = shifted[:, :, ::-1] if mirror else shifted
    return torch.from_numpy(split.normalisation.apply(pixels))


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Channels-last is what PyTorch's convolutions are fastest in."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def _scheduler(optimizer: torch.optim.Optimizer, settings: Settings, steps: int, done: int) -> OneCycleLR:
    with warnings.catch_warnings():
        # It takes the replay below for steps in the wrong order.
        warnings.simplefilter("ignore", UserWarning)
        scheduler = OneCycleLR(optimizer, settings.lr, total_steps=settings.epochs * steps + 1)
        for _ in range(done * steps):
            scheduler.step()
    return scheduler


def _state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"{_MODEL}{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        momentum = optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"{_MOMENTA}{name}"] = momentum
    return tensors


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any]) -> int:
    """Put the state into model and optimizer; the number of epochs that it has seen."""
    tensors, metadata = checkpoint.load(path)
    stored = metadata.get("state")
    if not isinstance(stored, dict) or not isinstance(stored.get("epoch"), int):
        raise DlasError(f"{path} is not the state of a training; delete it to start again")
    for key, value in identity.items():
        if stored.get(key) != value:
            raise DlasError(
                f"{path} is of a training with {key} {stored.get(key)}, not {value}: resume with the same settings, "
                "or delete it to start again"
            )
    parameters = dict(model.named_parameters())
    try:
        weights = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
        model.load_state_dict(weights)
        for name, value in tensors.items():
            if name.startswith(_MOMENTA):
                optimizer.state[parameters[name.removeprefix(_MOMENTA)]]["momentum_buffer"] = value
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DlasError(f"{path} does not fit the model: {reason}; delete it to start again") from None
    return stored["epoch"]


def check_classes(module: nn.Module, dataset: Dataset, name: str) -> None:
    """Raises DlasError when `module` does not take an image of `dataset`, or returns no score for each class."""
    try:
        with torch.no_grad():
            returned = module.eval()(torch.zeros(1, *dataset.shape))
    except (RuntimeError, TypeError, ValueError) as error:
        takes = "x".join(map(str, dataset.shape))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DlasError(f"{name} does not take an image of {dataset.name} ({takes}): {reason}") from None
    outputs = returned.shape[-1] if isinstance(returned, Tensor) and returned.dim() == 2 else "no row of"
    if outputs != len(dataset.classes):
        raise DlasError(f"{name} has {outputs} outputs; {dataset.name} has {len(dataset.classes)} classes")
