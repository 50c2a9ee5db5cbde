"""What the store of a study holds, a class for each table, and how turns are packed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlas_mlir.measure.turn import Turn
from dlas_mlir.study.values import Point


@dataclass(frozen=True, kw_only=True)
class PointRow:
    """A point as the store has it. `key` names what its results were made from, empty where there are none; `there` is
    False once it has left the specification; `block` is the one that its metrics are from."""

    id: str
    point: Point
    state: str
    reason: str = ""
    key: str = ""
    block: str = ""
    there: bool = True


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """A step that has ended: its `result` where `state` is `ok`, else the `reason`."""

    key: str
    kind: str
    subject: str
    state: str
    reason: str = ""
    result: Mapping[str, Any] | None = None
    seconds: float = 0.0
    worker: str = ""
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class BlockRow:
    """A block that has ended; `noise` is how far two starts of one and the same thing differed in it."""

    key: str
    device: str
    points: tuple[str, ...]
    state: str
    reason: str = ""
    noise: float | None = None
    seconds: float = 0.0
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """One try at a step or a block."""

    subject: str
    kind: str
    number: int
    state: str
    reason: str
    seconds: float
    worker: str
    date: str


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of a point, with its 95 % interval where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Hits:
    """Which test images a point classified rightly: `np.packbits` of as many booleans as `images` says, in the order of
    the test images."""

    images: int
    bits: bytes


def pack_turns(turns: Iterable[Turn]) -> bytes:
    """Turns as the store keeps them."""
    plain = [[list(turn.ns), turn.cpu_ns, turn.waited, turn.start, turn.round] for turn in turns]
    return zlib.compress(json.dumps(plain, separators=(",", ":")).encode())


def unpack_turns(packed: bytes) -> tuple[Turn, ...]:
    """What `pack_turns` was given."""
    return tuple(
        Turn(ns=tuple(ns), cpu_ns=cpu_ns, waited=waited, start=start, round=number[0] if number else 0)
        for ns, cpu_ns, waited, start, *number in json.loads(zlib.decompress(packed))
    )
