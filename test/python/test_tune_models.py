"""What `dlas tune` does with several models and both searches: one JSON file, errors at the end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dlas_mlir.cli.tune_models import Outcomes
from dlas_mlir.errors import DlasError


@dataclass(frozen=True)
class Report:
    model: str
    interrupted: bool = False

    def to_plain(self) -> dict[str, Any]:
        return {"model": self.model}


def search(model: str, show: Any) -> Report:
    show(f"search {model}")
    if model == "bad":
        raise DlasError("has no kernel")
    return Report(model, interrupted=model == "stopped")


def test_the_file_has_the_reports_of_both_searches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = Outcomes(tmp_path / "out.json")
    assert outcomes.tune("primitives", ["one", "two"], search, lambda report: 0) == 0
    assert outcomes.tune("schedules", ["one", "bad", "two"], search, lambda report: 130 * report.interrupted) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: bad: has no kernel"
    assert outcomes.tune("schedules", ["stopped", "never"], search, lambda report: 130 * report.interrupted) == 130
    found = json.loads((tmp_path / "out.json").read_text())
    assert [(one["kind"], one["model"]) for one in found] == [
        ("primitives", "one"),
        ("primitives", "two"),
        ("schedules", "one"),
        ("schedules", "two"),
        ("schedules", "stopped"),
    ]


def test_what_is_known_is_written_where_a_search_breaks_off(tmp_path: Path) -> None:
    def broken(model: str, show: Any) -> Report:
        if model == "two":
            raise OSError("stdout is closed")
        return Report(model)

    with pytest.raises(OSError, match="stdout is closed"):
        Outcomes(tmp_path / "out.json").tune("primitives", ["one", "two"], broken, lambda report: 0)
    assert json.loads((tmp_path / "out.json").read_text()) == [{"kind": "primitives", "model": "one"}]
