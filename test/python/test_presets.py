"""Presets: the built-in ones are right, a user's come first, and what is wrong in a file is told."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

import preset_files
import pytest
from preset_files import GOOD

from dlas_mlir import pipelines
from dlas_mlir.cli.dlas import main
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.compiler import presets
from dlas_mlir.compiler.presets import host, list_presets, load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.pipeline import parse_pipeline


def vector_bits(preset: str) -> int:
    target = load_preset(preset).target
    assert isinstance(target, CpuTarget)
    return target.vector_bits


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one user directory there is, empty."""
    return preset_files.only_in(tmp_path, monkeypatch)


def test_every_built_in_preset_loads() -> None:
    found: dict[str, set[str]] = {}
    for listed in list_presets():
        target, recipe = listed.name.split("/")
        found.setdefault(target, set()).add(recipe)
        preset = load_preset(listed.name)
        assert str(parse_pipeline(preset.pipeline)) == preset.pipeline
        assert (preset.pipeline == "builtin.module()") == (recipe == "stock")
        if recipe != "stock":
            assert preset.pipeline.startswith(f"builtin.module(dlas-set-target{{target={preset.target_name}")
        assert "--iree-opt-level=O3" in preset.iree_flags
    # The rest of the files is for what targets share.
    shared = {"cpu", "gpu", "fragments", "figures"}
    assert found.keys() - {"host"} == {file.stem for file in Path(pipelines.__path__[0]).glob("*.toml")} - shared
    recipes = {"cpu": {"stock", "direct", "gemm", "spatial-pack", "auto"}, "gpu": {"stock", "direct", "gemm"}}
    for target, names in found.items():
        assert names >= recipes[load_preset(f"{target}/direct").target.kind]
    assert found.keys() >= {"x86-64-avx2", "x86-64-avx512", "aarch64-neon", "vulkan", "cuda-sm80"}


def test_all_figures_of_a_target_reach_the_passes() -> None:
    preset = load_preset("x86-64-avx512-bf16/auto")
    assert isinstance(preset.target, CpuTarget)
    assert (preset.target.int8_dot, preset.target.bf16_dot) == ("vpdpbusd", "vdpbf16ps")
    assert "int8_dot=vpdpbusd" in preset.pipeline


def test_schedules_stand_behind_a_colon() -> None:
    plain, naive = load_preset("x86-64-avx2/gemm"), load_preset("x86-64-avx2/gemm:naive")
    assert naive.pipeline.replace("{schedule=naive}", "") == plain.pipeline != naive.pipeline
    assert load_preset("x86-64-avx2/gemm:rule").pipeline == plain.pipeline
    assert "dlas-attach-schedules{schedule=tuned}" in load_preset("x86-64-avx2/int8-direct:tuned").pipeline
    assert [load_preset(f"x86-64-avx2/{name}").schedule for name in ("gemm", "gemm:tuned", "stock")] == [
        "rule",
        "tuned",
        "",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "x86-64-avx2/gemm:naiv",
            "there are no schedules `naiv` .did you mean `naive`.*; there are rule, naive, tuned",
        ),
        ("x86-64-avx2/gemm:", "there are no schedules ``"),
        ("x86-64-avx2/stock:naive", "x86-64-avx2/stock makes no kernels, so there are no schedules to choose"),
        ("x86-64-avx2/int8-tuned", "schedules stand behind a colon, as in `x86-64-avx2/auto:tuned`"),
    ],
)
def test_schedules_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(DlasError, match=message):
        load_preset(name)


def test_threads_choose_the_device_and_reach_the_passes() -> None:
    one, two = load_preset("x86-64-avx2/auto"), load_preset("x86-64-avx2/auto", threads=2)
    assert (one.device, two.device) == ("local-sync", "local-task")
    assert "threads=2" in two.pipeline
    gpu = load_preset("vulkan/direct", threads=2)
    assert (gpu.device, gpu.pipeline) == ("vulkan", load_preset("vulkan/direct").pipeline)
    with pytest.raises(DlasError, match="at least one thread"):
        load_preset("x86-64-avx2/auto", threads=0)


def test_host_is_compiled_for_exactly_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "cpu_features", lambda: {"avx2", "fma"})
    monkeypatch.setattr(host, "cache_sizes", lambda: {"l1d_bytes": 49152})
    preset = load_preset("host/auto")
    assert isinstance(preset.target, CpuTarget)
    assert (preset.name, preset.target_name, preset.target.l1d_bytes) == ("host/auto", "x86-64-avx2", 49152)
    assert [flag for flag in preset.iree_flags if "llvmcpu-target" in flag] == ["--iree-llvmcpu-target-cpu=host"]


