"""What both searches of `dlas tune` do with the models that they are given, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dlas_mlir.cli.console import in_any_case, progress, write_json
from dlas_mlir.errors import DlasError

# The exit code after Ctrl-C.
INTERRUPTED = 130


class _Report(Protocol):
    def to_plain(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=_Report)


@dataclass
class Outcomes:
    """The reports of all searches so far, for the JSON file `path`, each with the `kind` of search that it is of."""

    path: Path | None
    reports: list[dict[str, Any]] = field(default_factory=list)

    def tune(self, kind: str, models: Sequence[str], search: Callable[[str, Any], R], tell: Callable[[R], int]) -> int:
        """Search for each of `models`, `tell` each report, and write JSON in any case; errors are told at the end.

        `search` gets a model and whom to tell what is being done. `tell` gives the exit code: INTERRUPTED ends it all,
        and of the others the largest is returned, 1 where a model had an error.
        """
        errors: list[str] = []
        code = 0
        try:
            with in_any_case(self._write):
                for model in models:
                    try:
                        with progress() as show:
                            report = search(model, show)
                    except DlasError as error:
                        errors.append(f"{model}: {error}")
                        continue
                    self.reports.append({"kind": kind, **report.to_plain()})
                    code = max(code, tell(report))
                    if code == INTERRUPTED:
                        break
        finally:
            for error in errors:
                print(f"error: {error}", file=sys.stderr)
        return max(code, 1 if errors else 0)

    def _write(self) -> None:
        write_json(self.path, self.reports)
