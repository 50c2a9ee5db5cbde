"""The schedules that know nothing of the machine but its vectors and threads: legal and right for every workload."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from iree.compiler import ir
from test_workloads import NAMES, PINNED, cpu, host_code, layer, target_of, workload_of

from dlas_mlir.codegen.backends import backend_for
from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.frontend.workload_import import with_zeros
from dlas_mlir.compiler.presets import Preset, host
from dlas_mlir.ir import build
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

# What the CPU must have for kernels with these instructions.
NEEDED = {"vpdpbusd": "avx512_vnni", "vdpbf16ps": "avx512_bf16"}


def naive(workload: Workload, target: CpuTarget):
    return backend_for(workload, target).naive(workload, target)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_it_is_legal_and_plain(pinned, threads):
    workload = workload_of(pinned)
    target = dataclasses.replace(target_of(pinned), threads=threads)
    schedule = naive(workload, target)
    assert backend_for(workload, target).problem(workload, schedule, target) is None
    # A vector of results at a time, or one for each channel of a block of sparse weights.
    assert schedule.accumulators(workload) == (workload.sparsity.block if workload.sparsity else 1)
    natural = [loop for loop in (*workload.parallel, *workload.reductions) if workload.extents[loop] > 1]
    assert workload.sparsity or list(schedule.order) == natural
    parts = math.prod(-(-workload.extents[loop] // part) for loop, part in schedule.distribute)
    assert len(schedule.distribute) == (threads > 1)
    assert threads // 2 < parts <= threads


def test_the_outermost_loop_that_is_long_enough_is_shared_out():
    workload = layer("resnet18 3x3 64->64 @56")
    target = cpu("x86-64-avx512")
    found = {n: naive(workload, dataclasses.replace(target, threads=n)).distribute for n in (1, 2, 4, 8, 64)}
    # 4 blocks of channels, 56 rows, 56 columns, 16 channels in a vector.
    assert found == {1: (), 2: (("kb", 2),), 4: (("kb", 1),), 8: (("oh", 7),), 64: ()}


def compiled(name: str, functions: dict[str, Workload], target: CpuTarget | None, preset: Preset, path: Path) -> Path:
    """The .vmfb of a function for each workload: with its naive schedule, or (no `target`) as iree-compile does it."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        for function, workload in functions.items():
            schedule = naive(workload, target) if target else None
            module.body.append(build_workload(workload, function, schedule))
        for op in [] if target else build.operations(module):
            if op.name == "flow.dispatch.region":
                dissolve(op)
        with (path / f"{name}.mlirbc").open("wb") as file:
            module.operation.write_bytecode(file)
    source = path / f"{name}.mlirbc"
    return compile_imported(Imported(name, file_digest(source), source, 0, 0, None), preset).vmfb


def test_it_computes_what_iree_compile_does(tmp_path):
    features = host.cpu_features()
    workloads = {
        f"layer{number}": workload
        for number, workload in enumerate(map(workload_of, PINNED))
        if workload.root.dot is None or NEEDED[workload.root.dot] in features
    }
    assert len(workloads) >= len(PINNED) - len(NEEDED)
    ours = compiled("naive", workloads, cpu("x86-64-avx512", 2), host_code("auto"), tmp_path)
    stock = dataclasses.replace(host_code("stock"), pipeline="builtin.module(dlas-legalize-linalg)")
    plain = compiled("plain", workloads, None, stock, tmp_path)
    for function, workload in workloads.items():
        session = Session(ours, resolve("local"), function=function)
        inputs = with_zeros(workload, [kind.example(seed) for seed, kind in enumerate(session.inputs)])
        wanted = Session(plain, resolve("local"), function=function)(*inputs)
        for found, right in zip(session(*inputs), wanted, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4, err_msg=function)
