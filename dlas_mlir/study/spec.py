"""A study's specification: a TOML file, validated whole, every problem told at once with file and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from dlas_mlir.errors import DlasError
from dlas_mlir.study.axes import METRICS, NAMES, Level
from dlas_mlir.study.expression import Expression

Search = Literal["grid", "random", "tpe", "nsga2"]
SEARCHES: tuple[str, ...] = get_args(Search)


class SpecError(DlasError):
    """All that is wrong with a specification."""


@dataclass(frozen=True)
class DeviceSpec:
    """Where points are measured: `target` is that of presets; `kind` is `local` for this machine, `worker` for one that
    a worker announces under this name. `threads` is the most that it has, None for any."""

    name: str
    target: str
    kind: Literal["local", "worker"] = "local"
    threads: int | None = None
    description: str = ""


@dataclass(frozen=True)
class Exclude:
    """Points that are left out, and why."""

    when: Expression
    reason: str


@dataclass(frozen=True)
class Goals:
    """What is better, by metric, and what a point has to hold to count."""

    maximise: tuple[str, ...] = ("accuracy",)
    minimise: tuple[str, ...] = ("median_ms",)
    limits: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """How points are measured.

    Points that differ only on the axes of `compare` take turns in one block of at most `members`. `rounds` and more,
    up to `max_rounds`, of at least `seconds` are shared by `starts` processes. `images` limits the accuracy's (None:
    all). `timeout` is of each step, in seconds, `budget` of a whole run (None: any time).
    """

    compare: tuple[str, ...] = ("compression", "primitive", "format", "schedule", "element")
    members: int = 8
    rounds: int = 6
    max_rounds: int = 20
    starts: int = 2
    seconds: float = 0.2
    images: int | None = None
    timeout: float = 1800.0
    budget: float | None = None

    @property
    def protocol(self) -> dict[str, int | float]:
        """The fields of `measure.rounds.Protocol` that a specification decides."""
        rounds = {"rounds": self.rounds, "max_rounds": self.max_rounds, "starts": self.starts}
        return {**rounds, "min_seconds": self.seconds}


@dataclass(frozen=True)
class Training:
    """How models without weights of their own are trained, and fine-tuned after compression. None: as `dlas train` has
    it for the dataset. `fine_tune` are the epochs after pruning, in `iterations` parts."""

    epochs: int | None = None
    lr: float | None = None
    batch: int | None = None
    fine_tune: int = 1
    iterations: int = 1
    threads: int | None = None


@dataclass(frozen=True)
class Tuning:
    """How schedules are searched for: `trials` for each kernel, within `budget` seconds for each network."""

    trials: int = 16
    budget: float | None = None
    rounds: int = 6


@dataclass(frozen=True)
class ModelSource:
    """What a spec says of a model: a file of weights, which is then not trained, and the shape of its input."""

    weights: Path | None = None
    input: str | None = None


@dataclass(frozen=True)
class Spec:
    """A specification that makes sense. `path` is its file, `text` what stands in it; `folder` is what paths are
    relative to. `axes` has every axis, with its levels in the order of the file."""

    path: Path
    text: str
    name: str
    axes: Mapping[str, tuple[Level, ...]]
    devices: Mapping[str, DeviceSpec]
    description: str = ""
    seed: int = 0
    search: Search = "grid"
    trials: int = 0
    artifacts: str | None = None
    excludes: tuple[Exclude, ...] = ()
    goals: Goals = field(default_factory=Goals)
    measurement: Measurement = field(default_factory=Measurement)
    training: Training = field(default_factory=Training)
    tuning: Tuning = field(default_factory=Tuning)
    models: Mapping[str, ModelSource] = field(default_factory=dict)
    datasets: Mapping[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What paths in the file are relative to."""
        return self.path.parent

    @property
    def size(self) -> int:
        """Points of the whole grid."""
        count = 1
        for name in NAMES:
            count *= len(self.axes[name])
        return count

    def columns(self, *, metrics: bool = False) -> dict[str, tuple[Any, ...] | None]:
        """What expressions may name: the axes with their levels, and with `metrics` those."""
        found: dict[str, tuple[Any, ...] | None] = dict(self.axes)
        return found | dict.fromkeys(METRICS) if metrics else found
