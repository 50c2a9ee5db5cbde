"""What tuning a network came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class KernelResult:
    """One workload: the layers that it does, its part of the time of a call (percent), how many schedules were tried,
    the time of the best over the rule's with its interval, and the schedule that it shall have (None: the rule's), with
    the model and workload it was transferred from, if it was."""

    workload: str
    layers: tuple[str, ...]
    primitive: str
    share: float
    trials: int
    ratio: float
    low: float
    high: float
    rule: dict[str, Any]
    schedule: dict[str, Any] | None
    source: str = ""


@dataclass(frozen=True)
class Transferred:
    """What came from other models: those that were taken, the score of each that was there, how many schedules were
    tried over all workloads, and the percentage of the time of a call in kernels that could be given any."""

    sources: tuple[str, ...]
    scores: dict[str, float]
    candidates: int
    covered: float


@dataclass(frozen=True)
class Report:
    """One network. `ratio` is a call with tuned schedules over one with the rule's; it is 1 where nothing was gained,
    and `verdict` says what may be said of it. `failures` counts candidates that came to no time, by how. `interrupted`
    says that the search did not end by itself, `undecided` that the machine was too noisy to say anything.
    `transferred` is there where schedules came from other models."""

    model: str
    preset: str
    threads: int
    ratio: float
    low: float
    high: float
    verdict: str
    seconds: float
    builds: int
    failures: dict[str, int]
    interrupted: bool
    kernels: tuple[KernelResult, ...]
    note: str = ""
    undecided: bool = False
    transferred: Transferred | None = None

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)
