"""One attempt at a job: the entry point in a process of its own, and how that ended.

The limit counts from when that process is asked, so it is for those to call who have the device already.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.process import Died, call

# What every job runs, a function from JSON to JSON; tests name another by the environment.
ENTRY = "dlas_mlir.study.entry:run"
_ENTRY_VARIABLE = "DLAS_STUDY_ENTRY"


def attempt(
    payload: Mapping[str, Any], timeout: float | None = None, *, stop: int | None = None, what: str = "the job"
) -> dict[str, Any]:
    """Run the entry point on `payload`, within `timeout` seconds; `end`, `answer`, `reason` and `seconds` as in `Done`.

    As soon as there is something to read from the descriptor `stop`, the process is ended, and the attempt is lost.
    """
    began = time.monotonic()
    end, answer, reason = "ok", {}, ""
    try:
        entry = os.environ.get(_ENTRY_VARIABLE, ENTRY)
        answer = json.loads(call(entry, {"payload": json.dumps(dict(payload))}, what=what, timeout=timeout, stop=stop))
    except Died as died:
        end = "timeout" if died.late else "lost" if died.unwanted else "crash"
        reason = f"{died.what} took more than {timeout:g} s" if died.late else str(died)
    except (DlasError, RuntimeError) as error:  # the second is a bug, told with its kind
        end, reason = "failed", str(error)
    return {"end": end, "answer": answer, "reason": reason, "seconds": time.monotonic() - began}
