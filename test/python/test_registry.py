"""One name everywhere: the file, the pass, the class, the lit test and the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlas_mlir.opt import catalogue, registry
from dlas_mlir.opt.options import specs_of

ROOT = Path(__file__).parents[2]
OWN = [entry for entry in registry.all_entries() if entry.module.startswith("dlas_mlir.")]


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_names_agree(entry: registry.Entry) -> None:
    kebab = entry.name.removeprefix("dlas-")
    assert (ROOT / "passes" / entry.family / f"{kebab.replace('-', '_')}.py").is_file()
    assert (ROOT / "test" / "passes" / entry.family / f"{kebab}.mlir").is_file(), "the pass has no lit test"
    cls = registry.pass_class(entry.name)
    assert cls.__name__ == "".join(word.capitalize() for word in kebab.split("-")) + "Pass"
    assert cls.name == entry.name


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_passes_are_documented(entry: registry.Entry) -> None:
    cls = registry.pass_class(entry.name)
    assert (cls.__doc__ or "").count("```mlir") >= 2, "the docstring shows the IR before and after"
    for spec in specs_of(cls):
        assert spec.help, f"option {spec.name} has no help"
        if not spec.required:
            spec.check(spec.default)
            assert spec.parse(spec.print(spec.default)) == spec.default


def test_every_lit_test_has_its_pass() -> None:
    """A test is named after its pass; `some-pass-aspect` and `lower-aspect` are more about it, or about several."""
    names = {f"{entry.family}/{entry.name.removeprefix('dlas-')}" for entry in OWN}
    for file in (ROOT / "test" / "passes").glob("*/*.mlir"):
        test = f"{file.parent.name}/{file.stem}"
        several = test.rpartition("-")[0]
        one = any(f"{test}-".startswith(f"{name}-") for name in names)
        assert one or any(name.startswith(several) for name in names), f"{test} is about no pass"


def test_the_page_is_what_the_classes_say() -> None:
    page = (ROOT / "docs" / "passes.md").read_text()
    assert page == catalogue.as_markdown() + "\n", "run `make docs`"


def test_unknown_pass() -> None:
    assert registry.find("dlas-nothing") is None
    with pytest.raises(registry.RegistryError, match="there is no pass `dlas-nothing`"):
        registry.pass_class("dlas-nothing")


def test_listing_names_imports_no_pass_and_no_torch() -> None:
    code = (
        "import sys; from dlas_mlir.cli.dlas_opt import main; main(['--help']);"
        "print([m for m in sys.modules if m.startswith(('dlas_mlir.passes.', 'torch', 'iree.runtime'))])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^\[\]$", output, re.MULTILINE)
