"""Recipes and the fragments they are made of: what targets share, a user's own, and what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import preset_files
import pytest
from preset_files import GOOD

from dlas_mlir.compiler.presets import list_presets, load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.pipeline import PipelineError, parse_pipeline

BUILT_IN = {"cpu": "x86-64-avx2", "gpu": "vulkan"}


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one user directory there is, empty."""
    return preset_files.only_in(tmp_path, monkeypatch)


@pytest.mark.parametrize(("device", "kind"), [("local", "cpu"), ("vulkan", "gpu")])
def test_a_target_that_names_no_recipes_has_those_of_its_kind(own_directory: Path, device: str, kind: str) -> None:
    text = GOOD.partition("[recipes")[0].replace("local", device)
    if kind == "gpu":
        text = text.replace("vector_bits = 64\nvector_registers = 32\n", "shared_bytes = 4096\n")
    (own_directory / "mine.toml").write_text(text)
    shared = {listed.name.split("/")[1] for listed in list_presets() if listed.name.startswith(f"{BUILT_IN[kind]}/")}
    assert {listed.name.split("/")[1] for listed in list_presets() if listed.name.startswith("mine/")} == shared
    assert load_preset("mine/direct", threads=2).target.kind == kind


@pytest.mark.parametrize(
    ("pipeline", "place"),
    [('"csee"', "12:13"), ("'cse,csee'", "12:17"), ('"""\ncse,\n  csee\n"""', "14:3"), ("'''cse,\ncsee'''", "13:1")],
)
def test_a_mistake_in_a_pipeline_is_shown_in_the_file(own_directory: Path, pipeline: str, place: str) -> None:
    (own_directory / "mine.toml").write_text(GOOD.replace('"cse"', pipeline))
    with pytest.raises(PipelineError, match="`csee` is not a known pass") as raised:
        load_preset("mine/plain")
    assert str(raised.value.place) == f"{own_directory / 'mine.toml'}:{place}"


SHARED = """\
# Recipes of several targets.
[recipes.plain]
description = "shared"
pipeline = "canonicalize"

[recipes.more]
description = "more"
pipeline = '''
cse,
  csee'''
"""


def test_targets_share_recipes_and_their_own_go_first(own_directory: Path) -> None:
    (own_directory / "mine.toml").write_text('recipes_from = "ours"\n' + GOOD)
    (own_directory / "other.toml").write_text('recipes_from = "ours"\n' + GOOD.partition("[recipes")[0])
    (own_directory / "ours.toml").write_text(SHARED.replace("csee", "canonicalize"))
    assert load_preset("mine/plain").description == "nothing"
    assert load_preset("other/plain").description == "shared"
    assert load_preset("mine/more").pipeline.endswith(",cse,canonicalize)")
    names = [listed.name for listed in list_presets() if listed.name.startswith(("mine/", "other/", "ours/"))]
    assert names == ["mine/plain", "mine/more", "other/plain", "other/more"]


def test_a_users_shared_recipes_go_before_those_built_in(own_directory: Path) -> None:
    (own_directory / "cpu.toml").write_text(SHARED)
    assert load_preset("x86-64-avx2/plain").description == "shared"
    assert load_preset("host/plain").description == "shared"


def test_a_mistake_in_shared_recipes_is_shown_where_it_stands(own_directory: Path) -> None:
    (own_directory / "mine.toml").write_text('recipes_from = "ours"\n' + GOOD)
    (own_directory / "ours.toml").write_text(SHARED)
    with pytest.raises(PipelineError, match="`csee` is not a known pass") as raised:
        load_preset("mine/more")
    assert str(raised.value.place) == f"{own_directory / 'ours.toml'}:10:3"
    (own_directory / "ours.toml").write_text(SHARED.replace("description", "descripton"))
    with pytest.raises(DlasError, match=r"ours.toml: unknown key `recipes.plain.descripton`"):
        load_preset("mine/plain")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobodys", r"mine.toml: recipes_from: there is no file nobodys.toml in .*pipelines"),
        ("vulkan", r"mine.toml: recipes_from: .*vulkan.toml is not a file of recipes only"),
        ("../ours", r'mine.toml: recipes_from: expected the name of a file such as "cpu" .*, found `../ours`'),
        ("", r"mine.toml: recipes_from: expected the name"),
    ],
)
def test_recipes_are_taken_from_files_of_recipes(own_directory: Path, name: str, message: str) -> None:
    (own_directory / "mine.toml").write_text(f'recipes_from = "{name}"\n{GOOD}')
    with pytest.raises(DlasError, match=message):
        load_preset("mine/plain")


