"""Pruning, channel pruning, half precision, and the recipes that combine them, on models of a few channels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from imported_model import kinds
from torch import Tensor, nn

from dlas_mlir.cli.dlas import main
from dlas_mlir.compression import checkpoint
from dlas_mlir.compression.channel_pruning import ChannelPrune
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.effective import cost
from dlas_mlir.compression.half import Half
from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.compression.pruning import Override, Prune, n_of_m_mask
from dlas_mlir.compression.recipe import FineTune, read_recipe
from dlas_mlir.errors import DlasError
from dlas_mlir.models.fill import fill_seeded, load_weights

SHAPE = (1, 3, 8, 8)
INPUTS = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)),)


class Small(nn.Module):
    """A stem, a residual block with a depthwise convolution, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.stem(x)))
        x = x + self.pointwise(torch.relu(self.bn2(self.depthwise(x))))
        return self.fc(x.mean((2, 3)))


def small() -> nn.Module:
    return fill_seeded(Small, SHAPE)


def zeros(layer: nn.Module) -> float:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return float((weight == 0).float().mean())


def test_global_pruning_ranks_all_layers_together_and_keeps_the_largest():
    model, dense = small(), small()
    compress_module(model, INPUTS, [Prune(0.75)])
    pairs = [(layer.weight, weight_layers(dense)[name].weight) for name, layer in weight_layers(model).items()]
    assert sum(int((ours == 0).sum()) for ours, _ in pairs) == round(0.75 * sum(ours.numel() for ours, _ in pairs))
    kept = torch.cat([theirs[ours != 0].abs() for ours, theirs in pairs])
    gone = torch.cat([theirs[ours == 0].abs() for ours, theirs in pairs])
    assert kept.min() >= gone.max()
    assert all(torch.equal(ours[ours != 0], theirs[ours != 0]) for ours, theirs in pairs)


def test_layer_scope_override_and_left_out_layers():
    model = small()
    step = Prune(0.5, scope="layer", skip=("first", "last"), override=(Override("point*", sparsity=0.75),))
    compress_module(model, INPUTS, [step])
    assert [zeros(layer) for layer in weight_layers(model).values()] == [0, 0.5, 0.75, 0]


@pytest.mark.parametrize("block", [2, 4, 8])
def test_blocks_of_output_channels_are_zero_together(block: int):
    model = small()
    compress_module(model, INPUTS, [Prune(0.5, structure=f"{block}x1", skip=("depthwise", "linear"))])
    for layer in (model.stem, model.pointwise):
        blocks = (layer.weight != 0).unflatten(0, (-1, block)).sum(1)  # type: ignore[union-attr]
        assert set(blocks.flatten().tolist()) == {0, block}


def test_n_of_m_keeps_the_largest_input_channels():
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.5, 0.1, -0.2, 0.3]]).reshape(1, 8, 1, 1)
    assert n_of_m_mask(weight, 2, 4).flatten().tolist() == [0, 1, 1, 0, 1, 0, 0, 1]


def test_iterations_rise_to_the_sparsity_and_zeros_survive_tuning():
    model, seen = small(), []

    def tune(module: nn.Module, epochs: int, learning_rate: float) -> None:
        seen.append((epochs, learning_rate, zeros(module.get_submodule("stem"))))
        optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            module(INPUTS[0]).square().sum().backward()
            optimizer.step()

    compress_module(model, INPUTS, [Prune(0.8, scope="layer", iterations=2, epochs=3), FineTune(1, 0.5)], tune=tune)
    shares = [share for _, _, share in seen]
    assert [call[:2] for call in seen] == [(3, 0.0), (3, 0.0), (1, 0.5)]
    assert shares == pytest.approx([0.7, 0.8, 0.8], abs=0.01)
    assert zeros(model.get_submodule("stem")) == shares[-1]


def test_channel_pruning_shrinks_and_can_be_loaded(tmp_path: Path):
    done = compress_module(small(), INPUTS, [ChannelPrune(0.5, round_to=4)])
    assert done.model.get_submodule("depthwise").weight.shape == (8, 1, 3, 3)
    assert done.model.get_submodule("fc").weight.shape == (10, 8)
    assert done.after.macs < 0.5 * done.before.macs
    assert torch.equal(reloaded(done, tmp_path)(*INPUTS), done.model(*INPUTS))


