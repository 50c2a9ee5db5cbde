"""Importing: every kind of model, what the module says, the cache, and what a user may get wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iree.compiler import ir
from iree.compiler.tools import compile_file
from iree.runtime import load_vm_flatbuffer

from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.errors import DlasError

HERE = Path(__file__).parent
SMALL_PARAMETERS = 8 * 27 + 8 + 8 * 2 * 9 + 16 + 8 * 5 + 5
SMALL_MACS = 25 * 8 * 27 + 25 * 8 * 2 * 9 + 8 * 5


@pytest.fixture(autouse=True)
def _cache(shared_cache, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "own"))


def assert_runs_as_pytorch(imported: Imported) -> None:
    """Compile with plain IREE and compare with the golden outputs."""
    assert imported.golden is not None
    golden = np.load(imported.golden)
    vmfb: Any = compile_file(
        str(imported.path), target_backends=["llvm-cpu"], extra_args=["--iree-llvmcpu-target-cpu=host"]
    )
    main: Any = load_vm_flatbuffer(vmfb, driver="local-sync").main
    outputs = main(*[golden[f"input_{i}"] for i in range(len(golden.files)) if f"input_{i}" in golden.files])
    outputs = outputs if isinstance(outputs, tuple | list) else [outputs]
    assert len(outputs) == sum(name.startswith("output_") for name in golden.files)
    for index, output in enumerate(outputs):
        np.testing.assert_allclose(output.to_host(), golden[f"output_{index}"], rtol=1e-4, atol=1e-5)


def text_of(imported: Imported) -> str:
    module = ir.Module.parseFile(str(imported.path), ir.Context())
    return module.operation.get_asm(large_elements_limit=4, enable_debug_info=True, use_local_scope=True)


def test_factory_runs_as_pytorch():
    imported = import_model("imported_model:small")
    assert imported.name == "imported_model:small"
    assert (imported.parameters, imported.macs) == (SMALL_PARAMETERS, SMALL_MACS)
    assert_runs_as_pytorch(imported)


def test_zoo_model_runs_as_pytorch():
    imported = import_model("mobilenetv1-cifar")
    assert (imported.parameters, imported.macs) == (3_217_226, 46_354_432)
    assert_runs_as_pytorch(imported)


def test_zoo_model_with_another_batch():
    imported = import_model("wrn-40-2-gn", inputs=("2x3x32x32xf32",))
    assert imported.macs == 2 * 44_127_488
    assert imported.golden is not None
    assert np.load(imported.golden)["output_0"].shape == (2, 10)


def test_operations_carry_their_layers_names():
    text = text_of(import_model("imported_model:small"))
    lines = text.splitlines()
    (convolution,) = [line for line in lines if "linalg.conv_2d_nchw_fchw" in line]
    assert 'loc("conv")' in convolution
    (grouped,) = [line for line in lines if "ngchw" in line]
    assert 'loc("block.grouped")' in grouped
    for name in ("block.norm", "block.add", "block.relu", "fc", "mean"):
        assert f'loc("{name}")' in text
    assert str(HERE) not in text


def test_weights_carry_their_parameters_names():
    text = text_of(import_model("imported_model:small"))
    for name in ("conv.weight", "block.grouped.weight", "block.norm.running_var", "scale"):
        assert f"dense_resource<{name}>" in text


def test_several_inputs_types_and_outputs():
    imported = import_model("imported_model:two_types", inputs=("3xi64", "3x4xf32"))
    assert imported.golden is not None
    golden = np.load(imported.golden)
    assert sorted(golden.files) == ["element", "input_0", "input_1", "output_0", "output_1"]
    assert str(golden["element"]) == "bfloat16"
    assert golden["input_0"].dtype == np.int64
    assert golden["output_1"].dtype == np.float32
    assert "-> (tensor<3x4xf32>, tensor<3x4xbf16>)" in text_of(imported)


def test_weights_file_changes_the_module(tmp_path):
    from imported_model import Small

    torch.save({key: value + 1 for key, value in Small().state_dict().items()}, tmp_path / "w.pt")
    changed = import_model("imported_model:small", weights=tmp_path / "w.pt")
    assert changed.key != import_model("imported_model:small").key
    assert_runs_as_pytorch(changed)


def test_second_import_needs_no_torch(shared_cache):
    first = import_model("imported_model:small")
    code = (
        "import sys; from dlas_mlir.compiler.frontend.importer import import_model; "
        "found = import_model('imported_model:small'); assert 'torch' not in sys.modules; print(found.key)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == first.key, done.stderr


def test_import_is_the_same_each_time(own_cache, shared_cache, monkeypatch):
    first = import_model("imported_model:small")
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    second = import_model("imported_model:small")
    assert first.path != second.path
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: content[:-1] + b"?"])
@pytest.mark.parametrize("part", ["path", "golden"])
def test_damaged_cache_entry_is_made_anew(own_cache, part, damage):
    imported = import_model("imported_model:small")
    file = getattr(imported, part)
    content = file.read_bytes()
    file.write_bytes(damage(content))
    again = import_model("imported_model:small")
    assert again == imported
    assert file.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"module": 1}'])
def test_damaged_facts_are_made_anew(own_cache, tmp_path, content):
    path = tmp_path / "model.mlir"
    path.write_text(IDENTITY)
    imported = import_model(str(path))
    facts = imported.path.with_name("import.json")
    facts.write_bytes(content)
    assert import_model(str(path)) == imported
    assert facts.read_bytes() != content


IDENTITY = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"
# Imports, but says so and waits for a line before it finishes.
WAITING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from dlas_mlir.compiler.frontend import importer
imported = importer._imported
def wait(*arguments):
    facts = imported(*arguments)
    print("waiting", flush=True)
    sys.stdin.readline()
    return facts
importer._imported = wait
print(importer.import_model(sys.argv[1]).path, flush=True)
"""


