"""Builds of a network: each with one candidate schedule for any number of its workloads, checked before it is timed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from dlas_mlir.codegen.chosen import print_chosen
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.job import Job
from dlas_mlir.compiler.network import Network
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.gate import working
from dlas_mlir.measure.trials import Status
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device
from dlas_mlir.tuning.timing import kernel_samples

# iree-compile checks its IR after each pass, for a quarter of its time (ResNet50: 8.7 s, 6.5 s without). What a
# candidate breaks shows in its outputs.
_QUICKLY = ("--verify=false",)

# How the messages of others say that the system is at fault: it kills what is largest where memory runs out.
_DISK_FULL, _KILLED = "No space left on device", "killed by SIGKILL"

# The schedule of each workload that has another than the rule's, by its exact key.
Assignment = Mapping[str, AnySchedule]


class BuildError(DlasError):
    """A build that came to nothing, and how."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status: Status = status


class MachineError(DlasError):
    """Something that no candidate is to blame for, and that the next one would meet too: the disk is full."""


@dataclass(frozen=True)
class Build:
    """A compiled network: its file, what it dispatches (name, layer, workload), seconds it took."""

    assignment: Assignment
    vmfb: Path
    dispatches: tuple[Mapping[str, str], ...]
    seconds: float

    @property
    def fallen_back(self) -> set[str]:
        """The workloads that have no kernel of ours."""
        made = {dispatch["workload"] for dispatch in self.dispatches}
        return {key for key in self.assignment if key not in made}

    def discard(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.vmfb.parent, ignore_errors=True)


@dataclass
class Builder:
    """Makes builds of `network` in `folder`, each stage within `timeout` seconds (None: any time)."""

    network: Network
    preset: Preset
    title: str
    device: Device
    folder: Path
    timeout: float | None
    count: int = 0

    def build(self, assignment: Assignment) -> Build:
        """The network with these schedules. Raises BuildError, or MachineError where that is not their fault."""
        self.count += 1
        folder = self.folder / f"build{self.count}"
        start = perf_counter()
        records = folder / "schedules.jsonl"
        module, vmfb = folder / "module.mlirbc", folder / "module.vmfb"
        job = Job(self.title, self.network.module, self.network.pipeline(records), self.preset.iree_flags, self.timeout)
        try:
            _write_schedules(records, assignment)
            with working():
                job.run_pipeline(module, None)
                dispatches = job.iree_compile(module, vmfb)
        except DlasError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _build_error(error) from None
        module.unlink()
        return Build(assignment, vmfb, tuple(dispatches), perf_counter() - start)

    def build_all(self, assignments: Sequence[Assignment], jobs: int) -> list[Build | BuildError]:
        """Several, `jobs` at a time."""

        def one(assignment: Assignment) -> Build | BuildError:
            try:
                return self.build(assignment)
            except BuildError as error:
                return error

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, assignments))

    def check(self, build: Build, expected: Path, timeout: float | None) -> None:
        """Compare its outputs with those in the .npz file `expected`. Raises BuildError."""
        try:
            with working(), Worker(build.vmfb, self.device, expected, timeout=timeout) as worker:
                check = worker.check()
        except DlasError as error:
            raise BuildError(_how(error), str(error)) from None
        if not check.verified:
            raise BuildError("wrong", check.reason)

    def time(
        self, build: Build, inputs: Sequence[np.ndarray], calls: int, timeout: float | None
    ) -> dict[str, tuple[int, ...]]:
        """Nanoseconds of each workload's kernels in each of some calls, for those who have the machine alone (see
        `gate.measuring`). Raises BuildError."""
        try:
            return kernel_samples(build.vmfb, build.dispatches, self.device, inputs, calls=calls, timeout=timeout)
        except DlasError as error:
            raise BuildError(_how(error), str(error)) from None


def _write_schedules(path: Path, assignment: Assignment) -> None:
    """Write them into a folder that is not there yet. Raises DlasError."""
    try:
        path.parent.mkdir()
    except OSError as error:
        raise DlasError(f"cannot make {path.parent}: {error.strerror}") from None
    cache.write_atomically(path, print_chosen({key: s.to_value() for key, s in assignment.items()}))


def _build_error(error: DlasError) -> DlasError:
    """What making a build failed by: a BuildError where its candidates may be at fault."""
    text = str(error)
    if _DISK_FULL in text:
        return MachineError(f"{text}; what was tried is kept, and the next `dlas tune` goes on from there")
    if _KILLED in text:
        return BuildError("lost", text)
    return BuildError("timeout" if "was stopped: it took more" in text else "compile-error", text)


def _how(error: DlasError) -> Status:
    text = str(error)
    if _KILLED in text:
        return "lost"
    return "timeout" if "no answer within" in text or "it took more than" in text else "crash"


def halves(assignment: Assignment) -> list[Assignment]:
    """An assignment in two, to find out which of its schedules is at fault."""
    keys = list(assignment)
    middle = len(keys) // 2
    return [{key: assignment[key] for key in part} for part in (keys[:middle], keys[middle:])]
