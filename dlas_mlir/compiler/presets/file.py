"""Reading target files and files of recipes: every key is known, of the right type, and every flag is one of
iree-compile's."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import iree.compiler

from dlas_mlir import toml
from dlas_mlir.codegen.figures import FigureError, Table
from dlas_mlir.codegen.target import AnyTarget, Target, generic, kinds
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.options import closest
from dlas_mlir.opt.pipeline_text import Source

DEVICES = ("local", "vulkan", "cuda", "hip", "metal")

# Key -> type, and whether it has to be there.
_FILE = {"target": (dict, True), "iree": (dict, True), "recipes_from": (str, False), "recipes": (dict, False)}
_RECIPES_FILE = {"recipes": (dict, True)}
_FRAGMENTS_FILE = {"fragments": (dict, True)}
# Beside the figures, which dlas_mlir/codegen/target.py knows.
_TARGET = {
    "description": (str, True),
    "needs": (list, False),
    "triple": (str, False),
    "cpu": (str, False),
    "features": (list, False),
}
# These a CPU's file has to say: with those of any CPU it would be slow, and nobody could see why.
_OWN = ("vector_bits", "vector_registers")
_IREE = {"device": (str, True), "flags": (list, True)}
_RECIPE = {
    "description": (str, True),
    "pipeline": (str, True),
    "flags": (list, False),
    "element": (str, False),
}
_FRAGMENT = {"description": (str, True), "pipeline": (str, True)}
# What keys that there were once are written as now.
_REPLACED = {"extends": "name fragments in `pipeline`, such as `@front` (see dlas presets --fragments)"}
_ELEMENTS = ("float16", "bfloat16")
_TYPES = {dict: "a table", str: "a string", int: "a whole number", list: "a list of strings"}


@dataclass(frozen=True)
class Recipe:
    """A recipe, with the text of its pipeline. `element` is the type that it rounds operands to, if any."""

    name: str
    description: str
    pipeline: Source
    iree_flags: tuple[str, ...]
    element: str = ""


@dataclass(frozen=True)
class Fragment:
    """A part of pipelines that recipes and other fragments name as `@NAME`."""

    name: str
    description: str
    pipeline: Source


@dataclass(frozen=True)
class TargetFile:
    """A target file. `device` is `local` for a CPU; `iree_flags` are those of all its recipes.

    `needs` is what a machine has to have for it: of a CPU flags as the kernel gives them, of a GPU words of
    `runtime/needs.py`. `machine` is that of its triple, empty where it has none.
    `recipes` are its own; the name in `recipes_from` is that of a file with more (None: there are no more). A target
    that names neither has the recipes of its kind, those of cpu.toml or gpu.toml.
    """

    path: Path
    description: str
    target: AnyTarget
    device: str
    iree_flags: tuple[str, ...]
    recipes: dict[str, Recipe]
    recipes_from: str | None = None
    needs: tuple[str, ...] = ()
    machine: str = ""


def is_target(path: Path) -> bool:
    """Whether `path` is meant as a target: all are but those of recipes, fragments or figures alone."""
    try:
        return set(toml.read(path)[1]) not in ({"recipes"}, {"fragments"}, {"figures"})
    except DlasError:
        return True


def read_recipes(path: Path) -> dict[str, Recipe]:
    """The recipes of the file at `path`, which holds nothing else. Raises DlasError as `read` does."""
    text, data = toml.read(path)
    table = _Table(path, "")
    table.check(data, _RECIPES_FILE)
    return _recipes(table, data, text)


def read_fragments(path: Path) -> dict[str, Fragment]:
    """The fragments of the file at `path`, which holds nothing else. Raises DlasError as `read` does."""
    text, data = toml.read(path)
    _Table(path, "").check(data, _FRAGMENTS_FILE)
    table, fragments = _Table(path, "fragments."), data["fragments"]
    found = {}
    for name in fragments:
        entry = table.part(fragments, name, _FRAGMENT)
        where = _source(path, text, f"fragments.{name}", entry["pipeline"])
        found[name] = Fragment(name, entry["description"], where)
    return found


def read(path: Path) -> TargetFile:
    """The target file at `path`. Raises DlasError with the file's name and the key that is wrong."""
    text, data = toml.read(path)
    table = _Table(path, "")
    table.check(data, _FILE)
    if not re.fullmatch(r"\w[\w.-]*", data.get("recipes_from", "name")):
        wanted = 'the name of a file such as "cpu" (for cpu.toml)'
        raise DlasError(f"{path}: recipes_from: expected {wanted}, found `{data['recipes_from']}`")
    if not isinstance(data["target"], dict):
        raise DlasError(f"{path}: target: expected a table, found {data['target']!r}")
    target = {key: value for key, value in data["target"].items() if key in _TARGET}
    _Table(path, "target.").check(target, _TARGET)
    iree_table = table.part(data, "iree", _IREE)
    device = iree_table["device"]
    if device not in DEVICES:
        raise DlasError(f"{path}: iree.device: expected {' or '.join(DEVICES)}, found `{device}`")
    figures = _target(path, data["target"], device)
    return TargetFile(
        path=path,
        description=target["description"],
        target=figures,
        device=device,
        iree_flags=(*_flags(path, "iree.flags", iree_table["flags"]), *_cpu_flags(target)),
        recipes=_recipes(table, data, text),
        recipes_from=data.get("recipes_from", None if "recipes" in data else figures.kind),
        needs=tuple(target.get("needs", ())),
        machine=target.get("triple", "").partition("-")[0],
    )


