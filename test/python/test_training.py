"""Training: it learns, an interruption loses at most an epoch, and checkpoints say what they are."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dlas_mlir import datasets, models
from dlas_mlir.cli import arguments
from dlas_mlir.cli.dlas import main
from dlas_mlir.compression import accuracy, checkpoint, train
from dlas_mlir.compression.accuracy import Accuracy, evaluate
from dlas_mlir.datasets.dataset import Dataset, Normalisation, in_memory
from dlas_mlir.errors import DlasError
from dlas_mlir.measure import record as records
from dlas_mlir.measure.store import Store
from dlas_mlir.models.metadata import read_metadata

SETTINGS = train.Settings(epochs=4, lr=0.1, batch=32, weight_decay=5e-4, flip=False)
# A factory, so that a model other than the zoo's can be compiled: it sees how bright each quarter of the image is.
FACTORY = """
import torch
from torch import nn

class Quarters(nn.Module):
    def __init__(self, classes, broken):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8 * 16, classes)
        self.broken = broken
        self.example_inputs = (torch.rand(1, 3, 32, 32),)

    def forward(self, x):
        x = nn.functional.avg_pool2d(torch.relu(self.conv(x)), 4)
        x = self.fc(torch.flatten(x, 1))
        return x / 0 if self.broken else x

