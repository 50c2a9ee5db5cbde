"""`--batch`: the first dimension of the inputs that a model has by itself, or why it cannot be changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_onnx import assert_right, classifier
from torch import Tensor

from dlas_mlir import api
from dlas_mlir.benchmark.bench import Request, bench
from dlas_mlir.cli.dlas import main
from dlas_mlir.compiler.frontend.arguments import Arguments
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.errors import DlasError

IDENTITY = "func.func @main(%x: tensor<1x4xf32>) -> tensor<1x4xf32> { return %x : tensor<1x4xf32> }\n"


def golden(spec: str, **options) -> dict[str, np.ndarray]:
    imported = import_model(spec, **options)
    assert imported.golden is not None
    return dict(np.load(imported.golden))


def test_the_example_of_a_factory_is_taken_several_times():
    one, four = golden("imported_model:small"), golden("imported_model:small", batch=4)
    shape = one["input_0"].shape
    assert four["input_0"].shape == (4, *shape[1:])
    assert four["output_0"].shape == (4, *one["output_0"].shape[1:])
    np.testing.assert_array_equal(four["input_0"][:1], one["input_0"])
    # The same numbers, but no two entries alike: a kernel that mixed them up would be found out.
    for entry in four["input_0"][1:]:
        np.testing.assert_array_equal(np.sort(entry, None), np.sort(one["input_0"], None))
        assert np.any(entry != one["input_0"][0])


def test_which_inputs_have_the_batch():
    table, tokens = torch.randn(5, 3), torch.tensor([[4, 0], [2, 1]])
    given = Arguments.of((torch.tensor(3.0), tokens, table, 7, torch.zeros(2, 1)))
    scalar, more, same, zeros = given.batched(3, "it").tensors
    assert scalar.ndim == 0
    assert more.tolist() == [[4, 0], [2, 1], [0, 4]]
    assert same is table
    assert zeros.shape == (3, 1)
    assert given.batched(1, "it").tensors[1].tolist() == [[4, 0]]
    with pytest.raises(DlasError, match="it: no input has a batch"):
        Arguments.of((torch.tensor(3.0),)).batched(2, "it")


def test_a_model_of_the_callers(monkeypatch, tmp_path):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))

    class Halves(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    artifact = api.compile(Halves(), preset="host/stock", example_inputs=torch.ones(2, 3), batch=5)
    (found,) = api.run(artifact)
    assert found.shape == (5, 3)
    with pytest.raises(DlasError, match="--batch and --input both say"):
        api.compile(Halves(), preset="host/stock", inputs=("2x3xf32",), batch=5)


def test_a_zoo_model_as_by_its_whole_shape():
    by_batch, by_shape = import_model("wrn-40-2-gn", batch=2), import_model("wrn-40-2-gn", inputs=("2x3x32x32xf32",))
    assert by_batch.key == by_shape.key


def test_an_open_batch_of_onnx(tmp_path):
    path = classifier(tmp_path / "net.onnx", 12, "batch")
    with pytest.raises(DlasError, match=r"give --input 1x3x8x8xf32 \(or --batch 1\)"):
        import_model(str(path))
    (output,) = assert_right(path, batch=3)
    assert output.shape == (3, 5)


def test_a_fixed_batch_of_onnx(tmp_path):
    path = classifier(tmp_path / "net.onnx", 12, "2")
    with pytest.raises(DlasError, match="its batch is fixed, and cannot be 3: the inputs are 'x' 2x3x8x8xf32; export"):
        import_model(str(path), batch=3)
    assert import_model(str(path), batch=2).key == import_model(str(path)).key


@pytest.mark.parametrize("suffix", [".mlir", ".json", ".pt2"])
def test_files_of_fixed_shapes(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_text(IDENTITY)
    with pytest.raises(DlasError, match=f"the shapes in .*net{suffix} are fixed: write the file with another batch"):
        import_model(str(path), batch=2)


def test_what_makes_no_sense_is_said_at_once(tmp_path: Path, capsys):
    assert main(["bench", "resnet18", "--batch", "2", "--input", "1x3x8x8xf32"]) == 1
    assert "--batch and --input both say what the inputs are" in capsys.readouterr().err
    with pytest.raises(DlasError, match=r"x.vmfb is compiled already, for the batch that it has"):
        bench(Request(models=(str(tmp_path / "x.vmfb"),), batch=2))
    with pytest.raises(DlasError, match=r"x.vmfb is compiled already: inputs, batch and weights are for a model"):
        api.compile(str(tmp_path / "x.vmfb"), preset="host/auto", batch=2)
