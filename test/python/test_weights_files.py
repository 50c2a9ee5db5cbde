"""Weights as people have them: checkpoints, wrapped models, pruned ones."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from dlas_mlir.errors import DlasError
from dlas_mlir.models.fill import load_weights


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def pruned() -> nn.Sequential:
    model = net()
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    prune.l1_unstructured(model[4], "bias", amount=1)
    return model


STATE = net().state_dict()
STORED = {
    "bare": STATE,
    "state_dict": {"state_dict": STATE, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}},
    "model": {"model": STATE, "args": {"lr": 0.1}},
    "in two": {"checkpoint": {"model_state_dict": STATE, "step": 1}},
    "of nn.DataParallel": {"state_dict": nn.DataParallel(net()).state_dict()},
    "of an owner": {f"backbone.net.{key}": value for key, value in STATE.items()},
    "without counters": {key: value for key, value in STATE.items() if "tracked" not in key},
    "beside another": {"model": STATE, "discriminator": {"weight": torch.zeros(3)}},
}


def loaded(stored: object, path: Path, model: nn.Module | None = None) -> dict[str, torch.Tensor]:
    torch.save(stored, path)
    model = net(1) if model is None else model
    load_weights(model, path)
    return model.state_dict()


@pytest.mark.parametrize("name", STORED)
def test_weights_are_found(name, tmp_path):
    found = loaded(STORED[name], tmp_path / "w.pth.tar")
    assert all(torch.equal(value, STATE[key]) for key, value in found.items())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_masks_of_pruning_are_applied(prefix, tmp_path):
    model = pruned()
    found = loaded({f"{prefix}{key}": value for key, value in model.state_dict().items()}, tmp_path / "w.pt")
    weight, bias = model[0].weight, model[4].bias  # what is computed with, masks applied
    assert isinstance(weight, torch.Tensor)
    assert isinstance(bias, torch.Tensor)
    assert torch.equal(found["0.weight"], weight)
    assert int((found["0.weight"] == 0).sum()) == 54
    assert torch.equal(found["4.bias"], bias)


def test_a_model_that_keeps_its_masks_gets_them(tmp_path):
    wanted = pruned().state_dict()
    found = loaded(wanted, tmp_path / "w.pt", pruned())
    assert all(torch.equal(value, wanted[key]) for key, value in found.items())


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"model": STATE, "ema": STATE}, r"several state_dicts that fit the model: model, ema; .*\['model'\], NEW\)"),
        ({"model": {"a.weight": torch.zeros(1)}}, r"\(its `model`\) does not fit the model; missing: 0.weight"),
        ({**{f"m.{key}": STATE[key] for key in STATE}, "x": torch.zeros(1)}, "does not fit the model; unexpected: x"),
        ({"epoch": 3, "args": "none"}, r"is not a state_dict: it must map names to tensors, and `epoch` is a int"),
        (torch.zeros(3), "is not a state_dict: it holds a Tensor"),
        ({"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}, r"objects \(argparse.Namespace\); only"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_said(stored, message, tmp_path):
    with pytest.raises(DlasError, match=message):
        loaded(stored, tmp_path / "w.pt")
