"""`dlas study status`, `show`, `export` and `gc`."""

from __future__ import annotations

from typing import Any


def add_parsers(commands: Any) -> None:
    """Add them to `dlas study`."""
