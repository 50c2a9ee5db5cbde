"""A SQLite file that several processes write to and that survives each of them: what stores have in common."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dlas_mlir.errors import DlasError

_WAIT_SECONDS = 30
# SQLite's locks and shared memory do not work on these.
_NETWORK = ("nfs", "cifs", "smb", "lustre", "sshfs", "ceph", "gluster", "afs")


class Database:
    """An open file with a write-ahead log, for a `with` statement. All methods raise DlasError with the file's name.

    A subclass says what it holds: `what` in words, `application` (SQLite's application_id, which tells it from other
    data bases), the `version` of its tables, the SQL that makes them, and which command makes such a file ({} is
    its path).
    """

    application: ClassVar[int]
    version: ClassVar[int]
    tables: ClassVar[str]
    what: ClassVar[str]
    made_by: ClassVar[str]

    def __init__(self, path: Path | str, *, create: bool = True, wait_seconds: float = _WAIT_SECONDS) -> None:
        """Open the file at `path`; with `create` make it where there is none. `wait_seconds` is how long another
        writer is waited for."""
        self.path = Path(path)
        self._wait = wait_seconds
        if not create and not self.path.exists():
            raise DlasError(f"{self.path}: there is no such file; `{self.made_by.format(self.path)}` makes one")
        if kind := _network_file_system(self.path):
            raise DlasError(f"{self.path}: SQLite's locks do not work on {kind}; keep {self.what} on a local disk")
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
                raise DlasError(f"{self.path}: this is an empty data base, not {self.what}")
            self._create()
        elif application != self.application:
            raise DlasError(f"{self.path}: this is a data base of something else, not {self.what}")
        elif version > self.version:
            raise DlasError(f"{self.path}: {self.what} of version {version}; this dlas knows up to {self.version}")
        elif version < self.version and create:
            self._upgrade()
        if create:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")

    def _create(self) -> None:
        with self._transaction():
            if self._one("SELECT count(*) FROM sqlite_master") == 0:  # another process may have been first
                for statement in self.tables.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {self.application}")
                self._connection.execute(f"PRAGMA user_version = {self.version}")

    def _upgrade(self) -> None:
        """From an older version."""
        raise DlasError(f"{self.path}: {self.what} of a version that is no longer read")

    def _one(self, query: str, arguments: tuple[Any, ...] = ()) -> Any:
        row = self._connection.execute(query, arguments).fetchone()
        return None if row is None else row[0]

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
        if "malformed" in text:
            return "the data base is damaged; `sqlite3 FILE .recover` may save what is in it"
        if "readonly" in text or "unable to open" in text:
            return f"it cannot be written ({text}); look at the permissions of the file and of its folder"
        return text

    def close(self) -> None:
        """Close the file; the log is merged into it by the last one who does."""
        self._connection.close()

    def __enter__(self) -> Any:
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
