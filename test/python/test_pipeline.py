"""Pipeline text: what is printed reads back as the same pipeline, and every mistake has its place."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iree.compiler import ir

from dlas_mlir.opt.base import Pass, option
from dlas_mlir.opt.diagnostics import Place
from dlas_mlir.opt.options import closest, print_pass, specs_of
from dlas_mlir.opt.pipeline import (
    NativePass,
    Nest,
    PassFailure,
    Pipeline,
    PipelineError,
    PythonPass,
    RunConfig,
    Source,
    parse_pipeline,
)
from dlas_mlir.opt.pipeline_text import parse_text
from dlas_mlir.passes.clean.set_target import SetTargetPass

CONTEXT = ir.Context()


@dataclass(frozen=True)
class AllOptionsPass(Pass):
    """One option of every type."""

    name = "dlas-all-options"

    count: int
    on: bool = option(False, "a switch")
    size: int = option(4, "a number", minimum=1, maximum=8)
    share: float = option(0.5, "a fraction")
    label: str = option("", "any text")
    kind: str = option("a", "one of two", choices=("a", "b"))
    sizes: tuple[int, ...] = option((1, 2), "numbers")
    labels: tuple[str, ...] = option((), "texts")


SPECS = {spec.name: spec for spec in specs_of(AllOptionsPass)}

python_passes = st.builds(
    lambda **options: PythonPass(SetTargetPass(**options)),
    target=st.text(),
    figures=st.lists(st.sampled_from(["vector_bits=512", "cost.sparse_load=0.5", "a,b", "", "x={"])).map(tuple),
    threads=st.integers(1, 1000),
)
native_passes = st.one_of(
    st.sampled_from(["cse", "canonicalize", "linalg-generalize-named-ops", "symbol-dce"]).map(NativePass),
    st.builds(lambda n: NativePass("canonicalize", f"max-iterations={n} top-down=true"), st.integers(0, 99)),
)
nests = st.recursive(
    native_passes,
    lambda inner: st.builds(
        Nest, st.sampled_from(["func.func", "any", "builtin.module"]), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=5,
)
pipelines = st.lists(st.one_of(python_passes, nests), max_size=5).map(lambda elements: Pipeline(tuple(elements)))


@settings(deadline=None)
@given(pipelines)
def test_printed_text_reads_back(pipeline: Pipeline) -> None:
    assert parse_pipeline(str(pipeline), CONTEXT) == pipeline


@settings(deadline=None)
@given(
    count=st.integers(),
    on=st.booleans(),
    share=st.floats(allow_nan=False),
    label=st.text(),
    sizes=st.lists(st.integers()).map(tuple),
    labels=st.lists(st.text()).map(tuple),
)
def test_every_option_value_reads_back(**values: object) -> None:
    for name, value in values.items():
        assert SPECS[name].parse(SPECS[name].print(value)) == value
    # And in its place between the other options, where quotes and braces have to be found again.
    (node,) = parse_text(Source(print_pass(AllOptionsPass(**values))))  # pyright: ignore[reportArgumentType]
    read = {one.key: SPECS[one.key].parse(one.value) for one in node.options}  # pyright: ignore
    assert AllOptionsPass(**read) == AllOptionsPass(**values)  # pyright: ignore[reportArgumentType]


@settings(deadline=None)
@given(st.text(alphabet="ab-.,(){}='\" \n/\\", max_size=40))
def test_any_text_is_read_or_has_a_mistake_with_a_place(text: str) -> None:
    place = Place(line=1, column=1)
    try:
        parse_text(Source(text))
    except PipelineError as error:
        place = error.place
    line = text.split("\n")[place.line - 1]
    assert 1 <= place.column <= len(line) + 1


def test_text_across_lines_with_comments() -> None:
    text = """
      // first the target
      dlas-set-target{target=x
                      threads=2},   // two of them
      func.func(cse, canonicalize{ max-iterations=3 })
    """
    pipeline = parse_pipeline(text, CONTEXT)
    assert str(pipeline) == (
        "builtin.module(dlas-set-target{target=x threads=2},func.func(cse,canonicalize{max-iterations=3}))"
    )
    assert list(pipeline.pass_names()) == ["dlas-set-target", "cse", "canonicalize"]


@pytest.mark.parametrize("text", ["", "builtin.module()", " builtin.module( ) ", "any()"])
def test_nothing_is_a_pipeline(text: str) -> None:
    assert parse_pipeline(text, CONTEXT) == Pipeline()


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("cse,", "1:5", "expected the name of a pass, found the end"),
        ("cse)", "1:4", "expected `,` or the end"),
        ("cse,\n  dlas-set-target{\n  l3=2}", "3:3", "has no option `l3`"),
        ("dlas-set-target{threads=1 threads=2}", "1:27", "given twice"),
        ("dlas-set-target{threads=1.5}", "1:25", "expected a whole number, found `1.5`"),
        ("dlas-set-target{threads=0}", "1:25", "expected at least 1, found 0"),
        ("dlas-set-target{target='x}", "1:24", "no closing '"),
        ('dlas-set-target{target="\\x"}', "1:24", "not a valid string"),
        ("dlas-set-target{threads=1", "1:16", "this `{` is not closed"),
        ("dlas-set-target{=1}", "1:17", "expected the name of an option"),
        ("func.func(cse,(", "1:15", "expected the name of a pass"),
        ("func(cse)", "1:1", "expected an operation such as `func.func`"),
        ("builtin.module(cse),builtin.module(dlas-set-target)", "1:36", "runs on the module"),
        ("canonicalize{region-simplify=no}", "1:30", "region-simplify"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, place: str, message: str) -> None:
    with pytest.raises(PipelineError) as raised:
        parse_pipeline(text, CONTEXT)
    error = raised.value
    assert f"{error.place.line}:{error.place.column}" == place
    assert message in error.message


def test_the_caret_is_under_the_word() -> None:
    with pytest.raises(PipelineError) as raised:
        parse_pipeline("cse,\tdlas-set-targe", CONTEXT)
    _, line, caret = raised.value.report().split("\n")
    assert line == "cse,\tdlas-set-targe"
    assert caret == "    \t^" + "~" * 13


def test_a_place_counts_from_where_the_text_stands_in_its_file() -> None:
    with pytest.raises(PipelineError) as raised:
        parse_pipeline(Source("csee", "file.toml", line=7, column=13), CONTEXT)
    assert str(raised.value.place) == "file.toml:7:13"


def test_a_needed_option_is_asked_for() -> None:
    assert SPECS["count"].required
    assert print_pass(AllOptionsPass(count=3)) == "dlas-all-options{count=3}"


@pytest.mark.parametrize(
    ("option_name", "text", "message"),
    [
        ("on", "yes", "expected true or false, found `yes`"),
        ("size", "9", "expected at most 8, found 9"),
        ("kind", "c", "expected a or b, found `c`"),
        ("share", "half", "expected a number, found `half`"),
        ("sizes", "1,,2", "expected a whole number, found ``"),
    ],
)
def test_option_rules(option_name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPECS[option_name].parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("{}", ()), ("", ()), ("a", ("a",)), ("{a,b}", ("a", "b")), ('"a,b",c', ("a,b", "c")), ("'a b'", ("a b",))],
)
def test_ways_to_write_a_list(text: str, value: tuple[str, ...]) -> None:
    assert SPECS["labels"].parse(text) == value


def test_suggestions() -> None:
    assert closest("canonicalise", ["cse", "canonicalize"]) == " (did you mean `canonicalize`?)"
    assert closest("zzz", ["cse"]) == ""


def test_a_run_raises_what_the_passes_said() -> None:
    with CONTEXT:
        module = ir.Module.parse("""
          func.func @f(%x: tensor<1x3x5x5xf32>, %w: tensor<3x3x3x3xf32>, %o: tensor<1x3x3x3xf32>)
              -> tensor<1x3x3x3xf32> {
            %0 = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x3x5x5xf32>, tensor<3x3x3x3xf32>)
                outs(%o : tensor<1x3x3x3xf32>) -> tensor<1x3x3x3xf32>
            return %0 : tensor<1x3x3x3xf32>
          }""")
    pipeline = parse_pipeline("iree-preprocessing-convert-conv-to-channels-last{tiling-factor=32}", CONTEXT)
    with pytest.raises(PassFailure, match=r"expand_shape") as raised:
        pipeline.run(module, RunConfig(verify_each=True))
    assert raised.value.diagnostics[0].place.line == 4


def test_the_json_of_the_catalogue_is_json() -> None:
    from dlas_mlir.opt import catalogue

    names = [entry["name"] for entry in json.loads(json.dumps(catalogue.as_data()))]
    assert "dlas-set-target" in names
