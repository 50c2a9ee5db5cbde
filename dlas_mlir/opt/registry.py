"""All passes by name. The names come from the file names, so listing them imports no pass.

The pass `dlas-foo-bar` is the class `FooBarPass` in `passes/<family>/foo_bar.py`. Other packages add passes
through the entry-point group `dlas_mlir.passes`: the entry's name is the pass's, its value the class; and primitives
through `dlas_mlir.primitives`, each of which is also the pass that lowers to it.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from dlas_mlir.errors import DlasError
from dlas_mlir.opt.base import Pass

# The package of our own passes, by its name: it is made of this room, and imported for a pass that is asked for.
_OWN = "dlas_mlir.passes"
# The groups of entry points, and what an entry's name is behind in the name of the pass.
ENTRY_POINTS = {"dlas_mlir.passes": "", "dlas_mlir.primitives": "dlas-lower-"}


class RegistryError(DlasError):
    """A pass is not known, or its file does not hold what its name promises."""


@dataclass(frozen=True)
class Entry:
    """Where a pass is found: `family` is the folder, or the distribution for a pass of another package."""

    name: str
    family: str
    module: str
    class_name: str


@cache
def _own_entries() -> dict[str, Entry]:
    (root,) = map(Path, _locations(_OWN))
    entries: dict[str, Entry] = {}
    for file in sorted(root.glob("*/[a-z]*.py")):
        family, stem = file.parent.name, file.stem
        camel = "".join(part.capitalize() for part in stem.split("_"))
        name = "dlas-" + stem.replace("_", "-")
        entries[name] = Entry(name, family, f"{_OWN}.{family}.{stem}", f"{camel}Pass")
    return entries


def _locations(package: str) -> list[str]:
    """The folders of a package, which is not imported for it."""
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


@cache
def _foreign_entries() -> dict[str, Entry]:
    found = [
        Entry(prefix + point.name, point.dist.name if point.dist else "other", point.module, point.attr)
        for group, prefix in ENTRY_POINTS.items()
        for point in metadata.entry_points(group=group)
    ]
    return {entry.name: entry for entry in found if entry.name not in _own_entries()}


def find(name: str) -> Entry | None:
    """The entry of pass `name`, or None."""
    # Reading the metadata of every installed package is slow: only when the name is not ours.
    return _own_entries().get(name) or _foreign_entries().get(name)


def all_entries() -> tuple[Entry, ...]:
    """All Python passes, by family."""
    return (*_own_entries().values(), *_foreign_entries().values())


def all_pass_names() -> tuple[str, ...]:
    """The names of all Python passes, by family."""
    return (*_own_entries(), *_foreign_entries())


@cache
def pass_class(name: str) -> type[Pass]:
    """The class of pass `name`. Raises RegistryError when there is none, or it does not import."""
    entry = find(name)
    if entry is None:
        raise RegistryError(f"there is no pass `{name}`")
    try:
        cls = getattr(importlib.import_module(entry.module), entry.class_name)
        cls = cls.as_pass() if hasattr(cls, "as_pass") else cls
    except Exception as error:  # importing runs code of another package, which can raise anything
        raise RegistryError(
            f"pass `{name}` cannot be loaded from {entry.module}: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Pass) and cls.name == name):
        raise RegistryError(f"{entry.module}.{entry.class_name} is not the pass `{name}`")
    return cls
