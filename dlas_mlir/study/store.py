"""What a study has come to, in one SQLite file: the truth that everything else is computed from.

One process writes: the coordinator of a run. A step, a block and all that follows for points are one transaction each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from dlas_mlir.measure.database import Database
from dlas_mlir.measure.turn import Turn
from dlas_mlir.study.rows import AttemptRow, BlockRow, Hits, Metric, PointRow, StepRow, pack_turns, unpack_turns
from dlas_mlir.study.values import FAILED, OPEN, Block, Point

VERSION = 2
_HITS = "CREATE TABLE hits (point TEXT PRIMARY KEY, images INTEGER NOT NULL, bits BLOB NOT NULL)"


class StudyStore(Database):
    """The store of one study, for a `with` statement. All methods raise DlasError with the file's name."""

    application = 0x444C5354  # "DLST" in ASCII
    version = VERSION
    what = "a store of a study"
    made_by = "dlas study run SPEC --folder {0.parent}"
    tables = f"""
{_HITS};
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE points (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, levels TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, key TEXT NOT NULL, block TEXT NOT NULL, there INTEGER NOT NULL
);
CREATE INDEX points_by_state ON points (state);
CREATE TABLE steps (
  key TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  result TEXT, seconds REAL NOT NULL, worker TEXT NOT NULL, date TEXT NOT NULL
);
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY, subject TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, seconds REAL NOT NULL, worker TEXT NOT NULL, date TEXT NOT NULL
);
CREATE INDEX attempts_by_subject ON attempts (subject);
CREATE TABLE blocks (
  key TEXT PRIMARY KEY, device TEXT NOT NULL, points TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  noise REAL, seconds REAL NOT NULL, date TEXT NOT NULL
);
CREATE TABLE turns (
  block TEXT NOT NULL REFERENCES blocks, point TEXT NOT NULL, turns BLOB NOT NULL,  -- zlib-compressed JSON
  PRIMARY KEY (block, point)
);
CREATE INDEX turns_by_point ON turns (point);
CREATE TABLE metrics (
  point TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, low REAL, high REAL, PRIMARY KEY (point, name)
) WITHOUT ROWID;
CREATE TABLE devices (name TEXT PRIMARY KEY, target TEXT NOT NULL, facts TEXT NOT NULL)
"""

    def _upgrade(self) -> None:
        """From version 1, which did not keep which images were classified rightly."""
        with self._transaction():
            if self._one("PRAGMA user_version") < VERSION:  # another process may have been first
                self._connection.execute(_HITS)
                self._connection.execute(f"PRAGMA user_version = {VERSION}")

    # The study.

    def facts(self) -> dict[str, Any]:
        """What was written by `describe`."""
        with self._told():
            return {key: json.loads(value) for key, value in self._connection.execute("SELECT * FROM study")}

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Keep facts about the whole study, such as the text of its specification."""
        rows = [(key, json.dumps(value, sort_keys=True)) for key, value in facts.items()]
        with self._told(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO study VALUES (?, ?)", rows)

    # Points.

    def plan(self, rows: Iterable[PointRow], *, whole: bool) -> dict[str, int]:
        """Take points in: those that are new, with their state; of those that are known, whether they are excluded now.

        With `whole`, points that are not among them have left the study: they are kept, and marked. What was measured
        stays. Returns how many are `new`, `left` and `back`.
        """
        counts = {"new": 0, "left": 0, "back": 0}
        with self._told(), self._transaction():
            query = "SELECT id, state, there, reason FROM points"
            known = {name: (state, there, reason) for name, state, there, reason in self._all(query)}
            number = self._one("SELECT coalesce(max(number), 0) FROM points")
            seen = set()
            for row in rows:
                if row.id in seen:
                    continue
                seen.add(row.id)
                if row.id not in known:
                    number += 1
                    counts["new"] += 1
                    levels = json.dumps(row.point.levels)
                    self._connection.execute(
                        "INSERT INTO points VALUES (?, ?, ?, ?, ?, '', '', 1)",
                        (number, row.id, levels, row.state, row.reason),
                    )
                    continue
                state, there, reason = known[row.id]
                if not there:
                    counts["back"] += 1
                    self._connection.execute("UPDATE points SET there = 1 WHERE id = ?", (row.id,))
                unmeasured = (*OPEN, "excluded", "not-applicable")
                changed = (state, reason) != (row.state, row.reason)
                if changed and state in unmeasured and row.state in unmeasured:
                    self._state(row.id, row.state, row.reason)
            if whole:
                gone = [(name,) for name, (_, there, _) in known.items() if there and name not in seen]
                counts["left"] = len(gone)
                self._connection.executemany("UPDATE points SET there = 0 WHERE id = ?", gone)
        return counts

    def points(self, where: str = "1", arguments: tuple[Any, ...] = ()) -> Iterator[PointRow]:
        """Those for which the SQL condition `where` holds, over id, state, reason, key, block and there, in order."""
        query = f"SELECT id, levels, state, reason, key, block, there FROM points WHERE {where} ORDER BY number"
        with self._told():
            for name, levels, state, reason, key, block, there in self._connection.execute(query, arguments):
                yield PointRow(
                    id=name,
                    point=Point(*json.loads(levels)),
                    state=state,
                    reason=reason,
                    key=key,
                    block=block,
                    there=bool(there),
                )

    def states(self) -> dict[str, int]:
        """How many points are in each state; those that have left count as `left`."""
        query = "SELECT CASE WHEN there THEN state ELSE 'left' END, count(*) FROM points GROUP BY 1 ORDER BY 2 DESC"
        with self._told():
            return dict(self._all(query))

    def reset(self, names: Iterable[str]) -> None:
        """Have points measured again."""
        with self._told(), self._transaction():
            self._connection.executemany(
                "UPDATE points SET state = 'planned', reason = '' WHERE id = ?", ((name,) for name in names)
            )

    def end_points(self, points: Mapping[str, tuple[str, str]]) -> None:
        """Commit the state and reason of points that come to nothing."""
        with self._told(), self._transaction():
            for name, (state, reason) in points.items():
                self._state(name, state, reason)

    # Steps.

    def steps(self, keys: Iterable[str] | None = None) -> Iterator[StepRow]:
        """Those that have ended, of `keys` alone if they are given."""
        query = "SELECT key, kind, subject, state, reason, result, seconds, worker, date FROM steps"
        with self._told():
            if keys is None:
                yield from map(_step_row, self._connection.execute(query))
                return
            for key in keys:
                yield from map(_step_row, self._connection.execute(f"{query} WHERE key = ?", (key,)))

    def forget_failures(self) -> None:
        """Have all steps and points that have failed tried again."""
        failed = ", ".join(f"'{state}'" for state in FAILED)
        with self._told(), self._transaction():
            self._connection.execute("DELETE FROM steps WHERE state <> 'ok'")
            self._connection.execute("DELETE FROM blocks WHERE state <> 'ok'")
            self._connection.execute(f"UPDATE points SET state = 'planned', reason = '' WHERE state IN ({failed})")

    def end_step(self, row: StepRow) -> bool:
        """Commit the end of a step. The first commit wins: False where the step has ended well before."""
        with self._told(), self._transaction():
            if self._one("SELECT 1 FROM steps WHERE key = ? AND state = 'ok'", (row.key,)):
                return False
            result = None if row.result is None else json.dumps(row.result, sort_keys=True)
            self._connection.execute(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (row.key, row.kind, row.subject, row.state, row.reason, result, row.seconds, row.worker, _now()),
            )
            self._attempt(row.key, row.kind, row.state, row.reason, row.seconds, row.worker)
            return True

    def attempt(self, subject: str, kind: str, state: str, reason: str, seconds: float, worker: str) -> int:
        """Note a try that came to nothing and is made again; how many there were."""
        with self._told(), self._transaction():
            return self._attempt(subject, kind, state, reason, seconds, worker)

    def attempts(self, subject: str | None = None) -> Iterator[AttemptRow]:
        """All tries, of one step or block alone if it is given."""
        where, arguments = ("1", ()) if subject is None else ("subject = ?", (subject,))
        columns = "subject, kind, number, state, reason, seconds, worker, date"
        query = f"SELECT {columns} FROM attempts WHERE {where} ORDER BY id"
        with self._told():
            for subject_, kind, number, state, reason, seconds, worker, date in self._connection.execute(
                query, arguments
            ):
                yield AttemptRow(
                    subject=subject_,
                    kind=kind,
                    number=number,
                    state=state,
                    reason=reason,
                    seconds=seconds,
                    worker=worker,
                    date=date,
                )

    def forget(self, steps: Iterable[str], points: Iterable[str]) -> None:
        """Remove results of steps, and points with all that was measured of them."""
        with self._told(), self._transaction():
            self._connection.executemany("DELETE FROM steps WHERE key = ?", ((key,) for key in steps))
            for name in points:
                for table, column in (("turns", "point"), ("metrics", "point"), ("points", "id")):
                    self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))

    # Blocks.

    def end_block(
        self,
        block: Block,
        outcome: BlockRow,
        turns: Mapping[str, tuple[Turn, ...]],
        points: Iterable[PointRow],
        metrics: Mapping[str, Iterable[Metric]],
        worker: str = "",
        hits: Mapping[str, Hits] | None = None,
    ) -> bool:
        """Commit a block with all that follows from it. The first commit wins: False where it has ended well before."""
        with self._told(), self._transaction():
            if self._one("SELECT 1 FROM blocks WHERE key = ? AND state = 'ok'", (block.key,)):
                return False
            row = (block.key, block.device, json.dumps(block.points), outcome.state, outcome.reason)
            self._connection.execute(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, outcome.noise, outcome.seconds, _now()),
            )
            self._attempt(block.key, "block", outcome.state, outcome.reason, outcome.seconds, worker)
            for name, taken in turns.items():
                self._connection.execute(
                    "INSERT OR REPLACE INTO turns VALUES (?, ?, ?)", (block.key, name, pack_turns(taken))
                )
            for point in points:
                self._connection.execute(
                    "UPDATE points SET state = ?, reason = ?, key = ?, block = ? WHERE id = ?",
                    (point.state, point.reason, point.key, point.block, point.id),
                )
            for name, right in (hits or {}).items():
                row = (name, right.images, right.bits)
                self._connection.execute("INSERT OR REPLACE INTO hits VALUES (?, ?, ?)", row)
            for name, found in metrics.items():
                self._connection.execute("DELETE FROM metrics WHERE point = ?", (name,))
                self._connection.executemany(
                    "INSERT INTO metrics VALUES (?, ?, ?, ?, ?)",
                    ((name, one.name, one.value, one.low, one.high) for one in found),
                )
            return True

    def blocks(self) -> Iterator[BlockRow]:
        """Those that have ended."""
        query = "SELECT key, device, points, state, reason, noise, seconds, date FROM blocks ORDER BY rowid"
        with self._told():
            for key, device, points, state, reason, noise, seconds, date in self._connection.execute(query):
                yield BlockRow(
                    key=key,
                    device=device,
                    points=tuple(json.loads(points)),
                    state=state,
                    reason=reason,
                    noise=noise,
                    seconds=seconds,
                    date=date,
                )

    def turns(self, point: str | None = None) -> Iterator[tuple[str, str, tuple[Turn, ...]]]:
        """Block, point and turns of all that was timed, of one point alone if it is given."""
        where, arguments = ("1", ()) if point is None else ("point = ?", (point,))
        with self._told():
            for block, name, packed in self._connection.execute(
                f"SELECT block, point, turns FROM turns WHERE {where} ORDER BY rowid", arguments
            ):
                yield block, name, unpack_turns(packed)

    def metrics(self, point: str | None = None) -> Iterator[tuple[str, Metric]]:
        """Point and figure of all that is known, of one point alone if it is given."""
        where, arguments = ("1", ()) if point is None else ("point = ?", (point,))
        with self._told():
            for name, metric, value, low, high in self._connection.execute(
                f"SELECT point, name, value, low, high FROM metrics WHERE {where}", arguments
            ):
                yield name, Metric(name=metric, value=value, low=low, high=high)

    def hits(self) -> dict[str, Hits]:
        """Of each point whose accuracy is known, which images it was right on."""
        with self._told():
            if not self._one("SELECT count(*) FROM sqlite_master WHERE name = 'hits'"):
                return {}  # of version 1
            return {name: Hits(images, bits) for name, images, bits in self._all("SELECT * FROM hits")}

    # Devices.

    def see_device(self, name: str, target: str, facts: Mapping[str, Any]) -> None:
        """Keep what a device said of itself."""
        with self._told(), self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?)", (name, target, json.dumps(facts, sort_keys=True))
            )

    def devices(self) -> dict[str, dict[str, Any]]:
        """Facts by the name of the device, `target` among them."""
        with self._told():
            rows = self._all("SELECT name, target, facts FROM devices ORDER BY name")
        return {name: {"target": target, **json.loads(facts)} for name, target, facts in rows}

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def _state(self, name: str, state: str, reason: str) -> None:
        self._connection.execute("UPDATE points SET state = ?, reason = ? WHERE id = ?", (state, reason, name))

    def _attempt(self, subject: str, kind: str, state: str, reason: str, seconds: float, worker: str) -> int:
        number = self._one("SELECT count(*) FROM attempts WHERE subject = ?", (subject,)) + 1
        self._connection.execute(
            "INSERT INTO attempts (subject, kind, number, state, reason, seconds, worker, date) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (subject, kind, number, state, reason[:2000], seconds, worker, _now()),
        )
        return number


def _step_row(row: tuple[Any, ...]) -> StepRow:
    key, kind, subject, state, reason, result, seconds, worker, date = row
    return StepRow(
        key=key,
        kind=kind,
        subject=subject,
        state=state,
        reason=reason,
        result=None if result is None else json.loads(result),
        seconds=seconds,
        worker=worker,
        date=date,
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
