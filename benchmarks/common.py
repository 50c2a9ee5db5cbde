"""What the scripts share: their options, the loop over workloads, and how they end."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.peers import OTHERS, module_of
from benchmarks.rounds import compare, start
from benchmarks.stats import add_ratios
from benchmarks.worker import Worker
from benchmarks.workload import Case
from dlas_mlir.benchmark.bench import peak_gflops
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.rounds import Protocol

ROOT = Path(__file__).resolve().parents[1]
# So small that what it takes is the runtime's cost of a call.
NOTHING = "conv -c 16 -k 16"
NOTES = (
    "Batch 1 (`_n8`: 8), fp32. Median ± half the interquartile range of one call from Python, in ms. Runtimes "
    "take turns in processes of their own, pinned to as many CPUs as there are threads; outputs are "
    "checked against PyTorch's before anything is timed; ~ marks times that other processes disturbed. In "
    "brackets: percent of the FMA peak, measured on as many threads."
)
LAYER_NOTES = (
    f"{NOTES} A runtime's cost of a call (`overhead_ms` in the JSON file, measured in the same process on a "
    "1x1 convolution of one pixel) has been taken off."
)


def parser(
    description: str,
    stem: str,
    presets: list[str],
    turn: float,
    *,
    others: tuple[str, ...] = OTHERS,
    threads: tuple[int, ...] = (1, 2),
) -> argparse.ArgumentParser:
    """The options that all scripts have; `presets` and `others` are compared on `threads` unless told otherwise."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [*presets, *others]
    add = result.add_argument
    add("--runtimes", nargs="+", default=default, help=f"presets and runtimes (default: {' '.join(default)})")
    counts = " ".join(map(str, threads))
    add("--threads", nargs="+", type=int, default=[*threads], help=f"numbers of threads (default: {counts})")
    add("--rounds", type=int, default=10, help="turns of each runtime (default: %(default)s)")
    add("--retries", type=int, default=3, help="of a disturbed turn (default: %(default)s)")
    add("--turn", type=float, default=turn, help="seconds of a turn, after its warm-up (default: %(default)s)")
    add(
        "--settle",
        type=float,
        default=0.05,
        help="seconds of rest before it (default: %(default)s)",
    )
    add("--output", type=Path, default=Path(stem), help="files to write, without .json (default: %(default)s)")
    return result


def _protocol(options: argparse.Namespace) -> Protocol:
    if options.rounds < 1 or min(options.retries, options.turn, options.settle) < 0:
        raise DlasError("--rounds must be at least 1; --retries, --turn and --settle must not be negative")
    for runtime in options.runtimes:
        module_of(runtime)
    return Protocol(
        rounds=options.rounds,
        max_rounds=2 * options.rounds,
        retries=options.retries,
        min_seconds=options.turn,
        settle_seconds=options.settle,
    )


def export(
    specs: list[str], directory: Path, say: Callable[[str], None], *, quantize: bool = False
) -> dict[str, Case | str]:
    """`workload.prepare` of each, or what went wrong, in a process that keeps torch out of this one."""
    flags = ["--quantize"] if quantize else []
    command = [sys.executable, "-m", "benchmarks.workload", *flags, str(directory), *specs]
    found: dict[str, Case | str] = {}
    single = os.environ | {"OMP_NUM_THREADS": "1"}  # on a busy machine OpenMP's barriers cost more than they gain
    log = directory / "export.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, cwd=ROOT, env=single, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            spec = answer["spec"]
            found[spec] = answer["error"] if "error" in answer else Case(**answer)
            say(f"exported {spec}" + (f": {answer['error']}" if "error" in answer else ""))
    last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
    return {spec: found.get(spec, f"the export ended with code {process.returncode}: {last}") for spec in specs}


def measure(
    specs: list[str],
    options: argparse.Namespace,
    finish: Callable[[list[dict]], None],
    *,
    net: bool,
    quantize: bool = False,
) -> list[dict]:
    """Compare every workload at every number of threads; `finish` sees all records so far after each.

    With `net` the runtimes' processes stay for all workloads, and their cost of a call is taken off the
    times; else each workload has fresh processes. With `quantize` there is each workload in integers too.
    """
    protocol = _protocol(options)
    console = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    records: list[dict] = []
    with tempfile.TemporaryDirectory(prefix="dlas-bench-") as name:
        directory = Path(name)
        cases = export([NOTHING, *specs] if net else specs, directory, say, quantize=quantize)
        for threads in options.threads:
            say(f"threads {threads}: measuring the peak")
            peak = peak_gflops(threads)
            workers = start(options.runtimes, threads, directory)
            try:
                overheads = _overheads(workers, cases[NOTHING], protocol, say) if net else {}
                for number, spec in enumerate(specs):
                    for worker in workers:
                        if not worker.alive or (number and not net):
                            worker.renew()
                    case = cases[spec]
                    if isinstance(case, str):
                        records += [_failed(spec, worker, case) for worker in workers]
                    else:
                        records += [_of_peak(r, peak) for r in compare(workers, case, protocol, say, overheads)]
                    add_ratios(records)
                    finish(records)
            finally:
                for worker in workers:
                    worker.stop()
    return records


def _of_peak(record: dict, peak: float | None) -> dict:
    """`record` with its percentage of the machine's `peak` (GFLOP/s), where both are known."""
    if peak is None or "gflops" not in record:
        return record
    return record | {"peak_gflops": peak, "percent_of_peak": 100 * record["gflops"] / peak}


def _failed(spec: str, worker: Worker, message: str) -> dict:
    return {
        "workload": spec,
        "spec": spec,
        "runtime": worker.runtime,
        "threads": worker.threads,
        "error": message,
    }


def _overheads(
    workers: list[Worker], nothing: Case | str, protocol: Protocol, say: Callable[[str], None]
) -> dict[str, float]:
    """Milliseconds that each runtime takes for next to nothing; a runtime that fails at it has none."""
    if isinstance(nothing, str):
        raise DlasError(f"{NOTHING}: {nothing}")
    records = compare(workers, nothing, protocol, say)
    for record in records:
        if "error" in record:
            say(f"{record['runtime']}: its cost of a call stays in: {record['error']}")
    return {r["runtime"]: r["median_ms"] for r in records if "median_ms" in r}


def run(
    title: str,
    specs: list[str],
    options: argparse.Namespace,
    *,
    net: bool,
    quantize: bool = False,
    notes: str | None = None,
    extra: Callable[[list[dict]], report.Extra] | None = None,
) -> int:
    """Measure, writing the results after every workload; the exit code is 1 where anything failed."""

    def finish(records: list[dict]) -> None:
        more = extra(records) if extra else report.Extra()
        text = notes or (LAYER_NOTES if net else NOTES)
        report.write(title, text, records, asdict(_protocol(options)), options.output, more)

    # As an exception, so that processes are ended and exported models deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        records = measure(specs, options, finish, net=net, quantize=quantize)
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.output.with_name(options.output.name + ".md").read_text())
    return int(any("error" in record for record in records))
