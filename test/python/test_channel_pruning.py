"""Channel pruning: what is removed, what must stay and why, and checkpoints that give the same model back."""

from __future__ import annotations

import json
from pathlib import Path

import channel_models
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from dlas_mlir.cli.dlas import main
from dlas_mlir.compression.channel_pruning import ChannelPrune
from dlas_mlir.compression.compress import Compressed, compress, compress_module
from dlas_mlir.compression.half import Half
from dlas_mlir.compression.pruning import Prune
from dlas_mlir.errors import DlasError
from dlas_mlir.models.fill import load_weights
from dlas_mlir.models.results import results_of

HALF = ChannelPrune(0.5, round_to=4)
KINDS = nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding
OUTPUT = "the model gives them as a result"


def pruned(name: str, *steps) -> Compressed:
    return compress(f"channel_models:{name}", steps or (HALF,))


def left(done: Compressed) -> dict[str, str]:
    """The reasons why layers keep their channels."""
    return {each["layer"]: each["reason"] for each in done.metadata.get("left", [])}


def width(done: Compressed, layer: str) -> int:
    """How many output channels a layer has."""
    return done.model.get_parameter(f"{layer}.weight").shape[0]


@pytest.mark.parametrize(
    ("name", "stay"),
    [
        ("inverted_residual", ["head.2"]),
        ("skip_connections", ["out"]),
        ("norms", ["net.17.2"]),
        ("layer_scales", ["head.2"]),
        ("shuffled_halves", ["head"]),
        ("gated_shuffle", ["out"]),
        ("shared", ["head"]),
        ("words", []),
    ],
)
def test_channels_are_followed_and_checkpoints_give_the_model_back(name: str, stay: list[str], tmp_path: Path):
    """All layers lose outputs, inputs or both. Steps compare the results with those of the model in which
    what is gone has no weight, and saving loads the checkpoint and compares again."""
    done = pruned(name)
    assert sorted(left(done)) == stay
    before = getattr(channel_models, name)()
    whole, small = (
        {layer: module.weight.shape for layer, module in model.named_modules() if isinstance(module, KINDS)}
        for model in (before, done.model)
    )
    assert {layer for layer in whole if whole[layer] == small[layer]} == set()
    assert done.after.parameters < 0.7 * done.before.parameters
    done.save(tmp_path / "small.safetensors")
    assert [each.shape for each in results_of(done.model, before.example_inputs)] == [
        each.shape for each in results_of(before, before.example_inputs)
    ]


def test_attention_of_its_own_sizes_is_pruned_and_pytorchs_is_not(tmp_path: Path):
    done = pruned("attention")
    assert left(done) == {
        "known": "a MultiheadAttention knows its sizes",
        "own.out_proj": "a MultiheadAttention knows its sizes",
        "head": OUTPUT,
    }
    sizes = done.metadata["architecture"]
    assert sizes["tensors"]["token"] == [1, 1, sizes["channels"]["patches"]["out"]]
    assert sizes["channels"]["query"]["out"] == sizes["channels"]["key"]["out"] < 64
    done.save(tmp_path / "small.safetensors")


def test_results_stay_wherever_they_are_defined(tmp_path: Path):
    done = pruned("heads")
    reasons = left(done)
    assert {"boxes", "classes", "score"} == set(reasons)
    assert reasons["boxes"] == reasons["classes"] == OUTPUT
    assert reasons["score"].startswith("softmax")
    found = done.model(*channel_models.heads().example_inputs)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "classes": (1, 32, 64),
        "boxes": (1, 16, 8, 8),
        "best": (1, 8, 8),
    }
    done.save(tmp_path / "small.safetensors")


def test_results_in_a_dictionary_keep_their_type():
    done = pruned("heads", Half())
    assert {value.dtype for value in results_of(done.model, done.example_inputs)} == {torch.float32}


def test_what_the_code_counts_on_stays():
    done = pruned("knows_sizes")
    reasons = left(done)
    assert set(reasons) == {"viewed.0", "sliced.0", "scaled.0", "branched.0", "head"}
    assert "does not run without them: shape" in reasons["viewed.0"]
    assert "the code counts on them" in reasons["sliced.0"]
    assert "the code counts on them" in reasons["scaled.0"]
    assert "another way" in reasons["branched.0"]
    assert width(done, "free.0") < 16