def _target(path: Path, table: dict[str, Any], device: str) -> AnyTarget:
    """The figures of the table [target]. Its kind follows from the device, and may be told too."""
    kind = "cpu" if device == "local" else "gpu"
    figures = {key: value for key, value in table.items() if key not in _TARGET}
    if figures.setdefault("kind", kind) != kind and figures["kind"] in kinds():
        raise DlasError(f'{path}: target.kind: a target whose iree.device is "{device}" is a {kind}')
    # Threads are chosen for each artifact.
    fixed = {"name": path.stem, "threads": 1} if kind == "cpu" else {"name": path.stem}
    shared = {key: value for key, value in generic(kind).items() if key not in _OWN}
    try:
        return Target.from_figures(figures, Table("target.", shared, fixed=fixed, beside=tuple(_TARGET)))
    except FigureError as error:
        raise DlasError(f"{path}: {error}") from None


def _recipes(table: _Table, data: dict[str, Any], text: str) -> dict[str, Recipe]:
    recipes = data.get("recipes", {})
    return {name: _recipe(table, recipes, name, text) for name in recipes}


def _recipe(table: _Table, recipes: dict[str, Any], name: str, text: str) -> Recipe:
    recipe = _Table(table.path, "recipes.").part(recipes, name, _RECIPE)
    pipeline, element = recipe["pipeline"], recipe.get("element", "")
    if element not in ("", *_ELEMENTS):
        known = " or ".join(_ELEMENTS)
        raise DlasError(f"{table.path}: recipes.{name}.element: expected {known}, found `{element}`")
    return Recipe(
        name=name,
        description=recipe["description"],
        pipeline=_source(table.path, text, f"recipes.{name}", pipeline),
        iree_flags=_flags(table.path, f"recipes.{name}.flags", recipe.get("flags", [])),
        element=element,
    )


def _source(path: Path, text: str, table: str, pipeline: str) -> Source:
    """The text of the key `pipeline` of `table`, and where it begins in the file."""
    group, _, name = table.partition(".")
    header = re.search(rf"^\s*\[\s*{group}\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]", text, re.MULTILINE)
    # A string without escapes stands in the file as it is, so that errors can point into the file.
    at = text.find(pipeline, header.end() if header else 0) if pipeline else -1
    if at < 0:
        return Source(pipeline, f"{path}[{table}]")
    return Source(pipeline, str(path), text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


@dataclass(frozen=True)
class _Table:
    """Checks tables of one file; `prefix` is the dotted name of the table they stand in."""

    path: Path
    prefix: str

    def part(self, data: dict[str, Any], key: str, schema: dict[str, tuple[type, bool]]) -> dict[str, Any]:
        """The table `data[key]`, checked."""
        if not isinstance(data[key], dict):
            raise DlasError(f"{self.path}: {self.prefix}{key}: expected a table, found {data[key]!r}")
        _Table(self.path, f"{self.prefix}{key}.").check(data[key], schema)
        return data[key]

    def check(self, data: dict[str, Any], schema: dict[str, tuple[type, bool]]) -> None:
        """Raises DlasError for a key that is unknown, missing or of the wrong type."""
        for key, value in data.items():
            if key not in schema:
                known = ", ".join(schema)
                if key in _REPLACED:
                    raise DlasError(f"{self.path}: there is no key `{self.prefix}{key}` any more: {_REPLACED[key]}")
                hint = closest(key, schema)
                raise DlasError(f"{self.path}: unknown key `{self.prefix}{key}`{hint}; known are {known}")
            expected = schema[key][0]
            # A bool is an int in Python, and no number in TOML.
            good = type(value) is expected
            if isinstance(value, list):
                good = good and all(isinstance(item, str) for item in value)
            if not good:
                raise DlasError(f"{self.path}: {self.prefix}{key}: expected {_TYPES[expected]}, found {value!r}")
        for key, (_, required) in schema.items():
            if required and key not in data:
                raise DlasError(f"{self.path}: the key `{self.prefix}{key}` is missing")


def _cpu_flags(target: dict[str, Any]) -> tuple[str, ...]:
    """The flags that say which machine code; a target without a triple (a GPU) says it in its own flags."""
    flags = []
    if "triple" in target:
        flags.append(f"--iree-llvmcpu-target-triple={target['triple']}")
    if "cpu" in target:
        flags.append(f"--iree-llvmcpu-target-cpu={target['cpu']}")
    if target.get("features"):
        flags.append(f"--iree-llvmcpu-target-cpu-features={','.join(target['features'])}")
    return tuple(flags)


def _flags(path: Path, where: str, flags: list[str]) -> tuple[str, ...]:
    known = _known_flags()
    for flag in flags:
        name = flag.split("=")[0]
        if not flag.startswith("--"):
            raise DlasError(f"{path}: {where}: expected a flag such as --iree-opt-level=O3, found `{flag}`")
        if known and name not in known:
            raise DlasError(f"{path}: {where}: iree-compile has no flag `{name}`{closest(name, known)}")
    return tuple(flags)


@cache
def _known_flags() -> frozenset[str]:
    """The flags of the installed iree-compile; nothing when it does not say."""
    tool = Path(iree.compiler.__path__[0]) / "_mlir_libs" / "iree-compile"
    try:
        output = subprocess.run([tool, "--help-hidden"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    return frozenset(re.findall(r"^ +(--[\w-]+)", output.stdout, re.MULTILINE))
