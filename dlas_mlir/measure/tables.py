"""Tables as files: Parquet, CSV, JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError


def write_table(columns: Mapping[str, Sequence[Any]], file: Path, kind: str) -> None:
    """Write columns of equal length to `file`; `kind` is parquet, csv or jsonl. What is missing (None) is empty.
    Raises DlasError where pyarrow is needed and missing."""
    _WRITE[kind](columns, file)


def _parquet(columns: Mapping[str, Sequence[Any]], file: Path) -> None:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise DlasError("writing parquet needs pyarrow: pip install 'dlas-mlir[parquet]'") from None
    parquet.write_table(arrow.table({name: list(column) for name, column in columns.items()}), file)


def _csv(columns: Mapping[str, Sequence[Any]], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _jsonl(columns: Mapping[str, Sequence[Any]], file: Path) -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in zip(*columns.values(), strict=True):
            out.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")


_WRITE = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
