"""Files that jobs need, brought to a worker that cannot reach the place where they are: in pieces, through Dask.

A worker says what it lacks, the run sends that, and the job is given out again.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlas_mlir.compiler import cache
from dlas_mlir.errors import DlasError
from dlas_mlir.study.artifacts import Artifacts

# Of a message; base64 makes a third more of it.
_PIECE = 4 << 20
# Under which a payload names files, and how they are called.
_ROLES = ("vmfb", "golden", "images")
_NAME = re.compile(r"[0-9a-f]{64}(\.\w+)*")
_PLACE = "artifacts"


def files_of(payload: Any) -> set[str]:
    """The names of the files that are named anywhere in a payload."""
    if isinstance(payload, Mapping):
        named = (value for key, value in payload.items() if key in _ROLES and isinstance(value, str))
        found = {name for name in named if _NAME.fullmatch(name)}
        return found.union(*(files_of(value) for value in payload.values()))
    if isinstance(payload, list | tuple):
        return set[str]().union(*map(files_of, payload))
    return set()


def at_hand(payload: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The payload with a place for its files that this machine can reach, and the files that are missing there."""
    url = payload.get(_PLACE)
    if url is None or "://" in url:
        return dict(payload), []
    needed = sorted(files_of(payload))
    if not _missing(url, needed):
        return dict(payload), []
    own = str(own_place())
    return {**payload, _PLACE: own}, _missing(own, needed)


def own_place() -> Path:
    """Where a worker keeps what it was sent."""
    return cache.root() / "worker-artifacts"


def _missing(url: str, needed: list[str]) -> list[str]:
    return [name for name in needed if not _is_there(url, name)]


def _is_there(url: str, name: str) -> bool:
    try:
        Artifacts(url).get(name)
    except DlasError:  # also for one that is damaged
        return False
    return True


def receive(request: str) -> str:
    """Take a piece of a file, and with the last one keep it: called on the worker, one piece after the other."""
    piece = json.loads(request)
    place = own_place()
    part = place / f".{piece['transfer']}{Path(piece['name']).suffix}"
    error = ""
    try:
        place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, base64.b64decode(piece["data"]), piece["offset"])
        finally:
            os.close(descriptor)
        if piece["last"]:
            try:
                if Artifacts(str(place)).put(part) != piece["name"]:
                    error = f"the file {piece['name'][:16]} has arrived damaged"
            finally:
                part.unlink(missing_ok=True)
    except OSError as wrong:
        error = f"cannot write {place}: {wrong.strerror or wrong}"
    except DlasError as wrong:
        error = str(wrong)
    if error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return json.dumps({"error": error})


def pieces(file: Path, name: str) -> Iterator[str]:
    """The requests that bring a file over."""
    transfer, size = secrets.token_hex(8), file.stat().st_size
    with file.open("rb") as stream:
        offset = 0
        while True:
            data = stream.read(_PIECE)
            last = offset + len(data) >= size
            text = base64.b64encode(data).decode()
            yield json.dumps({"transfer": transfer, "name": name, "offset": offset, "last": last, "data": text})
            if last:
                return
            offset += len(data)


class Transfer(threading.Thread):
    """Files on their way to a worker; `error` is why they have not arrived, `lost` whether nobody was there."""

    def __init__(self, url: str, files: list[str], ask: Callable[[str], Mapping[str, Any]], done: Callable[[], object]):
        """`ask` has `receive` called there; `done` is called at the end, from this thread."""
        super().__init__(daemon=True)
        self._url, self._files, self._ask, self._done = url, files, ask, done
        self.error, self.lost = "", False

    def run(self) -> None:
        try:
            for name in self._files:
                for request in pieces(Artifacts(self._url).get(name), name):
                    self.error = self._ask(request)["error"]
                    if self.error:
                        return
        except DlasError as error:
            self.error = str(error)
        except Exception as error:  # the worker or the scheduler has gone
            self.error, self.lost = str(error) or type(error).__name__, True
        finally:
            self._done()