def test_recipes_alone_are_no_target(own_directory: Path) -> None:
    with pytest.raises(DlasError, match=r"cpu.toml: `cpu` is no target, only what targets share"):
        load_preset("cpu/auto")
    with pytest.raises(
        DlasError,
        match=r"there is no target `cpu1`; there are aarch64-i8mm, aarch64-neon, cuda-sm80, cuda-sm90, ",
    ):
        load_preset("cpu1/auto")


FRAGMENTS = """\
[fragments.tidy]
description = "what no pass has looked at yet"
pipeline = "canonicalize,@own"

[fragments.own]
description = "ours"
pipeline = "cse"
"""


def test_pipelines_are_made_of_fragments(own_directory: Path) -> None:
    (own_directory / "mine.toml").write_text(GOOD.replace('"cse"', '"@tidy, @layout, symbol-dce"'))
    (own_directory / "fragments.toml").write_text(FRAGMENTS)
    passes = list(parse_pipeline(load_preset("mine/plain").pipeline).pass_names())
    assert passes[1:3] == ["canonicalize", "cse"]
    assert "dlas-propagate-layouts" in passes  # of a fragment that is built in
    assert passes[-1] == "symbol-dce"
    assert not any(listed.name.startswith("fragments/") for listed in list_presets())


def test_a_users_fragment_goes_before_one_that_is_built_in(own_directory: Path) -> None:
    (own_directory / "fragments.toml").write_text(FRAGMENTS.replace("tidy", "layout"))
    passes = list(parse_pipeline(load_preset("x86-64-avx2/auto").pipeline).pass_names())
    assert "dlas-propagate-layouts" not in passes
    assert "dlas-form-dispatches" in passes


def test_no_recipe_runs_a_pass_of_selection_or_lowering_twice() -> None:
    for listed in list_presets():
        passes = [name for name in parse_pipeline(load_preset(listed.name).pipeline).pass_names() if "dlas-" in name]
        repeated = {name for name in passes if passes.count(name) > 1}
        assert repeated <= {"dlas-fold-constants"}, listed.name


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("@own", "@onw", "fragments.toml:3:26", r"there is no fragment `@onw` \(did you mean `@?own`\?\)"),
        ("@own", "@", "fragments.toml:3:27", "expected the name of a fragment, found the end of the pipeline"),
        ("@own", "func.func(@own)", "fragments.toml:3:36", r"`@own` is for the module: move it out of `func.func"),
        ('"cse"', '"csee"', "fragments.toml:7:13", "`csee` is not a known pass"),
        ('"cse"', '"@tidy"', "fragments.toml:7:13", "`@tidy` is a part of itself"),
        ("@own", "@own{x=1}", "fragments.toml:3:30", r"expected `,` or the end of the pipeline, found `\{`"),
    ],
)
def test_a_mistake_in_a_fragment_is_shown_where_it_stands(
    own_directory: Path, old: str, new: str, place: str, message: str
) -> None:
    (own_directory / "mine.toml").write_text(GOOD.replace('"cse"', '"@tidy"'))
    (own_directory / "fragments.toml").write_text(FRAGMENTS.replace(old, new))
    with pytest.raises(PipelineError, match=message) as raised:
        load_preset("mine/plain")
    assert str(raised.value.place) == str(own_directory / place)


def test_fragments_are_for_presets() -> None:
    with pytest.raises(PipelineError, match="there is no fragment `@front`; only presets have fragments"):
        parse_pipeline("cse,@front")


def test_what_extended_a_recipe_is_told_to_name_fragments(own_directory: Path) -> None:
    (own_directory / "mine.toml").write_text(GOOD + 'extends = "auto"\n')
    with pytest.raises(DlasError, match=r"no key `recipes.plain.extends` any more: name fragments in `pipeline`"):
        load_preset("mine/plain")


def test_gpus_have_every_primitive_in_every_type() -> None:
    names = {listed.name.split("/")[1] for listed in list_presets() if listed.name.startswith("vulkan/")}
    dense = ("auto", "direct", "gemm", "spatial-pack")
    sparse = ("sparse-direct", "sparse-gemm", "sparse-spatial-pack")
    wanted = {f"{element}{primitive}" for element in ("", "tf32-", "f16-", "bf16-") for primitive in (*dense, *sparse)}
    # There are no sparse kernels of codes.
    assert names == {"stock", *wanted, *(f"int8-{primitive}" for primitive in dense)}
