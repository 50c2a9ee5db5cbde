"""The zoo: sizes, torchvision's keys, weights that make errors visible, and weights files."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dlas_mlir import models
from dlas_mlir.cli import models as models_command
from dlas_mlir.errors import DlasError
from dlas_mlir.models.count import count_macs, count_parameters
from dlas_mlir.models.fill import load_weights

# The sizes of the study that the CIFAR models come from: parameters, and millions of multiply-accumulates.
CIFAR_SIZES = {
    "mobilenetv1-cifar": (3_217_226, 46.4),
    "mobilenetv2-cifar": (2_296_922, 91.2),
    "resnet18-cifar": (11_173_962, 555.4),
    "vgg16-cifar": (14_728_266, 313.2),
}
IMAGENET_PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenetv1": 4_231_976,
    "mobilenetv2": 3_504_872,
    "efficientnetb0": 5_288_548,
    "densenet161": 28_681_000,
}
# Number of keys, and a hash of all keys with their shapes, as torchvision 0.29's models have them.
TORCHVISION_KEYS = {
    "resnet18": (122, "5053771ee593804d"),
    "resnet50": (320, "a70dbc5161cf2045"),
    "mobilenetv2": (314, "eaba618cc6196d4c"),
    "efficientnetb0": (360, "1ff6549f03fca1fe"),
    "densenet161": (967, "2f9bcf1c2acdeb42"),
}
NAMES = [model.name for model in models.registry()]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_table_says_the_counted_sizes(name):
    entry = models.lookup(name)
    with torch.device("meta"):
        model = entry.build().eval()
        inputs = (torch.zeros(entry.input_shape),)
    assert count_parameters(model) == entry.parameters
    assert count_macs(model, inputs) == entry.macs


def test_sizes_are_the_published_ones():
    for name, (parameters, millions) in CIFAR_SIZES.items():
        assert models.lookup(name).parameters == parameters
        assert round(models.lookup(name).macs / 1e6, 1) == millions
    for name, parameters in IMAGENET_PARAMETERS.items():
        assert models.lookup(name).parameters == parameters


@pytest.mark.parametrize("name", TORCHVISION_KEYS)
def test_keys_are_torchvisions(name):
    with torch.device("meta"):
        state = models.lookup(name).build().state_dict()
    shapes = sorted((key, list(value.shape)) for key, value in state.items())
    assert (len(shapes), hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]) == TORCHVISION_KEYS[name]


@pytest.mark.parametrize("name", NAMES)
def test_seeded_weights_keep_the_signal(name):
    """The logits have a sane scale, and depend on the input: else a wrong layer would pass unseen."""
    model = models.build(name)
    generator = torch.Generator().manual_seed(1)
    shape = models.lookup(name).input_shape
    with torch.no_grad():
        first, second = (model(torch.randn(shape, generator=generator)) for _ in range(2))
    assert 1e-2 < first.abs().max() < 1e3
    assert (first - second).norm() > 0.01 * first.norm()


def test_seeded_weights_are_the_same_each_time_and_leave_the_generator_alone():
    state = torch.get_rng_state()
    first, second = (models.build("mobilenetv1-cifar").state_dict() for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_batch_norm_is_not_the_identity():
    norm = models.build("mobilenetv1-cifar").get_submodule("layers.3.bn1")
    for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        assert isinstance(value, torch.Tensor)
        assert value.std() > 0


def test_groups_of_the_grouped_models():
    convolutions = {
        name: [m for m in models.lookup(name).build().modules() if getattr(m, "kernel_size", None) == (3, 3)]
        for name in ("wrn-40-2-g4", "wrn-40-2-gn")
    }
    assert {m.groups for m in convolutions["wrn-40-2-g4"]} == {1, 4}  # 1 is the stem
    assert all(m.groups in (1, m.in_channels) for m in convolutions["wrn-40-2-gn"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_file_is_loaded(tmp_path, suffix):
    wanted = {key: value + 1 for key, value in models.build("wrn-40-2-gn").state_dict().items()}
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(wanted, path)
    else:
        torch.save(wanted if suffix == ".pt" else {"state_dict": wanted, "epoch": 3}, path)
    loaded = models.build("wrn-40-2-gn", path)
    assert not loaded.training
    assert all(torch.equal(value, wanted[key]) for key, value in loaded.state_dict().items())


def test_mismatching_keys_are_named(tmp_path):
    state = dict(models.build("wrn-40-2-gn").state_dict())
    state["head.weight"] = state.pop("fc.weight")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(DlasError, match=r"missing: fc.weight; unexpected: head.weight"):
        models.build("wrn-40-2-gn", tmp_path / "w.pt")


def test_mismatching_shapes_are_named(tmp_path):
    state = dict(models.build("wrn-40-2-gn").state_dict())
    state["fc.weight"] = torch.zeros(100, 128)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(DlasError, match=r"fc.weight is 100x128, the model's is 10x128"):
        models.build("wrn-40-2-gn", tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_weights_file(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file({"a": torch.zeros(100)}, path)
    else:
        torch.save({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DlasError, match="cannot read weights file"):
        models.build("wrn-40-2-gn", path)


def test_missing_weights_file(tmp_path):
    with pytest.raises(DlasError, match="cannot read weights file"):
        models.build("wrn-40-2-gn", tmp_path / "none.pt")


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_file_is_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save({"a": _Trap(sprung)}, tmp_path / "w.pt")
    with pytest.raises(DlasError, match=r"cannot read weights file .* only tensors are read"):
        models.build("wrn-40-2-gn", tmp_path / "w.pt")
    assert not sprung.exists()


def test_published_densenet_keys_are_understood(tmp_path):
    with torch.device("meta"):
        model = models.lookup("densenet161").build()
    model = model.to_empty(device="cpu")
    old = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "w.pth")
    load_weights(model, tmp_path / "w.pth")


def test_unknown_model_gets_a_suggestion():
    with pytest.raises(DlasError, match="unknown model 'resnet-50': did you mean resnet50"):
        models.lookup("resnet-50")


def test_listing_imports_no_torch(tmp_path):
    file = tmp_path / "models.json"
    code = (
        "import argparse, sys; from dlas_mlir.cli import models; "
        "parser = argparse.ArgumentParser(); models.add_parser(parser.add_subparsers()); "
        f"args = parser.parse_args(['models', '--json', {str(file)!r}]); "
        "assert args.run(args) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in NAMES)
    rows = json.loads(file.read_text())
    assert [row["name"] for row in rows] == NAMES
    assert rows[0]["macs"] == 555_422_720


def test_listing_into_a_missing_directory(tmp_path):
    with pytest.raises(DlasError, match="cannot write"):
        models_command.run(argparse.Namespace(json=tmp_path / "none" / "models.json"))
