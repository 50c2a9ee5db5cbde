"""What the scripts share: their options, the loop over workloads, and how they end."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.peers import OTHERS, module_of
from benchmarks.rounds import Protocol, compare
from benchmarks.stats import add_ratios
from benchmarks.workload import Case
from dlas_mlir.errors import DlasError

ROOT = Path(__file__).resolve().parents[1]
EXPORT_TIMEOUT_S = 600


def parser(description: str, stem: str, presets: list[str]) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = result.add_argument
    add("--runtimes", nargs="+", default=[*presets, *OTHERS], help="presets TARGET/RECIPE and other runtimes")
    add("--threads", nargs="+", type=int, default=[1, 2], help="numbers of threads")
    add("--rounds", type=int, default=Protocol.rounds, help="turns of each runtime")
    add("--turn", type=float, default=Protocol.turn_s, help="seconds of one turn, after its warm-up")
    add("--settle", type=float, default=Protocol.settle_s, help="seconds of rest before each turn")
    add("--output", type=Path, default=Path(stem), help="files to write, without .json and .md")
    return result


def protocol_of(options: argparse.Namespace) -> Protocol:
    if options.rounds < 1 or options.turn < 0 or options.settle < 0:
        raise DlasError("--rounds must be at least 1, --turn and --settle not negative")
    for runtime in options.runtimes:
        module_of(runtime)
    return Protocol(options.rounds, options.turn, options.settle)


def prepared(spec: str, directory: Path) -> Case:
    """`workload.prepare` in a process of its own: torch's memory and threads stay out of this one."""
    command = [sys.executable, "-m", "benchmarks.workload", spec, str(directory)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DlasError(f"{spec}: exporting took more than {EXPORT_TIMEOUT_S} s") from None
    if done.returncode:
        raise DlasError(f"{spec}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return Case(**json.loads(done.stdout.splitlines()[-1]))


def speaker() -> Callable[[str], None]:
    console = Console(stderr=True, highlight=False)
    return lambda text: console.print(text, markup=False)


def end_to_end(
    specs: list[str], options: argparse.Namespace, finish: Callable[[list[dict]], None]
) -> list[dict]:
    """Compare every workload at every number of threads; `finish` sees all records so far after each."""
    protocol, say = protocol_of(options), speaker()
    records: list[dict] = []
    for spec in specs:
        with tempfile.TemporaryDirectory(prefix="dlas-bench-") as name:
            directory = Path(name)
            say(f"{spec}: exporting")
            try:
                case = prepared(spec, directory)
            except DlasError as error:
                records += [
                    {"workload": spec, "runtime": runtime, "threads": threads, "error": str(error)}
                    for threads in options.threads
                    for runtime in options.runtimes
                ]
            else:
                for threads in options.threads:
                    records += compare(case, options.runtimes, threads, protocol, directory, say)
        add_ratios(records)
        finish(records)
    return records


def run(
    title: str,
    notes: str,
    body: Callable[[Callable[[list[dict]], None], argparse.Namespace], list[dict]],
    options: argparse.Namespace,
) -> int:
    """The script's exit code: 1 where anything failed. Results are written after every workload."""

    def finish(records: list[dict]) -> None:
        report.write(title, notes, records, asdict(protocol_of(options)), options.output)

    try:
        records = body(finish, options)
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.output.with_suffix(".md").read_text())
    return int(any("error" in record for record in records))