@pytest.mark.parametrize(
    ("machine", "features", "target"),
    [
        ("x86_64", "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl", "x86-64-avx512"),
        ("x86_64", "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni", "x86-64-avx512-vnni"),
        (
            "x86_64",
            "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512_bf16",
            "x86-64-avx512-bf16",
        ),
        (
            "x86_64",
            "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512_bf16 avx512_vp2intersect avx_vnni",
            "x86-64-zen5",
        ),
        (
            "x86_64",
            "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512_bf16 avx512_fp16 amx_tile",
            "x86-64-sapphirerapids",
        ),
        (
            "x86_64",
            "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512_bf16 avx_vnni avx512_fp16",
            "x86-64-avx512-bf16",
        ),
        ("AMD64", "avx2 fma avx512f", "x86-64-avx2"),
        ("arm64", "", "aarch64-neon"),
        ("aarch64", "asimd i8mm bf16", "aarch64-i8mm"),
    ],
)
def test_the_host_is_recognised(machine: str, features: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(host, "cpu_features", lambda: set(features.split()))
    assert host.target_name() == target


def test_an_unknown_host_is_told_and_listed_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(DlasError, match=r"no target is known for this CPU \(riscv64\)"):
        load_preset("host/auto")
    assert not any(listed.name.startswith("host/") for listed in list_presets())


def test_what_the_system_tells_of_the_cpu(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu avx2 fma\n\nprocessor : 1\nflags : other\n")
    assert host.cpu_features(cpuinfo) == {"fpu", "avx2", "fma"}
    assert host.cpu_features(tmp_path / "nothing") == set()
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K"), ("3", "Unified", "1M")]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    assert host.cache_sizes(tmp_path) == {"l1d_bytes": 48 * 1024, "l2_bytes": 2048 * 1024}


def test_a_users_file_comes_first(own_directory: Path) -> None:
    (own_directory / "vulkan.toml").write_text(GOOD)
    assert vector_bits("vulkan/plain") == 64
    listed = [one for one in list_presets() if one.name.startswith("vulkan/")]
    assert [(one.name, one.file) for one in listed] == [("vulkan/plain", str(own_directory / "vulkan.toml"))]


def test_directories_are_searched_in_order(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own_directory / "config" / "dlas_mlir" / "presets"
    first = own_directory / "first"
    for folder, bits in ((config, 128), (own_directory, 256), (first, 512)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mine.toml").write_text(GOOD.replace("64", str(bits)))
    assert vector_bits("mine/plain") == 256
    monkeypatch.setenv("DLAS_PRESETS", f"{first}:{own_directory}")
    assert vector_bits("mine/plain") == 512
    monkeypatch.delenv("DLAS_PRESETS")
    assert vector_bits("mine/plain") == 128


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vector_bits", "vector_bit", r"unknown key `target.vector_bit` \(did you mean `vector_bits`\?\)"),
        ("= 64", '= "64"', "target.vector_bits: expected a whole number, found '64'"),
        ("= 64", "= true", "target.vector_bits: expected a whole number, found True"),
        ("= 64", "= 0", "target.vector_bits: expected at least 64, found 0"),
        ("= 64", "= 96", "target.vector_bits: expected a power of two, found 96"),
        ("vector_registers = 32", "", "the key `target.vector_registers` is missing: architectural vector registers"),
        (
            "= 64",
            "= 64\nthreads = 2",
            "unknown key `target.threads`; known are description, needs, triple",
        ),
        ("= 64", "= 64\nname = 'other'", "unknown key `target.name`; known are"),
        ("= 64", '= 64\nkind = "gpu"', 'target.kind: a target whose iree.device is "local" is a cpu'),
        ("= 64", '= 64\nkind = "tpu"', "target.kind: expected cpu or gpu, found 'tpu'"),
        ("= 64", "= 64\ncost = 3", "target.cost: expected a table, found 3"),
        ("= 64", "= 64\nint8_dot = 'vpdpbus'", r"target.int8_dot: expected one of .* \(did you mean `vpdpbusd`\?\)"),
        (
            "= 64",
            "= 64\nshared_bytes = 1",
            "target.shared_bytes is a figure of GPUs, and this target is a CPU",
        ),
        ('"local"', '"cuda"', "target.vector_bits is a figure of CPUs, and this target is a GPU: leave it out"),
        (
            "[iree]",
            "[target.cost]\nsparse_lop = 1\n[iree]",
            r"unknown key `target.cost.sparse_lop` \(did you mean",
        ),
        ("[iree]", "[target.cost]\nsparse_loop = 'x'\n[iree]", "target.cost.sparse_loop: expected a number, found 'x'"),
        ("[iree]", "[target.cost]\nsparse_loop = -1\n[iree]", "target.cost.sparse_loop: expected at least 0, found -1"),
        ("[target]", "target = 3\n[other]", "target: expected a table, found 3"),
        ("= 64", "= ", "line 3"),
        ('description = "mine"\n', "", "the key `target.description` is missing"),
        ("[iree]", "[iree_flags]", "unknown key `iree_flags`"),
        ('"local"', '"gpu"', "iree.device: expected local or vulkan"),
        ("--iree-opt-level", "--iree-op-level", r"no flag `--iree-op-level` \(did you mean `--iree-opt-level`\?\)"),
        ("--iree-opt-level", "iree-opt-level", "expected a flag such as"),
        ('["--iree-opt-level=O3"]', "[3]", r"iree.flags: expected a list of strings, found \[3\]"),
        ('pipeline = "cse"', "", "the key `recipes.plain.pipeline` is missing"),
        ("[recipes.plain]", "[recipes]\nplain = 3\n[recipes.other]", "recipes.plain: expected a table"),
    ],
)
def test_what_is_wrong_in_a_file(own_directory: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    (own_directory / "mine.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(DlasError, match=message) as raised:
        load_preset("mine/plain")
    assert str(own_directory / "mine.toml") in str(raised.value)


def test_a_wrong_target_file_ends_the_command(own_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_directory / "mine.toml").write_text(GOOD.replace("vector_bits = 64\n", ""))
    assert main(["presets", "--show", "mine/plain"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"error: {own_directory / 'mine.toml'}: the key `target.vector_bits` is missing: bits of a vector register\n"
    )


def test_a_target_has_the_figures_of_its_file_and_else_those_of_any(own_directory: Path) -> None:
    more = "l2_bytes = 64\n[target.cost]\nsparse_loop = 9\n"
    (own_directory / "mine.toml").write_text(GOOD.replace("[iree]", f"{more}[iree]"))
    target, other = load_preset("mine/plain").target, load_preset("x86-64-avx2/auto").target
    assert isinstance(target, CpuTarget)
    assert isinstance(other, CpuTarget)
    assert (target.kind, target.name, target.l2_bytes, target.cost.sparse_loop) == ("cpu", "mine", 64, 9.0)
    assert target.cost == dataclasses.replace(other.cost, sparse_loop=9.0)
    assert "cost.sparse_loop=9.0" in load_preset("mine/plain").pipeline


@pytest.mark.parametrize("name", ["host", "host/", "/auto", "../x/auto", "a b/auto"])
def test_a_name_has_two_parts(name: str) -> None:
    with pytest.raises(DlasError, match="expected a preset TARGET/RECIPE"):
        load_preset(name)


def test_suggestions() -> None:
    with pytest.raises(DlasError, match=r"no target `vulcan` \(did you mean `vulkan`\?\)"):
        load_preset("vulcan/direct")
    with pytest.raises(DlasError, match=r"no recipe `drect` \(did you mean `direct`\?\)"):
        load_preset("vulkan/drect")


def test_the_table_and_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    import argparse
    import json

    from dlas_mlir.cli import presets as command

    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    assert command.run(parser.parse_args(["presets"])) == 0
    assert "vulkan/direct" in capsys.readouterr().out
    assert command.run(parser.parse_args(["presets", "--json"])) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in listed} == {one.name for one in presets.list_presets()}
    assert command.run(parser.parse_args(["presets", "--fragments", "--json"])) == 0
    assert {one["name"] for one in json.loads(capsys.readouterr().out)} == {f.name for f in presets.list_fragments()}
    assert command.run(parser.parse_args(["presets", "--fragments"])) == 0
    assert "@codegen: " in capsys.readouterr().out
    assert command.run(parser.parse_args(["presets", "--show", "x86-64-avx2/auto"])) == 0
    shown = capsys.readouterr().out
    assert str(parse_pipeline(shown)) == load_preset("x86-64-avx2/auto").pipeline
    assert command.run(parser.parse_args(["presets", "--show", "x86-64-avx2/auto", "--json"])) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert as_json["pipeline"] == load_preset("x86-64-avx2/auto").pipeline
    assert (as_json["figures"]["kind"], as_json["figures"]["cost"]["panel_share"]) == ("cpu", 0.5)


def test_one_broken_file_does_not_hide_the_others(
    own_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_directory / "broken.toml").write_text("[target\n")
    (own_directory / "mine.toml").write_text(GOOD)
    assert main(["presets"]) == 1
    said = capsys.readouterr()
    assert "mine/plain" in said.out
    assert "x86-64-avx2/auto" in said.out
    assert said.err.startswith(f"error: {own_directory / 'broken.toml'}: ")
    assert said.err.count("\n") == 1
    load_preset("mine/plain")
    with pytest.raises(DlasError, match=r"no target `mime` .did you mean `mine`"):
        load_preset("mime/plain")
    with pytest.raises(DlasError, match=r"broken\.toml"):
        load_preset("broken/plain")
