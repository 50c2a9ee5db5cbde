"""Figures: the fields of frozen dataclasses that are read from tables of plain values, each with its rule."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.opt.options import closest

_WORDS = {int: "a whole number", float: "a number", str: "a string", tuple: "a list of strings"}


class FigureError(DlasError):
    """A figure that is unknown, missing, of a wrong type, or out of range; the message names its key."""


def figure(
    help: str,
    *,
    default: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    power_of_two: bool = False,
    choices: tuple[str, ...] = (),
    like: str = "",
) -> Any:
    """A field and the values it may have. One that is not given has the value of the field `like`, before it."""
    rules = {"minimum": minimum, "maximum": maximum, "power_of_two": power_of_two, "choices": choices, "like": like}
    return dataclasses.field(default=default, metadata={"help": help, **rules})


@dataclass(frozen=True)
class Table:
    """What `read` needs to know of a table beside its values.

    `prefix` is what comes before its keys in messages. `shared` has the values of keys that are not given; `complete`:
    all must be given. `fixed` are fields that are no keys of it, `beside` keys that are no fields, for messages.
    """

    prefix: str = ""
    shared: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    complete: bool = False
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beside: tuple[str, ...] = ()

    def part(self, key: str) -> Table:
        """The table `key` in this one."""
        return Table(f"{self.prefix}{key}.", self.shared.get(key, {}), self.complete)


def read(cls: Any, values: Mapping[str, Any], table: Table) -> Any:
    """An instance of the dataclass `cls`. Raises FigureError."""
    known = [*table.beside, *(name for name in names(cls) if name not in table.fixed)]
    for key in values:
        if key not in known:
            hint = closest(key, known)
            raise FigureError(f"unknown key `{table.prefix}{key}`{hint}; known are {', '.join(known)}")
    found: dict[str, Any] = {}
    for field in _fields(cls):
        value = _value(field, values, found, table)
        if value is dataclasses.MISSING:
            continue
        kind: Any = _hints(cls)[field.name]
        if not dataclasses.is_dataclass(kind):
            found[field.name] = _checked(value, kind, field.metadata, table.prefix + field.name)
        elif isinstance(value, Mapping):
            found[field.name] = read(kind, value, table.part(field.name))
        else:
            raise FigureError(f"{table.prefix}{field.name}: expected a table, found {value!r}")
    return cls(**found)


def names(cls: Any) -> tuple[str, ...]:
    """The names of the fields."""
    return tuple(field.name for field in _fields(cls))


def plain(value: Any) -> Any:
    """What `read` makes an equal instance of."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def as_text(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Plain values as words under dotted names; `from_text` reads them."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= as_text(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = "+".join(value) if isinstance(value, list) else str(value)
    return found


def from_text(cls: type, words: Mapping[str, str]) -> dict[str, Any]:
    """The plain values for `cls` that `as_text` made `words` of; a word that is none stays as it is, for `read`."""
    kinds, values = _kinds(cls), {}
    for key, word in words.items():
        *outer, last = key.split(".")
        table = values
        for name in outer:
            table = table.setdefault(name, {})
        table[last] = _parsed(word, kinds.get(key, str))
    return values


def _value(field: dataclasses.Field, values: Mapping[str, Any], found: Mapping[str, Any], table: Table) -> Any:
    """The value of a field, MISSING where it has its default. Raises FigureError when there is none at all."""
    name, like = field.name, field.metadata.get("like", "")
    if name in table.fixed:
        return table.fixed[name]
    if name in values:
        return values[name]
    if not table.complete and name in table.shared:
        return table.shared[name]
    if not table.complete and like in found:
        return found[like]
    if not table.complete and field.default is not dataclasses.MISSING:
        return dataclasses.MISSING
    raise FigureError(f"the key `{table.prefix}{name}` is missing: {field.metadata.get('help', 'what it is called')}")


def _checked(value: Any, kind: type, rules: Mapping[str, Any], key: str) -> Any:
    """`value` as a `kind`. Raises FigureError for another type, and for what the rules exclude."""
    typed = _typed(value, kind)
    if typed is None:
        raise FigureError(f"{key}: expected {_WORDS[kind]}, found {value!r}")
    least, most, choices = rules.get("minimum"), rules.get("maximum"), rules.get("choices")
    if choices and typed not in choices:
        allowed = ", ".join(filter(None, choices))
        raise FigureError(f"{key}: expected one of {allowed}, found `{typed}`{closest(typed, choices)}")
    # Written so that NaN is out of range.
    if least is not None and not typed >= least:
        raise FigureError(f"{key}: expected at least {least}, found {typed}")
    if most is not None and not typed <= most:
        raise FigureError(f"{key}: expected at most {most}, found {typed}")
    if rules.get("power_of_two") and typed & (typed - 1):
        raise FigureError(f"{key}: expected a power of two, found {typed}")
    return typed


def _typed(value: Any, kind: type) -> Any:
    """`value` as a `kind`, None where it is none. A bool is an int in Python, and no number in TOML."""
    if kind is tuple:
        return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None


def _parsed(word: str, kind: type) -> Any:
    if kind is tuple:
        return word.split("+") if word else []
    try:
        return kind(word)
    except ValueError:
        return word


def _kinds(cls: Any, prefix: str = "") -> dict[str, type]:
    """The type of each field under dotted names."""
    found: dict[str, type] = {}
    for name, kind in _hints(cls).items():
        found |= _kinds(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else {prefix + name: kind}
    return found


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {name: typing.get_origin(hints[name]) or hints[name] for name in names(cls)}


def _fields(cls: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(cls)
