"""Files of TOML, with the file's name in every complaint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of the file at `path`, and what it says. Raises DlasError that names the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DlasError(f"{path}: not a TOML file: {error}") from None
    return text, parse(text, path)


def parse(text: str, path: Path) -> dict[str, Any]:
    """What `text` says, which stood in the file at `path`. Raises DlasError that names the file."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DlasError(f"{path}: not a TOML file: {error}") from None
