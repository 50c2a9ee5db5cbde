"""Which executor runs a study: this machine, and workers for the devices that they have."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from dlas_mlir.errors import DlasError
from dlas_mlir.study.absent import absent_devices
from dlas_mlir.study.executor import Done, Executor, Job
from dlas_mlir.study.local import LocalExecutor
from dlas_mlir.study.spec import Spec

Say = Callable[[str], None]
_TURN_SECONDS = 0.05
# Makes the executor of the devices that workers offer; None where a run was given no scheduler.
Remote = Callable[[Collection[str], Say], Executor]


def executor_for(spec: Spec, lanes: int, detail: Say, remote: Remote | None = None) -> Callable[[Say], Executor]:
    """What makes the executor of a run; `detail` is told what single steps do. Raises DlasError at once for devices
    that need workers, without `remote`, and where all devices are GPUs that this machine has not."""
    _check_here(spec)
    away = tuple(name for name, device in spec.devices.items() if device.kind == "worker")
    if away and remote is None:
        raise DlasError(
            f"{spec.path}: nobody offers {', '.join(away)}: such devices are those of workers, and the run needs "
            "--scheduler URL to find them (docs/distributed.md)"
        )

    def make(say: Say) -> Executor:
        local = LocalExecutor(lanes, detail)
        if not away or remote is None:
            return local
        try:
            return Routed(local, remote(away, say), away)
        except BaseException:
            local.close()
            raise

    return make


def _check_here(spec: Spec) -> None:
    """Raise DlasError where no device of the study is here: it would have nothing to run. Where some are, the points of
    the others are rows with the reason (`Plan.of`)."""
    missing = absent_devices(spec)
    if missing and len(missing) == len(spec.axes["device"]):
        raise DlasError(f"{spec.path}: {'; '.join(missing.values())}")


class Routed:
    """Jobs for some devices go to one executor, all others to another. Implements `executor.Executor`."""

    def __init__(self, here: Executor, there: Executor, devices: Collection[str]) -> None:
        self._here, self._there, self._devices = here, there, frozenset(devices)

    def submit(self, job: Job) -> None:
        """Pass a job on."""
        (self._there if job.device in self._devices else self._here).submit(job)

    def wait(self, seconds: float) -> list[Done]:
        """What has ended anywhere; at most `seconds` are waited for the first."""
        end = time.monotonic() + seconds
        while True:
            done = self._there.wait(0.0)
            done += self._here.wait(0.0 if done else min(_TURN_SECONDS, max(0.0, end - time.monotonic())))
            if done or time.monotonic() >= end:
                return done

    def close(self) -> None:
        """End both."""
        try:
            self._there.close()
        finally:
            self._here.close()
