"""The content cache: one directory for each thing made, named by the hash of what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError

_CHUNK = 1 << 20


def root() -> Path:
    """Where the cache lies: $DLAS_CACHE, else dlas/ in the user's cache directory."""
    if chosen := os.environ.get("DLAS_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dlas"


def entry(kind: str, key: str) -> Path:
    """The directory of one entry, made if it is missing. `kind` is such as `import`; `key` is a hex digest.

    The files in it are written with `write_atomically`, the one that makes the entry complete last. Raises
    DlasError when it cannot be made.
    """
    path = root() / kind / key
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlasError(
            f"cannot make the cache directory {path}: {error.strerror} (DLAS_CACHE names another place)"
        ) from None
    return path


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
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(6)}{path.suffix}")
    try:
        if callable(data):
            data(temporary)
        elif isinstance(data, str):
            temporary.write_text(data, encoding="utf-8")
        else:
            temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise DlasError(f"cannot write {path}: {error.strerror or error}") from None
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
