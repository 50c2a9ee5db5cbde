"""Quantization: what becomes integers and what is fused, its checkpoints, and what artifacts are held to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quantized_net import INPUTS, RANDOM, SHAPE, Net, net

import dlas_mlir as dlas
from dlas_mlir.cli.dlas import main
from dlas_mlir.compiler.frontend import int8, rounding, torch_source
from dlas_mlir.compiler.frontend.mlir_import import read_module
from dlas_mlir.compression.compress import Compressed, compress_module
from dlas_mlir.compression.half import Half
from dlas_mlir.compression.quantize import Quantize
from dlas_mlir.compression.recipe import check_order
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build
from dlas_mlir.measure.check import check
from dlas_mlir.models.architecture import quantization_of
from dlas_mlir.models.fill import load_weights


def quantized(step: Quantize = RANDOM, **keywords: Any) -> Compressed:
    return compress_module(net(), INPUTS, [step], name="net", **keywords)


def conversions(program: torch.export.ExportedProgram) -> Counter[str]:
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    return Counter(target.split(".")[1] for target in targets if "quantized" in target)


@pytest.fixture(scope="module")
def done() -> Compressed:
    return quantized()


@pytest.fixture(scope="module")
def program(done: Compressed) -> torch.export.ExportedProgram:
    return torch_source.trace(done.model, INPUTS, "net")


def test_a_kernel_is_a_layer_with_its_residual_and_activation(program):
    """Quantized are: the input, pooled stem (before and after the pool), hard-swish, relu6, the gate's input and
    output, the product, the concatenation's two inputs and result, and the mean before and after the reshape."""
    found = conversions(program)
    assert found["quantize_per_tensor"] == 12
    assert found["dequantize_per_channel"] == 6
    readers = {str(user.target) for node in program.graph.nodes if "conv2d" in str(node.target) for user in node.users}
    assert not any("quantize_per_tensor" in reader for reader in readers), "nothing is rounded behind a convolution"


def test_what_moves_values_keeps_their_quantization(program):
    for node in program.graph.nodes:
        if str(node.target).split(".")[:2] in (["aten", "max_pool2d"], ["aten", "cat"], ["aten", "view"]):
            before = node.args[0] if isinstance(node.args[0], list | tuple) else [node.args[0]]
            parameters = {value.args[1:3] for value in before}
            (after,) = node.users
            assert parameters == {after.args[1:3]}, node


def test_weights_are_symmetric_for_each_channel(program):
    tensors = {**program.state_dict, **program.constants}
    weights = [value for value in tensors.values() if value.dtype == torch.int8]
    assert len(weights) == 6
    for weight in weights:
        assert weight.flatten(1).abs().amax(1).eq(127).all()


def test_unknown_operations_stay_in_float_and_are_reported():
    notes: list[str] = []
    quantized(report=notes.append)
    assert notes == ["cos (cos) stays in float: it has no integer form"]


def test_kept_layers_stay_in_float():
    done = quantized(Quantize(calibration="random", count=2, keep=("st*", "fc")))
    assert done.metadata["architecture"]["int8"]["keep"] == ["stem", "fc"]
    assert conversions(torch_source.trace(done.model, INPUTS, "net"))["dequantize_per_channel"] == 4
    elements = {layer.name: layer.element for layer in done.after.layers}
    assert elements["stem"] == elements["fc"] == "float32"
    assert elements["point"] == "int8"


@pytest.mark.parametrize("observer", int8.OBSERVERS)
def test_integers_are_close_to_float(observer: str):
    done = quantized(Quantize(calibration="random", count=8, observer=observer))
    with torch.no_grad():
        expected = net()(*INPUTS)
        found = torch_source.trace(done.model, INPUTS, "net").module(check_guards=False)(*INPUTS)
    assert float((found - expected).norm() / expected.norm()) < 0.05


def test_checkpoints_are_deterministic_and_need_no_data(tmp_path: Path, done: Compressed, program):
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    done.save(paths[0])
    quantized().save(paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    loaded = Net().eval()
    load_weights(loaded, paths[0])
    assert quantization_of(loaded) == quantization_of(done.model)
    with torch.no_grad():
        again = torch_source.trace(loaded, INPUTS, "net").module(check_guards=False)(*INPUTS)
        assert torch.equal(again, program.module(check_guards=False)(*INPUTS))


def test_weights_are_imported_as_bytes(tmp_path: Path, program):
    source = torch_source.TorchSource("net", program, program.module(check_guards=False), INPUTS, 0)
    source.write_linalg(tmp_path / "net.mlirbc")
    module = read_module(tmp_path / "net.mlirbc")
    types = [str(op.results[0].type) for op in build.operations(module) if op.name == "arith.constant"]
    assert "tensor<16x16x1x1xi8>" in types
    assert "tensor<16x16x1x1xf32>" not in types


@pytest.mark.parametrize("preset", ["host/stock", "host/auto"])
def test_artifacts_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: Compressed, preset: str):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    artifact = dlas.compile(done.model, preset=preset, example_inputs=INPUTS)
    (row,) = dlas.bench(artifact, protocol=dlas.Protocol(rounds=1, min_seconds=0.01))
    assert row["verified"], row


def test_exported_programs_that_are_quantized(tmp_path: Path, program):
    torch.export.save(program, tmp_path / "net.pt2")
    source = torch_source.from_exported_file(tmp_path / "net.pt2")
    source.write_golden(tmp_path / "golden.npz")
    with np.load(tmp_path / "golden.npz") as golden:
        assert str(golden["element"]) == "float32"
        (limit,) = golden["limits"]
        assert 0 < limit < 0.1


