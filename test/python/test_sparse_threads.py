"""Sparse weights of 16 and 32 bits on the threads of GPUs: right on a Vulkan device, what PTX they become, and what is
not sparse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from iree.compiler import ir
from ptx import assemble, ptxas, text_of
from workload_reference import evaluate, random_tensors

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.schedule import AnySchedule, ScheduleError
from dlas_mlir.codegen.simt import nonzeros
from dlas_mlir.codegen.target import AnyTarget, GpuTarget
from dlas_mlir.codegen.workload import (
    Access,
    Computed,
    Constant,
    Loop,
    Output,
    Sparsity,
    Stage,
    Step,
    Tensor,
    Workload,
)
from dlas_mlir.codegen.write_workload import arguments_of, build_workload, sparse_weights
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.launches import read_program
from dlas_mlir.runtime.session import Session


def target(name: str) -> AnyTarget:
    return load_preset(f"{name}/auto").target


def contraction(element: str, block: int, nonzeros: int, channels: tuple[int, int] = (6, 8), size: int = 7) -> Workload:
    """A 3x3 convolution of [1, C, H, W] with sparse weights of `element`, a bias and a residual in float32 and in
    `element`; nothing negative is left, and it is rounded to `element`."""
    (c, k), out, whole = channels, size, size + 2
    none = (0,) * 4
    shape = (1, k, out, out)
    image = Access(0, ("n", "c", "oh + r", "ow + s"), (1, c, whole, whole), none)
    weights = Access(1, ("k", "c", "r", "s"), (k, c, 3, 3), none)
    extended = [] if element == "f32" else [Step("arith.extf", (f"in{i}",), "f32") for i in (0, 1)]
    product = Step("arith.mulf", ("%0", "%1") if extended else ("in0", "in1"), "f32")
    total = Step("arith.addf", ("init", f"%{len(extended)}"), "f32")
    body = (*extended, product, total)
    root = Stage((image, weights), (element,) * 2, Constant("0.0 : f32"), "f32", body, f"%{len(body) - 1}")
    residual = Access(3, ("n", "k", "oh", "ow"), shape, none)
    items = (Computed(0), Access(2, ("k",), (k,), (0,)), residual)
    steps = [Step("arith.addf", ("in0", "in1"), "f32")]
    steps += [] if element == "f32" else [Step("arith.extf", ("in2",), "f32")]
    steps.append(Step("arith.addf", ("%0", "in2" if element == "f32" else "%1"), "f32"))
    steps.append(Step("arith.maximumf", (f"%{len(steps) - 1}", "0.0 : f32"), "f32"))
    if element != "f32":
        steps.append(Step("arith.truncf", (f"%{len(steps) - 1}",), element))
    end = Stage(items, ("f32", "f32", element), None, element, tuple(steps), f"%{len(steps) - 1}")
    loops = {"n": 1, "k": k, "oh": out, "ow": out}
    window = {"c": c, "r": 3, "s": 3}
    tensors = ((1, c, whole, whole), element), ((k, c, 3, 3), element), ((k,), "f32"), (shape, element)
    return Workload(
        tuple(Loop(name, extent, "parallel") for name, extent in loops.items())
        + tuple(Loop(name, extent, "reduction") for name, extent in window.items()),
        tuple(loops),
        tuple(Tensor(*tensor) for tensor in tensors),
        (root, end),
        (Output(1, none, none, None, shape, none),),
        Sparsity(block, nonzeros),
    )


CASES = {
    "csr": contraction("f16", 1, 60),
    "blocks of two": contraction("f16", 2, 33),
    "blocks of four": contraction("f16", 4, 20),
    "blocks of eight, one of them": contraction("f16", 8, 1),
    "nothing left": contraction("f16", 4, 0),
    "float32": contraction("f32", 4, 20),
}
TOLERANCES = {"f32": 1e-5, "f16": 1e-3}


def schedules(workload: Workload, device: AnyTarget) -> list[AnySchedule]:
    """The rule's, the naive one, and two that share the non-zeros of a block out over threads."""
    backend, naive = backends.backend_for(workload, device), nonzeros.naive(workload, device)  # type: ignore[arg-type]
    block = naive.tile_of("k")
    shared = [
        dataclasses.replace(naive, threads=threads, across=(("c", count),), tile=tile)
        for threads, count, tile in ((64, 2, (("k", block), ("c", 3))), (48, 3, (("k", block), ("oh", 7))))
    ]
    found = [backend.schedule(one.to_value(), workload) for one in shared]
    assert [backend.problem(workload, one, device) for one in found] == [None, None]
    return [backend.rule(workload, device), naive, *found]


SCHEDULES = 4


