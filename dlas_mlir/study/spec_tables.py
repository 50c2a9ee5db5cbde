"""Tables of a TOML file, checked key by key: types, names that nobody knows, times, and on which line all that is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dlas_mlir.opt.options import closest

T = TypeVar("T")
_TIMES = ("timeout", "budget")


@dataclass
class TableReader:
    """A file of TOML as it is read: `text` and what it says, `data`; what is wrong is collected in `problems`."""

    path: Path
    text: str
    data: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)

    def wrong(self, key: str, message: str) -> None:
        """Note a problem, with the line of the key."""
        line = self._line(key)
        self.problems.append(f"{self.path}{f':{line}' if line else ''}: {key}: {message}")

    def _table(self, key: str, types: Mapping[str, type], required: Sequence[str] = ()) -> dict[str, Any]:
        return self._checked(key, self.data.get(key, {}), types, required)

    def _named(self, key: str, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Tables [key.NAME] by their names, not checked yet."""
        tables = self.data.get(key, default or {})
        if isinstance(tables, Mapping):
            return tables
        self.wrong(key, f'expected tables [{key}."NAME"], found {tables!r}')
        return {}

    def _checked(self, key: str, table: Any, types: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
        """What of a table is right; what is not is told."""
        if not isinstance(table, dict):
            self.wrong(key, f"expected a table, found {table!r}")
            return {}
        found = {}
        for name, value in table.items():
            if name not in types:
                self.wrong(f"{key}.{name}", f"unknown key{closest(name, types)}; known are {', '.join(types)}")
            elif not _is(value, types[name]):
                self.wrong(f"{key}.{name}", f"expected {_WORDS[types[name]]}, found {value!r}")
            else:
                found[name] = value
        for name in required:
            if name not in table:
                self.wrong(f"{key}.{name}", "the key is missing")
        return found

    def _dataclass(self, key: str, cls: type[T], check: Callable[[Any], Iterable[tuple[str, str]]]) -> T:
        """A dataclass whose fields are the keys of a table."""
        types = {one.name: _kind(str(one.type)) for one in dataclasses.fields(cls)}  # type: ignore[arg-type]
        raw = self.data.get(key, {})
        if isinstance(raw, dict):
            raw = {name: self._time(f"{key}.{name}", value) if name in _TIMES else value for name, value in raw.items()}
        values = self._checked(key, raw, types)
        made = cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
        for name, message in check(made):
            self.wrong(f"{key}.{name}", message)
        return made

    def _time(self, key: str, value: Any) -> Any:
        """Seconds of `90`, "90s", "10m" or "1.5h"."""
        if not isinstance(value, str):
            return value
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", value):
            return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
        self.wrong(key, f'expected a time such as "90s", "10m" or "1.5h", found {value!r}')
        return 1.0

    def _line(self, key: str) -> int | None:
        """The line that the last part of a key begins, below the table's heading; None where it is not found."""
        group, _, name = key.replace("exclude ", "exclude.").rpartition(".")
        lines = self.text.splitlines()
        table = group.split(".")[0] if group else key
        heads = [i for i, line in enumerate(lines) if re.match(rf"\s*\[+\s*{re.escape(table)}\b", line)]
        if table == "exclude" and (number := re.search(r"\d+", group or name)):
            heads = heads[int(number[0]) - 1 : int(number[0])]
        elif table in ("devices", "models", "datasets"):
            heads = [
                i for i in heads if any(part and part in lines[i] for part in group.split(".")[1:] or [name])
            ] or heads
        for head in heads:
            for i in range(head + 1, len(lines)):
                if re.match(r"\s*\[", lines[i]):
                    break
                if re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", lines[i]):
                    return i + 1
        return heads[0] + 1 if heads else None


_WORDS = {str: "a string", int: "a whole number", float: "a number", list: "a list of strings", dict: "a table"}


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float)
    if kind is list:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return type(value) is kind


def _kind(annotation: str) -> type:
    if annotation.startswith("tuple"):
        return list
    return {"int": int, "float": float, "str": str}[annotation.split(" |")[0]]


def positive(*names: str) -> Callable[[Any], Iterable[tuple[str, str]]]:
    """A check that these, where they are given, are above 0, and all other numbers not below."""

    def check(made: Any) -> Iterable[tuple[str, str]]:
        for one in dataclasses.fields(made):
            value = getattr(made, one.name)
            least = one.name in names
            if isinstance(value, int | float) and (value <= 0 if least else value < 0):
                yield one.name, f"expected a number {'above' if least else 'from'} 0, found {value}"

    return check