def test_what_rounding_may_do_is_found_and_wrong_parameters_are_more(done, program):
    run = program.module(check_guards=False)
    with torch.no_grad():
        outputs = [run(*INPUTS)]
    limits = rounding.limits(run, INPUTS, outputs)
    assert limits == rounding.limits(run, INPUTS, outputs)
    with torch.no_grad():
        assert limits > rounding.limits(net(), INPUTS, [net()(*INPUTS)])
    activations = done.metadata["architecture"]["int8"]["activations"]
    wrong = {name: (scale * (1.1 if name == "relu" else 1), zero) for name, (scale, zero) in activations.items()}
    with torch.no_grad():
        found = int8.program_of(net(), {"keep": [], "activations": wrong}, INPUTS, "net").module(check_guards=False)
        assert not check([found(*INPUTS).numpy()], [outputs[0].numpy()], limits=limits).verified


def test_what_rounding_may_do_to_codes_to_halves_and_to_nothing():
    x, weights = torch.linspace(-1, 1, 1001), torch.ones(1, 1).half()

    def codes(x: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (x * 997).round().to(torch.int16), None, x[:0] * 2, x.clamp_min(0).log(), x.argmax()

    def halves(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x[:, None].half(), weights)

    of_codes, of_nothing, of_floats, of_index = rounding.limits(codes, (x,), [y for y in codes(x) if y is not None])
    assert 1 / 997 < of_codes < 5 / 997
    assert 0 < of_nothing == of_floats < 1e-2
    assert of_index == 0
    (limit,) = rounding.limits(halves, (x,), [halves(x)])
    assert 5e-4 < limit < 1e-2


@pytest.mark.parametrize(
    ("step", "calibration", "message"),
    [
        (Quantize(keep=("layer9",)), None, "keep: the pattern `layer9` matches no layer"),
        (Quantize(calibration="random", keep=("*",)), None, "keep leaves no layer to quantize"),
        (Quantize(), None, "there is no dataset"),
        (
            Quantize(count=2),
            lambda count: np.zeros((count, 3, 8, 8), np.float32),
            "takes images of 3x12x12; those of the dataset are 3x8x8",
        ),
        (
            Quantize(count=2),
            lambda count: np.full((count, *SHAPE[1:]), np.nan, np.float32),
            "image 0 has values that are no finite numbers",
        ),
        (
            Quantize(count=2),
            lambda count: np.full((count, *SHAPE[1:]), 3e38, np.float32),
            "relu gives values that are no finite numbers",
        ),
    ],
)
def test_what_cannot_be_calibrated(step: Quantize, calibration: Any, message: str):
    with pytest.raises(DlasError, match=rf"step 1 \(int8\): .*{message}"):
        quantized(step, calibration=calibration)


def test_weights_that_are_no_numbers():
    model = net()
    model.get_parameter("fc.weight").data[0, 0] = torch.nan
    with pytest.raises(DlasError, match=r"fc\.weight: values are no finite numbers"):
        compress_module(model, INPUTS, [RANDOM])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"observer": "entropy"}, "observer: expected histogram or minmax, found `entropy`"),
        ({"calibration": "imagenet"}, "calibration: expected dataset or random"),
        ({"count": 0}, "count: expected a number from 1"),
    ],
)
def test_values_that_make_no_sense(keys: dict[str, Any], message: str):
    with pytest.raises(DlasError, match=message):
        Quantize(**keys)


def test_nothing_follows_the_step(done: Compressed):
    with pytest.raises(DlasError, match="no step can follow"):
        check_order([RANDOM, Half()])
    with pytest.raises(DlasError, match="quantized already"):
        compress_module(done.model, INPUTS, [RANDOM], metadata=done.metadata)


@pytest.mark.parametrize("activation", [[float("nan"), 0], [0.0, 0], [0.1, 256], ["x", 0], [0.1]])
def test_damaged_ranges_name_the_file(tmp_path: Path, done: Compressed, activation: list[Any]):
    stored = json.loads(json.dumps(done.metadata))
    stored["architecture"]["int8"]["activations"]["relu"] = activation
    path = tmp_path / "damaged.safetensors"
    Compressed(done.model, stored, done.before, done.after).save(path)
    with pytest.raises(DlasError, match=r"damaged\.safetensors .*the stored architecture is not this model's"):
        load_weights(Net(), path)


def test_ranges_of_another_model_are_refused(done: Compressed):
    other = {"keep": [], "activations": {"x": (0.1, 3)}}
    with pytest.raises(DlasError, match="the stored quantization is not this model's"):
        int8.program_of(done.model, other, INPUTS, "net")


def test_the_command_calibrates_on_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe, output = tmp_path / "int8.toml", tmp_path / "out.safetensors"
    recipe.write_text('[[step]]\nkind = "int8"\ncount = 3\nkeep = ["fc"]\n')
    # One thread: the small operations of observers spin for seconds where other work holds a core.
    command = ["compress", "imported_model:kinds", "--recipe", str(recipe), "-o", str(output), "--threads", "1"]
    assert main([*command, "--input", "1x3x32x32xf32"]) == 0
    assert "4 layers in 8 bits, 1 in float32" in capsys.readouterr().err
    assert output.stat().st_size > 0
    assert main([*command, "--input", "1x3x24x24xf32"]) == 1
    assert "the model takes images of 3x24x24; those of the dataset are 3x32x32" in capsys.readouterr().err
