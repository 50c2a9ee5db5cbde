"""Importing ExportedProgram and ONNX files: what they hold, and that nothing in them is run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dlas_mlir
from dlas_mlir.compiler.frontend import import_process, mlir_import
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.errors import DlasError


class Net(nn.Module):
    """A convolution, a constant and a keyword argument."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor, *, shift: Tensor) -> Tensor:
        return torch.relu(self.conv(x)) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1) + shift


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def exported(tmp_path):
    torch.manual_seed(0)
    program = torch.export.export(Net(), (torch.randn(1, 3, 5, 5),), {"shift": torch.randn(1)})
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    return path


def change(path: Path, part: str, edit) -> Path:
    """A copy of the archive with the part whose name ends so put through `edit`."""
    changed = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit(content) if name.endswith(part) else content)
    return changed


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_exported_program(exported):
    imported = import_model(str(exported))
    assert imported.name == "net"
    assert imported.parameters == 16
    assert imported.macs == 25 * 12
    assert imported.golden is not None
    golden = np.load(imported.golden)
    with torch.no_grad():
        expected = torch.export.load(exported).module()(
            torch.from_numpy(golden["input_0"]), shift=torch.from_numpy(golden["input_1"])
        )
    np.testing.assert_array_equal(golden["output_0"], expected.numpy())
    assert b"conv.weight" in imported.path.read_bytes()


def test_exported_program_without_example_inputs(exported):
    empty = io.BytesIO()
    torch.save(((), {}), empty)
    imported = import_model(str(change(exported, "sample_inputs/model.pt", lambda _: empty.getvalue())))
    assert imported.golden is not None
    assert np.load(imported.golden)["input_0"].shape == (1, 3, 5, 5)


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_truncated_exported_program(exported, size):
    exported.write_bytes(exported.read_bytes()[:size])
    with pytest.raises(DlasError, match="is no ExportedProgram"):
        import_model(str(exported))


def test_an_archive_that_python_can_read_and_pytorch_cannot(exported, capfd):
    exported.write_bytes(exported.read_bytes()[5:])
    with pytest.raises(DlasError, match=r"cannot read .*net\.pt2: PytorchStreamReader failed"):
        import_model(str(exported))
    assert "Traceback" not in capfd.readouterr().err


def test_archive_of_another_kind(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "weights.pt2")
    with pytest.raises(DlasError, match="is no ExportedProgram"):
        import_model(str(tmp_path / "weights.pt2"))


def test_pickled_example_inputs_are_not_run(exported, tmp_path):
    trap = io.BytesIO()
    torch.save(((Trap(tmp_path / "sprung"),), {}), trap)
    with pytest.raises(DlasError, match="cannot read"):
        import_model(str(change(exported, "sample_inputs/model.pt", lambda _: trap.getvalue())))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("part", ["weights_config.json", "constants_config.json"])
def test_pickled_tensors_are_refused(exported, part):
    def edit(content: bytes) -> bytes:
        config = json.loads(content)
        for entry in config["config"].values():
            entry["use_pickle"] = True
        return json.dumps(config).encode()

    with pytest.raises(DlasError, match=r"is refused: .* pickled object"):
        import_model(str(change(exported, part, edit)))


def test_pickled_constants_are_refused(exported, tmp_path):
    def edit(content: bytes) -> bytes:
        return content.replace(b'"tensor_0"', b'"opaque_obj_0"')

    changed = change(exported, "constants_config.json", edit)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("net/data/constants/opaque_obj_0", pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DlasError, match=r"is refused: .* pickled object"):
        import_model(str(changed))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("target", ["torch.os.system", "_operator.methodcaller", "math.exp", "torch.ops.aten"])
def test_targets_that_are_no_operators_are_refused(exported, target):
    changed = change(
        exported, "model.json", lambda content: content.replace(b"torch.ops.aten.relu.default", target.encode())
    )
    with pytest.raises(DlasError, match=f"is refused: it calls {target}"):
        import_model(str(changed))


def test_symbolic_sizes_are_refused(tmp_path):
    program = torch.export.export(
        Net(),
        (torch.randn(4, 3, 5, 5),),
        {"shift": torch.randn(1)},
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}, "shift": None},
    )
    torch.export.save(program, tmp_path / "dynamic.pt2")
    with pytest.raises(DlasError, match="fixed shapes"):
        import_model(str(tmp_path / "dynamic.pt2"))


