"""The rooms of the house: which way imports point, and who may touch what (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dlas_mlir

PACKAGE = Path(dlas_mlir.__file__).parent
# Each room may import those behind it.
CHAIN = ("cli", "api", "study", "tuning", "benchmark", "compression", "compiler", "passes", "codegen", "ir", "opt")
# Rooms beside the chain, and what they may import. All may import `errors`.
BESIDE = {
    "runtime": {"measure", "process"},
    "measure": set(),
    "models": set(),
    "datasets": set(),
    "process": set(),
    "toml": set(),
    "pipelines": set(),
    "studies": set(),
    "errors": set(),
}
# What makes kernels needs no model, no device and no process.
PURE = CHAIN[CHAIN.index("passes") :]
FOR_PURE = {"toml", "pipelines"}
# Only these may import what the bindings of the compiler, and of the runtime, call private.
CORNERS = {"iree.compiler": ("opt", "ir"), "torch_mlir": ("opt", "ir"), "iree.runtime": ("runtime",)}


def modules() -> dict[str, Path]:
    """All modules of the package by their names; passes/, pipelines/ and studies/ are reached by links in it."""
    found: dict[str, Path] = {}
    for name in ("dlas_mlir", "dlas_mlir.passes", "dlas_mlir.pipelines", "dlas_mlir.studies"):
        folder = PACKAGE.parent.joinpath(*name.split("."))
        for file in folder.resolve().rglob("*.py"):
            parts = file.relative_to(folder.resolve()).with_suffix("").parts
            found[".".join((name, *parts)).removesuffix(".__init__")] = file
    return found


MODULES = modules()


def room(module: str) -> str:
    """The room of a module, empty for the package itself."""
    return [*module.split("."), ""][1]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def may_import(importer: str, imported: str) -> bool:
    """Whether a module of the room `importer` may import from the room `imported`."""
    if imported in ("errors", importer) or not importer:
        return True
    if importer in BESIDE:
        return imported in BESIDE[importer]
    if imported in BESIDE:
        return importer not in PURE or imported in FOR_PURE
    return CHAIN.index(importer) < CHAIN.index(imported)


def wrong_imports(module: str, text: str) -> list[str]:
    """What the imports of `module` break."""
    own, found = room(module), []
    for line, name in imports(ast.parse(text)):
        where = f"{module}:{line}: {name}"
        if name.startswith("."):
            found.append(f"{where} is relative")
        elif name.split(".")[0] == "dlas_mlir":
            other = room(name)
            if not may_import(own, other):
                found.append(f"{where}: {own} imports {other}")
            if other != own and is_private(name):
                found.append(f"{where} is private")
        for package, rooms in CORNERS.items():
            if name.startswith(f"{package}.") and is_private(name) and own not in rooms:
                found.append(f"{where} is a private corner")
        if name.split(".")[:2] == ["iree", "runtime"] and own != "runtime":
            found.append(f"{where}: only runtime knows iree.runtime")
    return found


def wrong_flags(module: str, text: str) -> list[str]:
    """The flags of iree-compile that a module outside the compiler knows: those belong into a preset."""
    tree = ast.parse(text)
    docs = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in docs)
    return [
        f"{module}:{node.lineno}: {node.value}"
        for node in texts
        if isinstance(node.value, str) and node.value.startswith("--iree-") and room(module) != "compiler"
    ]


def test_every_room_has_its_place() -> None:
    rooms = {room(name) for name in MODULES}
    assert rooms - {""} <= {*CHAIN, *BESIDE}
    assert {*CHAIN, *BESIDE} - rooms <= {"study", "tuning"}


def test_imports_point_one_way() -> None:
    assert [wrong for name, file in MODULES.items() for wrong in wrong_imports(name, file.read_text())] == []


def test_flags_of_the_compiler_are_known_to_the_compiler_alone() -> None:
    assert [wrong for name, file in MODULES.items() for wrong in wrong_flags(name, file.read_text())] == []


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("dlas_mlir.opt.base", "from dlas_mlir.ir import build", "opt imports ir"),
        (
            "dlas_mlir.codegen.target",
            "def f():\n    from dlas_mlir.passes.clean import x",
            ":2: .* codegen imports passes",
        ),
        ("dlas_mlir.codegen.target", "from dlas_mlir.process import run", "codegen imports process"),
        ("dlas_mlir.measure.turn", "from dlas_mlir import runtime", "measure imports runtime"),
        ("dlas_mlir.runtime.worker", "import dlas_mlir.compiler.cache", "runtime imports compiler"),
        ("dlas_mlir.cli.run", "from dlas_mlir.opt.base import _Secret", "is private"),
        ("dlas_mlir.cli.run", "from dlas_mlir.passes.quant import _movement", "is private"),
        ("dlas_mlir.cli.run", "from .dlas import main", "is relative"),
        ("dlas_mlir.passes.clean.x", "from iree.compiler._mlir_libs import _mlir", "is a private corner"),
        ("dlas_mlir.api", "import iree.runtime", "only runtime knows"),
        ("dlas_mlir.api", "from iree import runtime", "only runtime knows"),
    ],
)
def test_what_breaks_a_rule_is_found(module: str, text: str, message: str) -> None:
    (found,) = wrong_imports(module, text)
    assert re.search(message, found)


def test_a_flag_is_found_but_not_in_what_is_said_of_it() -> None:
    text = '"""--iree-opt-level"""\nFLAG = f"--iree-opt-level={level}"\n'
    assert wrong_flags("dlas_mlir.api", text) == ["dlas_mlir.api:2: --iree-opt-level="]
    assert wrong_flags("dlas_mlir.compiler.driver", text) == []