@pytest.fixture(scope="module")
def results(vulkan, tmp_path_factory) -> dict[str, list[np.ndarray]]:
    """What schedules of each case give; all are one module."""
    folder, device = tmp_path_factory.mktemp("sparse"), target("vulkan-ada")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(folder / "cache"))
        with ir.Context(), ir.Location.unknown():
            module = ir.Module.create()
            for number, workload in enumerate(CASES.values()):
                assert backends.backend_for(workload, device).kind == "simt"
                for place, one in enumerate(schedules(workload, device)):
                    module.body.append(build_workload(workload, f"f{number}_{place}", one))
            path = folder / "kernels.mlirbc"
            with path.open("wb") as file:
                module.operation.write_bytecode(file)
        imported = Imported("kernels", file_digest(path), path, 0, 0, None)
        artifact = compile_imported(imported, load_preset("vulkan-ada/f16-auto"), mlir_out=folder / "kernels.mlir")
        assert (folder / "kernels.mlir").read_text().count("= flow.dispatch @threads_") == SCHEDULES * len(CASES)
        found: dict[str, list[np.ndarray]] = {}
        for number, (name, workload) in enumerate(CASES.items()):
            tensors = random_tensors(workload)
            arrays = [tensors[place] for place in arguments_of(workload)]
            for place in range(SCHEDULES):
                session = Session(artifact.vmfb, resolve("vulkan"), function=f"f{number}_{place}")
                found.setdefault(name, []).extend(session(*arrays))
                session.close()
        return found


@pytest.mark.parametrize("name", CASES)
def test_results(results, name: str) -> None:
    workload = CASES[name]
    tensors = random_tensors(workload)
    tensors[1] = sparse_weights(workload)
    (wanted,) = evaluate(workload, tensors)
    assert len(results[name]) == SCHEDULES
    for found in results[name]:
        assert found.dtype == wanted.astype(found.dtype).dtype
        scale = max(1.0, float(np.abs(wanted).max()))
        assert np.abs(found.astype(np.float64) - wanted).max() / scale < TOLERANCES[workload.tensors[0].element]


def test_which_sums_are_shared_out() -> None:
    """Over few pixels those of non-zeros are, where threads are busy they are not; those of taps cannot be."""
    device = target("cuda-sm90")
    assert isinstance(device, GpuTarget)
    few, many = contraction("f16", 4, 922, (64, 64), 14), contraction("f16", 4, 922, (64, 64), 448)
    assert nonzeros.rule(few, device).joined > 1
    assert nonzeros.rule(many, device).joined == 1
    backend, naive = backends.backend_for(few, device), nonzeros.naive(few, device)
    value = {**naive.to_value(), "across": {"r": 3}, "threads": 96}
    with pytest.raises(ScheduleError, match="across: `r`; the non-zeros that are shared out are those of `c`"):
        backend.schedule(value, few)


CONVERSIONS = {"f16": "cvt.f32.f16", "bf16": "shl.b32", "f32": None}
REAL = {element: contraction(element, 4, 922, (64, 64), 56) for element in CONVERSIONS}


def test_ptx(tmp_path) -> None:
    """Sums in registers, in float32; a block's values are loaded together."""
    device = target("cuda-sm90")
    assert isinstance(device, GpuTarget)
    chosen = [(workload, nonzeros.rule(workload, device)) for workload in REAL.values()]
    text = text_of(chosen, device, tmp_path)
    entries = text.split(".visible .entry ")[1:]
    assert len(entries) == len(REAL)
    for entry, (element, conversion) in zip(entries, CONVERSIONS.items(), strict=True):
        assert ".local" not in entry, element
        assert "fma.rn.f32" in entry, element
        assert conversion is None or conversion in entry, element
    if ptxas() is None:
        return
    found, _ = assemble(text, device.architecture, tmp_path)
    assert [kernel for kernel in found if kernel.stack or kernel.spilled] == []


def test_where_non_zeros_are_is_in_memory_when_kernels_are_timed(tmp_path) -> None:
    """Where a kernel reads, and how often, is what a constant says: noise in its place would be read anywhere."""
    device, workload = target("cuda-sm90"), contraction("f16", 4, 20)
    text_of([(workload, nonzeros.rule(workload, device))], device, tmp_path)  # type: ignore[arg-type]
    program = read_program(tmp_path / "kernels.vmfb")
    (launch,) = program.launches
    (name,) = program.constants
    assert name in {binding.buffer for binding in launch.bindings}
    (kept,) = (binding for binding in launch.bindings if binding.buffer == name)
    content = program.content(name)
    assert content is not None
    assert len(content) >= kept.offset + kept.length
    blocks = sparse_weights(workload).reshape(2, 4, -1).any(axis=1).sum(axis=1)
    assert np.array([0, blocks[0], 20], np.int32).tobytes() in content
    assert program.content("slot 0") is None


@pytest.mark.parametrize(
    ("name", "element", "message"),
    [
        ("vulkan", "bf16", "vulkan does not compute with bf16"),
        ("vulkan-ada", "bf16", "vulkan-ada does not compute with bf16"),
        ("x86-64-avx2", "f16", "its weights are sparse, and it multiplies f16 and f16"),
    ],
)
def test_what_a_target_does_not_multiply(name: str, element: str, message: str) -> None:
    with pytest.raises(LookupError, match=message):
        backends.backend_for(contraction(element, 4, 20), target(name))
