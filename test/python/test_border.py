"""What crosses the border between PyTorch and a compiled function: types, state, structure; and rare operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from border_cases import CASES, Call
from torch import nn
from torch._higher_order_ops.while_loop import while_loop
from torch.utils import _pytree as pytree

import dlas_mlir
from dlas_mlir.compiler.frontend import torch_source
from dlas_mlir.compiler.frontend.importer import import_source
from dlas_mlir.errors import DlasError


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def compiled(module, inputs, preset="host/auto"):
    return dlas_mlir.compile(module, preset=preset, example_inputs=inputs)


def pytorchs(module, inputs):
    """What PyTorch returns, as the arrays that a compiled function gives."""
    inputs = pytree.tree_map(lambda value: value.clone() if isinstance(value, torch.Tensor) else value, inputs)
    with torch.no_grad():
        outputs = [value for value in pytree.tree_leaves(module(*inputs)) if isinstance(value, torch.Tensor)]
    return [(value.float() if value.dtype == torch.bfloat16 else value).numpy() for value in outputs]


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_in_pytorch(name):
    torch.manual_seed(0)
    module, inputs = CASES[name]()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    ours = dlas_mlir.run(compiled(module.train(), inputs))
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    wanted = pytorchs(module.eval(), inputs)
    assert [(array.shape, array.dtype) for array in ours] == [(array.shape, array.dtype) for array in wanted]
    for array, want in zip(ours, wanted, strict=True):
        narrow = any(word in name for word in ("bfloat16", "float16"))
        atol = (
            (2e-2 if narrow else 1e-5) * np.abs(want[np.isfinite(want)]).max(initial=0) if want.dtype.kind == "f" else 0
        )
        np.testing.assert_allclose(array, want, rtol=0, atol=atol)


def test_other_inputs_than_the_examples():
    module = Call(lambda m, x, y: (x * 2, y + 1, y))
    examples = (torch.zeros(3, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.uint8))
    given = np.array([0.5, 1.0, -3.0], np.float32), np.array([200, 255], np.uint8)
    doubled, more, same = dlas_mlir.run(compiled(module, examples), *given)
    np.testing.assert_array_equal(doubled, 2 * given[0])
    np.testing.assert_array_equal(more, np.array([201, 0], np.uint8))
    np.testing.assert_array_equal(same, given[1])
    with pytest.raises(DlasError, match="takes 3 bfloat16, 2 uint8, not 3 float32, 2 int8"):
        dlas_mlir.run(compiled(module, examples), given[0], given[1].astype(np.int8))


@pytest.mark.parametrize("name", ["no_grad", "fake quantization", "updated buffer", "numbers among the inputs"])
def test_exported_files(name, tmp_path):
    module, inputs = CASES[name]()
    torch.export.save(torch.export.export(module.eval(), inputs), tmp_path / "net.pt2")
    source = torch_source.from_exported_file(tmp_path / "net.pt2")
    for array, want in zip(
        dlas_mlir.run(dlas_mlir.compile(tmp_path / "net.pt2", preset="host/auto")),
        pytorchs(module, inputs),
        strict=True,
    ):
        np.testing.assert_allclose(array, want, atol=1e-5)
    assert len(source.inputs) == sum(isinstance(value, torch.Tensor) for value in pytree.tree_leaves(inputs))


def test_a_bare_tensor_and_an_exported_program():
    linear, x = nn.Linear(4, 3), torch.randn(2, 4)
    program = torch.export.export(linear.eval(), (x,))
    for artifact in (compiled(linear, x), dlas_mlir.compile(program, preset="host/auto")):
        np.testing.assert_allclose(dlas_mlir.run(artifact)[0], linear(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example_inputs": None}, r"the Linear has no inputs: `example_inputs` must be a tensor"),
        ({"example_inputs": 3}, r"the Linear has no inputs"),
        ({"example_inputs": (3,)}, r"the Linear has no inputs"),
        ({"example_inputs": (torch.zeros(2, 4),), "weights": "x.pt"}, "load_state_dict"),
        ({"example_inputs": (torch.zeros(2, 4, dtype=torch.complex64),)}, "Linear: input 0 is complex, which is not"),
    ],
)
def test_what_cannot_be_called(arguments, message):
    with pytest.raises(DlasError, match=message):
        dlas_mlir.compile(nn.Linear(4, 3), preset="host/auto", **arguments)


def _masks(m, x):
    return x.index_put((x[0] == 0, x[1] == 0), torch.zeros(()))


def _draws(m, x):
    return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x + torch.rand(3)), (torch.tensor(0), x))


class Double(nn.Module):
    def forward(self, x):
        return x * 2


class Asks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Branch(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (Call(lambda m, x: torch.fft.rfft(x).abs()), (torch.zeros(8),), r"aten.fft_rfft.default of .*is complex"),
        (Double(), (torch.zeros(3, dtype=torch.float64),), r"Double: input 0 is float64, .* call .float\(\)"),
        (Call(lambda m, x: x.double()), (torch.zeros(3),), r"Call: output 0 is float64, .* return it as .float\(\)"),
        (Call(lambda m, x: x.nonzero()), (torch.zeros(3),), r"nonzero \(.*\) has a size that is not fixed"),
        (Call(lambda m, x: 3), (torch.zeros(3),), "Call returns no tensor"),
        (Call(lambda m, x: x + torch.rand(3)), (torch.zeros(3),), r"aten.rand.default of .* draws random numbers"),
        (Call(lambda m, x: x.double().view(torch.int64)), (torch.zeros(3),), r"view.dtype of .* takes the bits of"),
        (Call(_masks), (torch.zeros(3, 3),), r"index_put.default of .*py:\d+\) writes where several masks"),
        (Call(lambda m, x: torch.ops.prims.squeeze(x, [0])), (torch.zeros(1, 3),), r"decompose .*squeeze \(.*py:\d+\)"),
        (
            Call(lambda m, x: torch.arange(1, 13, out=x)),
            (torch.zeros(3, 4, dtype=torch.int64),),
            r"output 0, of operation aten.arange.* is int64 of shape \(12,\) for torch.export, where .* shape \(3, 4\)",
        ),
        (Call(_draws), (torch.zeros(3),), r"aten.rand.default of rand \(.*\) draws random numbers"),
        (
            Call(lambda m, x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).int_repr()),
            (torch.zeros(3),),
            r"py:\d+\): quantized tensors of PyTorch's eager mode are not supported",
        ),
        (Asks(), (torch.zeros(3),), r"cannot trace Asks \(.*test_border.py:\d+\): it depends on a value .*torch.where"),
        (Branch(), (torch.zeros(3),), r"operation cond of cond \(.*test_border.py:\d+\) cannot be lowered"),
    ],
)  # fmt: skip
def test_what_is_refused_at_import(module, inputs, message):
    with pytest.raises(DlasError, match=message):
        import_source(torch_source.from_module(module, inputs, None))


def test_tensors_of_torchao():
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model, x = nn.Sequential(nn.Linear(64, 32)), torch.randn(2, 64)
    quantize_(model, Int8WeightOnlyConfig())
    (ours,) = dlas_mlir.run(compiled(model, x))
    np.testing.assert_allclose(ours, model(x).detach().numpy(), atol=1e-5)


def test_eager_quantization_is_named():
    model = nn.Sequential(nn.Linear(4, 3), torch.ao.nn.quantized.Linear(3, 2))
    with pytest.raises(DlasError, match="Sequential: layer `1` is a Linear of PyTorch's eager-mode quantization"):
        dlas_mlir.compile(model, preset="host/auto", example_inputs=torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        (
            "updated buffer",
            "remark: forward updates `calls`; what is compiled starts from the same values at each call",
        ),
        ("overwritten input", "remark: forward writes to input 0; what is compiled leaves it alone"),
    ],
)
def test_what_is_left_out_is_remarked(name, remark, capsys):
    module, inputs = CASES[name]()
    import_source(torch_source.from_module(module, inputs, None))
    assert remark in capsys.readouterr().err


def test_double_precision_inside_is_remarked(capsys):
    import_source(torch_source.from_module(Call(lambda m, x: x.double().sin().float()), (torch.zeros(3),), None))
    assert "aten._to_copy.default" in (error := capsys.readouterr().err) or "aten.to" in error
    assert "computes in float64" in error


def test_weights_that_are_turned_are_constants():
    """No operation is left between a grouped transposed convolution and its weights."""
    module, inputs = CASES["transposed groups"]()
    imported = import_source(torch_source.from_module(module, inputs, None))
    from iree.compiler import ir

    text = str(ir.Module.parseFile(str(imported.path), ir.Context()))
    assert "dense_resource<weight>" in text
    assert "linalg.index" not in text


class Endless(nn.Module):
    """What torch.export does not come back from."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return torch.while_loop(lambda x: x.sum() < 1e9, lambda x: (x * 0,), (x,))  # pyright: ignore


def test_a_module_that_is_traced_for_ever_is_stopped():
    with pytest.raises(DlasError, match=r"^tracing Endless was stopped: it took more than 1 s \(timeout\)$"):
        dlas_mlir.compile(Endless(), preset="host/stock", example_inputs=(torch.ones(3),), timeout=1)