def test_processes_that_share_a_cache_do_not_meet(own_cache, tmp_path):
    """Four import the same file; one is interrupted and one killed while all are at it."""
    path = tmp_path / "model.mlir"
    path.write_text(IDENTITY)
    command = [sys.executable, "-c", WAITING, str(path)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
        interrupted, killed, *others = processes
        interrupted.send_signal(signal.SIGINT)
        killed.kill()
        for process in (interrupted, killed):
            assert process.communicate()[0] == ""
        found = [process.communicate("go\n") for process in others]
    assert [process.returncode for process in others] == [0, 0], found
    assert {out for out, _ in found} == {f"{import_model(str(path)).path}\n"}
    import_model(str(write_text(tmp_path / "other.mlir", IDENTITY)))
    assert not list((tmp_path / "own" / "work").iterdir())


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_same_factory_beside_another_file(tmp_path, own_cache, monkeypatch):
    """Two folders whose modules are the same, and import different ones."""
    parameters = []
    for width in (4, 6):
        folder = tmp_path / f"of{width}"
        folder.mkdir()
        (folder / "my_width.py").write_text(f"WIDTH = {width}\n")
        (folder / "my_model.py").write_text(
            "from torch import nn\nfrom my_width import WIDTH\n"
            "def make(): return nn.Sequential(nn.Conv2d(3, WIDTH, 1))\n"
        )
        monkeypatch.chdir(folder)
        for name in ("my_model", "my_width"):
            sys.modules.pop(name, None)
        parameters.append(import_model("my_model:make", inputs=("1x3x5x5xf32",)).parameters)
    assert parameters == [16, 24]


def test_edited_source_is_imported_anew(tmp_path, own_cache, monkeypatch):
    """Also when the edit is in a file that the factory's module imports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_width.py").write_text("WIDTH = 4\n")
    (tmp_path / "my_model.py").write_text(
        "from torch import nn\nfrom my_width import WIDTH\ndef make(): return nn.Sequential(nn.Conv2d(3, WIDTH, 1))\n"
    )
    parameters = []
    for width in (4, 6):
        (tmp_path / "my_width.py").write_text(f"WIDTH = {width}  # edited\n")
        for name in ("my_model", "my_width"):
            sys.modules.pop(name, None)
        parameters.append(import_model("my_model:make", inputs=("1x3x5x5xf32",)).parameters)
    assert parameters == [16, 24]


def test_mlir_text_and_bytecode(tmp_path):
    imported = import_model("imported_model:small")
    text = tmp_path / "model.mlir"
    module = ir.Module.parseFile(str(imported.path), ir.Context())
    text.write_text(str(module).replace("@main", "@forward"))
    for path in (text, imported.path):
        again = import_model(str(path))
        assert again.name == path.stem
        assert again.macs == SMALL_MACS
        assert again.golden is None
        assert "func.func @main" in text_of(again)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("func.func @main(%a: tensor<4xf32>", r"model.mlir:1:33: expected '\)'"),
        ("func.func @main(%a: tensor<?xf32>) { return }", "argument 0 of main is tensor<.xf32>"),
        ("func.func @main() -> f32 { %c = arith.constant 0.0 : f32 return %c : f32 }", "result 0 of main is f32"),
        ("module {}", "it has none"),
        ("func.func @a() { return } func.func @b() { return }", "it has a, b"),
        ("func.func @main() { no.such_op }", "no.such_op"),
    ],
)
def test_bad_mlir(tmp_path, content, message):
    path = tmp_path / "model.mlir"
    path.write_text(content)
    with pytest.raises(DlasError, match=message):
        import_model(str(path))


def test_truncated_text(tmp_path):
    # As MLIR maps it, a file of this size brings its parser down.
    text = "func.func @main() -> tensor<2xf32> {\n  %0 = arith.constant dense_resource<a> : tensor<2xf32>\n"
    text += '  return %0 : tensor<2xf32>\n}\n{-# dialect_resources: {builtin: {a: "0x04000000' + "00" * 50_000
    path = tmp_path / "cut.mlir"
    path.write_text(text)
    with pytest.raises(DlasError, match=r"cut\.mlir: truncated"):
        import_model(str(path))


RESOURCE = """func.func @main() -> tensor<2xf32> {
  %0 = arith.constant dense_resource<w> : tensor<2xf32>
  return %0 : tensor<2xf32>
}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RESOURCE, r"model\.mlir:2:8: the data of resource 'w' is not in the file"),
        (RESOURCE.replace("<w>", "<__elided__>"), r"model\.mlir:2:8: the data of resource '__elided__' is not in"),
        (
            RESOURCE + '{-# dialect_resources: { builtin: { w: "0x0400000000000000" } } #-}\n',
            r"model\.mlir:2:8: resource 'w' has 4 bytes of data, and tensor<2xf32> needs 8",
        ),
        (
            RESOURCE + '{-# dialect_resources: { builtin: { w: "0x03000000" } } #-}\n',
            r"model\.mlir:5:40: .*alignment",
        ),
        ("\ufeff" + IDENTITY, r"model\.mlir:1:1: it begins with a byte-order mark"),
    ],
)
def test_weights_that_are_not_there(tmp_path, text, message):
    path = tmp_path / "model.mlir"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DlasError, match=message):
        import_model(str(path))


