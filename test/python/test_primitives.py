"""A primitive is an object, a part of recipes, cases that it is tried on, and a paragraph: none can be forgotten."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from convolution_cases import grid

from dlas_mlir.codegen.target import Target
from dlas_mlir.compiler import pipeline_process
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.opt.options import specs_of
from dlas_mlir.opt.pipeline import PythonPass, parse_pipeline
from dlas_mlir.passes import primitives
from dlas_mlir.passes.primitive.select_primitive import SelectPrimitivePass

ROOT = Path(__file__).parents[2]
PRIMITIVES = primitives.names()
# The recipes that choose among all primitives, and those for one.
_RECIPES = (
    "auto",
    "direct",
    "gemm",
    "spatial-pack",
    "winograd",
    "sparse-direct",
    "sparse-gemm",
    "sparse-spatial-pack",
)
CPU = Target.from_figures({"kind": "cpu", "name": "cpu", "vector_bits": 512, "vector_registers": 32})
GPU = Target.from_figures({"kind": "gpu", "name": "gpu"})
DENSE = ConvShape(64, 48, in_size=(16, 16), out_size=(14, 14), kernel=(3, 3))
LINEAR = ConvShape(64, 48, batch=2, linear=True)
GROUPED = ConvShape(48, 48, groups=4, in_size=(16, 16), out_size=(14, 14), kernel=(3, 3))
DEPTHWISE = ConvShape(48, 48, groups=48, in_size=(16, 16), out_size=(14, 14), kernel=(3, 3))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_documentation(name: str) -> None:
    page = (ROOT / "docs" / "primitives.md").read_text()
    assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), "docs/primitives.md: the table has no row for it"
    _, title, rest = page.partition(f"\n## {name}\n")
    assert title, "docs/primitives.md: there is no paragraph about it"
    paragraph = rest.partition("\n## ")[0]
    for spec in specs_of(primitives.primitive_class(name)):
        assert f"`{spec.name}`" in paragraph, f"docs/primitives.md: the option {spec.name} is not in its paragraph"
        assert spec.help


def test_documentation_names_no_others() -> None:
    page = (ROOT / "docs" / "primitives.md").read_text()
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == sorted(PRIMITIVES)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_cases(name: str) -> None:
    assert any(case.primitive == name for case in grid()), "convolution_cases.py draws no case for it"


@pytest.mark.parametrize("recipe", _RECIPES)
def test_recipes_lower_whatever_is_chosen(recipe: str) -> None:
    pipeline = load_preset(f"x86-64-avx512/{recipe}").pipeline
    lowered = re.findall(r"\bdlas-lower-([\w-]+)", pipeline)
    assert set(PRIMITIVES) <= set(lowered)


@pytest.mark.parametrize("recipe", _RECIPES)
def test_recipes_are_total(recipe: str) -> None:
    """`direct` does every convolution and `gemm` every linear layer: each recipe may fall back to both."""
    elements = parse_pipeline(load_preset(f"x86-64-avx512/{recipe}").pipeline).elements
    passes = [one.instance for one in elements if isinstance(one, PythonPass)]
    (selection,) = [one for one in passes if isinstance(one, SelectPrimitivePass)]
    assert {"direct", "gemm"} <= {*selection.primitive, *selection.fallback}


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("target", [CPU, GPU], ids=lambda target: target.kind)
def test_what_applies_decides_every_option(name: str, target) -> None:
    """A primitive that applies says with which options, and asked again with those it applies as it is."""
    encoded = ConvShape(64, 48, in_size=(16, 16), out_size=(14, 14), kernel=(3, 3), encoding=Encoding("csr"), zeros=0.9)
    applied = 0
    for shape in (DENSE, LINEAR, GROUPED, DEPTHWISE, encoded):
        found = primitives.primitive_class(name)().applies(shape, target)
        if isinstance(found, str):
            assert found
            continue
        applied += 1
        assert found.applies(shape, target) == found
        assert primitives.parse(str(found)) == found
        assert all(getattr(found, spec.field) not in (0, "auto") for spec in specs_of(type(found)))
    assert applied or (target is GPU and name in ("winograd", "implicit-gemm"))


@pytest.mark.parametrize(
    ("name", "zeros", "sparse"), [("cuda-sm90", 0.5, False), ("cuda-sm90", 0.9, True), ("vulkan", 0.5, True)]
)
def test_a_gpu_does_blocks_of_non_zeros_where_that_is_estimated_to_be_faster(
    name: str, zeros: float, sparse: bool
) -> None:
    target = load_preset(f"{name}/auto").target
    shape = dataclasses.replace(DENSE, encoding=Encoding("bsr", block=4), zeros=zeros)
    found = primitives.parse("sparse-direct").applies(shape, target)
    assert isinstance(found, primitives.Primitive)
    estimate = found.estimate(shape, target)
    assert estimate is not None
    assert (estimate.work < shape.macs) == sparse


def test_options_are_part_of_the_question() -> None:
    thirds = ConvShape(6, 12, groups=6, in_size=(4, 4), out_size=(4, 4))
    assert isinstance(primitives.parse("depthwise").applies(thirds, CPU), primitives.Primitive)
    assert primitives.parse("depthwise{block=9}").applies(thirds, CPU) == "its channel multiplier 2 does not divide 9"
    assert isinstance(primitives.parse("winograd").applies(DENSE, GPU), str)
    assert str(primitives.parse("spatial-pack").applies(DENSE, GPU)) == "spatial-pack{block=4}"
    assert str(primitives.parse("spatial-pack{block=8}").applies(DENSE, GPU)) == "spatial-pack{block=8}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fft", "there is no primitive 'fft'; there are"),
        ("gemm{panel=x}", "`panel`: expected a whole number, found `x`"),
        ("gemm{block=4}", "`gemm` has no option `block`"),
        ("gemm{panel=4", "this `{` is not closed"),
        ("gemm,direct", "is no primitive with options"),
        ("", "is no primitive with options"),
    ],
)
def test_what_is_no_primitive(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        primitives.parse(text)


@pytest.mark.parametrize(("zeros", "pays"), [(0.55, False), (0.6, True), (0.9, True), (1.0, True)])
def test_sparse_pays_off_from_the_break_even_point_on(zeros: float, pays: bool) -> None:
    figures = {"kind": "cpu", "name": "cpu", "vector_bits": 512, "vector_registers": 32, "csr_break_even": 60}
    shape = ConvShape(64, 48, in_size=(16, 16), out_size=(14, 14), kernel=(3, 3), encoding=Encoding("csr"), zeros=zeros)
    sparse, dense = (
        primitives.parse(name).estimate(shape, Target.from_figures(figures)) for name in ("sparse-direct", "direct")
    )
    assert sparse is not None
    assert dense is not None
    assert dense.work == shape.macs
    assert (sparse.work <= dense.work) == pays


def test_a_shape_and_its_json() -> None:
    assert DENSE.macs == 14 * 14 * 48 * 64 * 9
    assert GROUPED.macs == 14 * 14 * 48 * 12 * 9
    assert LINEAR.macs == 2 * 64 * 48
    text = '{"encoding":"bsr 4x1","in_channels":8,"in_size":[3,5],"out_channels":4,"zeros":0.5}'
    shape = ConvShape(8, 4, in_size=(3, 5), encoding=Encoding("bsr", block=4), zeros=0.5)
    assert shape.to_json() == text
    assert ConvShape.from_json(text) == shape
    assert hash(ConvShape.from_json(text)) == hash(shape)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a layer's shape is not JSON"),
        ("[]", "expected an object"),
        ('{"in_channels": 3}', "the key `out_channels` is missing"),
        ('{"in_channels": 3, "out_channels": 4, "pads": 1}', "unknown key `pads`; known are"),
        ('{"in_channels": -1, "out_channels": 4}', "`in_channels`: expected a whole number, at least 0, found -1"),
        ('{"in_channels": 3, "out_channels": 4, "kernel": [3]}', "`kernel`: expected two whole numbers"),
        ('{"in_channels": 3, "out_channels": 4, "linear": 1}', "`linear`: expected true or false, found 1"),
        ('{"in_channels": 3, "out_channels": 4, "zeros": 2}', "`zeros`: expected a number from 0 to 1, found 2"),
        ('{"in_channels": 3, "out_channels": 4, "encoding": "coo"}', "`coo` is no encoding"),
    ],
)
def test_what_is_no_shape(text: str, message: str) -> None:
    with pytest.raises(DlasError, match=re.escape(message)):
        ConvShape.from_json(text)


def test_marks_that_no_pass_reads(tmp_path: Path) -> None:
    """What is wrong about a mark is an error of the file, also where the list of layers is all that reads it."""
    marks = '{dlas.primitive = "gemm", dlas.layer = "c", dlas.shape = 5}'
    (tmp_path / "net.mlir").write_text(
        "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
        f"  %y = tensor.cast %x {marks} : tensor<4xf32> to tensor<4xf32>\n"
        "  return %y : tensor<4xf32>\n}\n"
    )
    with pytest.raises(DlasError, match=r"net.mlir: `dlas.shape` is 5 : i64, not a dictionary"):
        pipeline_process.run(str(tmp_path / "net.mlir"), "", None, None)


# A package of somebody else: 1x1 convolutions as one plain product, without blocks or panels.
_TOY = '''
from dataclasses import dataclass
from typing import ClassVar

from dlas_mlir.ir import affine, build
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitives import Primitive, initial, mark


@dataclass(frozen=True)
class Pointwise(Primitive):
    """Lower 1x1 convolutions marked `pointwise` to one product of [K, C] and the image."""

    name: ClassVar[str] = "pointwise"

    order: str = option("kc", "the order of the weights", choices=("kc", "ck"))

    def applies(self, shape, target):
        return self if shape.kernel == shape.strides == (1, 1) and shape.groups == 1 else "it is no plain 1x1"

    def lower(self, convolution, target):
        n, k, h, w, c = (affine.dim(i) for i in range(5))
        weights = build.collapse(convolution.weights_oihw(), [[0], [1, 2, 3]])
        if self.order == "ck":
            weights = build.transpose(weights, [1, 0])
        maps = [[n, c, h, w], [k, c] if self.order == "kc" else [c, k], [n, k, h, w]]
        start = initial(convolution, convolution.shape.result_nchw, lambda value: value)
        kinds = ["parallel"] * 4 + ["reduction"]
        inputs = [convolution.input_nchw(), weights]
        root = build.generic(inputs, start, maps, kinds, convolution.multiply_accumulate, ("n", "k", "oh", "ow", "c"))
        mark(root, convolution)
        return root.results[0]
'''
_NET = """
!image = tensor<1x8x4x4xf32>
!small = tensor<1x8x2x2xf32>
module attributes {dlas.target = {name = "cpu", kind = "cpu", vector_bits = 512, vector_registers = 32}} {
func.func @main(%x: !image, %w: tensor<8x8x1x1xf32>, %s: !image, %v: tensor<8x8x3x3xf32>, %t: !small) -> !small {
  %1 = linalg.conv_2d_nchw_fchw ins(%x, %w : !image, tensor<8x8x1x1xf32>) outs(%s : !image) -> !image loc("first")
  %2 = linalg.conv_2d_nchw_fchw ins(%1, %v : !image, tensor<8x8x3x3xf32>) outs(%t : !small) -> !small loc("second")
  return %2 : !small
}
}
"""


def test_a_primitive_of_another_package(tmp_path: Path) -> None:
    """One class and one entry point: it is chosen, with its options, lowered by a pass of its own, and listed."""
    (tmp_path / "toy_primitives.py").write_text(_TOY)
    info = tmp_path / "toy_primitives-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-primitives\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[dlas_mlir.primitives]\npointwise = toy_primitives:Pointwise\n")
    (tmp_path / "net.mlir").write_text(_NET)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    def dlas_opt(*arguments: str) -> str:
        command = [sys.executable, "-m", "dlas_mlir.cli.dlas_opt", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    choice = "--dlas-select-primitive=primitive=pointwise{order=ck},spatial-pack"
    lowered = dlas_opt(str(tmp_path / "net.mlir"), choice, "--dlas-lower-pointwise", "--dlas-lower-spatial-pack")
    assert 'dlas.layer = "first", dlas.loops = ["n", "k", "oh", "ow", "c"]' in lowered
    assert 'dlas.options = {order = "ck"}, dlas.primitive = "pointwise"' in lowered
    assert 'dlas.options = {block = 16 : i64}, dlas.primitive = "spatial-pack"' in lowered
    assert "linalg.conv_2d" not in lowered
    assert re.search(r"toy-primitives:\n  --dlas-lower-pointwise\n +Lower 1x1 convolutions", dlas_opt("--list-passes"))
