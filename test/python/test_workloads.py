"""Workloads and schedules as values: their text, the kernels made of them, the rule's choice of schedules."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from iree.compiler import ir
from test_strides import expressions

from dlas_mlir.codegen.backends import backend_for, read_schedule
from dlas_mlir.codegen.cpu.order import order, traffic
from dlas_mlir.codegen.cpu.space import Space, roles_of
from dlas_mlir.codegen.index import parse_form, print_form
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.replace import attached_schedule
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.sparse.nest import nest_of
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Access, Workload
from dlas_mlir.codegen.workload_file import read_file, write_file
from dlas_mlir.codegen.write_workload import build_workload, sparse_weights
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build
from dlas_mlir.ir.strides import form_of
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

# Layers of the zoo as `dlas-dump-workloads` writes them, each with the schedule that the rule gives it for a target.
PINNED = [json.loads(line) for line in (Path(__file__).parent / "workloads.jsonl").read_text().splitlines()]
NAMES = [pinned["name"] for pinned in PINNED]


def workload_of(pinned: dict) -> Workload:
    return Workload.from_json(json.dumps(pinned["workload"]))


def layer(name: str) -> Workload:
    return workload_of(PINNED[NAMES.index(name)])


def target_of(pinned: dict) -> CpuTarget:
    return cpu(pinned["target"], pinned["threads"])


def cpu(name: str, threads: int = 1) -> CpuTarget:
    target = load_preset(f"{name}/auto", threads=threads).target
    assert isinstance(target, CpuTarget)
    return target


def rule(workload: Workload, target: CpuTarget) -> Schedule:
    return backend_for(workload, target).rule(workload, target)


@pytest.fixture
def context():
    with ir.Context() as context, ir.Location.unknown():
        yield context


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_the_rule_schedules_real_layers_as_before(pinned):
    # A change of the rule shows here. Where it is meant, and measured, the file is written anew.
    assert rule(workload_of(pinned), target_of(pinned)).to_value() == pinned["schedule"]


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_the_rule_takes_the_cheapest_regular_tile(pinned):
    # How the work is shared out follows from the tile, and is left out here.
    workload = workload_of(pinned)
    target = dataclasses.replace(target_of(pinned), threads=1)

    def cost(schedule: Schedule) -> float:
        return backend_for(workload, target).cost(workload, dataclasses.replace(schedule, distribute=()), target)

    chosen = cost(rule(workload, target))
    assert chosen == pytest.approx(min(map(cost, backend_for(workload, target).regular(workload, target))))


def batched(workload: Workload, images: int) -> Workload:
    """The workload for as many images."""

    def sized(item):
        first = isinstance(item, Access) and item.index[0] == "n"
        return msgspec.structs.replace(item, shape=(images, *item.shape[1:])) if first else item

    root = workload.root
    root = msgspec.structs.replace(root, inputs=tuple(map(sized, root.inputs)))
    loops = (msgspec.structs.replace(workload.loops[0], extent=images), *workload.loops[1:])
    return msgspec.structs.replace(workload, loops=loops, stages=(root,), outputs=())


def test_weights_that_no_cache_holds_are_read_once_for_a_batch():
    target, tile = cpu("x86-64-sapphirerapids"), {"k": 16, "kb": 2, "ow": 7}

    def chosen(workload: Workload) -> tuple[str, ...]:
        return order(roles_of(workload, target), tile, target)[:3]

    workload = layer("resnet18 3x3 512->512 @7")
    assert chosen(workload) == ("n", "kb", "oh")
    assert chosen(batched(workload, 32)) == ("kb", "n", "oh")
    # What stays in the cache is shared out by images.
    assert chosen(batched(layer("resnet18 3x3 64->64 @56"), 32)) == ("n", "oh", "kb")
    # A tile's weights stay in the first-level cache, and rows go over them, or all blocks' would be read for each row.
    narrow = layer("mobilenetv2 1x1 320->1280 @7")
    assert order(roles_of(narrow, target), tile, target)[1:3] == ("kb", "oh")


def test_traffic_counts_what_does_not_stay_again():
    roles = roles_of(batched(layer("resnet18 3x3 512->512 @7"), 4), cpu("x86-64-avx512"))
    tile = {"k": 16, "ow": 7}
    weights, data = roles.weight_bytes, 4 * 32 * 9 * 9 * 16 * 4
    assert traffic(roles, ("n", "kb", "oh", "ow", "k"), tile, 1 << 40) == weights + data
    panel = weights // 32
    # One panel and the image stay: weights once for each image; with panels outside, the images once for each panel.
    assert traffic(roles, ("n", "kb", "oh", "ow", "k"), tile, panel + data) == 4 * weights + data
    assert traffic(roles, ("kb", "n", "oh", "ow", "k"), tile, panel + data // 2) == weights + 32 * data


@pytest.mark.parametrize("pinned", PINNED, ids=NAMES)
def test_a_workload_becomes_a_region_and_is_read_back(pinned, context):
    workload = workload_of(pinned)
    schedule = Schedule.from_value(pinned["schedule"], workload)
    module = ir.Module.create()
    module.body.append(build_workload(workload, "layer", schedule))
    module.operation.verify()
    (region,) = (op for op in build.operations(module) if op.name == "flow.dispatch.region")
    read = read_region(region)
    assert read_workload(read) == workload
    assert attached_schedule(read.root.op, workload) == schedule
    assert Workload.from_json(workload.to_json()) == workload
    assert Schedule.from_json(schedule.to_json(), workload) == schedule


def test_keys():
    names = ("resnet18 3x3 64->64 @56", "resnet18 3x3 128->128 @28")
    first, other = map(layer, names)
    assert first.family == other.family
    assert first.anchor != other.anchor
    # What is done to the result is no part of the anchor, and all of it of the exact key.
    bare = msgspec.structs.replace(first, stages=first.stages[:1], outputs=())
    assert bare.anchor == first.anchor
    assert bare.exact != first.exact
    assert layer("mobilenetv2 3x3 depthwise @14").family != first.family


@given(expressions())
@settings(max_examples=200, deadline=None)
def test_index_text_is_exact(expression):
    with ir.Context():
        form = form_of(expression())
    assert form is not None
    loops = ("oh", "ow", "k")
    text = print_form(form, loops)
    assert parse_form(text, loops) == form
    for positions in ((0, 0, 0), (1, 2, 3), (7, 5, 11)):
        value = eval(text, {"__builtins__": {}}, dict(zip(loops, positions, strict=True)))
        assert value == form.at(positions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oh + q", "`oh + q`: there is no loop `q`; there are oh, ow"),
        ("oh * ow", "only loops, whole numbers, +, -, * and // make an index"),
        ("oh // 0", "only loops, whole numbers"),
        ("oh +", "`oh +` is no expression of loops"),
        ("__import__('os')", "only loops, whole numbers"),
    ],
)
def test_wrong_index(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_form(text, ("oh", "ow"))


def test_the_rule_gives_each_thread_one_workgroup_where_that_is_even():
    def shared(name: str, threads: int) -> dict[str, int]:
        return dict(rule(layer(name), cpu("x86-64-avx512", threads)).distribute)

    rows, blocks = "resnet18 3x3 64->64 @56", "resnet18 3x3 512->512 @7"
    assert [shared(rows, threads) for threads in (2, 4, 7, 8)] == [{"oh": part} for part in (28, 14, 8, 7)]
    # Of 7 rows one thread would have one more: blocks of output channels are even.
    assert [shared(blocks, threads) for threads in (2, 4, 16)] == [{"kb": part} for part in (16, 8, 2)]
    # What is made for one thread can be run by four.
    assert shared(rows, 1) == {"oh": 14}


def test_the_nest_prints_as_loops():
    workload = layer("resnet18 3x3 64->64 @56")
    schedule = rule(workload, cpu("x86-64-avx512", 2))
    lines = str(Nest.of(workload, schedule)).splitlines()
    assert lines[0].startswith("for workgroup in oh by 28 (2)")
    assert "    for kb in 4 by 2" in lines
    assert any(line.strip() == "acc[2 kb][14 ow] x 16 lanes of k = 0.000000e+00 : f32" for line in lines)
    assert lines[-1].strip().startswith("store ")


def test_chunks_are_around_output_channels():
    workload = layer("sparse 3x3 64->64 @56")
    schedule = rule(workload, cpu("x86-64-avx512", 2))
    lines = [line.strip() for line in str(nest_of(workload, schedule)).splitlines()]
    around = ["for workgroup in oh by 28 (2)", "for oh in 28 by 4"]
    assert lines[:4] == [*around, "for chunk of 16 c in 64", "for k in 64"]


def test_sums_are_not_left_where_workgroups_overlap():
    workload = layer("sparse 3x3 64->64 @56")
    value = rule(workload, cpu("x86-64-avx512", 2)).to_value()
    nest = nest_of(workload, Schedule.from_value({**value, "distribute": {"oh": 9}}, workload))
    assert nest.workgroup[0].overlaps
    assert not nest.chunk
    assert nest.remark == "all of `c` is one chunk: the sums of one cannot be left in the result"
    assert not nest_of(workload, Schedule.from_value(value, workload)).remark


# What does not fit is named.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distribute": {"y": 2}}, "distribute: there is no loop `y`; there are `n`"),
        ({"tile": {"ow": 57}}, "tile: 57 iterations of `ow`; a workgroup has 56"),
        ({"tile": {"c": 5}}, "tile: 5 does not divide the 16 iterations of reduction `c`"),
        ({"vector": "c"}, "vector: `c` is not one of the loops of the result"),
        ({"unroll": 2}, "Object contains unknown field `unroll`"),
        ({"kind": "sparse"}, "kind: this workload takes `cpu` on a cpu target, not `sparse`"),
        ({"kind": "simt"}, "kind: this workload takes `cpu` on a cpu target, not `simt`"),
    ],
)
def test_wrong_schedule(change, message):
    workload = layer("resnet18 3x3 64->64 @56")
    target = cpu("x86-64-avx512")
    value = rule(workload, target).to_value()
    with pytest.raises(ScheduleError) as caught:
        read_schedule({**value, **change}, workload, target)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, "this is version 7 of a workload; this program reads 1"),
        ({"weights": []}, "Object contains unknown field `weights`"),
        (
            {"loops": [{"name": "n", "extent": "x", "kind": "parallel"}]},
            "Expected `int`, got `str` - at `$.loops[0].extent`",
        ),
        ({"loops": []}, "there is no loop"),
        ({"tensors": []}, "there is no tensor 0"),
    ],
)
def test_wrong_workload(tmp_path, change, message):
    path = tmp_path / "layer.json"
    path.write_text(json.dumps({"workload": {**PINNED[0]["workload"], **change}}))
    with pytest.raises(DlasError) as caught:
        read_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


# Kernels made of workloads alone.


def test_a_workload_file_is_a_model(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    workload = layer("mobilenetv2 3x3 depthwise @14")
    path = tmp_path / "layer.json"
    write_file(path, workload)
    assert read_file(path) == (workload, None)
    imported = import_model(str(path))
    assert imported.macs == workload.macs
    assert imported.golden is not None
    golden = np.load(imported.golden)
    assert str(golden["reference"]) == "iree-compile by itself"
    artifact = compile_imported(imported, host_code("auto"))
    assert len(artifact.dispatches) == 1
    (found,) = Session(artifact.vmfb, resolve("local"))(*(golden[f"input_{i}"] for i in range(len(workload.tensors))))
    np.testing.assert_allclose(found, golden["output_0"], rtol=1e-4, atol=1e-4)


def test_sparse_weights_have_as_many_blocks_as_the_workload_says():
    workload = layer("sparse 3x3 64->64 @56")
    assert workload.sparsity is not None
    assert np.count_nonzero(sparse_weights(workload)) == workload.sparsity.nonzeros * workload.sparsity.block


def host_code(recipe: str):
    """The widest target, as code for this machine's CPU."""
    preset = load_preset(f"x86-64-avx512/{recipe}")
    flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
    return dataclasses.replace(preset, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))


