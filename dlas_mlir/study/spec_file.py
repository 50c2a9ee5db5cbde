"""Reading a study's specification."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir import datasets, studies, toml
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.models import find, registry
from dlas_mlir.opt.options import closest
from dlas_mlir.study import recipes
from dlas_mlir.study.axes import AXES, AXIS, FILES, METRICS, NAMES, NO_DATASET, Axis, Level
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
from dlas_mlir.study.spec_tables import TableReader, positive
from dlas_mlir.study.store import StudyStore

SHIPPED = Path(studies.__path__[0])
_TABLES = (
    "study",
    "axes",
    "devices",
    "exclude",
    "goals",
    "measurement",
    "training",
    "tuning",
    "models",
    "datasets",
)
_STUDY = {"name": str, "description": str, "seed": int, "search": str, "trials": int, "artifacts": str}
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
class _Reader(TableReader):
    """One reading: problems are collected, so that one run tells them all."""

    def spec(self) -> Spec | None:
        for key in self.data:
            if key not in _TABLES:
                self.wrong(key, f"unknown table{closest(key, _TABLES)}; known are {', '.join(_TABLES)}")
        head = self._table("study", _STUDY, required=("name",))
        devices = self._devices()
        axes = self._axes(devices)
        measurement = self._dataclass("measurement", Measurement, _check_measurement)
        training = self._dataclass("training", Training, positive("epochs", "lr", "batch", "iterations", "threads"))
        tuning = self._dataclass("tuning", Tuning, positive("trials", "budget", "rounds"))
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
        types = {"target": str, "kind": str, "threads": int, "description": str}
        found = {}
        for name, table in self._named("devices", _DEFAULT_DEVICE).items():
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
            if find(name) is None and ":" not in name and Path(name).suffix not in FILES:
                hint = closest(name, [model.name for model in registry()])
                self.wrong("axes.model", f"there is no model `{name}`{hint}; `dlas models` lists them")
            elif Path(name).suffix in FILES and not (self.path.parent / name).is_file():
                self.wrong("axes.model", f"there is no file {self.path.parent / name}")
        for name in map(str, axes["compression"]):
            try:
                recipes.recipe_of(name, training, self.path.parent)
            except DlasError as error:
                self.wrong("axes.compression", str(error))

    def _models(self, axes: Mapping[str, tuple[Level, ...]]) -> dict[str, ModelSource]:
        found = {}
        for name, table in self._named("models").items():
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
        known = (*datasets.NAMES, NO_DATASET)
        found = {}
        for name, table in self._named("datasets").items():
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


def _check_measurement(made: Measurement) -> Iterable[tuple[str, str]]:
    yield from positive("members", "rounds", "max_rounds", "starts", "seconds", "images", "timeout", "budget")(made)
    for name in made.compare:
        if name not in AXIS:
            yield "compare", f"there is no axis `{name}`{closest(name, AXIS)}; axes are {', '.join(NAMES)}"
        elif name in ("device", "dataset"):
            yield "compare", f"`{name}` cannot be compared within a block, whose members share it"
    if made.members < 2:
        yield "members", f"a block has at least 2 members, found {made.members}"
    if made.max_rounds < made.rounds:
        yield "max_rounds", f"{made.max_rounds} is below rounds ({made.rounds})"
