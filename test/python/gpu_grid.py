"""Convolutions of the grid through the passes of a GPU's recipes, and each kernel that comes out in the simulator.

Tests take a sample; all of it, in every type and on both targets, goes on where it was when it is started again:

    PYTHONPATH=test/python python -m gpu_grid /tmp/grid.jsonl
    PYTHONPATH=test/python python -m gpu_grid /tmp/gemm.jsonl --presets cuda-sm80/gemm cuda-sm90/f16-gemm
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from convolution_cases import grid
from convolution_modules import Case, Cases
from gpu_cases import error, kernel
from gpu_regions import regions
from gpu_simulator import run
from iree.compiler import ir
from traced import write_linalg
from workload_reference import evaluate, random_tensors

from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.ir import build

# By how much results may be off, by what stands before the name of a recipe.
TOLERANCES = {"tf32": 2e-3, "f16": 1e-3, "bf16": 8e-3}
EXACT = 1e-5
RECIPES = ("auto", "tf32-auto", "f16-auto", "bf16-auto")
PRESETS = [f"{target}/{recipe}" for recipe in RECIPES for target in ("cuda-sm80", "cuda-sm90")]
_TOGETHER = 6


def cases() -> list[Case]:
    """The grid, every convolution by whatever primitive the recipe takes."""
    dense = (case for case in grid() if not case.primitive.startswith("sparse"))
    return list(dict.fromkeys(replace(case, primitive="implicit-gemm") for case in dense))


def modules(chosen: Sequence[Case]) -> list[Sequence[Case]]:
    return [chosen[start : start + _TOGETHER] for start in range(0, len(chosen), _TOGETHER)]


def imported(chosen: Sequence[Case], folder: Path) -> Path:
    """Some cases as one module, linalg on tensors."""
    module, path = Cases(tuple(chosen)).eval(), folder / "module.mlirbc"
    write_linalg(module, module.example_inputs, path, "grid")
    return path


def kernels(path: Path, preset: str) -> tuple[dict[Workload, AnySchedule], int]:
    """The workloads of the regions that have schedules for matrix instructions behind the passes of a preset; and how
    many layers there are that have none."""
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        parsed = ir.Module.parse(path.read_bytes())
        found: dict[Workload, AnySchedule] = {}
        by_threads = 0
        for _, root, workload, schedule in regions(parsed, preset):
            if isinstance(schedule, GpuSchedule):
                found[workload] = schedule
            else:
                by_threads += "dlas.primitive" in root.attributes
        left = by_threads + sum("dlas.primitive" in op.attributes for op in build.operations(parsed))
    return found, left


def worst_error(workload: Workload, schedule: AnySchedule) -> float:
    """The largest error of a kernel's results in the simulator, over the largest value."""
    tensors, worst = random_tensors(workload), 0.0
    with ir.Context():
        results = run(kernel(workload, schedule), tensors)
    for got, want in zip(results, evaluate(workload, tensors), strict=True):
        unwritten = np.isnan(want)
        got = np.where(unwritten, np.nan, got.astype(np.float64))
        worst = max(worst, error(got[~unwritten], want[~unwritten].astype(np.float64)))
    return worst


def tolerance_of(preset: str) -> float:
    """By how much the results of a preset's kernels may be off, over the largest value."""
    return TOLERANCES.get(preset.split("/")[1].partition("-")[0], EXACT)


def main() -> int:
    """Run what the file of results does not have yet; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a file of JSON, one line for each module and preset")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--every", type=int, default=1, help="of so many modules one (default: all)")
    options = parser.parse_args()
    known = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.is_file() else []
    done = {(row["module"], row["preset"]) for row in known}
    with options.results.open("a") as file:
        for row in _rows(options, done):
            known.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(row["module"], row["preset"], len(row["kernels"]), "kernels", *row["wrong"], flush=True)
    for preset in options.presets:
        own = [row for row in known if row["preset"] == preset]
        of = [number for row in own for number in row["kernels"]]
        print(preset, f"{len(own)} modules, {len(of)} kernels, the worst {max(of, default=0):.1e}", flush=True)
    return int(any(row["wrong"] for row in known))


def _rows(options: argparse.Namespace, done: set[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    for number, chosen in list(enumerate(modules(cases())))[:: options.every]:
        left = [preset for preset in options.presets if (number, preset) not in done]
        if not left:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = imported(chosen, Path(folder))
            for preset in left:
                yield {"module": number, "preset": preset, **_checked(path, preset)}


def _checked(path: Path, preset: str) -> dict[str, Any]:
    start, errors, wrong = time.process_time(), [], []
    tolerance = tolerance_of(preset)
    found, left = kernels(path, preset)
    for workload, schedule in found.items():
        try:
            errors.append(worst_error(workload, schedule))
        except AssertionError as problem:
            wrong.append(f"{type(problem).__name__}: {problem}: {schedule.to_json()} {workload.to_json()}")
            continue
        if not errors[-1] <= tolerance:
            wrong.append(f"off by {errors[-1]:.1e}: {schedule.to_json()} {workload.to_json()}")
    return {"kernels": errors, "left": left, "wrong": wrong, "seconds": round(time.process_time() - start, 1)}


if __name__ == "__main__":
    sys.exit(main())
