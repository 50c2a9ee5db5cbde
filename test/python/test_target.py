"""Targets as values: every form reads back as the same target, and what is wrong in one is named."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iree.compiler import ir

from dlas_mlir.benchmark.peak import peak_kernel
from dlas_mlir.codegen import target as targets
from dlas_mlir.codegen.figures import FigureError
from dlas_mlir.codegen.target import AnyTarget, CpuCost, CpuTarget, GpuTarget, Target
from dlas_mlir.compiler.presets import list_presets, load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.base import PassError
from dlas_mlir.opt.pipeline import PythonPass, parse_pipeline
from dlas_mlir.passes.clean.set_target import SetTargetPass

CPU: dict[str, Any] = {"kind": "cpu", "name": "t", "vector_bits": 256, "vector_registers": 16}
GPU: dict[str, Any] = {"kind": "gpu", "name": "t"}

costs = st.fixed_dictionaries(
    {},
    optional={
        field.name: st.integers(1, 99) if field.type == "int" else st.floats(0, 1)
        for field in dataclasses.fields(CpuCost)
    },
)
cpus = st.fixed_dictionaries(
    {"kind": st.just("cpu"), "name": st.text(), "vector_bits": st.sampled_from([64, 128, 256, 512]), "cost": costs},
    optional={
        "vector_registers": st.integers(8, 64),
        "l1d_bytes": st.integers(0, 1 << 40),
        "threads": st.integers(1, 64),
        "csr_break_even": st.integers(0, 100),
        "bf16_dot": st.just(""),
    },
)
words = st.text("abcm016.", min_size=1)
gpus = st.fixed_dictionaries(
    {"kind": st.just("gpu"), "name": st.text(), "matrix_instructions": st.lists(words)},
    optional={"shared_bytes": st.integers(0, 1 << 20), "subgroup_size": st.sampled_from([8, 32, 64])},
)


def assert_every_form_reads_back(target: AnyTarget) -> None:
    assert Target.from_figures(target.figures()) == target
    assert Target.from_json(target.to_json()) == target
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        module.operation.attributes[targets.ATTRIBUTE] = target.to_attr()
        assert Target.of(ir.Module.parse(str(module))) == target
        # By the words of the pass, and the text of a pipeline.
        text = str(PythonPass(SetTargetPass.for_target(target)))
        (element,) = parse_pipeline(text).elements
        assert isinstance(element, PythonPass)
        element.instance.run(module)
        assert Target.of(module) == target


@settings(deadline=None)
@given(st.one_of(cpus, gpus))
def test_every_form_of_a_target_reads_back(figures: dict[str, Any]) -> None:
    assert_every_form_reads_back(Target.from_figures(figures))


def test_every_form_of_the_targets_that_are_built_in_reads_back() -> None:
    loaded = {listed.name.split("/")[0]: listed.name for listed in list_presets()}
    found = {name: load_preset(preset).target for name, preset in loaded.items()}
    for target in found.values():
        assert_every_form_reads_back(target)
    assert {target.kind for target in found.values()} == {"cpu", "gpu"}
    assert found["x86-64-zen5"] != found["x86-64-avx512"]


def test_what_is_compiled_depends_on_the_file_of_what_is_left_out() -> None:
    pipeline = parse_pipeline(load_preset("x86-64-avx2/auto").pipeline)
    assert str(targets.figures_file()) in pipeline.reads()
    assert targets.figures_file().is_file()


def test_the_peak_of_a_gpu_is_not_measured() -> None:
    with pytest.raises(DlasError, match="target t is a GPU: its peak cannot be measured"):
        peak_kernel(Target.from_figures(GPU), ())


def test_json_is_canonical() -> None:
    target = Target.from_figures(CPU)
    again = Target.from_figures(dict(reversed(CPU.items())))
    assert (target, target.to_json(), hash(target)) == (again, again.to_json(), hash(again))
    assert list(json.loads(target.to_json())) == sorted(json.loads(target.to_json()))


def test_what_a_target_leaves_out_is_in_one_file() -> None:
    cpu, gpu = Target.from_figures(CPU), Target.from_figures(GPU)
    assert isinstance(cpu, CpuTarget)
    assert isinstance(gpu, GpuTarget)
    assert set(targets.generic("cpu")["cost"]) == {field.name for field in dataclasses.fields(CpuCost)}
    assert set(targets.generic("gpu")) == {field.name for field in dataclasses.fields(GpuTarget)} - {"name"}
    assert (cpu.sparse_bits, cpu.threads) == (256, 1)
    assert cpu.cost.sparse_loop == targets.generic("cpu")["cost"]["sparse_loop"]
    other = Target.from_figures({**CPU, "cost": {"sparse_loop": 20}})
    assert isinstance(other, CpuTarget)
    assert other.cost == dataclasses.replace(cpu.cost, sparse_loop=20.0)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"name": "t"}, 'the key `kind` is missing: "cpu" or "gpu"'),
        ({**CPU, "kind": "tpu"}, "kind: expected cpu or gpu, found 'tpu'"),
        ({**CPU, "kind": ["cpu"]}, r"kind: expected cpu or gpu, found \['cpu'\]"),
        ({"kind": "cpu"}, "the key `name` is missing"),
        ({**CPU, "l1_bytes": 4}, r"unknown key `l1_bytes` \(did you mean `l1d_bytes`\?\); known are name, vector_bits"),
        ({**CPU, "cost": {"sparse_lop": 1}}, r"unknown key `cost.sparse_lop` \(did you mean `sparse_loop`\?\)"),
        ({**CPU, "cost": 3}, "cost: expected a table, found 3"),
        ({**CPU, "cost": {"sparse_loop": "1"}}, "cost.sparse_loop: expected a number, found '1'"),
        ({**CPU, "cost": {"sparse_loop": -1}}, "cost.sparse_loop: expected at least 0, found -1.0"),
        ({**CPU, "cost": {"sparse_loop": float("nan")}}, "cost.sparse_loop: expected at least 0, found nan"),
        ({**CPU, "cost": {"panel_share": 1.5}}, "cost.panel_share: expected at most 1, found 1.5"),
        ({**CPU, "l2_bytes": True}, "l2_bytes: expected a whole number, found True"),
        ({**CPU, "l2_bytes": 1.0}, "l2_bytes: expected a whole number, found 1.0"),
        ({**CPU, "vector_bits": 0}, "vector_bits: expected at least 64, found 0"),
        ({**CPU, "vector_bits": 96}, "vector_bits: expected a power of two, found 96"),
        ({**CPU, "csr_break_even": 101}, "csr_break_even: expected at most 100, found 101"),
        (
            {**CPU, "int8_dot": "vpdpbus"},
            r"int8_dot: expected one of .*, found `vpdpbus` \(did you mean `vpdpbusd`",
        ),
        ({**CPU, "int8_dot": "vdpbf16ps"}, "int8_dot: expected one of vpdpbusd, vpmaddwd, smull, usdot, found"),
        ({**CPU, "int8_dot": "smull"}, "int8_dot: smull is for vectors of 128 bits, not of 256"),
        ({**CPU, "shared_bytes": 4}, "shared_bytes is a figure of GPUs, and this target is a CPU: leave it out"),
        ({**GPU, "vector_bits": 0}, "vector_bits is a figure of CPUs, and this target is a GPU: leave it out"),
        ({**GPU, "threads": 2}, "threads is a figure of CPUs, and this target is a GPU: leave it out"),
        ({**GPU, "matrix_instructions": "mma"}, "matrix_instructions: expected a list of strings, found 'mma'"),
        ({**GPU, "matrix_instructions": [1]}, r"matrix_instructions: expected a list of strings, found \[1\]"),
    ],
)
def test_what_is_wrong_is_named(figures: dict[str, Any], message: str) -> None:
    with pytest.raises(FigureError, match=f"^{message}"):
        Target.from_figures(figures)


def test_json_has_every_figure() -> None:
    """A text of another version is told, not filled up with what targets have today."""
    figures = json.loads(Target.from_figures(CPU).to_json())
    for without in ("fma_chains", "threads", "sparse_bits"):
        with pytest.raises(FigureError, match=f"the key `{without}` is missing"):
            Target.from_json(json.dumps({key: value for key, value in figures.items() if key != without}))
    del figures["cost"]["sparse_step"]
    with pytest.raises(FigureError, match=r"the key `cost\.sparse_step` is missing"):
        Target.from_json(json.dumps(figures))
    for text in ("", "[1]", "{", "null"):
        with pytest.raises(FigureError, match="a target is"):
            Target.from_json(text)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("3 : i64", "expected a dictionary, found 3"),
        ('{name = "t", kind = "cpu", l1_bytes = 3 : i64}', "unknown key `l1_bytes`"),
        ('{name = "t", kind = "cpu", l1d_bytes = 3.5 : f32}', "l1d_bytes: expected a whole number, found 3.5"),
        ('{name = "t", kind = "cpu", l1d_bytes = f32}', "f32 is no string, number, list or dictionary"),
        ('{name = "t"}', "the key `kind` is missing"),
    ],
)
def test_what_is_wrong_on_a_module_is_an_error_of_the_pass(attribute: str, message: str) -> None:
    with ir.Context():
        module = ir.Module.parse(f"module attributes {{dlas.target = {attribute}}} {{}}")
        with pytest.raises(PassError, match=f"^`dlas.target`: {message}"):
            Target.of(module)
