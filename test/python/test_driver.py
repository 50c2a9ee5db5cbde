"""Compiling: the cache, what is written, and what is said when a tool fails, crashes or finds no space."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dlas_mlir import process
from dlas_mlir.compiler import cache, job, pipeline_process, tools
from dlas_mlir.compiler import keys as keys_of
from dlas_mlir.compiler.dispatches import parse_dispatches, split_dump
from dlas_mlir.compiler.driver import compile_imported, compile_model
from dlas_mlir.compiler.elf import undefined_symbols
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.keys import artifact_key
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError

HERE = Path(__file__).parent
MODEL = "imported_model:small"


@pytest.fixture(autouse=True)
def _cache(shared_cache, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def files_below(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def stand_in(tmp_path, text):
    """A tool that does what `text`, a shell script, says."""
    tool = tmp_path / "iree-compile"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    return str(tool)


def fresh_preset(**changes):
    """A preset that nothing in the cache was made with."""
    return dataclasses.replace(load_preset("host/stock"), **changes)


def test_stages_and_metadata():
    preset = fresh_preset(name="host/fresh")
    artifact = compile_imported(import_model(MODEL), preset)
    assert not artifact.cached
    assert artifact.primitives == {"stock": 3}
    assert artifact.driver == "local"
    assert artifact.seconds.keys() == {"passes", "compile"}
    assert artifact.sha256 == cache.file_digest(artifact.vmfb)
    assert artifact.versions["iree-base-compiler"] == "3.13.0"
    beside = json.loads((artifact.vmfb.parent / "artifact.json").read_text())
    assert beside["preset"] == "host/fresh"
    assert beside["sha256"] == artifact.sha256
    again = compile_imported(import_model(MODEL), preset)
    assert again.cached
    assert dataclasses.replace(again, cached=False) == artifact


def test_dispatches_know_their_layers():
    artifact = compile_model(MODEL, "host/stock")
    layers = {dispatch["layer"] for dispatch in artifact.dispatches}
    assert {"conv", "block.grouped", "fc"} <= layers


def test_output_and_mlir(tmp_path):
    artifact = compile_model(MODEL, "host/stock", output=tmp_path / "a.vmfb", mlir_out=tmp_path / "a.mlir")
    assert cache.file_digest(tmp_path / "a.vmfb") == artifact.sha256
    assert "func.func @main" in (tmp_path / "a.mlir").read_text()
    assert "conv_2d" in (tmp_path / "a.mlir").read_text()
    compile_model(MODEL, "host/stock", mlir_out=tmp_path / "a.mlirbc")
    assert (tmp_path / "a.mlirbc").read_bytes()[:4] == b"ML\xefR"
    # What is known of an artifact lies beside it.
    beside = {"a.vmfb.json", "a.vmfb.npz"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.vmfb", "a.mlir", "a.mlirbc", *beside}


def test_the_written_mlir_compiles_again(tmp_path):
    compile_model(MODEL, "host/auto", mlir_out=tmp_path / "a.mlir")
    command = [tools.iree_compile(), str(tmp_path / "a.mlir"), *load_preset("host/auto").iree_flags]
    subprocess.run([*command, "-o", "/dev/null"], check=True)


def test_a_cached_artifact_needs_neither_torch_nor_the_compilers(shared_cache):
    compile_model(MODEL, "host/stock")
    script = (
        "import sys; from dlas_mlir.compiler.driver import compile_model\n"
        f"assert compile_model({MODEL!r}, 'host/stock').cached\n"
        "print([name for name in ('torch', 'torch_mlir') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


def test_a_damaged_artifact_is_made_again():
    artifact = compile_model(MODEL, "host/stock")
    artifact.vmfb.write_bytes(artifact.vmfb.read_bytes()[:-100])
    again = compile_model(MODEL, "host/stock")
    assert not again.cached
    assert cache.file_digest(again.vmfb) == again.sha256


def test_the_key_holds_what_matters(monkeypatch):
    imported, preset = import_model(MODEL), load_preset("host/stock")
    keys = {
        artifact_key(imported, preset),
        artifact_key(dataclasses.replace(imported, key="other"), preset),
        artifact_key(imported, dataclasses.replace(preset, pipeline="builtin.module(cse)")),
        artifact_key(imported, dataclasses.replace(preset, iree_flags=("--iree-opt-level=O3",))),
    }
    monkeypatch.setattr(keys_of, "cpu_model", lambda: "another CPU")
    keys.add(artifact_key(imported, preset))
    assert len(keys) == 5


def test_a_changed_file_of_choices_makes_another_artifact(tmp_path):
    choices = tmp_path / "choices.json"
    pipeline = f"builtin.module(dlas-select-primitive{{choices={choices}}})"
    imported, preset = import_model(MODEL), dataclasses.replace(load_preset("host/stock"), pipeline=pipeline)
    with pytest.raises(DlasError, match=r"cannot read .*choices\.json"):
        artifact_key(imported, preset)
    choices.write_text("{}")
    before = artifact_key(imported, preset)
    choices.write_text('{"conv": "gemm"}')
    assert artifact_key(imported, preset) != before


def test_a_changed_file_that_a_flag_or_a_native_pass_names_makes_another_artifact(tmp_path):
    file = tmp_path / "spec.mlir"
    imported, stock = import_model(MODEL), load_preset("host/stock")
    flag = dataclasses.replace(stock, iree_flags=(*stock.iree_flags, f"--iree-codegen-tuning-spec-path={file}"))
    text = f"builtin.module(any(iree-preprocessing-apply-pdl-patterns{{patterns-file={file}}}))"
    native = dataclasses.replace(stock, pipeline=text)
    keys = set()
    for content in ("", "module {}"):
        file.write_text(content)
        keys |= {artifact_key(imported, flag), artifact_key(imported, native)}
    assert len(keys) == 4


def test_threads_share_what_does_not_depend_on_them():
    one, two = (compile_model(MODEL, "host/stock", threads=threads) for threads in (1, 2))
    assert one.sha256 == two.sha256


def test_a_failing_pipeline_names_model_and_preset():
    with pytest.raises(DlasError, match=r"imported_model:small for host/bad: .*set-target"):
        compile_imported(import_model(MODEL), fresh_preset(name="host/bad", pipeline="dlas-select-primitive"))


def test_a_crashing_pass_says_how_to_reproduce(tmp_path, monkeypatch):
    # A pass of another package that aborts the process, as a bug in LLVM does.
    imported = import_model(MODEL)
    (tmp_path / "aborting.py").write_text("import os\ndef run(**_): os.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(job, "_PASSES", "aborting")
    with pytest.raises(DlasError, match="the pass pipeline was killed by SIGABRT") as error:
        compile_imported(imported, fresh_preset(name="host/crash", pipeline="builtin.module(cse)"))
    command = str(error.value).partition("reproduce with: ")[2]
    assert command.startswith("dlas-opt ")
    assert "--preset=host/crash" in command
    assert Path(command.split()[1]).is_file()


def test_a_killed_compiler_says_how_to_reproduce(tmp_path, monkeypatch, shared_cache):
    tool = stand_in(tmp_path, "kill -KILL $$")
    monkeypatch.setattr(tools, "iree_compile", lambda: tool)
    preset = fresh_preset(name="host/killed")
    with pytest.raises(DlasError, match="iree-compile was killed by SIGKILL") as error:
        compile_imported(import_model(MODEL), preset)
    command = str(error.value).partition("reproduce with: ")[2].split()
    assert command[0] == tool
    assert Path(command[1]).is_file()
    assert set(preset.iree_flags) <= set(command)
    folder = shared_cache / "artifact" / artifact_key(import_model(MODEL), preset)
    assert files_below(folder) == set()


def test_the_command_reproduces_the_failure(monkeypatch):
    preset = fresh_preset(name="host/flag", iree_flags=("--iree-no-such-flag",))
    with pytest.raises(DlasError, match="iree-compile failed with exit code") as error:
        compile_imported(import_model(MODEL), preset)
    assert "iree-no-such-flag" in str(error.value).splitlines()[1]
    command = str(error.value).partition("reproduce with: ")[2].split()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "iree-no-such-flag" in done.stderr


def test_a_failure_of_code_generation_is_told(tmp_path):
    """It comes after the dump that tells of the dispatches."""
    source = tmp_path / "double.mlir"
    source.write_text(
        "func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {\n"
        "  %y = arith.addf %x, %x : tensor<8xf32>\n  return %y : tensor<8xf32>\n}\n"
    )
    preset = fresh_preset(
        name="host/no-code", iree_flags=(*fresh_preset().iree_flags, "--iree-llvmcpu-target-cpu=6502")
    )
    with pytest.raises(DlasError) as error:
        compile_imported(import_model(str(source)), preset)
    assert "\nLLVM ERROR: 64-bit code requested" in str(error.value)


def test_the_compiler_takes_too_long(tmp_path, monkeypatch):
    tool = stand_in(tmp_path, "exec sleep 60")
    monkeypatch.setattr(tools, "iree_compile", lambda: tool)
    with pytest.raises(
        DlasError, match=r"iree-compile was stopped: it took more than 0.2 s .--timeout.\nreproduce with: "
    ):
        compile_imported(import_model(MODEL), fresh_preset(name="host/slow"), timeout=0.2)


def test_a_full_disk_is_told_and_nothing_stays(tmp_path, monkeypatch, shared_cache):
    tool = stand_in(tmp_path, 'echo "LLVM ERROR: IO failure on output stream: No space left on device" >&2; exit 1')
    monkeypatch.setattr(tools, "iree_compile", lambda: tool)
    preset = fresh_preset(name="host/full")
    with pytest.raises(DlasError, match=r"cannot write .*: No space left on device"):
        compile_imported(import_model(MODEL), preset)
    folder = shared_cache / "artifact" / artifact_key(import_model(MODEL), preset)
    assert files_below(folder) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("part", ["bytecode", "text"])
def test_a_pipeline_names_the_file_that_does_not_fit(part):
    nowhere = {"bytecode": None, "text": None}
    request = {"source": str(import_model(MODEL).path), "pipeline": "cse", **nowhere, part: "/dev/full"}
    with pytest.raises(DlasError, match="cannot write /dev/full: No space left on device"):
        pipeline_process.run(**request)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_iree_compile_says_that_the_disk_is_full():
    """The words that the driver looks for."""
    imported = import_model(MODEL)
    command = [tools.iree_compile(), str(imported.path), *load_preset("host/stock").iree_flags, "-o", "/dev/full"]
    outcome = process.run(command)
    assert outcome.code
    assert "No space left on device" in outcome.stderr


def test_output_in_no_directory(tmp_path):
    with pytest.raises(DlasError, match="there is no directory"):
        compile_model(MODEL, "host/stock", output=tmp_path / "none" / "a.vmfb")
    with pytest.raises(DlasError, match="it is a directory"):
        compile_model(MODEL, "host/stock", output=tmp_path)


def test_an_executable_that_imports_malloc_is_refused(monkeypatch):
    monkeypatch.setattr(job, "undefined_symbols", lambda _: {"malloc"})
    with pytest.raises(DlasError, match="the generated code calls malloc, which no device offers"):
        compile_imported(import_model(MODEL), fresh_preset(name="host/malloc"))


def test_imports_of_an_executable_are_found(tmp_path):
    artifact = compile_model(MODEL, "host/stock")
    assert undefined_symbols(artifact.vmfb) == set()
    data = artifact.vmfb.read_bytes()
    library = Path(sys.modules["select"].__file__ or "").read_bytes()
    (tmp_path / "other.vmfb").write_bytes(data[:64] + b"\x7fELF\x02\x01" + data[64:100] + library)
    assert "PyModuleDef_Init" in undefined_symbols(tmp_path / "other.vmfb")


def test_dispatches_are_read_from_the_dump():
    stderr = """warning: kept
