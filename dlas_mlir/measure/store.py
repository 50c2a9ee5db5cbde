"""Records in a file: SQLite with a write-ahead log, a transaction for each record, so that nothing measured is lost."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.record import SCHEMA, Record
from dlas_mlir.measure.turn import Turn

# "DLAS" in ASCII: what tells a store from other SQLite files.
_APPLICATION = 0x444C4153
_WAIT_SECONDS = 30
# SQLite's locks and shared memory do not work on these.
_NETWORK = ("nfs", "cifs", "smb", "lustre", "sshfs", "ceph", "gluster", "afs")
_TABLE = """
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


@dataclass(frozen=True)
class Stored:
    """A record with its number in the store."""

    id: int
    record: Record


class Store:
    """A store of records, for a `with` statement. All methods raise DlasError with the file's name."""

    def __init__(self, path: Path | str, *, create: bool = True, wait_seconds: float = _WAIT_SECONDS) -> None:
        """Open the store at `path`; with `create` make it where there is none. `wait_seconds` is how long another
        writer is waited for."""
        self.path = Path(path)
        self._wait = wait_seconds
        if not create and not self.path.exists():
            raise DlasError(f"{self.path}: there is no such store; `dlas bench --store {self.path}` makes one")
        if kind := _network_file_system(self.path):
            raise DlasError(f"{self.path}: SQLite's locks do not work on {kind}; keep the store on a local disk")
        with self._told():
            mode = "rwc" if create else "rw" if _writable(self.path) else "ro"
            uri = f"{self.path.resolve().as_uri()}?mode={mode}"
            self._connection = sqlite3.connect(uri, uri=True, timeout=wait_seconds, isolation_level=None)
            try:
                self._prepare(create)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, create: bool) -> None:
        application = self._one("PRAGMA application_id")
        version = self._one("PRAGMA user_version")
        if application == 0 and self._one("SELECT count(*) FROM sqlite_master") == 0:
            if not create:
                raise DlasError(f"{self.path}: this is an empty data base, not a store of records")
            self._create()
        elif application != _APPLICATION:
            raise DlasError(f"{self.path}: this is a data base of something else, not a store of records")
        elif version > SCHEMA:
            raise DlasError(f"{self.path}: this store is of version {version}, and this dlas knows up to {SCHEMA}")
        elif version < SCHEMA and create:
            self._upgrade()
        if create:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")

    def _create(self) -> None:
        with self._transaction():
            if self._one("SELECT count(*) FROM sqlite_master") == 0:  # another process may have been first
                for statement in _TABLE.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

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

    def _one(self, query: str) -> int:
        return self._connection.execute(query).fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as DlasErrors."""
        try:
            yield
        except sqlite3.Error as error:
            raise DlasError(f"{self.path}: {self._explained(error)}") from None

    def _explained(self, error: sqlite3.Error) -> str:
        text = str(error)
        if "locked" in text:
            return f"another process has been writing to it for {self._wait:g} s; try again when it is done"
        if "not a database" in text:
            return "this is no SQLite data base"
        if "full" in text:
            return "the disk is full; what was recorded before is safe"
        if "readonly" in text or "unable to open" in text:
            return f"it cannot be written ({text}); look at the permissions of the file and of its folder"
        return text

    def close(self) -> None:
        """Close the file; the log is merged into it by the last one who does."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _network_file_system(path: Path) -> str | None:
    """The kind of file system that `path` is on, if it is one over a network."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    folder = path.resolve().parent
    inside = [(point, kind) for point, kind in mounts if folder.is_relative_to(point.replace("\\040", " "))]
    if not inside:
        return None
    kind = max(inside, key=lambda mount: len(mount[0]))[1]
    return kind if any(name in kind for name in _NETWORK) else None
