"""A workload in a file, with the schedule that it shall have, if one is given: `{"workload": ..., "schedule": ...}`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.schedule import AnySchedule, ScheduleError
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.errors import DlasError

_KEYS = {"workload", "schedule"}


def write_file(path: Path, workload: Workload, schedule: AnySchedule | None = None) -> None:
    """Write both as JSON, whole or not at all. Raises OSError."""
    content = {"workload": json.loads(workload.to_json())}
    if schedule is not None:
        content["schedule"] = schedule.to_value()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_file(path: Path) -> tuple[Workload, AnySchedule | None]:
    """What `write_file` wrote. Raises DlasError that names the file and the key."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise DlasError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict) or "workload" not in content:
        raise DlasError(f"{path} has no key `workload`: dlas-dump-workloads writes such files")
    if unknown := content.keys() - _KEYS:
        raise DlasError(f"{path}: unknown key `{sorted(unknown)[0]}`; there are `workload` and `schedule`")
    workload = Workload.from_json(json.dumps(content["workload"]), f"{path}: workload")
    if content.get("schedule") is None:
        return workload, None
    try:
        return workload, backends.read_schedule(content["schedule"], workload)
    except ScheduleError as error:
        raise DlasError(f"{path}: schedule: {error}") from None
