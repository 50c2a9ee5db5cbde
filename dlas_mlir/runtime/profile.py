"""The time of each dispatch: from IREE's own profiler, or from NVIDIA's driver."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.process import LIMIT, call, run
from dlas_mlir.runtime.devices import LOCAL_DRIVERS, Device
from dlas_mlir.runtime.session import declared

# As `devices` has it: the caller stays on the first CPU, and is not preempted by workers, where there are any.
_START = """
import os, sys
os.sched_setaffinity(0, [int(sys.argv[1])])
if sys.argv[2] == 'local-task':
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass
os.execv(sys.argv[3], sys.argv[3:])
"""


# How IREE's profiler times dispatches, by driver.
_MODES = {**dict.fromkeys(LOCAL_DRIVERS, "host-execution"), "vulkan": "dispatch-events"}
# Of the folders that IREE's tools read and write, with the number of the process behind it.
PREFIX = "dlas-profile-"


@dataclass(frozen=True)
class DispatchTime:
    """One dispatch of a call: its name and its nanoseconds in each call."""

    name: str
    ns: tuple[int, ...]

    @property
    def ms(self) -> float:
        """The median, in milliseconds."""
        return statistics.median(self.ns) / 1e6


def profile_dispatches(
    artifact: Path,
    device: Device,
    inputs: Sequence[np.ndarray],
    *,
    calls: int,
    function: str = "main",
    timeout: float | None = LIMIT,
) -> list[DispatchTime]:
    """The dispatches of one call of `function`, in order. Raises DlasError, also for a driver that cannot tell.

    They are timed in place in `calls` calls, by the clock of the host on CPUs and the device's on Vulkan; with CUDA, of
    which IREE's profiler has none, each is replayed alone in a graph, and has one time.
    """
    if device.driver == "cuda":
        launches = cuda_times(artifact, timeout=timeout)["launches"]
        return [DispatchTime(one["name"], (round(1e3 * one["us"]),)) for one in launches]
    if device.driver not in _MODES:
        raise DlasError(f"IREE's profiler has no dispatches of the driver {device.driver}")
    remove_what_is_left()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as scratch:
        capture = Path(scratch) / "capture.ireeprof"
        arguments = []
        for i, array in enumerate(inputs):
            np.save(f"{scratch}/{i}.npy", array)
            arguments.append(f"--input=@{scratch}/{i}.npy")
        command = [
            tool("iree-benchmark-module"),
            f"--module={artifact}",
            f"--function={function}",
            *device.tool_flags(),
            *arguments,
            # What is compiled for a GPU takes the storage of its results too.
            *(f"--input={kind}" for kind in declared(artifact, function)[1]),
            f"--benchmark_min_time={calls}x",
            f"--device_profiling_mode={_MODES[device.driver]}",
            f"--device_profiling_output={capture}",
        ]
        if device.local:
            command = [sys.executable, "-c", _START, str(device.cpus[0]), device.driver, *command]
        _run(command, timeout)
        listing = [tool("iree-profile"), "dispatch", "--format=jsonl", "--dispatch_events", str(capture)]
        events = _run(listing, timeout)
    return read_dispatches(events, calls)


def cuda_times(artifact: Path, *, alone: bool = True, timeout: float | None = LIMIT) -> dict[str, Any]:
    """What `cuda_driver.replayed` says of an artifact, in a process of its own. Raises DlasError."""
    arguments = {"vmfb": str(artifact), "alone": alone}
    return call("dlas_mlir.runtime.cuda_driver:times", arguments, what="replaying kernels", timeout=timeout)


def remove_what_is_left() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def read_dispatches(jsonl: str, calls: int) -> list[DispatchTime]:
    """The dispatches of one call from the profiler's events of `calls` calls. Raises DlasError for none."""
    rows = (json.loads(line) for line in jsonl.splitlines() if line.strip())
    events = [row for row in rows if row["type"].endswith("dispatch_event")]
    events.sort(key=lambda row: row.get("start_host_time_ns", row.get("start_tick", 0)))
    # What the initializers dispatch comes once, before the calls, and is less than one call for each of them.
    each = len(events) // calls
    if not each:
        raise DlasError("the profiler recorded no dispatches: this device does not support it")
    measured = events[len(events) - each * calls :]
    turns = [measured[i * each : (i + 1) * each] for i in range(calls)]
    # On several threads independent dispatches may start in another order: the recorded index tells them apart.
    for turn in turns:
        turn.sort(key=lambda row: (row["submission_id"], row["command_index"]))
    return [
        DispatchTime(same[0]["key"], tuple(row["duration_ns"] for row in same)) for same in zip(*turns, strict=True)
    ]


def said_of(times: Sequence[DispatchTime], dispatches: Sequence[Mapping[str, str]], key: str) -> list[str]:
    """What the `dispatches` of an artifact say by `key` (layer, workload) of each that was timed, empty for others:
    equal code is shared, so the n-th use of a name tells."""
    uses: dict[str, list[str]] = defaultdict(list)
    for dispatch in dispatches:
        uses[dispatch["name"]].append(dispatch[key])
    found = []
    for time in times:
        left = uses.get(time.name)
        found.append((left.pop(0) if len(left) > 1 else left[0]) if left else "")
    return found


def tool(name: str) -> str:
    """The path of one of the runtime's programs. Raises DlasError where it is not there."""
    spec = importlib.util.find_spec("iree.runtime")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder).parent / "_runtime_libs" / name
        if binary.exists():
            return str(binary)
    raise DlasError(f"{name} is not installed: pip install iree-base-runtime")


def _run(command: list[str], timeout: float | None) -> str:
    done = run(command, timeout=timeout)
    if done.code:
        tail = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise DlasError(f"profiling {done.how()}: {tail}")
    return done.stdout
