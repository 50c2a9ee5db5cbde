"""Reading a study's specification."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dlas_mlir import datasets, studies, toml
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.models import find, registry
from dlas_mlir.opt.options import closest
from dlas_mlir.study import recipes
from dlas_mlir.study.axes import AXES, AXIS, METRICS, NAMES, NO_DATASET, Axis, Level
from dlas_mlir.study.expression import Expression, ExpressionError, parse
from dlas_mlir.study.spec import (
    SEARCHES,
    DeviceSpec,
    Exclude,
    Goals,
    Measurement,
    ModelSource,
    Spec,
    SpecError,
    Training,
    Tuning,
)
from dlas_mlir.study.store import StudyStore

T = TypeVar("T")
SHIPPED = Path(studies.__path__[0])
_TABLES = {
    "study": "table",
    "axes": "table",
    "devices": "table",
    "exclude": "tables",
    "goals": "table",
    "measurement": "table",
    "training": "table",
    "tuning": "table",
    "models": "table",
    "datasets": "table",
}
_STUDY = {"name": str, "description": str, "seed": int, "search": str, "trials": int, "artifacts": str}
_MODEL_FILES = (".pt2", ".onnx", ".mlir", ".mlirbc")
_TIMES = ("timeout", "budget")
_MOST_LEVELS = 10_000
_DEFAULT_DEVICE = {"host": {"target": "host"}}


def find_spec(text: str) -> Path:
    """The file that SPEC of a command names: a path, or the name of one that is shipped. Raises DlasError."""
    path = Path(text)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{text}.toml"
    if re.fullmatch(r"[\w-]+", text) and shipped.is_file():
        return shipped
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
    raise DlasError(f"there is no specification {text}: give a TOML file, or one of {known}")


def read_spec(path: Path) -> Spec:
    """The specification in the file at `path`. Raises SpecError with everything that is wrong in it."""
    text, data = toml.read(path)
    return parse_spec(path, text, data)


def spec_of_store(store: StudyStore) -> Spec:
    """The specification that a study was last run with. Raises DlasError."""
    facts = store.facts()
    if "spec" not in facts:
        raise DlasError(f"{store.path}: no run of this study has begun yet")
    return parse_spec(Path(facts["path"]), facts["spec"], toml.parse(facts["spec"], Path(facts["path"])))


def parse_spec(path: Path, text: str, data: Mapping[str, Any]) -> Spec:
    """What `read_spec` does, of a file that was read."""
    reader = _Reader(path, text, data)
    spec = reader.spec()
    if reader.problems:
        raise SpecError("\n".join(reader.problems))
    assert spec is not None
    return spec


@dataclass
class _Reader:
    """One reading: problems are collected, so that one run tells them all."""

    path: Path
    text: str
    data: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)

    def wrong(self, key: str, message: str) -> None:
        line = self._line(key)
        self.problems.append(f"{self.path}{f':{line}' if line else ''}: {key}: {message}")

    def spec(self) -> Spec | None:
        for key in self.data:
            if key not in _TABLES:
                self.wrong(key, f"unknown table{closest(key, _TABLES)}; known are {', '.join(_TABLES)}")
        head = self._table("study", _STUDY, required=("name",))
        devices = self._devices()
        axes = self._axes(devices)
        measurement = self._dataclass("measurement", Measurement, _check_measurement)
        training = self._dataclass("training", Training, _positive("epochs", "lr", "batch", "iterations", "threads"))
        tuning = self._dataclass("tuning", Tuning, _positive("trials", "budget", "rounds"))
        models, folders = self._models(axes), self._datasets(axes)
        self._levels_make_sense(axes, training)
        self._search(head)
        columns: dict[str, Any] = {name: axes.get(name, ()) for name in NAMES}
        excludes = self._excludes(columns)
        goals = self._goals(columns)
        if self.problems:
            return None
        return Spec(
            path=self.path.absolute(),
            text=self.text,
            name=head["name"],
            axes=axes,
            devices={name: devices[name] for name in axes["device"] if isinstance(name, str)},
            description=head.get("description", ""),
            seed=head.get("seed", 0),
            search=head.get("search", "grid"),
            trials=head.get("trials", 0),
            artifacts=head.get("artifacts"),
            excludes=excludes,
            goals=goals,
            measurement=measurement,
            training=training,
            tuning=tuning,
            models=models,
            datasets=folders,
        )

    # Tables.

    def _table(self, key: str, types: Mapping[str, type], required: Sequence[str] = ()) -> dict[str, Any]:
        return self._checked(key, self.data.get(key, {}), types, required)

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

    def _search(self, head: Mapping[str, Any]) -> None:
        name = head.get("name", "x")
        if not re.fullmatch(r"[\w.-]+", name):
            self.wrong("study.name", f"expected letters, digits, - and _, found {name!r}")
        search, trials = head.get("search", "grid"), head.get("trials")
        if search not in SEARCHES:
            self.wrong("study.search", f"expected {' or '.join(SEARCHES)}{closest(search, SEARCHES)}, found {search!r}")
        elif search != "grid" and trials is None:
            self.wrong("study.trials", f"the search `{search}` needs a number of points")
        elif search == "grid" and trials is not None:
            self.wrong("study.trials", "goes with the searches random, tpe and nsga2; a grid has all its points")
        if trials is not None and trials < 1:
            self.wrong("study.trials", f"expected a whole number from 1, found {trials}")

    def _devices(self) -> dict[str, DeviceSpec]:
        tables = self.data.get("devices", _DEFAULT_DEVICE)
        if not isinstance(tables, dict):
            self.wrong("devices", "expected tables [devices.NAME]")
            return {}
        types = {"target": str, "kind": str, "threads": int, "description": str}
        found = {}
        for name, table in tables.items():
            key = f"devices.{name}"
            values = self._checked(key, table, types, ("target",))
            if values.get("kind", "local") not in ("local", "worker"):
                self.wrong(f"{key}.kind", f"expected local or worker, found {values['kind']!r}")
            if values.get("threads", 1) < 1:
                self.wrong(f"{key}.threads", f"expected a whole number from 1, found {values['threads']}")
            target = values.get("target", "host")
            try:
                load_preset(f"{target}/stock")
            except DlasError as error:
                self.wrong(f"{key}.target", str(error))
            found[name] = DeviceSpec(name, **{"target": target, **values})
        return found

    # Axes.

    def _axes(self, devices: Mapping[str, DeviceSpec]) -> dict[str, tuple[Level, ...]]:
        table = self.data.get("axes")
        if not isinstance(table, dict):
            self.wrong("axes", "the table is missing" if table is None else f"expected a table, found {table!r}")
            table = {}
        for name in table:
            if name not in AXIS:
                self.wrong(f"axes.{name}", f"unknown axis{closest(name, AXIS)}; axes are {', '.join(NAMES)}")
        found = {}
        for axis in AXES:
            if axis.name in table:
                found[axis.name] = self._levels(axis, table[axis.name])
            elif axis.name == "device":
                found[axis.name] = tuple(devices)
            elif axis.default is None:
                self.wrong(f"axes.{axis.name}", "the key is missing: name at least one")
                found[axis.name] = ()
            else:
                found[axis.name] = (axis.default,)
        for name in found["device"]:
            if name not in devices:
                known = ", ".join(devices) or "none"
                self.wrong("axes.device", f"there is no table [devices.{name}]; there are {known}")
        return found

    def _levels(self, axis: Axis, value: Any) -> tuple[Level, ...]:
        key = f"axes.{axis.name}"
        listed = value if isinstance(value, list) else [value]
        kind = int if axis.number else str
        wrong = [each for each in listed if type(each) is not kind]
        if wrong:
            self.wrong(key, f"expected {'whole numbers' if axis.number else 'strings'}, found {wrong[0]!r}")
            return ()
        if not listed:
            self.wrong(key, "an axis without values: name at least one, or leave the key out")
        if axis.number:
            for each in listed:
                if each < 1:
                    self.wrong(key, f"expected whole numbers from 1, found {each}")
        else:
            listed = [level for each in listed for level in self._expanded(key, each)]
        for each in listed:
            if axis.choices and each not in axis.choices:
                hint = closest(each, axis.choices)
                self.wrong(key, f"there is no `{each}`{hint}; there are {', '.join(axis.choices)}")
        twice = {each for each in listed if listed.count(each) > 1} if len(listed) < _MOST_LEVELS else set()
        for each in sorted(map(str, twice)):
            self.wrong(key, f"`{each}` is there twice")
        return tuple(listed)

    def _expanded(self, key: str, text: str) -> list[str]:
        """`prune-{50,80}` as prune-50 and prune-80."""
        parts = re.split(r"\{([^{}]*)\}", text)
        if any("{" in part or "}" in part for part in parts):
            self.wrong(key, f"`{text}`: a range is written as {{50,80}}")
            return []
        choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
        if any(not each.strip() for place, part in enumerate(choices) if place % 2 for each in part):
            self.wrong(key, f"`{text}`: a range has an empty value")
            return []
        return ["".join(each.strip() for each in chosen) for chosen in itertools.product(*choices)]

    def _levels_make_sense(self, axes: Mapping[str, tuple[Level, ...]], training: Training) -> None:
        for name in map(str, axes["model"]):
            if find(name) is None and ":" not in name and Path(name).suffix not in _MODEL_FILES:
                hint = closest(name, [model.name for model in registry()])
                self.wrong("axes.model", f"there is no model `{name}`{hint}; `dlas models` lists them")
            elif Path(name).suffix in _MODEL_FILES and not (self.path.parent / name).is_file():
                self.wrong("axes.model", f"there is no file {self.path.parent / name}")
        for name in map(str, axes["compression"]):
            try:
                recipes.recipe_of(name, training, self.path.parent)
            except DlasError as error:
                self.wrong("axes.compression", str(error))

    def _models(self, axes: Mapping[str, tuple[Level, ...]]) -> dict[str, ModelSource]:
        tables = self.data.get("models", {})
        if not isinstance(tables, dict):
            self.wrong("models", 'expected tables [models."NAME"]')
            return {}
        found = {}
        for name, table in tables.items():
            key = f"models.{name}"
            values = self._checked(key, table, {"weights": str, "input": str})
            if name not in axes.get("model", ()):
                self.wrong(key, f"the axis model has no such level{closest(name, map(str, axes.get('model', ())))}")
            weights = self.path.parent / values["weights"] if "weights" in values else None
            if weights is not None and not weights.is_file():
                self.wrong(f"{key}.weights", f"there is no file {weights}")
            found[name] = ModelSource(weights, values.get("input"))
        return found

    def _datasets(self, axes: Mapping[str, tuple[Level, ...]]) -> dict[str, Path]:
        tables = self.data.get("datasets", {})
        known = (*datasets.NAMES, NO_DATASET)
        found = {}
        for name, table in tables.items() if isinstance(tables, dict) else ():
            if name not in datasets.NAMES:
                self.wrong(f"datasets.{name}", f"there is no such dataset{closest(name, datasets.NAMES)}")
                continue
            values = self._checked(f"datasets.{name}", table, {"folder": str}, ("folder",))
            folder = self.path.parent / Path(values.get("folder", ".")).expanduser()
            if not folder.is_dir():
                self.wrong(f"datasets.{name}.folder", f"there is no folder {folder}")
            found[name] = folder
        for name in map(str, axes.get("dataset", ())):
            if name not in known:
                self.wrong(
                    "axes.dataset", f"there is no dataset `{name}`{closest(name, known)}; there are {', '.join(known)}"
                )
            elif name in datasets.NEED_FOLDER and name not in found:
                self.wrong("axes.dataset", f'{name} is read from a folder: [datasets.{name}] folder = "..."')
        return found

    # Expressions.

    def _expression(self, key: str, text: str, columns: Mapping[str, Any]) -> Expression | None:
        try:
            return parse(text, columns)
        except ExpressionError as error:
            self.wrong(key, str(error))
            return None

    def _excludes(self, columns: Mapping[str, Any]) -> tuple[Exclude, ...]:
        tables = self.data.get("exclude", [])
        if not isinstance(tables, list):
            self.wrong("exclude", "expected tables [[exclude]]")
            return ()
        found = []
        for number, table in enumerate(tables, 1):
            key = f"exclude {number}"
            values = self._checked(key, table, {"when": str, "reason": str}, ("when", "reason"))
            if "when" in values and (when := self._expression(f"{key}.when", values["when"], columns)) is not None:
                found.append(Exclude(when, values.get("reason", "")))
        return tuple(found)

    def _goals(self, columns: Mapping[str, Any]) -> Goals:
        values = self._table("goals", {"maximise": list, "minimise": list, "limits": list})
        for name in ("maximise", "minimise"):
            for metric in values.get(name, ()):
                if metric not in METRICS:
                    hint = closest(metric, METRICS)
                    self.wrong(f"goals.{name}", f"there is no metric `{metric}`{hint}; there are {', '.join(METRICS)}")
        both = {*values.get("maximise", ())} & {*values.get("minimise", ())}
        for metric in sorted(both):
            self.wrong("goals", f"`{metric}` cannot be maximised and minimised")
        with_metrics = {**columns, **dict.fromkeys(METRICS)}
        limits = [self._expression("goals.limits", text, with_metrics) for text in values.get("limits", ())]
        chosen = {name: tuple(values[name]) for name in ("maximise", "minimise") if name in values}
        return Goals(**chosen, limits=tuple(limit for limit in limits if limit is not None))

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


def _positive(*names: str) -> Callable[[Any], Iterable[tuple[str, str]]]:
    """A check that these, where they are given, are above 0, and all other numbers not below."""

    def check(made: Any) -> Iterable[tuple[str, str]]:
        for one in dataclasses.fields(made):
            value = getattr(made, one.name)
            least = one.name in names
            if isinstance(value, int | float) and (value <= 0 if least else value < 0):
                yield one.name, f"expected a number {'above' if least else 'from'} 0, found {value}"

    return check


def _check_measurement(made: Measurement) -> Iterable[tuple[str, str]]:
    yield from _positive("members", "rounds", "max_rounds", "starts", "seconds", "images", "timeout", "budget")(made)
    for name in made.compare:
        if name not in AXIS:
            yield "compare", f"there is no axis `{name}`{closest(name, AXIS)}; axes are {', '.join(NAMES)}"
        elif name in ("device", "dataset"):
            yield "compare", f"`{name}` cannot be compared within a block, whose members share it"
    if made.members < 2:
        yield "members", f"a block has at least 2 members, found {made.members}"
    if made.max_rounds < made.rounds:
        yield "max_rounds", f"{made.max_rounds} is below rounds ({made.rounds})"
