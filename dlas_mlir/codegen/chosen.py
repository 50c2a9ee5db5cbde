"""Chosen schedules in a file: JSON lines of `{"workload": KEY, "schedule": {...}}`, the key being the exact one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError

Chosen = Mapping[str, dict[str, Any]]


def print_chosen(chosen: Chosen) -> str:
    """The canonical text: a line for each workload, by key, keys sorted, no blanks."""
    lines = ({"schedule": chosen[key], "workload": key} for key in sorted(chosen))
    return "".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines)


def read_chosen(path: Path) -> dict[str, dict[str, Any]]:
    """What `print_chosen` wrote. Of two lines with one key the later one holds. Raises DlasError with file and line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DlasError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["workload"])] = dict(entry["schedule"])
        except (ValueError, TypeError, KeyError):
            raise DlasError(
                f'{path}:{number}: expected {{"workload": KEY, "schedule": {{...}}}} on a line, found `{line[:60]}`'
            ) from None
    return found
