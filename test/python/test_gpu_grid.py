"""Convolutions of the grid and layers of networks, through the passes of a GPU's recipes: each kernel that comes out
computes, in the simulator, what NumPy makes of its workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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

TOLERANCES = {"auto": 1e-5, "tf32-auto": 2e-3, "f16-auto": 1e-3, "bf16-auto": 8e-3}


def kernels(module: Any, preset: str, folder: Path) -> tuple[dict[Workload, AnySchedule], int]:
    """The workloads of the regions that have schedules for matrix instructions behind the passes of a preset; and how
    many layers there are that have none."""
    path = folder / "module.mlirbc"
    write_linalg(module, module.example_inputs, path, "grid")
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


def check(workload: Workload, schedule: AnySchedule, tolerance: float) -> None:
    tensors = random_tensors(workload)
    with ir.Context():
        results = run(kernel(workload, schedule), tensors)
    for got, want in zip(results, evaluate(workload, tensors), strict=True):
        unwritten = np.isnan(want)
        got = np.where(unwritten, np.nan, got.astype(np.float64))
        assert error(got[~unwritten], want[~unwritten].astype(np.float64)) < tolerance, (workload.loops, schedule)


def cases() -> list[Case]:
    """Those that have other operations behind them, of all kinds, and small ones."""
    found = [replace(case, primitive="implicit-gemm") for case in grid() if case.primitive == "implicit-gemm"]
    return [case for case in found if case.macs < 1_500_000]


def modules(every: int) -> list[Sequence[Case]]:
    chosen = cases()[::every]
    return [chosen[start : start + 6] for start in range(0, len(chosen), 6)]


@pytest.mark.parametrize(
    "preset", ["cuda-sm80/f16-auto", "cuda-sm90/f16-auto", "cuda-sm80/auto", "cuda-sm90/tf32-auto"]
)
@pytest.mark.parametrize("chosen", modules(7), ids=lambda chosen: f"from-{chosen[0].inputs}-to-{chosen[0].outputs}")
def test_grid(preset: str, chosen: Sequence[Case], tmp_path) -> None:
    found, left = kernels(Cases(tuple(chosen)).eval(), preset, tmp_path)
    assert len(found) >= len(chosen) - 1
    for workload, schedule in found.items():
        check(workload, schedule, TOLERANCES[preset.split("/")[1]])
    # What is left over has few channels that no 16 bytes hold.
    assert left <= len(chosen)
