"""Entry points of studies for tests: what they do is what the payload says."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil

from dlas_mlir.errors import DlasError
from dlas_mlir.study.artifacts import Artifacts


def run(payload: str) -> str:
    """`do` is what to do: answer, refuse, fail, crash, hang, read, kill the worker; `log` is a file that gets a line at
    start and at end; `seconds` is how long it takes."""
    wanted = json.loads(payload)
    log = Path(wanted["log"]) if "log" in wanted else None
    _write(log, f"begin {wanted.get('name')} {time.monotonic_ns()}")
    time.sleep(wanted.get("seconds", 0))
    match wanted.get("do", "answer"):
        case "refuse":
            raise DlasError("the layer conv1 is too wide")
        case "fail":
            raise KeyError("conv1")
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(600)
        case "kill the worker":
            # The fork server stands between.
            os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGKILL)
            time.sleep(600)
        case "read":
            place = Artifacts(wanted["artifacts"])
            sizes = {role: place.get(name).stat().st_size for role, name in wanted["members"][0].items()}
            return json.dumps({"said": wanted["name"], "bytes": sizes})
    _write(log, f"end {wanted.get('name')} {time.monotonic_ns()}")
    return json.dumps({"said": wanted.get("name"), "ns": [1, 2, 3]})


def _write(log: Path | None, line: str) -> None:
    """Lines of several processes do not mix."""
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode() + b"\n")
        os.close(descriptor)