def test_truncated_bytecode(tmp_path):
    path = tmp_path / "model.mlirbc"
    path.write_bytes(import_model("imported_model:small").path.read_bytes()[:1000])
    with pytest.raises(DlasError, match=r"not valid MLIR: .*model\.mlirbc"):
        import_model(str(path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet-18", "unknown model 'resnet-18': did you mean resnet18"),
        ("zzz", "`dlas models` lists them"),
        ("none.mlir", "cannot read none.mlir: No such file"),
        ("none.pt2", "cannot read none.pt2: No such file"),
        ("no_module_here:f", "no module no_module_here"),
        ("imported_model.part:f", "no module imported_model.part"),
        ("imported_model:", "malformed model"),
        ("imported_model:nothing", "module imported_model has no nothing"),
        ("imported_model:number", "returned a int; it must return an nn.Module"),
        ("imported_model:failing", "KeyError: 'no such width' .*imported_model.py:"),
        ("imported_model:bare", "example_inputs.*--input"),
    ],
)
def test_bad_models(spec, message):
    with pytest.raises(DlasError, match=message):
        import_model(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1x3x8x8", "its element type must be"),
        ("1x3x8x8xf31", "its element type must be"),
        ("1x?x8xf32", "every dimension must be a number"),
        ("1x0x8xf32", "'0' is not a dimension"),
        ("1xx8xf32", "'' is not a dimension"),
        ("1x-3x8xf32", "'-3' is not a dimension"),
        ("", "its element type"),
    ],
)
def test_malformed_inputs(text, message):
    with pytest.raises(DlasError, match=f"malformed input .*{message}"):
        import_model("imported_model:bare", inputs=(text,))


@pytest.mark.parametrize("size", ["9999999", "9" * 30])
def test_inputs_that_do_not_fit_into_memory(size):
    with pytest.raises(DlasError, match=f"an input 1x{size}x{size}xi32 cannot be allocated: it is too large"):
        import_model("imported_model:small", inputs=(f"1x{size}x{size}xi32",))


def test_inputs_that_do_not_fit_the_model():
    with pytest.raises(DlasError, match=r"imported_model:bare"):
        import_model("imported_model:bare", inputs=("1x4x8x8xf32",))


def test_weights_and_inputs_do_not_go_with_files(tmp_path):
    with pytest.raises(DlasError, match="--weights goes with"):
        import_model("model.mlir", weights=tmp_path / "w.pt")
    with pytest.raises(DlasError, match="--input goes with"):
        import_model("model.mlir", inputs=("4xf32",))


def test_unsupported_operation_is_named_with_its_layer(own_cache, tmp_path):
    message = r"operation aten.special_bessel_j0.default of body.special_bessel_j0 \(.*imported_model.py:\d+\)"
    with pytest.raises(DlasError, match=message):
        import_model("imported_model:unsupported", inputs=("4xf32",))
    assert not (tmp_path / "own" / "import").exists()


def test_model_that_cannot_be_traced():
    with pytest.raises(DlasError, match=r"torch.export cannot trace imported_model:branches"):
        import_model("imported_model:branches", inputs=("4xf32",))