@pytest.mark.parametrize(("element", "limit"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_is_close_and_can_be_loaded(tmp_path: Path, element: str, limit: float):
    dense = small()(*INPUTS)
    done = compress_module(small(), INPUTS, [Half(element, keep=("fc",))])
    assert str(done.model.get_submodule("stem").weight.dtype) == f"torch.{element}"
    assert done.model.get_submodule("fc").weight.dtype == torch.float32
    output = done.model(*INPUTS)
    assert (output - dense).abs().max() < limit * dense.abs().max()
    assert torch.equal(reloaded(done, tmp_path)(*INPUTS), output)
    with pytest.raises(DlasError, match="half precision already"):
        compress_module(done.model, INPUTS, [Prune(0.5)], metadata=done.metadata)


class Odd(nn.Module):
    """Batch norms behind grouped transposed convolutions, a function of a layer's weights and an image without a batch;
    inputs that become floats inside, and weights that are read by name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.by_function = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(12, 6, 1, bias=False)
        self.groups, self.depthwise = (
            nn.ConvTranspose2d(8, 12, 4, 2, 1, groups=4),
            nn.ConvTranspose2d(6, 6, 2, groups=6),
        )
        self.unbatched, self.fc = nn.Conv2d(6, 17, 1), nn.Linear(17, 5)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in (12, 6, 6))
        self.of_rows = nn.BatchNorm1d(17, affine=True)
        for norm in (*self.norms, self.of_rows):
            nn.init.uniform_(norm.running_var, 0.2, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(norm.weight, 0.5, 2)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.norms[0](self.groups(self.stem(pixels.float() / 255)))
        x = self.norms[1](nn.functional.conv2d(torch.relu(x), self.by_function.weight))
        x = self.norms[2](self.depthwise(x.float()))
        return self.fc(self.of_rows(self.unbatched(x[0])).mean(2).float())


def test_half_folds_what_it_can_and_layers_convert_what_they_are_given(tmp_path: Path):
    torch.manual_seed(0)
    model, pixels = Odd().eval(), torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        dense = model(pixels)
        done = compress_module(model, (pixels,), [Half()], name="odd")
        assert done.metadata["architecture"]["folded"] == {"norms.0": "groups", "norms.2": "depthwise"}
        assert (done.model(pixels) - dense).abs().max() < 3e-3 * dense.abs().max()
        done.save(tmp_path / "odd.safetensors")
        again = Odd().eval()
        load_weights(again, tmp_path / "odd.safetensors")
        assert torch.equal(again(pixels), done.model(pixels))


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(self.conv(x)).abs()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Spectrum(), "PyTorch does not run the model in float16: "),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), "the model has no parameters in float32 that could be float16"),
        (nn.Sequential(nn.BatchNorm2d(3)), "the model has no parameters in float32 that could be float16"),
    ],
)
def test_what_cannot_be_halved(model: nn.Module, message: str):
    with pytest.raises(DlasError, match=rf"step 1 \(half\): {message}"):
        compress_module(model, INPUTS, [Half()])


def reloaded(done, folder: Path) -> nn.Module:
    done.save(folder / "model.safetensors")
    model = Small().eval()
    load_weights(model, folder / "model.safetensors")
    return model


def test_cost_leaves_zeros_out():
    model = small()
    before = cost(model, INPUTS)
    with torch.no_grad():
        weight_layers(model)["stem"].weight[:8] = 0
    after = cost(model, INPUTS)
    assert before.macs == after.macs == 64 * (16 * 27 + 16 * 9 + 16 * 16) + 160
    assert before.effective_macs - after.effective_macs == 64 * 8 * 27
    assert before.nonzeros - after.nonzeros == 8 * 27
    assert after.bytes == 4 * after.parameters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "prune"\nsparsity = 1.5', "step 1 .prune.: sparsity: expected a number from 0 to 1, found 1.5"),
        ('kind = "prune"\nsparsty = 0.5', "unknown key `sparsty` .did you mean `sparsity`"),
        ('kind = "prune"\nsparsity = "x"', "sparsity: expected a number, found 'x'"),
        ('kind = "prune"', "sparsity: the key is missing"),
        ('kind = "prune"\nsparsity = 0.5\nstructure = "2:4"', "sparsity: 2:4 says it already"),
        ('kind = "prune"\nsparsity = 0.5\nstructure = "1x4"', "structure: expected unstructured"),
        ('kind = "prune"\nsparsity = 0.5\nskip = ["middle"]', "skip: expected first or last"),
        ('kind = "prune"\nsparsity = 0.5\noverride = [{ sparsity = 0.1 }]', "override.pattern: the key is missing"),
        ('kind = "prun"', "unknown kind `prun` .did you mean `prune`"),
        ("ratio = 0.5", "the key `kind` is missing"),
        ('kind = "channel-prune"\nratio = 1', "ratio: expected a number from 0 to 0.99"),
        ('kind = "half"\n[[step]]\nkind = "prune"\nsparsity = 0.5', "no step can follow it"),
    ],
)
def test_bad_recipes_name_file_and_key(tmp_path: Path, text: str, message: str):
    path = tmp_path / "r.toml"
    path.write_text(f"[[step]]\n{text}\n")
    with pytest.raises(DlasError, match=f"r.toml: .*{message}"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Prune(0.5, exclude=("nothing*",)), "exclude: the pattern `nothing\\*` matches no layer"),
        (Prune(0.5, structure="4x1"), "depthwise: blocks of 4 do not divide its 1 output channels in each group"),
        (Prune(structure="2:4"), "stem: groups of 4 do not divide its 3 input channels"),
        (Half(keep=("nothing",)), "keep: the pattern `nothing` matches no layer"),
        (FineTune(1), "no data to fine-tune on"),
    ],
)
def test_steps_that_do_not_fit_the_model_name_key_and_layer(step, message: str):
    with pytest.raises(DlasError, match=message):
        compress_module(small(), INPUTS, [step])


def test_the_command_writes_a_checkpoint_with_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\nkind = "channel-prune"\nratio = 0.5\n\n[[step]]\nkind = "prune"\nsparsity = 0.5\n')
    output, report = tmp_path / "o.safetensors", tmp_path / "o.json"
    command = ["compress", "mobilenetv2-cifar", "--recipe", str(recipe), "-o", str(output), "--json", str(report)]
    assert main(command) == 0, capsys.readouterr().err
    found = json.loads(report.read_text())
    assert [step["kind"] for step in found["recipe"]] == ["channel-prune", "prune"]
    assert found["after"]["macs"] < found["before"]["macs"]
    # Twice: what a compressed checkpoint says goes on in the next.
    again = tmp_path / "again.safetensors"
    assert main([*command[:4], "-o", str(again), "--weights", str(output), "--json", str(report)]) == 0
    assert len(json.loads(report.read_text())["recipe"]) == 4
    recipe.write_text('[[step]]\nkind = "prune"\nsparsity = 2\n')
    assert main(command) == 1
    assert "r.toml: step 1 (prune): sparsity" in capsys.readouterr().err


def test_a_factory_is_compressed_and_its_checkpoint_fits_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe, output = tmp_path / "r.toml", tmp_path / "o.safetensors"
    recipe.write_text('[[step]]\nkind = "channel-prune"\nratio = 0.5\n')
    command = ["compress", "imported_model:kinds", "--recipe", str(recipe), "-o", str(output)]
    assert main(command) == 0, capsys.readouterr().err
    model = kinds()
    load_weights(model, output)
    assert model.get_submodule("plain").weight.shape == (16, 3, 3, 3)
    # Nothing says what a bare module's inputs are, but --input.
    bare = ["compress", "imported_model:bare", "--recipe", str(recipe), "-o", str(output)]
    assert main(bare) == 1
    assert "--input" in capsys.readouterr().err
    assert main([*bare, "--input", "1x3x9x9xf32"]) == 0
    two = [*bare, "--input", "1x3x9x9xf32", "--input", "1xf32"]
    for bad, message in (
        (["compress", "net.mlir", *command[2:]], "net.mlir is a file"),
        (["compress", "mobilenetv1-cifar", *two[2:]], "takes one input, 2 were given"),
    ):
        assert main(bad) == 1
        assert message in capsys.readouterr().err
    recipe.write_text('[[step]]\nkind = "prune"\nsparsity = 0.5\nexclude = ["x*"]\n')
    assert main(command) == 1
    assert "r.toml: step 1 (prune): exclude: the pattern `x*` matches no layer" in capsys.readouterr().err
    recipe.write_text('[[step]]\nkind = "fine-tune"\nepochs = 1\n')
    assert main([*bare, "--input", "1x3x9x9xf32"]) == 1
    assert "imported_model:bare has 5 outputs; mnist5k has 10 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "stored",
    [
        3,
        ["half"],
        {"channels": {"nothing": {"in": 1, "out": 1}}},
        {"channels": {"stem": {"in": -3, "out": 16, "groups": 1}}},
        {"channels": {"stem": {"in": 3, "out": 16, "groups": 0}}},
        {"channels": {"stem": {"in": 3, "out": 10**12, "groups": 1}}},
        {"half": {"element": "float8", "keep": []}},
        {"folded": {"bn1": "fc"}},
        {"later": {}},
    ],
)
def test_a_stored_architecture_of_another_model_names_the_file(tmp_path: Path, stored):
    path = tmp_path / "odd.safetensors"
    checkpoint.save(path, small().state_dict(), {"architecture": stored})
    with pytest.raises(DlasError, match=r"odd\.safetensors does not fit the model: "):
        load_weights(Small(), path)
