"""The values of a study: points, steps and blocks, named by the content that they depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from dlas_mlir.study.axes import NAMES, Level

_ID_DIGITS = 16

State = Literal[
    "planned",
    "running",
    "ok",
    "wrong",  # its outputs are not the reference's
    "compile-error",
    "crash",
    "timeout",
    "lost",  # whoever ran it is gone
    "failed",  # any other error
    "not-applicable",  # the cell makes no sense, or its GPU is not here
    "excluded",  # by an expression of the spec
    "left",  # no longer in the spec
]
STATES: tuple[str, ...] = get_args(State)
# A point in one of these is not run again unless asked for.
FAILED: tuple[str, ...] = ("wrong", "compile-error", "crash", "timeout", "lost", "failed")
OPEN: tuple[str, ...] = ("planned", "running")

StepKind = Literal["train", "compress", "import", "lower", "tune", "compile", "verify", "measure", "accuracy"]
STEP_KINDS: tuple[str, ...] = get_args(StepKind)


_encoder = msgspec.json.Encoder(order="deterministic")


def digest(value: Any) -> str:
    """The hex SHA-256 of a value of JSON."""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()


@dataclass(frozen=True, slots=True)
class Point:
    """One level on every axis."""

    dataset: str
    model: str
    compression: str
    primitive: str
    format: str
    schedule: str
    element: str
    threads: int
    batch: int
    device: str

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, in the order of the axes."""
        return (
            self.dataset,
            self.model,
            self.compression,
            self.primitive,
            self.format,
            self.schedule,
            self.element,
            self.threads,
            self.batch,
            self.device,
        )

    def as_dict(self) -> dict[str, Level]:
        """Axis to level."""
        return dict(zip(NAMES, self.levels, strict=True))

    @property
    def id(self) -> str:
        """16 hex digits that are the same for the same levels, whatever else is in the study."""
        return digest(self.as_dict())[:_ID_DIGITS]

    @staticmethod
    def from_dict(levels: Mapping[str, Any]) -> Point:
        """What `as_dict` gave."""
        return Point(**levels)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done once for all points that need it.

    `inputs` are the keys of the steps whose results it takes, by role. `parameters` are values of JSON. `salt` is what
    else decides the result: versions, hashes of sources. All of it makes the key. `subject` is the model that it works
    on, for those who read along.
    """

    kind: StepKind
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    salt: str = ""
    subject: str = field(default="", compare=False)
    key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        key = digest([self.kind, dict(self.parameters), dict(self.inputs), self.salt])
        object.__setattr__(self, "key", key)


@dataclass(frozen=True, slots=True)
class Block:
    """Points on one device that take turns with each other; the first is what the others are compared with.

    `points` are their ids, `measures` the keys of their measurements: what is timed of each, and how.
    """

    device: str
    points: tuple[str, ...]
    measures: tuple[str, ...]
    key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", digest([self.device, self.points, self.measures]))
