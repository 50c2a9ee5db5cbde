"""Winners in a text file, for a repository or a package: JSON lines, one for each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Winner


def print_winners(winners: Iterable[Winner]) -> str:
    """The canonical text, sorted by place."""
    lines = [msgspec.json.encode(winner, order="deterministic").decode() for winner in winners]
    return "".join(f"{line}\n" for line in sorted(lines))


def read_winners(file: Path) -> list[Winner]:
    """What `print_winners` wrote. Raises DlasError with the file, the line and the key that is wrong."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DlasError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=Winner))
        except msgspec.DecodeError as error:
            raise DlasError(f"{file}:{number}: {error}") from None
    return found
