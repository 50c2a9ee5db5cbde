"""Trials in a file: how fast each schedule of a workload was that somebody has tried, and which one won.

A `Place` is what times of kernels may be compared on: a workload on a target with as many threads. An `Environment` is
what else has to be the same for a time to be believed: the CPU, the versions of what compiles, the hash of our own
emitter. Several tuners may use one file at once: each claims a trial before it makes it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.database import Database

VERSION = 1
# How a trial ended; `running` has not, and `lost` has said nothing of the schedule: the system killed what made it.
Status = Literal["running", "ok", "wrong", "compile-error", "fallback", "crash", "timeout", "lost"]
STATUSES: tuple[str, ...] = get_args(Status)
# The columns of trials and of winners, beside place, environment and schedule.
_TRIAL = ("status", "kernel", "ratio", "samples", "message", "model", "source", "run", "date")
_WINNER = ("ratio", "low", "high", "kernel", "rule_kernel", "trials", "model", "source", "date")


@dataclass(frozen=True)
class Place:
    """A workload (its exact key) on a target (the hash of its figures, and its name) with `threads` threads."""

    workload: str
    target: str
    target_name: str
    threads: int


@dataclass(frozen=True)
class Environment:
    """What a time depends on beside the place: the CPU (or the GPU, for kernels of one), versions by distribution, the
    hash of the emitter's sources."""

    cpu: str
    versions: tuple[tuple[str, str], ...]
    emitter: str

    def to_json(self) -> str:
        """The canonical form."""
        return json.dumps([self.cpu, dict(self.versions), self.emitter], sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Environment:
        """What `to_json` wrote."""
        cpu, versions, emitter = json.loads(text)
        return Environment(cpu, tuple(sorted(versions.items())), emitter)

    def differences(self, other: Environment) -> list[str]:
        """What differs, in words."""
        found = [f"measured on {other.cpu}"] if other.cpu != self.cpu else []
        mine, theirs = dict(self.versions), dict(other.versions)
        found += [
            f"{name} {theirs.get(name, 'absent')}"
            for name in sorted(mine | theirs)
            if mine.get(name) != theirs.get(name)
        ]
        return found + (["another emitter"] if other.emitter != self.emitter else [])


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One schedule that was tried. `ratio` is its time over that of the rule's schedule in the same round (below 1 is
    faster), None where nothing was timed. `kernel` is the hash of the code that was made of it. `samples` are the
    nanoseconds of each call, of it and of the rule's schedule. `source` says from which model and workload it was
    transferred, if it was."""

    place: Place
    environment: Environment
    schedule: dict[str, Any]
    status: Status
    kernel: str = ""
    ratio: float | None = None
    samples: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    message: str = ""
    model: str = ""
    source: str = ""
    run: str = ""
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class Winner:
    """What a search came to: the schedule that a kernel shall have, None where nothing beat the rule's. `ratio` is its
    time over that of the rule's schedule, with the 95 % interval from `low` to `high`; `kernel` and `rule_kernel` are
    the hashes of the code of both. `trials` is how many schedules were tried for it, `source` from which model and
    workload it was transferred, if it was."""

    place: Place
    environment: Environment
    schedule: dict[str, Any] | None
    ratio: float = 1.0
    low: float = 1.0
    high: float = 1.0
    kernel: str = ""
    rule_kernel: str = ""
    trials: int = 0
    model: str = ""
    source: str = ""
    date: str = ""


@dataclass(frozen=True)
class Known:
    """A workload that the file has trials of: its keys and its JSON form."""

    exact: str
    anchor: str
    family: str
    text: str


class Trials(Database):
    """A file of trials, for a `with` statement. All methods raise DlasError with the file's name."""

    application = 0x444C5452  # "DLTR" in ASCII
    version = VERSION
    what = "a data base of trials"
    made_by = "dlas tune MODEL --db {}"
    tables = """
CREATE TABLE workloads (
  exact TEXT PRIMARY KEY, anchor TEXT NOT NULL, family TEXT NOT NULL, json TEXT NOT NULL
);
CREATE TABLE environments (id INTEGER PRIMARY KEY, json TEXT NOT NULL UNIQUE);
CREATE TABLE trials (
  id INTEGER PRIMARY KEY,
  workload TEXT NOT NULL, target TEXT NOT NULL, target_name TEXT NOT NULL, threads INTEGER NOT NULL,
  environment INTEGER NOT NULL REFERENCES environments,
  schedule TEXT NOT NULL, status TEXT NOT NULL, kernel TEXT NOT NULL, ratio REAL, samples BLOB NOT NULL,
  message TEXT NOT NULL, model TEXT NOT NULL, source TEXT NOT NULL, run TEXT NOT NULL, date TEXT NOT NULL,
  owner TEXT NOT NULL,
  UNIQUE (workload, target, threads, environment, schedule)
);
CREATE TABLE winners (
  id INTEGER PRIMARY KEY,
  workload TEXT NOT NULL, target TEXT NOT NULL, target_name TEXT NOT NULL, threads INTEGER NOT NULL,
  environment INTEGER NOT NULL REFERENCES environments,
  schedule TEXT, ratio REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL, kernel TEXT NOT NULL,
  rule_kernel TEXT NOT NULL, trials INTEGER NOT NULL, model TEXT NOT NULL, source TEXT NOT NULL,
  date TEXT NOT NULL,
  UNIQUE (workload, target, threads, environment)
);
CREATE INDEX workloads_by_family ON workloads (family)
"""

    def know(self, workloads: Iterable[Known]) -> None:
        """Keep the JSON form of workloads."""
        with self._told(), self._transaction():
            for one in workloads:
                row = (one.exact, one.anchor, one.family, one.text)
                self._connection.execute("INSERT OR IGNORE INTO workloads VALUES (?, ?, ?, ?)", row)

    def known(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> Iterator[Known]:
        """The workloads for which the SQL condition `where` holds, over exact, anchor and family."""
        with self._told():
            query = f"SELECT exact, anchor, family, json FROM workloads WHERE {where} ORDER BY exact"
            for row in self._connection.execute(query, arguments):
                yield Known(*row)

    def tried_by(self, model: str) -> set[str]:
        """The exact keys of the workloads that tuning `model` has tried schedules of, or come to an end with."""
        query = "SELECT workload FROM trials WHERE model = ? UNION SELECT workload FROM winners WHERE model = ?"
        with self._told():
            return {key for (key,) in self._connection.execute(query, (model, model))}

    def models(self) -> list[str]:
        """The models that were tuned here, by name."""
        query = "SELECT model FROM trials UNION SELECT model FROM winners ORDER BY 1"
        with self._told():
            return [model for (model,) in self._connection.execute(query) if model]

    def claim(self, trial: Trial) -> bool:
        """Whether this schedule is now ours to try: nobody has tried it in this environment, or is about to.

        A claim of a process that is dead is void, and what was lost through no fault of its own is free.
        """
        with self._told(), self._transaction():
            environment = self._environment(trial.environment)
            where = (*_at(trial.place), environment, _text(trial.schedule))
            found = self._connection.execute(
                "SELECT id, status, owner FROM trials WHERE workload = ? AND target = ? AND threads = ? "
                "AND environment = ? AND schedule = ?",
                where,
            ).fetchone()
            if found is not None:
                number, status, owner = found
                if status != "lost" and (status != "running" or _alive(owner)):
                    return False
                self._connection.execute("DELETE FROM trials WHERE id = ?", (number,))
            self._insert(trial, environment)
            return True

    def add(self, trial: Trial) -> None:
        """Write a trial in place of the claim to it."""
        with self._told(), self._transaction():
            self._insert(trial, self._environment(trial.environment))

    def release(self, run: str) -> None:
        """Give up the claims of a run that have not come to a trial."""
        with self._told(), self._transaction():
            self._connection.execute("DELETE FROM trials WHERE run = ? AND status = 'running'", (run,))

    def trials(self, place: Place | None = None) -> Iterator[Trial]:
        """All that have ended, those of `place` alone if it is given; in the order they were begun in."""
        where, arguments = "status <> 'running'", ()
        if place is not None:
            where, arguments = f"{where} AND workload = ? AND target = ? AND threads = ?", _at(place)
        for values in self._read("trials", _TRIAL, where, arguments, "trials.id"):
            samples = _unpacked(values.pop("samples"), f"{self.path}: a trial of {values['place'].workload[:16]}")
            yield Trial(samples=samples, **values)

    def win(self, winner: Winner) -> None:
        """Write what a search came to, in place of what an earlier one did in this environment."""
        with self._told(), self._transaction():
            schedule = None if winner.schedule is None else _text(winner.schedule)
            row = (*_at(winner.place, named=True), self._environment(winner.environment), schedule)
            values = {column: getattr(winner, column) for column in _WINNER} | {"date": winner.date or now()}
            self._connection.execute(
                "INSERT OR REPLACE INTO winners (workload, target, target_name, threads, environment, schedule, "
                f"{', '.join(values)}) VALUES ({_places(len(row) + len(values))})",
                (*row, *values.values()),
            )

    def winners(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> Iterator[Winner]:
        """Those for which the SQL condition `where` holds, over workload, target, target_name, threads and model; the
        latest last."""
        for values in self._read("winners", _WINNER, where, arguments, "date, winners.id"):
            yield Winner(**values)

    def _read(
        self, table: str, columns: Sequence[str], where: str, arguments: tuple[Any, ...], order: str
    ) -> Iterator[dict[str, Any]]:
        """Place, environment, schedule and `columns` of the rows of a table."""
        query = (
            f"SELECT workload, target, target_name, threads, environments.json, schedule, {', '.join(columns)} "
            f"FROM {table} JOIN environments ON environments.id = environment WHERE {where} ORDER BY {order}"
        )
        with self._told():
            for row in self._connection.execute(query, arguments):
                environment, schedule, *rest = row[4:]
                yield {
                    "place": _place(row),
                    "environment": Environment.from_json(environment),
                    "schedule": None if schedule is None else json.loads(schedule),
                    **dict(zip(columns, rest, strict=True)),
                }

    def merge(self, other: Trials) -> dict[str, int]:
        """Take over what `other` has of winners that are later, and of trials that this has not; the counts of both."""
        self.know(other.known())
        counts = {"winners": 0, "trials": 0}
        dates = {(winner.place, winner.environment): winner.date for winner in self.winners()}
        for winner in other.winners():
            if dates.get((winner.place, winner.environment), "") < winner.date:
                self.win(winner)
                counts["winners"] += 1
        for trial in other.trials():
            if self.claim(trial):
                counts["trials"] += 1
        return counts

    def prune(self, versions: tuple[tuple[str, str], ...]) -> dict[str, int]:
        """Remove what was measured with other versions than these, choices of primitives too; the counts of all."""
        with self._told(), self._transaction():
            all_of = self._connection.execute("SELECT id, json FROM environments").fetchall()
            old = [number for number, text in all_of if Environment.from_json(text).versions != versions]
            counts = {}
            for table in self._measured():
                counts[table] = sum(
                    self._connection.execute(f"DELETE FROM {table} WHERE environment = ?", (number,)).rowcount
                    for number in old
                )
            self._connection.executemany("DELETE FROM environments WHERE id = ?", [(number,) for number in old])
            return counts

    def _measured(self) -> tuple[str, ...]:
        """The tables of what was measured in an environment."""
        # That of choices is made with the first of them (measure/choices.py).
        known = self._connection.execute("SELECT name FROM sqlite_master WHERE name = 'choices'").fetchall()
        return ("winners", "trials", *(name for (name,) in known))

    def _environment(self, environment: Environment) -> int:
        text = environment.to_json()
        self._connection.execute("INSERT OR IGNORE INTO environments (json) VALUES (?)", (text,))
        return self._one("SELECT id FROM environments WHERE json = ?", (text,))

    def _insert(self, trial: Trial, environment: int) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO trials (workload, target, target_name, threads, environment, schedule, status, "
            f"kernel, ratio, samples, message, model, source, run, date, owner) VALUES ({_places(16)})",
            (
                *_at(trial.place, named=True),
                environment,
                _text(trial.schedule),
                trial.status,
                trial.kernel,
                trial.ratio,
                zlib.compress(msgspec.json.encode(trial.samples)),
                trial.message,
                trial.model,
                trial.source,
                trial.run,
                trial.date or now(),
                owner(),
            ),
        )


def now() -> str:
    """The time, as records have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def owner() -> str:
    """This process, so that another can tell whether it is alive."""
    return json.dumps([os.uname().nodename, os.getpid(), _started(os.getpid())])


def _alive(owner: str) -> bool:
    """Whether a process lives; of another machine nobody can tell, so it does."""
    try:
        host, pid, started = json.loads(owner)
    except ValueError:
        return False
    return host != os.uname().nodename or (started is not None and _started(pid) == started)


def _started(pid: int) -> int | None:
    """When a process was started, in the kernel's ticks; None where there is none."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return None


def _at(place: Place, *, named: bool = False) -> tuple[Any, ...]:
    if named:
        return (place.workload, place.target, place.target_name, place.threads)
    return (place.workload, place.target, place.threads)


def _places(count: int) -> str:
    return ", ".join("?" * count)


def _place(row: tuple[Any, ...]) -> Place:
    return Place(row[0], row[1], row[2], row[3])


def _text(schedule: Mapping[str, Any]) -> str:
    return json.dumps(schedule, sort_keys=True, separators=(",", ":"))


def _unpacked(samples: bytes, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    try:
        return msgspec.json.decode(zlib.decompress(samples), type=tuple[tuple[int, ...], tuple[int, ...]])
    except (zlib.error, msgspec.DecodeError) as error:
        raise DlasError(f"{where}: its samples cannot be read: {error}") from None
