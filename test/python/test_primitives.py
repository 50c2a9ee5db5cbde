"""A primitive is a pass, a part of the recipes, cases that it is tried on, and documentation: none can be forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from convolution_cases import grid

from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.passes.primitive.select_primitive import primitives

ROOT = Path(__file__).parents[2]
PRIMITIVES = primitives()
# The recipes that choose among all primitives, and those for one.
_RECIPES = ("auto", "direct", "gemm", "spatial-pack", "sparse-direct", "sparse-gemm", "sparse-spatial-pack")


@pytest.mark.parametrize("name", PRIMITIVES)
def test_documentation(name: str) -> None:
    page = (ROOT / "docs" / "primitives.md").read_text()
    assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), "docs/primitives.md: the table has no row for it"
    assert f"\n## {name}\n" in page, "docs/primitives.md: there is no paragraph about it"


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
    options = re.search(r"dlas-select-primitive\{([^}]*)\}", load_preset(f"x86-64-avx512/{recipe}").pipeline)
    assert options is not None
    assert {"direct", "gemm"} <= set(re.split(r"[ ,=]", options[1]))
