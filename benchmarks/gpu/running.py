"""Running parts: each in processes of its own with a time limit, its rows written as they come.

A process that ends in the middle of a case, or is silent for too long, costs that case, and another goes on behind it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu import cases, parts, report
from dlas_mlir.errors import DlasError

Row = dict[str, Any]


def run(options: argparse.Namespace) -> list[Row]:
    """Run all parts that fit into the time, and return the rows."""
    manifest_file = options.bundle / "manifest.json"
    if not manifest_file.is_file():
        raise DlasError(f"{options.bundle} is no bundle: there is no manifest.json (python -m benchmarks.gpu build)")
    options.output.mkdir(parents=True, exist_ok=True)
    manifest = cases.read_json(manifest_file)
    end = time.monotonic() + options.seconds
    rows: list[Row] = []
    with (options.output / "rows.jsonl").open("w") as file:
        keep = _Keep(file, rows)
        for name in options.parts:
            left = end - time.monotonic()
            if left < 5:
                keep({"part": name, "who": "run", "error": f"not started: the {options.seconds:.0f} s are over"})
                continue
            if parts.PARTS[name].torch and importlib.util.find_spec("torch") is None:
                keep({"part": name, "who": "run", "missing": "there is no PyTorch here: nothing to compare with"})
                continue
            start = time.monotonic()
            _run_part(name, min(parts.PARTS[name].seconds * options.patience, left), options, manifest, keep)
            keep({"part": name, "who": "run", "seconds": round(time.monotonic() - start, 1)})
            report.write(rows, options.output)
    return rows


def read_rows(file: Path) -> list[Row]:
    """Rows that were written; the last may be half of one."""
    found = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


class _Keep:
    """Writes each row at once, whoever of several threads has it."""

    def __init__(self, file: Any, rows: list[Row]) -> None:
        self._file, self._rows, self._lock = file, rows, threading.Lock()

    def __call__(self, row: Row) -> None:
        with self._lock:
            self._rows.append(row)
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            print(report.line(row), file=sys.stderr, flush=True)


def _run_part(name: str, seconds: float, options: argparse.Namespace, manifest: Row, keep: _Keep) -> None:
    part, known = parts.PARTS[name], parts.cases_of(name, manifest, options.elements)
    end = time.monotonic() + seconds
    jobs = min(part.jobs if manifest["device"] == "cuda" else 1, max(len(known), 1))
    with ThreadPoolExecutor(jobs) as pool:
        done = [pool.submit(_run_share, name, known, share, jobs, end, options, keep) for share in range(jobs)]
        count = sum(one.result() for one in done)
    if count < len(known):
        missing = len(known) - count
        keep({"part": name, "who": "run", "error": f"{missing} of {len(known)} cases not done in {seconds:.0f} s"})


def _run_share(
    name: str, known: list[Row], first: int, step: int, end: float, options: argparse.Namespace, keep: _Keep
) -> int:
    """The cases from `first`, every `step`th; how many were begun and ended."""
    done = 0
    while first < len(known) and time.monotonic() < end:
        current, why = None, ""
        for said in _lines(name, first, step, end, options):
            if "begin" in said:
                done += current is not None
                current = said["begin"]
            elif "ended" in said:
                why = said["ended"]
            else:
                keep(said)
        if not why:
            return done + (current is not None)
        if current is None or time.monotonic() >= end:
            keep({"part": name, "who": "run", "error": why})
            return done
        one = known[current]
        keep({"part": name, "case": one["case"], "element": one["element"], "who": "run", "error": why})
        first, done = current + step, done + 1
    return done


def _lines(name: str, first: int, step: int, end: float, options: argparse.Namespace) -> Iterator[Row]:
    """What the process of a part prints; at last `ended`, if it was not by itself and well."""
    command = [sys.executable, "-m", "benchmarks.gpu", "part", name, "--bundle", str(options.bundle)]
    command += ["--turn", str(options.turn), "--first", str(first), "--step", str(step)]
    command += ["--elements", *options.elements]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        assert process.stdout is not None
        patience = parts.PARTS[name].case_seconds * options.patience
        try:
            # Read by hand: select knows nothing of lines that a file object has read ahead.
            pending = b""
            while True:
                while b"\n" in pending:
                    line, _, pending = pending.partition(b"\n")
                    yield json.loads(line)
                wait = min(patience, end - time.monotonic())
                if wait <= 0 or not select.select([process.stdout], [], [], wait)[0]:
                    yield {"ended": f"stopped after {max(wait, 0):.0f} s without a row"}
                    return
                more = os.read(process.stdout.fileno(), 1 << 16)
                if not more:
                    break
                pending += more
            if code := process.wait():
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                errors.seek(0)
                last = (errors.read().strip().splitlines() or [""])[-1]
                yield {"ended": f"the process ended: {how}: {last[-300:]}"}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            errors.seek(0)
            with (options.output / "parts.log").open("a") as log:
                log.write(f"== {name} from {first} by {step}\n{errors.read()}")