// -----// IR Dump After X //----- //
  util.func public @jit_eval() { flow.dispatch @jit::@jit_eval() loc("no")
// -----// IR Dump After X //----- //
  util.func private @other() {
    %0 = flow.dispatch @a::@a_code(%x) : () -> () loc("no")
  }
  util.func public @main$async(%arg0: !hal.buffer_view loc("x")) {
    %0 = flow.dispatch @a::@a_code(%x) : () -> () loc(#loc2)
    %1 = flow.dispatch @b::@b_code[%c1](%x) {dlas.workload = "26fa"} : () -> () loc(fused["conv1", "relu"])
    %2 = flow.dispatch @a::@a_code(%x) : () -> () loc("file.mlir":3:4)
  }
#loc = loc("x")
#loc1 = loc("layer1.0.conv1")
#loc2 = loc(callsite(#loc1 at #loc))
"""
    dump, rest = split_dump(stderr + "a.c:1:2: error: no code\n")
    assert rest == "warning: kept\na.c:1:2: error: no code\n"
    assert parse_dispatches(dump) == [
        {"name": "a_code", "layer": "layer1.0.conv1", "workload": ""},
        {"name": "b_code", "layer": "conv1", "workload": "26fa"},
        {"name": "a_code", "layer": "", "workload": ""},
    ]
