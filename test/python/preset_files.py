"""A target file that is right, and a folder for it, for tests of presets."""

from __future__ import annotations

from pathlib import Path

import pytest

GOOD = """\
[target]
description = "mine"
vector_bits = 64
vector_registers = 32

[iree]
device = "local"
flags = ["--iree-opt-level=O3"]

[recipes.plain]
description = "nothing"
pipeline = "cse"
"""


def only_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `folder` the one directory of a user's presets."""
    monkeypatch.setenv("DLAS_PRESETS", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    return folder