LOOPS = "n, kb, oh, ow, k, cb, r, s, c"
KINDS = ", ".join(['"parallel"'] * 5 + ['"reduction"'] * 4)
X, W, B, Y = (f"tensor<{shape}xf32>" for shape in ("1x3x9x11x6", "2x3x3x2x6x8", "2x8", "1x2x7x10x8"))
EACH = "affine_map<(n, kb, oh, ow, k) -> (n, kb, oh, ow, k)>"
SMALL = f"""
func.func @main(%x: {X}, %w: {W}, %b: {B}) -> {Y} {{
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> ({Y}) {{
    %e = tensor.empty() : {Y}
    %start = linalg.fill ins(%zero : f32) outs(%e : {Y}) -> {Y}
    %1 = linalg.generic {{dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "r", "s", "c"], indexing_maps = [
        affine_map<({LOOPS}) -> (n, cb, oh + r, ow + s, c)>, affine_map<({LOOPS}) -> (kb, cb, r, s, c, k)>,
        affine_map<({LOOPS}) -> (n, kb, oh, ow, k)>], iterator_types = [{KINDS}]}}
        ins(%x, %w : {X}, {W}) outs(%start : {Y}) {{
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    }} -> {Y}
    %f = tensor.empty() : {Y}
    %2 = linalg.generic {{indexing_maps = [{EACH}, affine_map<(n, kb, oh, ow, k) -> (kb, k)>, {EACH}],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}}
        ins(%1, %b : {Y}, {B}) outs(%f : {Y}) {{
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    }} -> {Y}
    flow.return %2 : {Y}
  }}
  return %y : {Y}
}}
"""
SAMPLES = 12