def ten(): return Quarters(10, False)
def five(): return Quarters(5, False)
def not_finite(): return Quarters(10, True)
"""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _cache(shared_cache, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture
def few_digits(digits, monkeypatch):
    few = replace(digits, train=digits.train.subset(20), test=digits.test.subset(10))
    monkeypatch.setattr(datasets, "load", lambda name, folder: few)
    return few


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "quarters.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "quarters"


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.Linear(16 * 64, 10),
    )


def same(one: nn.Module, other: nn.Module) -> bool:
    other_state = other.state_dict()
    return all(torch.equal(value, other_state[key]) for key, value in one.state_dict().items())


def test_a_small_network_learns_digits(digits):
    epochs = []
    found = train.fit(small_net(), digits, SETTINGS, report=train.Report(epoch=epochs.append))
    assert found.n == len(digits.test)
    assert found.top1 > 0.9
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].accuracy == found


def test_the_seed_decides_the_result(digits):
    few = replace(digits, train=digits.train.subset(100), test=digits.test.subset(10))
    settings = replace(SETTINGS, epochs=1, flip=True)
    trained = []
    for seed in (1, 1, 2):
        trained.append(small_net())
        train.fit(trained[-1], few, replace(settings, seed=seed))
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(digits, tmp_path, precision):
    few = replace(digits, train=digits.train.subset(100), test=digits.test.subset(10))
    settings = replace(SETTINGS, epochs=3, precision=precision)
    whole = small_net()
    train.fit(whole, few, settings)

    def interrupt(epoch, done, total):
        if (epoch, done) == (3, 64):
            raise KeyboardInterrupt

    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train.fit(small_net(), few, settings, state=state, report=train.Report(step=interrupt))
    resumed, epochs = small_net(), []
    train.fit(resumed, few, settings, state=state, report=train.Report(epoch=epochs.append))
    assert [epoch.number for epoch in epochs] == [3]
    assert same(resumed, whole)
    loaded = small_net()
    train.fit(loaded, few, settings, state=state, report=train.Report(epoch=epochs.append))
    assert len(epochs) == 1
    assert same(loaded, whole)


def test_a_state_of_other_settings_is_refused(few_digits, tmp_path):
    state = tmp_path / "state.safetensors"
    settings = replace(SETTINGS, epochs=1)
    train.fit(small_net(), few_digits, settings, state=state)
    with pytest.raises(DlasError, match=r"state\.safetensors is of a training with lr 0\.1, not 0\.2"):
        train.fit(small_net(), few_digits, replace(settings, lr=0.2), state=state)
    with pytest.raises(DlasError, match="does not fit the model"):
        train.fit(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), few_digits, settings, state=state)
    checkpoint.save(state, {"a": torch.zeros(1)}, {})
    with pytest.raises(DlasError, match="not the state of a training"):
        train.fit(small_net(), few_digits, settings, state=state)
    state.write_bytes(b"damaged")
    with pytest.raises(DlasError, match=r"cannot read .*state\.safetensors"):
        train.fit(small_net(), few_digits, settings, state=state)


def test_a_loss_that_is_no_number_is_reported(few_digits):
    with pytest.raises(DlasError, match="no finite number in epoch 1: lower the learning rate"):
        train.fit(small_net(), few_digits, replace(SETTINGS, batch=2, lr=1e30))


def test_a_dataset_without_training_images_is_refused(few_digits):
    with pytest.raises(DlasError, match="no images to train on"):
        train.fit(small_net(), replace(few_digits, train=None), SETTINGS)


def test_augmentation_shifts_and_mirrors():
    pixels = np.zeros((200, 1, 9, 9), np.uint8)
    pixels[:, 0, 4, 3] = 255
    split = in_memory(pixels, [0] * 200, Normalisation((0.5,), (0.5,)))
    for flip in (False, True):
        inputs = train._augmented(split, np.arange(200), flip=flip)
        found = {tuple(place) for place in torch.nonzero(inputs[:, 0] == 1)[:, 1:].tolist()}
        rows, columns = ({place[axis] for place in found} for axis in (0, 1))
        assert rows == set(range(9))
        assert columns == set(range(9) if flip else range(8))
        assert set(inputs.unique().tolist()) == {-1.0, 1.0}
    assert (pixels[:, 0, 4, 3] == 255).all()


def test_a_checkpoint_says_what_it_is(few_digits, tmp_path, capsys):
    file = tmp_path / "model.safetensors"
    command = ["train", "mobilenetv1-cifar", "-o", str(file), "--epochs", "1", "--batch", "10", "--seed", "3"]
    assert main([*command, "--precision", "f32"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{file}\n"
    assert "epoch 1 of 1: loss" in said.err
    metadata = read_metadata(file)
    assert [metadata[key] for key in ("model", "dataset", "epoch", "seed")] == ["mobilenetv1-cifar", "digits", 1, 3]
    assert metadata["accuracy"]["n"] == 10
    assert metadata["training"]["batch"] == 10
    assert list(tmp_path.iterdir()) == [file]
    loaded = models.build("mobilenetv1-cifar", file)
    assert accuracy.module_accuracy(loaded, few_digits).correct == metadata["accuracy"]["correct"]


@pytest.mark.parametrize(
    ("metadata", "asked", "expected"),
    [
        ({"dataset": "digits"}, None, "digits"),
        ({"recipe": [], "made_from": {"dataset": "digits"}}, None, "digits"),
        ({"dataset": "digits"}, "mnist5k", "mnist5k"),
        ({"dataset": "somebody's own"}, None, datasets.DEFAULT),
        ({}, None, datasets.DEFAULT),
    ],
)
def test_weights_are_evaluated_on_what_they_were_trained_on(tmp_path, metadata, asked, expected):
    file = tmp_path / "model.safetensors"
    checkpoint.save(file, {"a": torch.zeros(1)}, metadata)
    assert arguments.dataset(argparse.Namespace(dataset=asked, weights=file)) == expected
    assert arguments.dataset(argparse.Namespace(dataset=asked)) == (asked or datasets.DEFAULT)


def test_train_does_not_overwrite_or_invent_an_interrupted_training(few_digits, tmp_path, capsys):
    command = ["train", "mobilenetv1-cifar", "-o", str(tmp_path / "model.safetensors")]
    assert main([*command, "--resume"]) == 1
    assert "nothing to resume" in capsys.readouterr().err
    (tmp_path / "model.part.safetensors").write_bytes(b"")
    assert main(command) == 1
    assert "--resume goes on with it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "resnet18", "-o", "a.safetensors"],
            "resnet18 takes images of 3x224x224; those of mnist5k are 3x32x32",
        ),
        (["train", "resnet18-cifer", "-o", "a.safetensors"], "did you mean resnet18-cifar"),
        (["train", "vgg16-cifar", "-o", "a.pt"], "ends in .safetensors"),
        (["train", "vgg16-cifar", "-o", "no/a.safetensors"], "no directory"),
        (["train", "vgg16-cifar", "-o", "a.safetensors", "--dataset", "cifar10", "--data", "no"], "no does not exist"),
        (["train", "vgg16-cifar", "-o", "a.safetensors", "--lr", "0"], "expected a number above 0"),
        (["train", "vgg16-cifar", "-o", "a.safetensors", "--threads", "9999"], "9999 threads asked for"),
        (["evaluate", "resnet18"], "resnet18 takes images of 3x224x224"),
        (["evaluate", "vgg16-cifar", "--weights", "no.safetensors"], "no.safetensors"),
        (["evaluate", "vgg16-cifar", "--threads", "9999"], "9999 threads asked for"),
        (["evaluate", "vgg16-cifar", "--limit", "5000"], "the dataset has 1 to 2000"),
        (["evaluate", "vgg16-cifar", "--dataset", "digits", "--limit", "1000"], "the dataset has 1 to 445"),
        (["evaluate", "vgg16-cifar", "--dataset", "imagenet"], "imagenet needs a folder"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (440, 445, 0.9740, 0.9952)]
)
def test_wilson_intervals(correct, n, low, high):
    found = Accuracy.of(correct, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.top1 == correct / n


def test_an_artifact_has_pytorchs_accuracy(factory, digits, tmp_path, capsys):
    module = __import__(factory).ten()
    trained = train.fit(module, digits, replace(SETTINGS, epochs=2))
    weights = tmp_path / "weights.safetensors"
    checkpoint.save(weights, module.state_dict(), {})
    file = tmp_path / "figures.json"
    command = ["evaluate", f"{factory}:ten", "--preset", "host/stock", "--weights", str(weights), "--dataset", "digits"]
    store = tmp_path / "records.db"
    torch.set_num_threads(2)
    assert main([*command, "--json", str(file), "--store", str(store)]) == 0
    assert torch.get_num_threads() == 1
    row = json.loads(file.read_text())
    with Store(store, create=False) as opened:
        (stored,) = opened.records()
    accuracy = stored.record.accuracy
    assert accuracy is not None
    assert (accuracy.correct, accuracy.images) == (row["artifact"]["correct"], 445)
    assert stored.record.dataset == records.Dataset(name="digits", images=445)
    assert stored.record.software.artifact_sha256 == row["artifact_sha256"]
    assert row["pytorch"]["correct"] == trained.correct
    assert row["artifact"]["n"] == 445
    assert abs(row["artifact"]["correct"] - trained.correct) <= 1
    assert row["agreement"] > 0.99
    assert row["parameters"] == row["nonzeros"] == sum(each.numel() for each in module.parameters())
    assert row["weight_bytes"] == pytest.approx(4 * row["parameters"], rel=0.05)  # small ones are in the code
    assert row["effective_macs"] == row["macs"] > 0
    printed = capsys.readouterr().out
    assert "95 % interval" in printed
    assert "100.0% of them not zero" in printed


def test_outputs_that_are_no_classes_of_the_dataset_are_refused(factory, few_digits):
    with pytest.raises(DlasError, match="returns 1x5 for an image; digits has 10 classes"):
        evaluate(f"{factory}:five", "host/stock", few_digits)


def test_outputs_that_are_no_numbers_are_never_right(factory, few_digits):
    found = evaluate(f"{factory}:not_finite", "host/stock", few_digits)
    assert found.artifact.correct == 0
    assert found.agreement == 1.0


def test_an_artifact_that_takes_other_images_is_refused(factory, few_digits):
    split = in_memory(np.zeros((2, 1, 8, 8), np.uint8), [0, 1], Normalisation((0.0,), (1.0,)))
    other = Dataset("other", tuple("0123456789"), (1, 8, 8), None, split)
    with pytest.raises(DlasError, match="the function takes 1x3x32x32 float32, not 1x1x8x8 float32"):
        evaluate(f"{factory}:ten", "host/stock", other)


def test_recipes_are_the_studys_and_a_quick_one():
    cifar = train.RECIPES["cifar"]
    assert (cifar.epochs, cifar.batch, cifar.lr, cifar.flip) == (200, 256, 0.05, True)
    assert not train.RECIPES["digits"].flip
    assert math.isclose(cifar.weight_decay, 5e-4)
