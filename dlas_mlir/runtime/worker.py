"""The process that holds one loaded artifact: JSON, a request per line on stdin, a reply per line on stdout.

An artifact is native code. In a process of its own a crash is a message, its threads are pinned without
touching the caller's, and several artifacts can be timed in turns.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import check
from dlas_mlir.measure.turn import sample_queued, take_turn
from dlas_mlir.process import die_with_parent
from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.exchange import Exchange
from dlas_mlir.runtime.failures import explained
from dlas_mlir.runtime.graph_session import AnySession, open_session


class _Server:
    """One method per operation; arguments and results are JSON objects."""

    session: AnySession
    exchange: Exchange
    golden: str | None
    inputs: list[np.ndarray]
    arguments: Any
    device: Device | None = None

    def load(
        self,
        artifact: str,
        driver: str,
        threads: int,
        cpus: list[int],
        golden: str | None,
        exchange: int,
        caller: int | None = None,
    ) -> dict:
        self.exchange = Exchange(exchange)
        self.device = Device(driver, threads, tuple(cpus), caller)
        self.session = open_session(Path(artifact), self.device, pin=True)
        self.golden = golden
        if golden is None:
            inputs = [type_.example(i) for i, type_ in enumerate(self.session.inputs)]
        else:
            with np.load(golden, allow_pickle=False) as arrays:
                inputs = [arrays[key] for key in sorted_keys(arrays, "input_")]
        self.inputs = inputs
        self.arguments = self.session.prepare(inputs)
        return {}

    def check(self, tolerance: float | None) -> dict:
        """An output may be large: it is compared where it is, with an expected one that is read when its turn comes."""
        assert self.golden is not None
        results = self.session.invoke(self.arguments)
        with self.session.seen(results) as outputs, np.load(self.golden, allow_pickle=False) as arrays:
            return vars(check(outputs, _Expected(arrays), tolerance, **golden_limits(arrays)))

    def turn(self, min_seconds: float, min_count: int) -> dict:
        call, arguments = self.session.invoke, self.arguments
        assert self.device is not None
        threads = self.device.threads
        turn = take_turn(lambda: call(arguments), threads=threads, min_seconds=min_seconds, min_count=min_count)
        return asdict(turn)

    def queued(self, min_seconds: float, in_flight: int) -> dict:
        """The nanoseconds of a call, over batches of `in_flight` that are on their way at the same time; nothing where
        the artifact does not say what it waits for."""
        if not self.session.can_queue:
            return {"ns": []}
        session, arguments = self.session, self.arguments
        times = sample_queued(
            lambda: session.queue(arguments), session.wait, in_flight=in_flight, min_seconds=min_seconds
        )
        return {"ns": times}

    def examples(self) -> dict:
        """Put the inputs that it was loaded with."""
        self.exchange.put({f"input_{i}": array for i, array in enumerate(self.inputs)})
        return {}

    def run(self, given: bool) -> dict:
        """Call with the arrays that are put for it (if any are `given`, else the loaded inputs); put the results."""
        arguments = self.arguments
        if given:
            arrays = self.exchange.take()
            arguments = self.session.prepare([arrays[key] for key in sorted_keys(arrays, "input_")])
        results = self.session.invoke(arguments)
        with self.session.seen(results) as arrays:
            self.exchange.put({f"output_{i}": array for i, array in enumerate(arrays)})
        return {}

    def run_each(self, size: int) -> dict:
        """Call with `size` entries of `batch` at a time, the last ones filled up; put the first results, joined."""
        entries = self.exchange.take()["batch"]
        filled = np.concatenate([entries, np.repeat(entries[-1:], -len(entries) % size, 0)])
        results = [self.session(filled[start : start + size])[0] for start in range(0, len(filled), size)]
        self.exchange.put({"batch": np.concatenate(results)[: len(entries)]})
        return {}


class _Expected(Sequence[np.ndarray]):
    """The expected outputs in an open .npz file, each read when it is asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays, self._keys = arrays, sorted_keys(arrays, "output_")

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: Any) -> Any:
        return self._arrays[self._keys[index]]


def load_golden(path: str | None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; nothing for None."""
    if path is None:
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def golden_limits(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What golden outputs say they can be held to, as keywords of `check`: nothing, where they don't."""
    found: dict[str, Any] = {}
    if "element" in arrays:
        found["element"] = str(arrays["element"])
    if "limits" in arrays:
        found["limits"] = arrays["limits"].tolist()
    if "reference" in arrays:
        found["reference"] = str(arrays["reference"])
    return found


def sorted_keys(arrays: Mapping[str, np.ndarray], prefix: str) -> list[str]:
    """The keys `prefix`0, `prefix`1, ... in the order of their numbers."""
    return sorted((key for key in arrays if key.startswith(prefix)), key=lambda key: int(key[len(prefix) :]))


def main() -> None:
    """Serve until stdin ends."""
    die_with_parent()  # also in the middle of a call, where the end of stdin is not seen
    # Replies have a descriptor of their own: native code may print to stdout.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = _Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(server, request.pop("op"))(**request)
        except DlasError as error:
            reply = {"error": str(error)}
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            said = explained(error) if server.device and not server.device.local else str(error)
            reply = {"error": said or type(error).__name__}
        print(json.dumps(reply), file=replies, flush=True)
    # The runtime's thread pools do not always survive the interpreter's own shutdown.
    os._exit(0)


if __name__ == "__main__":
    main()
