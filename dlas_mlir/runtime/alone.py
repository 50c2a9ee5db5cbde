"""Each kernel of an artifact alone: the time of one launch, from the difference between many and one in a submission.

IREE's drivers for GPUs record no times of dispatches; `iree-benchmark-executable` launches one kernel on buffers of its
own. A launch that follows another one's end costs some microseconds of its own, which are in there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from dlas_mlir.errors import DlasError
from dlas_mlir.process import LIMIT, run
from dlas_mlir.runtime.launches import Launch, Program
from dlas_mlir.runtime.profile import PREFIX, DispatchTime, remove_what_is_left, tool

# Launches in one submission, beside the one that is taken off.
MANY = 33
# Nanoseconds beside which a submission takes nothing.
LONG = 10_000_000
# Two float16 of 1.06, and a small float32: neither zeros nor what takes longer.
_BYTE = 60


def launches_alone(
    program: Program,
    driver: str,
    *,
    seconds: float = 0.05,
    say: Callable[[str], None] = lambda _: None,
    timeout: float | None = LIMIT,
) -> list[DispatchTime]:
    """The time of each launch of a program on the device of `driver`, in order; equal ones are timed once.

    `seconds` are for each measurement. Raises DlasError.
    """
    remove_what_is_left()
    known: dict[tuple, DispatchTime] = {}
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as scratch:
        for number, launch in enumerate(program.launches):
            if (key := _key(launch)) not in known:
                say(f"launch {number + 1} of {len(program.launches)}")
                file = Path(scratch) / launch.file
                if not file.exists():
                    file.write_bytes(program.executable(launch.file))

                def ns(count: int, launch: Launch = launch, file: Path = file) -> float:
                    return _ns(program, launch, file, driver, count, seconds, timeout)

                known[key] = DispatchTime(launch.name, (each_ns(ns),))
    return [known[_key(launch)] for launch in program.launches]


def each_ns(ns: Callable[[int], float]) -> int:
    """Nanoseconds of a launch by itself, from those of one and of many: of what takes long the one says enough."""
    one = ns(1)
    if one > LONG:
        return round(one)
    many = ns(MANY)
    each = (MANY * many - one) / (MANY - 1)
    return round(each if each > 0 else many)


def _key(launch: Launch) -> tuple:
    return launch.name, launch.workgroups, launch.constants


def _ns(
    program: Program, launch: Launch, file: Path, driver: str, count: int, seconds: float, timeout: float | None
) -> float:
    """Nanoseconds of one of `count` launches in a submission."""
    command = [
        tool("iree-benchmark-executable"),
        f"--device={driver}",
        f"--executable_format={program.format}",
        f"--executable_file={file}",
        f"--entry_point={launch.ordinal}",
        f"--workgroup_count={','.join(map(str, launch.workgroups))}",
        *(f"--constant={value}" for value in launch.constants),
        *(f"--binding={one.offset + one.length}xi8={_BYTE}" for one in launch.bindings),
        f"--batch_size={count}",
        f"--benchmark_min_time={seconds}s",
        f"--benchmark_min_warmup_time={seconds / 5}",
        "--benchmark_format=json",
    ]
    done = run(command, timeout=timeout)
    if done.code:
        raise DlasError(f"timing {launch.name} alone {done.how()}{done.tail()}")
    try:
        (found,) = json.loads(done.stdout[done.stdout.index("{") :])["benchmarks"]
        return float(found["real_time"])
    except (ValueError, KeyError):
        raise DlasError(f"timing {launch.name} alone: iree-benchmark-executable told no time") from None
