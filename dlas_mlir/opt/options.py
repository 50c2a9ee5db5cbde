"""The options of a pass: read off its dataclass fields, parsed from and printed as pipeline text."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_NEEDS_QUOTES = frozenset(" \t\r\n\"'{}\\")
_SCALARS: dict[Any, str] = {bool: "bool", int: "int", float: "float", str: "string"}


@dataclass(frozen=True)
class OptionSpec:
    """One option: its name in pipeline text, its dataclass field, its element type, the rules for values."""

    name: str
    field: str
    element: type
    is_list: bool
    required: bool
    default: Any
    help: str
    choices: tuple[str, ...] | None
    minimum: int | None
    maximum: int | None

    @property
    def type_text(self) -> str:
        """The type as the documentation shows it: `int`, `string`, `list of int`, or the choices."""
        if self.choices:
            text = " or ".join(f"`{choice}`" for choice in self.choices)
            return f"list of {text}" if self.is_list else text
        return f"list of {_SCALARS[self.element]}" if self.is_list else _SCALARS[self.element]

    def parse(self, text: str) -> Any:
        """The value written as `text`. Raises ValueError that says what is expected."""
        if not self.is_list:
            return self._parse_element(unquote(text))
        if len(text) >= 2 and text[0] == "{" and text[-1] == "}":
            text = text[1:-1]
        return tuple(self._parse_element(unquote(part.strip())) for part in split_list(text)) if text.strip() else ()

    def print(self, value: Any) -> str:
        """Text that `parse` reads back as `value`."""
        if not self.is_list:
            return quote(_print_scalar(value))
        if not value:
            return "{}"
        return ",".join(quote(_print_scalar(element), in_list=True) for element in value)

    def check(self, value: Any) -> None:
        """Raises ValueError when `value` breaks the option's rules."""
        for element in value if self.is_list else (value,):
            if self.choices and element not in self.choices:
                hint = closest(str(element), self.choices)
                raise ValueError(f"expected {' or '.join(self.choices)}, found `{element}`{hint}")
            if self.minimum is not None and not element >= self.minimum:
                raise ValueError(f"expected at least {self.minimum}, found {element}")
            if self.maximum is not None and not element <= self.maximum:
                raise ValueError(f"expected at most {self.maximum}, found {element}")

    def _parse_element(self, text: str) -> Any:
        value: Any = text
        if self.element is bool:
            if text not in ("true", "false", "1", "0"):
                raise ValueError(f"expected true or false, found `{text}`")
            value = text in ("true", "1")
        elif self.element in (int, float):
            try:
                value = self.element(text)
            except ValueError:
                kind = "a whole number" if self.element is int else "a number"
                raise ValueError(f"expected {kind}, found `{text}`") from None
        self.check((value,) if self.is_list else value)
        return value


def specs_of(cls: type) -> tuple[OptionSpec, ...]:
    """The options of a pass or primitive: the fields of its class, in their order. Raises TypeError for a type that no
    option has."""
    hints = typing.get_type_hints(cls)
    return tuple(_spec(cls, field, hints[field.name]) for field in dataclasses.fields(cls))


def _spec(cls: type, field: dataclasses.Field[Any], hint: Any) -> OptionSpec:
    is_list = typing.get_origin(hint) is tuple
    arguments = typing.get_args(hint)
    element = arguments[0] if is_list else hint
    if element not in _SCALARS or (is_list and arguments[1:] != (Ellipsis,)):
        raise TypeError(f"{cls.__name__}.{field.name}: {hint} is no option type")
    required = field.default is dataclasses.MISSING
    return OptionSpec(
        name=field.name.replace("_", "-"),
        field=field.name,
        element=element,
        is_list=is_list,
        required=required,
        default=None if required else field.default,
        help=field.metadata.get("help", ""),
        choices=field.metadata.get("choices"),
        minimum=field.metadata.get("minimum"),
        maximum=field.metadata.get("maximum"),
    )


def print_pass(instance: Any) -> str:
    """Pipeline text of `instance`: its name, and the options that differ from their defaults."""
    given = []
    for spec in specs_of(type(instance)):
        value = getattr(instance, spec.field)
        if spec.required or value != spec.default:
            given.append(f"{spec.name}={spec.print(value)}")
    return f"{instance.name}{{{' '.join(given)}}}" if given else instance.name


def closest(word: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` for the nearest of `known`, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean `{found[0]}`?)" if found else ""


def _print_scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def quote(text: str, *, in_list: bool = False) -> str:
    """`text` as one word of pipeline text, as a JSON string where it has to be."""
    plain = text and text.isprintable() and not _NEEDS_QUOTES & set(text) and not (in_list and "," in text)
    return text if plain else json.dumps(text)


def unquote(text: str) -> str:
    """What `quote` was given. Also takes single quotes (no escapes) and braces, as MLIR does."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"{text} is not a valid string ({error})") from None
    if len(text) >= 2 and (text[0], text[-1]) in (("'", "'"), ("{", "}")):
        return text[1:-1]
    return text


def split_list(text: str) -> list[str]:
    """`text` cut at the commas outside quotes and braces."""
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] == ",":
            parts.append(text[start:position])
            start = position = position + 1
        else:
            position = skip_item(text, position)
    return [*parts, text[start:]]


def skip_item(text: str, position: int) -> int:
    """The position after the character, quoted string or braced group at `position`.

    Raises ValueError for a quote or brace without an end.
    """
    char = text[position]
    if char in "\"'":
        end = position + 1
        while end < len(text) and text[end] != char:
            end += 2 if char == '"' and text[end] == "\\" else 1
        if end >= len(text):
            raise ValueError(f"no closing {char}")
        return end + 1
    if char == "{":
        end = position + 1
        while end < len(text) and text[end] != "}":
            end = skip_item(text, end)
        if end >= len(text):
            raise ValueError("no closing }")
        return end + 1
    return position + 1