def test_buffers_that_are_updated_or_in_no_checkpoint_stay(tmp_path: Path):
    done = pruned("counts")
    reasons = left(done)
    assert reasons["updated.0"] == "a buffer that is updated keeps them"
    assert reasons["scaled.0"] == "scale is a buffer that no checkpoint holds"
    assert reasons["constant.0"] == "mul joins them with something of a fixed size"
    assert not done.model.get_buffer("seen").any(), "counting and comparing do not update it"
    done.save(tmp_path / "small.safetensors")


def test_recurrent_layers_keep_theirs(tmp_path: Path):
    done = pruned("recurrent")
    assert left(done) == {"last.0": "lstm is not followed", "head": OUTPUT}
    done.save(tmp_path / "small.safetensors")


def test_a_model_of_results_alone_has_nothing_to_remove():
    with pytest.raises(DlasError, match=rf"no layer has channels that can be removed: net\.0: {OUTPUT}"):
        pruned("nothing_left")


def test_a_model_without_layers_says_so():
    with pytest.raises(DlasError, match="channels that can be removed: the model has none that is over channels"):
        compress_module(torch.nn.ReLU(), (torch.zeros(1, 3, 4, 4),), [HALF])


def test_removed_channels_are_the_smallest_and_the_rest_computes_the_same():
    """Channels without weight go first, and without them the model gives what it gave."""
    model = channel_models.shuffled_halves().eval()
    inputs = model.example_inputs
    with torch.no_grad():
        for layer, halves in (("stem", 2), ("branch", 1)):
            convolution, norm, _ = model.get_submodule(layer).children()
            small = torch.arange(16).repeat(halves) % 2 == 0
            for value in (convolution.weight, norm.weight, norm.bias, norm.running_mean):  # type: ignore[union-attr]
                value[small] = 0  # type: ignore[index]
        expected = model(*inputs)
    done = compress_module(model, inputs, [HALF])
    assert width(done, "stem.0") == 16
    torch.testing.assert_close(done.model(*inputs), expected, rtol=1e-5, atol=1e-5)


def test_shared_weights_are_still_shared_and_loaded_again(tmp_path: Path):
    done = pruned("shared")
    assert done.model.get_parameter("first.weight") is done.model.get_parameter("second.weight")
    done.save(tmp_path / "small.safetensors")
    again = channel_models.shared()
    load_weights(again, tmp_path / "small.safetensors")
    assert again.get_parameter("first.weight") is again.get_parameter("second.weight")


def test_other_steps_follow_and_a_compressed_model_is_compressed_again(tmp_path: Path):
    path = tmp_path / "small.safetensors"
    pruned("layer_scales", ChannelPrune(0.3, round_to=2, iterations=2), Prune(0.5)).save(path)
    again = compress("channel_models:layer_scales", [HALF, Half("bfloat16")], weights=path)
    again.save(tmp_path / "smaller.safetensors")
    assert again.after.parameters < again.before.parameters


def test_excluded_layers_keep_theirs_without_a_remark():
    done = pruned("inverted_residual", ChannelPrune(0.5, round_to=4, exclude=("widen",)))
    assert width(done, "widen.0") == 32
    assert left(done) == {"head.2": OUTPUT}


def test_the_command_says_what_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe, output, report = (tmp_path / name for name in ("r.toml", "o.safetensors", "o.json"))
    recipe.write_text('[[step]]\nkind = "channel-prune"\nratio = 0.5\nround_to = 4\n')
    command = [
        "compress",
        "channel_models:recurrent",
        "--recipe",
        str(recipe),
        "-o",
        str(output),
        "--json",
        str(report),
    ]
    assert main(command) == 0
    assert "all channels stay of last.0: lstm is not followed" in capsys.readouterr().out
    assert {"step": "channel-prune", "layer": "head", "reason": OUTPUT} in json.loads(report.read_text())["left"]


def test_a_checkpoint_that_gives_another_model_is_not_written(tmp_path: Path):
    """The model depends on something that no checkpoint holds."""
    model = channel_models.counts()
    done = compress_module(model, model.example_inputs, [HALF])

    def rebuild(path: Path) -> nn.Module:
        other = channel_models.counts().eval()
        load_weights(other, path)
        other.tensor = other.tensor + 1
        return other

    changed = Compressed(done.model, done.metadata, done.before, done.after, model.example_inputs, rebuild)
    with pytest.raises(DlasError, match="gives other results than the one that was compressed"):
        changed.save(tmp_path / "other.safetensors")
    assert not list(tmp_path.iterdir())
    assert pytree.tree_leaves(done.metadata["architecture"])
