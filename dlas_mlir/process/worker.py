"""The side that works: runs the function that was asked for, and writes down what it is doing and what comes of it.

Notes are lines of JSON in a file that outlives the process: `doing` before what may crash, then `result`, `error` or
`bug`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from dlas_mlir.errors import DlasError

_notes: int | None = None
_owner = 0


def entering(
    doing: str,
    *,
    again: Sequence[str] = (),
    keep: Path | None = None,
    write: Callable[[BinaryIO], object] | None = None,
) -> None:
    """Say what is done next, before native code that may crash: it is told if the process dies there.

    `again` is a command that shows it again, which reads the file `keep`, which is what `write` writes. Anywhere but in
    a worker it does nothing.
    """
    if _notes is not None:
        if keep is not None and write is not None:
            with keep.open("wb") as file:
                write(file)
        _note({"doing": doing, "again": list(again), "keep": str(keep) if keep else None})


def work(function: str, arguments: dict[str, Any], notes: int) -> NoReturn:
    """Run `function` and end the process; not as the interpreter ends, which native threads do not always survive."""
    global _notes, _owner
    _notes, _owner = notes, os.getpid()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # pyright: ignore
    module, _, name = function.partition(":")
    code = 1
    try:
        result = getattr(import_module(module), name)(**arguments)
        _note({"result": result})
        code = 0
    except DlasError as error:
        _note({"error": str(error)})
    except KeyboardInterrupt:
        _note({"error": "interrupted"})  # by itself: Ctrl-C does not come here
    except MemoryError as error:
        _note({"error": f"out of memory: {error}" if str(error) else "out of memory"})
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _note({"error": f"{where}{error.strerror or error}"})
    except BaseException as error:
        if os.environ.get("DLAS_TRACEBACK"):
            traceback.print_exc()
        _note({"bug": f"{type(error).__name__}: {error}"})
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _note(value: dict[str, Any]) -> None:
    assert _notes is not None
    if os.getpid() != _owner:
        os._exit(0)  # the user's code has forked, and goes on here too: one of them is enough
    os.write(_notes, json.dumps(value).encode() + b"\n")
