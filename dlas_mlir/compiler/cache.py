"""The content cache: one directory for each thing made, named by the hash of what it was made from.

Any number of processes may use it at once, and each may be killed at any moment. So whoever makes something works in
a `workspace` of its own, and what is finished is moved into the entry by renaming: files named by their content first,
the record that names them last. No process removes or changes what is in an entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError

_CHUNK = 1 << 20
_LOCK = ".lock"
_NAME_DIGITS = 16
# The hash of all else in a record: a damaged one that is JSON still is found out.
_SEAL = "record_sha256"


def root() -> Path:
    """Where the cache lies: $DLAS_CACHE, else dlas/ in the user's cache directory."""
    if chosen := os.environ.get("DLAS_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dlas"


def entry(kind: str, key: str) -> Path:
    """The directory of one entry, which may not be there yet. `kind` is such as `import`; `key` is a hex digest."""
    return root() / kind / key


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory for this process alone, on the disk of the cache, gone at the end.

    What a killed process left behind is removed by the next that makes one. Raises DlasError when it cannot be made.
    """
    parent = root() / "work"
    _make(parent)
    _sweep(parent)
    name, lock = _locked_name(parent)
    folder = parent / name
    try:
        _make(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (parent / f"{name}{_LOCK}").unlink(missing_ok=True)
        os.close(lock)


def publish(made: Path, folder: Path) -> tuple[Path, str]:
    """Move the file `made`, of a workspace, into the entry `folder`, under a name that tells its content apart.

    Returns where it is now, and the hex SHA-256 of its content. Raises DlasError when that fails.
    """
    sha256 = file_digest(made)
    target = folder / f"{made.stem}-{sha256[:_NAME_DIGITS]}{made.suffix}"
    _move(made, target)
    return target, sha256


def keep(file: Path) -> Path:
    """A copy of `file` that stays, for a command that shows a failure again. Raises DlasError."""
    with workspace() as folder:
        copy = folder / file.name
        try:
            shutil.copyfile(file, copy)
        except OSError as error:
            raise DlasError(f"cannot copy {file}: {error.strerror or error}") from None
        return publish(copy, entry("failed", file_digest(copy)))[0]


def write_record(path: Path, facts: dict[str, Any]) -> None:
    """Write what is known of an entry, which is complete with it. `facts` is what JSON can hold. Raises DlasError."""
    with workspace() as folder:
        made = folder / path.name
        write_atomically(made, json.dumps({**facts, _SEAL: digest(facts)}, indent=1) + "\n")
        _move(made, path)


def read_record(path: Path) -> dict[str, Any] | None:
    """What `write_record` wrote; None where there is nothing, or anything else."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or facts.pop(_SEAL, None) != digest(facts):
        return None
    return facts


def _move(made: Path, target: Path) -> None:
    _make(target.parent)
    try:
        made.replace(target)
    except OSError as error:
        raise DlasError(f"cannot write {target}: {error.strerror or error}") from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlasError(
            f"cannot make the cache directory {folder}: {error.strerror} (DLAS_CACHE names another place)"
        ) from None


def _locked_name(parent: Path) -> tuple[str, int]:
    """A name that is free in `parent`, and the file descriptor whose lock says that its owner is alive."""
    while True:
        name = secrets.token_hex(8)
        path = parent / f"{name}{_LOCK}"
        try:
            lock = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except OSError as error:
            raise DlasError(f"cannot write {path}: {error.strerror} (DLAS_CACHE names another place)") from None
        # Somebody may sweep it between the two calls: then it is theirs, or gone.
        if _lock(lock) is not False and path.exists():
            return name, lock
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the workspaces in `parent` whose owner is dead: the system has let go of its lock."""
    for path in parent.glob(f"*{_LOCK}"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDWR)
            try:
                if _lock(lock):
                    shutil.rmtree(parent / path.stem, ignore_errors=True)
                    path.unlink(missing_ok=True)
            finally:
                os.close(lock)


def _lock(file: int) -> bool | None:
    """Whether the lock could be had; None on a disk that has no locks, where nothing is ever swept."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def write_atomically(path: Path, data: bytes | str | Callable[[Path], object]) -> None:
    """Write `path` whole or not at all; a callable is given a temporary path beside it, with the same suffix.

    Raises DlasError when the file cannot be written (a full disk, no permission); exceptions of the callable
    that are no OSError pass. Nothing is left behind then.
    """
    path = path.resolve()  # a link stays a link
    if path.exists() and not path.is_file() and not path.is_dir():
        # A device or a pipe, such as /dev/stdout: never to be replaced by a file.
        with tempfile.TemporaryDirectory(prefix="dlas-") as scratch:
            write_atomically(Path(scratch) / path.name, data)
            content = (Path(scratch) / path.name).read_bytes()
        try:
            path.write_bytes(content)
        except OSError as error:
            raise DlasError(f"cannot write {path}: {error.strerror or error}") from None
        return
    try:
        with written_beside(path) as temporary:
            if callable(data):
                data(temporary)
            elif isinstance(data, str):
                temporary.write_text(data, encoding="utf-8")
            else:
                temporary.write_bytes(data)
    except OSError as error:
        raise DlasError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, for a `with` statement that writes it; at its end the file
    takes the place of `path`. Errors pass, and leave nothing behind."""
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(*parts: Any) -> str:
    """The hex SHA-256 of `parts`: anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The hex SHA-256 of a file's content. Raises DlasError when it cannot be read."""
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    return hasher.hexdigest()


def versions(*distributions: str) -> dict[str, str]:
    """The installed versions, found without importing the packages; an absent one is left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
