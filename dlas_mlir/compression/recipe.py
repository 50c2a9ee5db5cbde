"""Recipes: TOML files whose `[[step]]` tables are the steps of compressing a model, in order."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import nn

from dlas_mlir import toml
from dlas_mlir.compression.channel_pruning import ChannelPrune
from dlas_mlir.compression.half import Half
from dlas_mlir.compression.pruning import Prune
from dlas_mlir.compression.quantize import Quantize
from dlas_mlir.compression.step import Context, Step, check_range, tune
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.options import closest

T = TypeVar("T")


@dataclass(frozen=True)
class FineTune(Step):
    """Train for some epochs; weights that are zero stay zero. `learning_rate` 0 is the trainer's own."""

    kind: ClassVar[str] = "fine-tune"

    epochs: int
    learning_rate: float = 0.0

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 1, 10_000)
        check_range("learning_rate", self.learning_rate, 0, 100)

    @property
    def epochs_needed(self) -> int:
        return self.epochs

    def apply(self, model: nn.Module, context: Context) -> None:
        context.progress(f"fine-tune: {self.epochs} epochs")
        tune(model, context, self.epochs, self.learning_rate)


# Every step that a recipe can name; a new kind of compression is a class and a place in this list.
_STEPS: dict[str, type[Step]] = {step.kind: step for step in (Prune, ChannelPrune, FineTune, Half, Quantize)}
# Nothing can be trained or ranked behind these.
_LAST = (Half.kind, Quantize.kind)


def read_recipe(path: Path) -> tuple[Step, ...]:
    """The steps of a recipe. Raises DlasError, naming the file, the step and the key that is wrong."""
    data = toml.read(path)[1]
    try:
        return parse_recipe(data)
    except DlasError as error:
        raise DlasError(f"{path}: {error}") from None


def parse_recipe(data: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps in what a file of a recipe says. Raises DlasError that names the step and the key."""
    for key in data:
        if key not in ("description", "step"):
            raise DlasError(f"unknown key `{key}`{closest(key, ('description', 'step'))}; known are description, step")
    if not isinstance(data.get("description", ""), str):
        raise DlasError(f"description: expected a string, found {data['description']!r}")
    tables = data.get("step")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise DlasError("step: expected one or more tables [[step]]")
    steps = []
    for number, table in enumerate(tables, 1):
        try:
            steps.append(_step(table))
        except DlasError as error:
            raise DlasError(f"step {number} ({table.get('kind', 'no kind')}): {error}") from None
    check_order(steps)
    return tuple(steps)


def check_order(steps: typing.Sequence[Step]) -> None:
    """Raises DlasError when a step stands behind one that must be the last."""
    for number, step in enumerate(steps[:-1], 1):
        if step.kind in _LAST:
            raise DlasError(f"step {number} ({step.kind}): no step can follow it; make it the last one")


def _step(table: Mapping[str, Any]) -> Step:
    kind = table.get("kind")
    if kind not in _STEPS:
        problem = "the key `kind` is missing" if kind is None else f"unknown kind `{kind}`{closest(str(kind), _STEPS)}"
        raise DlasError(f"{problem}; kinds are {', '.join(_STEPS)}")
    return _from_table(_STEPS[kind], {key: value for key, value in table.items() if key != "kind"}, "")


def _from_table(cls: type[T], table: Mapping[str, Any], prefix: str) -> T:
    """A dataclass from a table with its fields as keys."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise DlasError(f"unknown key `{prefix}{key}`{closest(key, fields)}; known are {', '.join(fields)}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in table:
            raise DlasError(f"{prefix}{name}: the key is missing")
    return cls(**{key: _value(f"{prefix}{key}", value, hints[key]) for key, value in table.items()})


def _value(key: str, value: Any, hint: Any) -> Any:
    """`value` as what a field is declared as: a scalar, an optional one, or a tuple of strings or dataclasses."""
    if isinstance(hint, types.UnionType):
        (hint,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        element: Any = typing.get_args(hint)[0]
        what = str if element is str else dict
        if not isinstance(value, list) or not all(isinstance(each, what) for each in value):
            raise DlasError(f"{key}: expected a list of {'tables' if what is dict else 'strings'}, found {value!r}")
        return tuple(_from_table(element, each, f"{key}.") if what is dict else each for each in value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        names = {float: "a number", int: "a whole number", str: "a string"}
        raise DlasError(f"{key}: expected {names[hint]}, found {value!r}")
    return value


def as_json(step: Step) -> dict[str, Any]:
    """A step as the checkpoint stores it: its kind, and the keys that are not at their defaults."""
    values = dataclasses.asdict(step)
    defaults = {field.name: field.default for field in dataclasses.fields(step)}
    return {"kind": step.kind} | {key: value for key, value in values.items() if value != defaults[key]}
