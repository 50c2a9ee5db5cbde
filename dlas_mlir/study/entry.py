"""The one entry point of whoever runs a study's tasks: JSON in, JSON out.

`payload` is `{"kind": ..., ...}`: a step's kind with its `parameters` and the results of its `inputs`, or a `block`.
The answer is `{"state": "ok", "result": ...}`, or another state with its `reason`. What is only needed to build
(PyTorch, compilers) is imported by the steps that need it: a board has none of it.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from dlas_mlir.errors import DlasError

Say = Callable[[str], None]
_MOST_REASON = 2000
_listeners: list[Say] = []


class StepError(DlasError):
    """A step that came to nothing, and how."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def listen(say: Say) -> None:
    """Have `say` told of the progress of what is run in this process."""
    _listeners[:] = [say]


def run(payload: str) -> str:
    """Do what `payload` asks for. Errors are answers."""
    try:
        answer = {"state": "ok", "result": _run(json.loads(payload))}
    except StepError as error:
        answer = {"state": error.state, "reason": str(error)[:_MOST_REASON]}
    except DlasError as error:
        answer = {"state": "failed", "reason": str(error)[:_MOST_REASON]}
    except MemoryError:
        answer = {"state": "failed", "reason": "out of memory"}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        answer = {"state": "failed", "reason": f"{where}{error.strerror or error}"}
    except Exception as error:
        if os.environ.get("DLAS_TRACEBACK"):
            traceback.print_exc()
        answer = {"state": "failed", "reason": f"{type(error).__name__}: {error} (a bug)"[:_MOST_REASON]}
    return json.dumps(answer)


def _run(request: dict[str, Any]) -> Any:
    say = _listeners[0] if _listeners else lambda _: None
    if request["kind"] in ("block", "verify", "accuracy"):
        from dlas_mlir.study import on_device

        return on_device.RUN[request["kind"]](request, say)
    from dlas_mlir.study import building

    return building.RUN[request["kind"]](request, say)