def onnx_file(path: Path, operation: str = "Relu") -> Path:
    """A convolution and another operation."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper, float32 = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="first/conv", pads=[1, 1, 1, 1]),
        helper.make_node(operation, ["c"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", float32, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", float32, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def test_onnx(tmp_path):
    imported = import_model(str(onnx_file(tmp_path / "net.onnx")))
    assert imported.name == "net"
    assert imported.macs == 36 * 4 * 27
    assert imported.parameters == 4 * 27
    assert not imported.unchecked
    module = mlir_import.read_module(imported.path)
    text = module.operation.get_asm(enable_debug_info=True, use_local_scope=True)
    (convolution,) = [line for line in text.splitlines() if "linalg.conv_2d_nchw_fchw" in line]
    assert 'loc("first/conv")' in convolution
    assert "func.func @main" in text


def test_unsupported_onnx_operation(tmp_path):
    with pytest.raises(DlasError, match=r"net.onnx.*NoSuchOp"):
        import_model(str(onnx_file(tmp_path / "net.onnx", "NoSuchOp")))


def test_truncated_onnx(tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DlasError, match=r"net.onnx is no ONNX file: .*truncated"):
        import_model(str(path))


def test_onnx_tensor_beyond_what_protobuf_holds(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = onnx_file(tmp_path / "net.onnx")
    model = onnx.load(str(path))
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.dims[:] = [1 << 16, 1 << 14]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.data")
    path.write_bytes(model.SerializeToString())
    (tmp_path / "w.data").touch()
    with pytest.raises(DlasError, match="'w' is larger than 2 GB"):
        import_model(str(path))


def torch_dialect(path: Path, of: Path) -> Path:
    """The ONNX file `of` as iree-import-onnx writes it."""
    import onnx
    from iree.compiler import ir
    from iree.compiler.extras import onnx_importer

    info = onnx_importer.ModelInfo(onnx.shape_inference.infer_shapes(onnx.load(str(of))))
    module = info.create_module(context=ir.Context())
    onnx_importer.NodeImporter.define_function(info.main_graph, module.operation).import_all()
    path.write_text(str(module))
    return path


def test_mlir_in_the_torch_dialect(tmp_path):
    source = onnx_file(tmp_path / "net.onnx")
    path = torch_dialect(tmp_path / "torch.mlir", source)
    assert "torch.operator" in path.read_text()
    imported = import_model(str(path))
    assert imported.macs == 36 * 4 * 27
    assert "no model behind it" in imported.unchecked
    x = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    of_torch, of_onnx = (dlas_mlir.run(dlas_mlir.compile(file, preset="host/auto"), x) for file in (path, source))
    np.testing.assert_array_equal(of_torch, of_onnx)
    assert np.abs(of_torch[0]).max() > 1


def test_torch_dialect_that_cannot_be_lowered(tmp_path):
    path = torch_dialect(tmp_path / "torch.mlir", onnx_file(tmp_path / "net.onnx"))
    path.write_text(path.read_text().replace("onnx.Relu", "onnx.NoSuchOp"))
    with pytest.raises(
        DlasError, match=r"torch\.mlir is of the torch dialect and cannot be lowered: .*:\d+:\d+: .*NoSuchOp"
    ):
        import_model(str(path))


def test_onnx_without_its_package(tmp_path, monkeypatch):
    path = onnx_file(tmp_path / "net.onnx")
    monkeypatch.setattr(import_process, "find_spec", lambda name: None)
    with pytest.raises(DlasError, match=r"install dlas-mlir\[onnx\]"):
        import_process.run(str(path), None, None, None, str(tmp_path))


def test_resource_of_no_alignment(tmp_path):
    """It ends MLIR's parser, and the process with it."""
    path = tmp_path / "net.mlir"
    path.write_text(
        "func.func @main() -> tensor<1xf32> {\n  %w = arith.constant dense_resource<w> : tensor<1xf32>\n"
        '  return %w : tensor<1xf32>\n}\n{-# dialect_resources: { builtin: { w: "0x000000000000803f" } } #-}\n'
    )
    with pytest.raises(DlasError, match=r"net\.mlir:5: a resource begins with an alignment of 0 bytes"):
        import_model(str(path))
