"""The caller's side of a worker process."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import Check
from dlas_mlir.measure.turn import Turn
from dlas_mlir.process import LIMIT, python
from dlas_mlir.runtime.devices import Device
from dlas_mlir.runtime.exchange import Exchange
from dlas_mlir.runtime.failures import HANGING
from dlas_mlir.runtime.worker import sorted_keys


class Worker:
    """An artifact loaded in a process of its own, for a `with` statement. Each method may raise DlasError."""

    def __init__(
        self, artifact: Path, device: Device, golden: Path | None = None, *, timeout: float | None = LIMIT
    ) -> None:
        """Load `artifact`; `golden` (.npz with input_i, output_i) gives the inputs, or random ones are made.

        `timeout` is in seconds, for each request; None: there is none.
        """
        self._artifact = artifact
        self._device = device
        self._golden = golden
        self._timeout = timeout
        self._launch()

    def _launch(self) -> None:
        self._asked = False  # and not answered
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115
        self._exchange = Exchange()
        self._process = subprocess.Popen(
            python("dlas_mlir.runtime.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            pass_fds=[self._exchange.fileno()],
            start_new_session=True,  # Ctrl-C is for us, and we end it
        )
        try:
            self._request(
                "load",
                artifact=str(self._artifact),
                driver=self._device.driver,
                threads=self._device.threads,
                cpus=self._device.cpus,
                caller=self._device.caller,
                golden=str(self._golden) if self._golden else None,
                exchange=self._exchange.fileno(),
            )
        except BaseException:
            self.close()
            raise

    def check(self, tolerance: float | None = None) -> Check:
        """Compare the outputs for the golden inputs with the golden outputs."""
        return Check(**self._request("check", tolerance=tolerance))

    def turn(self, *, min_seconds: float, min_count: int) -> Turn:
        """Time calls, see `take_turn`."""
        return Turn(**self._request("turn", min_seconds=min_seconds, min_count=min_count))

    def queued(self, *, min_seconds: float, in_flight: int) -> list[int]:
        """Nanoseconds of a call of those that are on their way at the same time, one number for each such batch; none
        where calls cannot be queued."""
        return self._request("queued", min_seconds=min_seconds, in_flight=in_flight)["ns"]

    def restart(self) -> None:
        """The same artifact in a fresh process."""
        self.close()
        self._launch()

    def examples(self) -> list[np.ndarray]:
        """The inputs that it was loaded with."""
        self._request("examples")
        arrays = self._exchange.take()
        return [arrays[key] for key in sorted_keys(arrays, "input_")]

    def run(self, inputs: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """The outputs for `inputs`, or for the inputs it was loaded with; bfloat16 goes in and out as float32."""
        if inputs is not None:
            self._exchange.put({f"input_{i}": array for i, array in enumerate(inputs)})
        self._request("run", given=inputs is not None)
        arrays = self._exchange.take()
        return [arrays[key] for key in sorted_keys(arrays, "output_")]

    def run_each(self, batch: np.ndarray, size: int = 1) -> np.ndarray:
        """The first output for the entries [size, ...] of `batch` [n, ...], of an artifact with one input; joined."""
        self._exchange.put({"batch": batch})
        self._request("run_each", size=size)
        return self._exchange.take()["batch"]

    def close(self) -> None:
        """End the process, also in the middle of a call."""
        if self._asked:
            self._process.kill()
        if self._process.stdin:
            # What could not be sent to a process that died is still in the buffer.
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()
        self._exchange.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, op: str, **arguments: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._asked = True
        try:
            stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._died(op) from None
        if not select.select([stdout], [], [], self._timeout)[0]:
            self._process.kill()
            late = f"`{self._artifact}`: no answer within {self._timeout:g} s of `{op}`; stopped"
            raise DlasError(late if self._device.local else f"{late}; {HANGING}")
        line = stdout.readline()
        if not line:
            raise self._died(op)
        reply = json.loads(line)
        self._asked = False
        if "error" in reply:
            raise DlasError(reply["error"])
        return reply

    def _died(self, op: str) -> DlasError:
        code = self._process.wait()
        self._log.seek(0)
        tail = " | ".join(self._log.read().strip().splitlines()[-3:])
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return DlasError(f"the process running `{self._artifact}` {how} during `{op}`" + (f": {tail}" if tail else ""))
