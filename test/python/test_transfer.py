"""Transfer-tuning: schedules of one workload fitted to others, and a search among those of other models."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_workloads import NAMES, PINNED, cpu, layer, rule, target_of, workload_of

from dlas_mlir.codegen.backends import backend_for
from dlas_mlir.codegen.cpu.space import Space
from dlas_mlir.codegen.refit import Source, refit, refits
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def resized(workload: Workload, extents: dict[str, int]) -> Workload:
    """The workload with other extents: only its loops matter to a schedule."""
    loops = tuple(msgspec.structs.replace(loop, extent=extents.get(loop.name, loop.extent)) for loop in workload.loops)
    return msgspec.structs.replace(workload, loops=loops)


def problems(source: Source, workload: Workload, target: CpuTarget) -> list[str]:
    """Why any of the schedules that are fitted is not legal."""
    problem = backend_for(workload, target).problem
    found = list(refits(source, workload, target))
    assert found
    assert found[0] == refit(source, workload, target)
    return [why for schedule in found if (why := problem(workload, schedule, target) or schedule.problem(workload))]


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_a_schedule_fitted_to_its_own_workload_is_itself(pinned):
    workload, target = workload_of(pinned), target_of(pinned)
    start = rule(workload, target)
    assert refit(Source(workload, start, target.threads), workload, target) == start


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_what_is_fitted_is_legal_between_real_layers(pinned):
    workload, target = workload_of(pinned), target_of(pinned)
    family = [other for other in map(workload_of, PINNED) if other.family == workload.family]
    for other in family:
        for threads in (1, 2, 7):
            there = dataclasses.replace(target, threads=threads)
            assert problems(Source(workload, rule(workload, target), target.threads), other, there) == []


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(PINNED) - 1), st.integers(0, 10**6), st.data())
def test_what_is_fitted_is_legal_for_all_extents(number, seed, data):
    workload, target = workload_of(PINNED[number]), target_of(PINNED[number])
    rng = random.Random(seed)
    schedule = rule(workload, target) if workload.sparsity else Space(workload, target).sample(rng)
    held = workload.names[-1] if workload.root.dot or workload.sparsity else ""
    sizes = st.one_of(st.integers(1, 9), st.sampled_from([1, 3, 5, 7, 14, 16, 17, 28, 31, 32, 56, 64, 112, 113, 500]))
    extents = {name: data.draw(sizes, name) for name in workload.names if name != held}
    there = dataclasses.replace(target, threads=data.draw(st.sampled_from([1, 2, 3, 16])))
    other = workload if workload.sparsity else resized(workload, extents)
    assert problems(Source(workload, schedule, data.draw(st.sampled_from([1, 2, 8]))), other, there) == []


def test_tiles_become_divisors_and_parts_keep_their_number():
    target = cpu("x86-64-avx512")
    source = layer("resnet18 3x3 64->64 @56")
    schedule = Schedule.of(
        source,
        kind="cpu",
        vector="k",
        lanes=16,
        order=("n", "oh", "kb", "ow", "k", *source.reductions),
        distribute={"oh": 14},
        tile={"k": 16, "kb": 2, "ow": 8, "r": 3, "c": 4},
    )
    found = refit(Source(source, schedule), resized(source, {"oh": 21, "ow": 21}), target)
    # 8 columns of 21 would compute 24 and are 7; 4 parts of 21 rows are 6 each.
    assert dict(found.tile) == {"k": 16, "kb": 2, "ow": 7, "r": 3, "c": 4}
    assert dict(found.distribute) == {"oh": 6}
    # Peeled, they are two tiles and one of 5, whatever the extent.
    peeled = Source(source, dataclasses.replace(schedule, peel=("ow",)))
    found = refit(peeled, resized(source, {"oh": 21, "ow": 21}), target)
    assert (found.tile_of("ow"), found.peel) == (8, ("ow",))
    # Twice the threads: twice the parts.
    threads = dataclasses.replace(target, threads=2)
    assert dict(refit(Source(source, schedule), source, threads).distribute) == {"oh": 7}
    # A loop of one iteration there has its place by the rule's order.
    image = refit(Source(source, schedule), resized(source, {"n": 3}), target)
    assert image.order[0] == "n"
