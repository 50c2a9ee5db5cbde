"""One attempt at a job: the entry point in a process of its own, and how that ended.

The limit counts from when that process is asked, so it is for those to call who have the device already.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.measure import gate
from dlas_mlir.process import Died, call

# What every job runs, a function from JSON to JSON; tests name another by the environment.
ENTRY = "dlas_mlir.study.entry:run"
ENTRY_VARIABLE = "DLAS_STUDY_ENTRY"


def attempt(
    payload: Mapping[str, Any],
    timeout: float | None = None,
    *,
    device: str | None = None,
    stop: int | None = None,
    what: str = "the job",
) -> dict[str, Any]:
    """Run the entry point on `payload`, within `timeout` seconds; `end`, `answer`, `reason` and `seconds` as in `Done`.

    As soon as there is something to read from the descriptor `stop`, the process is ended, and the attempt is lost.
    `device` is what nobody else may use as long as that process lives: it may outlive us by a moment.
    """
    began = time.monotonic()
    end, answer, reason = "ok", {}, ""
    arguments = {"payload": json.dumps(dict(payload)), "device": device}
    try:
        answer = json.loads(call(f"{__name__}:perform", arguments, what=what, timeout=timeout, stop=stop))
    except Died as died:
        end = "timeout" if died.late else "lost" if died.unwanted else "crash"
        reason = f"{died.what} took more than {timeout:g} s" if died.late else str(died)
    except (DlasError, RuntimeError) as error:  # the second is a bug, told with its kind
        end, reason = "failed", str(error)
    return {"end": end, "answer": answer, "reason": reason, "seconds": time.monotonic() - began}


def entry_point() -> Callable[[str], str]:
    """What runs a job in its process."""
    module, _, name = os.environ.get(ENTRY_VARIABLE, ENTRY).partition(":")
    return getattr(import_module(module), name)


def perform(payload: str, device: str | None) -> str:
    """The process of an attempt."""
    run = entry_point()
    if device is None:
        return run(payload)
    with gate.device(device, part="-process"):
        return run(payload)
