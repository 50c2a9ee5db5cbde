"""Records in a file: SQLite with a write-ahead log, a transaction for each record, so that nothing measured is lost."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.database import Database
from dlas_mlir.measure.record import SCHEMA, Record
from dlas_mlir.measure.turn import Turn


@dataclass(frozen=True)
class Stored:
    """A record with its number in the store."""

    id: int
    record: Record


class Store(Database):
    """A store of records, for a `with` statement. All methods raise DlasError with the file's name."""

    application = 0x444C4153  # "DLAS" in ASCII
    version = SCHEMA
    what = "a store of records"
    made_by = "dlas bench MODEL --store {}"
    tables = """
CREATE TABLE records (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  subject TEXT NOT NULL,
  run TEXT NOT NULL,
  date TEXT NOT NULL,
  model TEXT NOT NULL,
  preset TEXT NOT NULL,
  record TEXT NOT NULL,  -- JSON, without the turns
  turns BLOB NOT NULL    -- zlib-compressed JSON
);
CREATE INDEX records_by_subject ON records (subject);
CREATE INDEX records_by_key ON records (key);
"""

    def _upgrade(self) -> None:
        """From version 1, which called the subject of a record its workload."""
        with self._transaction():
            if self._one("PRAGMA user_version") < SCHEMA:  # another process may have been first
                self._connection.execute("ALTER TABLE records RENAME COLUMN workload TO subject")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def add(self, record: Record) -> int:
        """Write `record`, and return its number once it is on the disk."""
        bare = replace(record, turns=())
        turns = zlib.compress(msgspec.json.encode(record.turns))
        row = (record.key, record.subject, record.run, record.date, record.model.name, record.software.preset)
        with self._told(), self._transaction():
            done = self._connection.execute(
                "INSERT INTO records (key, subject, run, date, model, preset, record, turns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, bare.to_json().decode(), turns),
            )
            assert done.lastrowid is not None
            return done.lastrowid

    def records(self, where: str = "1", arguments: tuple[object, ...] = ()) -> Iterator[Stored]:
        """The records for which the SQL condition `where` holds, in the order they were written in. The columns are id,
        key, subject, run, date, model and preset."""
        query = f"SELECT id, record, turns FROM records WHERE {where} ORDER BY id"
        with self._told():
            for number, text, turns in self._connection.execute(query, arguments):
                yield Stored(number, self._read(number, text, turns))

    def get(self, number: int) -> Record:
        """The record with this number."""
        for stored in self.records("id = ?", (number,)):
            return stored.record
        raise DlasError(f"{self.path}: there is no record {number}; it has {self._one('SELECT count(*) FROM records')}")

    def _read(self, number: int, text: str, turns: bytes) -> Record:
        where = f"{self.path}: record {number}"
        record = Record.from_json(text, where)
        try:
            found = msgspec.json.decode(zlib.decompress(turns), type=tuple[Turn, ...])
        except (zlib.error, msgspec.DecodeError) as error:
            raise DlasError(f"{where}: its samples cannot be read: {error}") from None
        return replace(record, turns=found)
