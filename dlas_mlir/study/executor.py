"""What runs the jobs of a study: the words that the coordinator and every executor share.

An executor is transport. It starts each job once, wherever it belongs, and tells how that ended; what is tried again,
and what an answer means, the coordinator decides and the store keeps. So executors may be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# `work` may run beside other work (training, compiling); a `block` has its device, and the machine, for itself.
JobKind = Literal["work", "block"]
End = Literal["ok", "failed", "crash", "timeout", "lost"]


@dataclass(frozen=True)
class Job:
    """One attempt at one step or block: `payload` (values of JSON) goes to `study.entry.run`, wherever that is.

    `key` is the step's or block's, `attempt` counts from 1. `device` is where a block runs. `timeout` are seconds from
    when it starts, on its device; waiting for that does not count.
    """

    key: str
    kind: JobKind
    payload: Mapping[str, Any]
    device: str | None = None
    timeout: float | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Done:
    """How an attempt ended: `ok` is that there is an `answer`, whatever that says; else `reason` says what happened.

    `failed` is an error that was told, `crash` the end of the process by a signal, `lost` that whoever ran it is gone.
    `innocent`: the job had no part in it (the scheduler was lost), and the attempt does not count.
    """

    job: Job
    end: End
    answer: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    where: str = ""
    seconds: float = 0.0
    innocent: bool = False


class Executor(Protocol):
    """Where jobs run. All of it is called by one thread."""

    def submit(self, job: Job) -> None:
        """Take a job, to be started as soon as there is room. Raises DlasError where it can never be."""
        ...

    def wait(self, seconds: float) -> list[Done]:
        """Those that have ended since; at most `seconds` are waited for the first. Raises DlasError when nothing more
        can be run (a device that nobody offers, no way back to the scheduler)."""
        ...

    def close(self) -> None:
        """End what runs, and everything that was started for it."""
        ...
