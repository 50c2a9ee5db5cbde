"""The compression axis: what its levels mean as steps of `dlas compress`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir import toml
from dlas_mlir.errors import DlasError
from dlas_mlir.study.axes import HALF, NO_COMPRESSION
from dlas_mlir.study.spec import Training

_FAMILIES = "prune-N, channels-N (N percent, 1 to 99)"


@dataclass(frozen=True)
class Recipe:
    """The tables [[step]] of a recipe. `zeros` says whether it leaves weights that are zero, `element` what it leaves
    them in (empty: f32)."""

    steps: tuple[dict[str, Any], ...] = ()
    zeros: bool = False
    element: str = ""


def recipe_of(name: str, training: Training, folder: Path) -> Recipe:
    """The recipe that a level of the axis names; files are looked for in `folder`. Raises DlasError."""
    if name == NO_COMPRESSION:
        return Recipe()
    if found := re.fullmatch(r"(prune|channels)-(\d{1,2})", name):
        share = int(found[2]) / 100
        if not share:
            raise DlasError(f"`{name}` takes nothing away: N is 1 to 99")
        return _family(found[1], share, training)
    if not name.endswith(".toml"):
        raise DlasError(f"there is no recipe `{name}`: it is `{NO_COMPRESSION}`, {_FAMILIES} or a TOML file of steps")
    return _of_file(folder / name)


def _family(kind: str, share: float, training: Training) -> Recipe:
    more = {"epochs": training.fine_tune, "iterations": training.iterations}
    if kind == "prune":
        # As in most studies of pruning, the layers that see the image and give the classes stay whole.
        step = {"kind": "prune", "sparsity": share, "skip": ["first", "last"], **more}
    else:
        step = {"kind": "channel-prune", "ratio": share, **more}
    return Recipe((step,), zeros=kind == "prune")


def _of_file(path: Path) -> Recipe:
    from dlas_mlir.compression.recipe import parse_recipe  # loads torch

    if not path.is_file():
        raise DlasError(f"there is no recipe {path}")
    data = toml.read(path)[1]
    try:
        steps = parse_recipe(data)
    except DlasError as error:
        raise DlasError(f"{path}: {error}") from None
    kinds = [step.kind for step in steps]
    element = "int8" if "int8" in kinds else ""
    if "half" in kinds:
        element = HALF[next(table.get("element", "float16") for table in data["step"] if table["kind"] == "half")]
    return Recipe(
        tuple(data["step"]),
        zeros="prune" in kinds,
        element=element,
    )