def workload_in(text: str) -> Workload:
    """That of the one region in a module."""
    module = ir.Module.parse(text)
    (region,) = (op for op in build.operations(module) if op.name == "flow.dispatch.region")
    return read_workload(read_region(region))


def sampled(text: str, seed: int) -> tuple[Workload, set[Schedule]]:
    """The workload of the one region in a module, and some of its legal schedules."""
    workload = workload_in(text)
    space = Space(workload, cpu("x86-64-avx2"))
    rng = random.Random(seed)
    schedules = {space.sample(rng) for _ in range(SAMPLES)}
    assert len(schedules) > SAMPLES // 2
    assert all(space.problem(schedule) is None for schedule in schedules)
    return workload, schedules


def assert_all_give(
    workload: Workload, schedules: set[Schedule], inputs: list[np.ndarray], wanted: np.ndarray, tmp_path: Path
) -> None:
    """Each schedule as a function of one module."""
    together = ir.Module.create()
    for number, schedule in enumerate(schedules):
        together.body.append(build_workload(workload, f"schedule{number}", schedule))
    path = tmp_path / "schedules.mlirbc"
    with path.open("wb") as file:
        together.operation.write_bytecode(file)
    preset = host_code("auto")
    artifact = compile_imported(Imported("schedules", file_digest(path), path, 0, 0, None), preset)
    for number in range(len(schedules)):
        (found,) = Session(artifact.vmfb, resolve("local"), function=f"schedule{number}")(*inputs)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_any_legal_schedule_computes_the_same(tmp_path, context):
    workload, schedules = sampled(SMALL, 0)
    draw = np.random.default_rng(0)
    x, w, b = (draw.standard_normal(tensor.shape).astype(np.float32) for tensor in workload.tensors)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), axis=(2, 3))
    wanted = np.einsum("nbhwcrs,kbrscl->nkhwl", windows, w) + b[None, :, None, None, :]
    assert_all_give(workload, schedules, [x, w, b], wanted, tmp_path)
