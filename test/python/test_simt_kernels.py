"""Kernels of GPU threads: right on a Vulkan device, in vectors in PTX, and schedules that name what is wrong."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from iree.compiler import ir
from kernel_cases import run_cases
from ptx import assemble, ptxas, text_of
from simt_cases import KERNELS, Kernel, Read, depthwise, direct, pool
from test_kernels import CASES

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import resources, schedule, space
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

# Schedules of each kernel beside the rule's.
SAMPLES = 1


def target(name: str) -> GpuTarget:
    found = load_preset(f"{name}/auto").target
    assert isinstance(found, GpuTarget)
    return found


def schedules(kernel: Kernel) -> Iterator[SimtSchedule]:
    """The rule's, and others with another order of loops."""
    workload, vulkan = kernel.workload(), target("vulkan")
    others = list(space.regular(workload, vulkan))
    yield space.rule(workload, vulkan)
    for one in random.Random(len(kernel.name)).sample(others, min(SAMPLES, len(others))):
        inner = [loop for loop in one.order if loop not in workload.reductions]
        turned = (*reversed(inner), *(loop for loop in one.order if loop in workload.reductions))
        yield dataclasses.replace(one, order=turned)


@pytest.fixture(scope="module")
def results(vulkan, tmp_path_factory):
    """What each schedule of each kernel gives; all are one module."""
    folder = tmp_path_factory.mktemp("simt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        with ir.Context(), ir.Location.unknown():
            module, names = ir.Module.create(), []
            for kernel in KERNELS:
                for number, one in enumerate(schedules(kernel)):
                    names.append((kernel, f"{kernel.name}_{number}"))
                    module.body.append(build_workload(kernel.workload(), names[-1][1], one))
            path = folder / "kernels.mlirbc"
            with path.open("wb") as file:
                module.operation.write_bytecode(file)
        imported = Imported("kernels", file_digest(path), path, 0, 0, None)
        artifact = compile_imported(imported, load_preset("vulkan/auto"), mlir_out=folder / "kernels.mlir")
        assert (folder / "kernels.mlir").read_text().count("= flow.dispatch @threads_") == len(names)
        found: dict[str, list[np.ndarray]] = {}
        for kernel, name in names:
            session = Session(artifact.vmfb, resolve("vulkan"), function=name)
            found.setdefault(kernel.name, []).extend(session(*kernel.arrays()))
            session.close()
        yield found


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_any_schedule_computes_what_numpy_does(results, kernel: Kernel) -> None:
    wanted = kernel.expected(kernel.arrays())
    assert len(results[kernel.name]) >= 2
    for found in results[kernel.name]:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


# Cases of the CPU's kernels that become kernels of threads wholly; iree-compile has no code for the rest on Vulkan.
@pytest.fixture(scope="module")
def outcomes(vulkan, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run_cases(SMALL, tmp_path_factory.mktemp("cases"), "vulkan")


SMALL = [case for case in CASES if case.name in set((Path(__file__).parent / "simt_cases.txt").read_text().split())]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_small_functions(outcomes, case) -> None:
    expected = case.expected(*case.arrays())
    expected = expected if isinstance(expected, tuple) else (expected,)
    # Those that follow each other may be one launch.
    assert 1 <= outcomes[case.name].kernels <= case.kernels
    for found, wanted in zip(outcomes[case.name].arrays, expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


HALF = [
    depthwise("half", 64, element="f16"),
    depthwise("half_stride", 64, stride=2, element="f16"),
    dataclasses.replace(pool("half_pool", "maximum", 64, 3, 2, 1), element="f16"),
]
FULL = [depthwise("full", 64), direct("stem", (3, 32), stride=2), pool("max_pool", "maximum", 64, 3, 2, 1)]


def _ptx(folder: Path) -> tuple[str, list[tuple[Kernel, SimtSchedule]]]:
    cuda = target("cuda-sm80")
    chosen = [(kernel, space.rule(kernel.workload(), cuda)) for kernel in (*FULL, *HALF)]
    return text_of([(kernel.workload(), one) for kernel, one in chosen], cuda, folder), chosen


def test_ptx(tmp_path) -> None:
    text, chosen = _ptx(tmp_path)
    entries = text.split(".visible .entry ")[1:]
    assert len(entries) == len(chosen)
    for entry, (kernel, one) in zip(entries, chosen, strict=True):
        assert ".local" not in entry, kernel.name
        assert ".shared" not in entry, kernel.name
        assert "ld.global.nc.v4" in entry, kernel.name
        assert "st.global.v4" in entry, kernel.name
        assert f".maxntid {one.threads}, 1, 1" in entry
    assert [one.lanes for kernel, one in chosen if kernel in HALF] == [8] * len(HALF)


@pytest.mark.skipif(ptxas() is None, reason="ptxas is not installed: pip install -e '.[gpu-check]'")
def test_ptxas(tmp_path) -> None:
    text, chosen = _ptx(tmp_path)
    found, _ = assemble(text, "sm_80", tmp_path)
    assert len(found) == len(chosen)
    cuda = target("cuda-sm80")
    most = {number: resources.registers(kernel.workload(), one, cuda) for number, (kernel, one) in enumerate(chosen)}
    for one in found:
        number = int("".join(char for char in one.name.partition("dispatch")[0] if char.isdigit()))
        assert (one.stack, one.spilled) == (0, 0), one
        assert one.registers <= 2 * most[number], one


def mean(name: str, channels: int, size: int) -> Kernel:
    """The sum of an image, [H, W, C]."""
    image = Read((size, size, channels), ("r", "s", "k"))
    return Kernel(name, {"k": channels, "r": size, "s": size}, ("r", "s"), (image,), "sum")


def test_a_long_reduction_is_shared_by_threads_where_there_are_few_results(tmp_path) -> None:
    """As a mean over an image: its sum goes through shared memory, with one barrier."""
    cuda = target("cuda-sm80")
    few, many = mean("few", 32, 112).workload(), mean("many", 1 << 18, 8).workload()
    chosen = space.rule(few, cuda)
    assert chosen.joined >= 16
    assert space.rule(many, cuda).joined == 1
    text = text_of([(few, chosen)], cuda, tmp_path)
    assert text.count("bar.sync") == 1
    assert "st.shared.v4" in text
    assert "ld.shared.v4" in text
    assert ".local" not in text


def _across(across: dict[str, int], threads: int) -> dict:
    value = space.naive(mean("m", 8, 16).workload(), target("vulkan")).to_value()
    return {**value, "across": across, "threads": threads}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_across({"k": 2}, 32), "across: `k` is no reduction"),
        (_across({"r": 3}, 33), "across: 3 threads do not divide the 16 iterations of `r` into whole tiles"),
        (_across({"r": 16}, 40), "threads: 40; a multiple of the 16 that have a result together (across)"),
        (_across({"q": 2}, 32), "across: there is no loop `q`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_parts_of_a_reduction_name_the_key(value: dict, message: str) -> None:
    with pytest.raises(ScheduleError) as error:
        backends.read_schedule(value, mean("m", 8, 16).workload(), target("vulkan"))
    assert message in str(error.value)


def _changed(**changes) -> dict:
    workload = depthwise("d", 16).workload()
    return {**space.rule(workload, target("vulkan")).to_value(), **changes}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_changed(threads=0), "threads: expected at least 1, found 0"),
        (_changed(lanes=3), "lanes: 3 of `k`; a power of two up to 16, by which all is aligned"),
        (_changed(tile={"q": 2}), "tile: there is no loop `q`; there are `n`, `oh`, `ow`, `k`, `r`, `s`"),
        (_changed(tile={"r": 2}), "tile: 2 does not divide the 3 iterations of reduction `r`"),
        (_changed(tile={"oh": 10}), "tile: 10 iterations of `oh`; it has 9"),
        (_changed(tile={"k": 6}), "tile: 6 of `k`; a multiple of 4 lanes that divides 16"),
        (_changed(vector="r"), "vector: `r` is not one of the loops of the result, `n`, `oh`, `ow`, `k`"),
        (_changed(order=["oh"]), "order has `oh`; it must have each of `n`, `oh`, `ow`, `k`, `r`, `s` once"),
        (_changed(split=2), "Object contains unknown field `split`"),
        (_changed(kind="sparse"), "kind: this workload takes `simt` on a gpu target, not `sparse`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_schedule_names_the_key(value: dict, message: str) -> None:
    with pytest.raises(ScheduleError) as error:
        backends.read_schedule(value, depthwise("d", 16).workload(), target("vulkan"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 256}, "threads: 256; vulkan has 128 in a workgroup"),
        ({"lanes": 8, "tile": {"k": 8}}, "lanes: 8; vulkan has vectors of 4"),
        ({"tile": {"oh": 4, "ow": 4, "k": 4}}, "registers in a thread; vulkan has 64 for 32 threads"),
    ],
)
def test_what_does_not_fit_the_target_names_key_and_limit(changes: dict, message: str) -> None:
    workload = depthwise("d", 16).workload()
    chosen = schedule.read(_changed(**{"threads": 32, **changes}), workload)
    assert message in (resources.problem(workload, chosen, target("vulkan")) or "")


def test_what_a_target_does_not_compute_with() -> None:
    workload = depthwise("half", 16, element="bf16").workload()
    with pytest.raises(LookupError, match="vulkan does not compute with bf16"):
        backends.backend_for(workload, target("vulkan"))
    assert backends.backend_for(workload, target("cuda-sm80")).kind == "simt"
