"""Choices of primitives in a data base of trials: for a model on a target, the primitive of each layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlas_mlir.measure.trials import Environment, Trials, now

_TABLE = """
CREATE TABLE IF NOT EXISTS choices (
  id INTEGER PRIMARY KEY,
  network TEXT NOT NULL, target TEXT NOT NULL, target_name TEXT NOT NULL, threads INTEGER NOT NULL,
  environment INTEGER NOT NULL REFERENCES environments,
  primitives TEXT NOT NULL, ratio REAL NOT NULL, model TEXT NOT NULL, date TEXT NOT NULL,
  UNIQUE (network, target, threads, environment)
)
"""


@dataclass(frozen=True)
class ChoicesPlace:
    """A network (the hash of all it is made from) on a target with `threads` threads."""

    network: str
    target: str
    target_name: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The primitive of each layer by name, empty where the recipe's own were best; `ratio` is a call's time with them
    over that with the recipe's own."""

    place: ChoicesPlace
    environment: Environment
    primitives: Mapping[str, str]
    ratio: float = 1.0
    model: str = ""
    date: str = ""


class Choices(Trials):
    """A data base of trials that holds choices too. All methods raise DlasError with the file's name."""

    def choose(self, choice: Choice) -> None:
        """Write a choice in place of an earlier one in this environment."""
        with self._told(), self._transaction():
            self._connection.execute(_TABLE)
            place = choice.place
            self._connection.execute(
                "INSERT OR REPLACE INTO choices (network, target, target_name, threads, environment, primitives, "
                "ratio, model, date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    place.network,
                    place.target,
                    place.target_name,
                    place.threads,
                    self._environment(choice.environment),
                    json.dumps(dict(choice.primitives), sort_keys=True),
                    choice.ratio,
                    choice.model,
                    choice.date or now(),
                ),
            )

    def chosen(self, place: ChoicesPlace) -> list[Choice]:
        """All that was chosen there, the latest last."""
        where = "network = ? AND target = ? AND threads = ?"
        return self.choices(where, (place.network, place.target, place.threads))

    def choices(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> list[Choice]:
        """Those for which the SQL condition `where` holds, over network, target, target_name, threads and model; the
        latest last."""
        query = (
            "SELECT network, target, target_name, threads, environments.json, primitives, ratio, model, date "
            "FROM choices JOIN environments ON environments.id = environment "
            f"WHERE {where} ORDER BY date, choices.id"
        )
        with self._told():
            if "choices" not in self._measured():
                return []
            rows = self._connection.execute(query, arguments).fetchall()
        return [
            Choice(
                place=ChoicesPlace(*place),
                environment=Environment.from_json(environment),
                primitives=json.loads(primitives),
                ratio=ratio,
                model=model,
                date=date,
            )
            for *place, environment, primitives, ratio, model, date in rows
        ]

    def merge(self, other: Trials) -> dict[str, int]:
        """As that of trials; of choices too those that are later."""
        counts = super().merge(other) | {"choices": 0}
        if not isinstance(other, Choices):
            return counts
        dates = {(choice.place, choice.environment): choice.date for choice in self.choices()}
        for choice in other.choices():
            if dates.get((choice.place, choice.environment), "") < choice.date:
                self.choose(choice)
                counts["choices"] += 1
        return counts
