"""Workloads that have a producer, whose results a kernel computes where it reads them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from iree.compiler import ir
from test_workloads import EACH, assert_all_give, cpu, rule, sampled, workload_in

from dlas_mlir.codegen.cpu.space import Space
from dlas_mlir.codegen.moves import moves
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.ir import build


@pytest.fixture
def context():
    with ir.Context() as context, ir.Location.unknown():
        yield context


# A depthwise sum over 3x3 pixels, of which every second is computed, and a product that reads it.
TALL = "n, kb, oh, ow, k"
DEPTHWISE, POINTWISE = f"{TALL}, r, s", f"{TALL}, cb, c"
A, T, P, M, Z = (f"tensor<{shape}xf32>" for shape in ("2x3x15x19x8", "3x3x3x8", "3x3x8x8", "2x3x7x9x8", "2x3x7x9x8"))
SUM = """
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    }"""
PAIR = f"""
func.func @main(%x: {A}, %t: {T}, %w: {P}) -> {Z} {{
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> ({Z}) {{
    %e = tensor.empty() : {M}
    %start = linalg.fill ins(%zero : f32) outs(%e : {M}) -> {M}
    %1 = linalg.generic {{dlas.loops = ["n", "kb", "oh", "ow", "k", "r", "s"], indexing_maps = [
        affine_map<({DEPTHWISE}) -> (n, kb, oh * 2 + r, ow * 2 + s, k)>, affine_map<({DEPTHWISE}) -> (kb, r, s, k)>,
        affine_map<({DEPTHWISE}) -> ({TALL})>],
        iterator_types = [{", ".join(['"parallel"'] * 5 + ['"reduction"'] * 2)}]}}
        ins(%x, %t : {A}, {T}) outs(%start : {M}) {{{SUM} -> {M}
    %f = tensor.empty() : {M}
    %2 = linalg.generic {{indexing_maps = [{EACH}, {EACH}],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}} ins(%1 : {M}) outs(%f : {M}) {{
    ^bb0(%p: f32, %o: f32):
      %s = arith.maximumf %p, %zero : f32
      linalg.yield %s : f32
    }} -> {M}
    %g = tensor.empty() : {Z}
    %begin = linalg.fill ins(%zero : f32) outs(%g : {Z}) -> {Z}
    %3 = linalg.generic {{dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "c"], indexing_maps = [
        affine_map<({POINTWISE}) -> (n, cb, oh, ow, c)>, affine_map<({POINTWISE}) -> (kb, cb, c, k)>,
        affine_map<({POINTWISE}) -> ({TALL})>],
        iterator_types = [{", ".join(['"parallel"'] * 5 + ['"reduction"'] * 2)}]}}
        ins(%2, %w : {M}, {P}) outs(%begin : {Z}) {{{SUM} -> {Z}
    flow.return %3 : {Z}
  }}
  return %y : {Z}
}}
"""


def test_any_legal_schedule_with_a_producer_computes_the_same(tmp_path, context):
    workload, schedules = sampled(PAIR, 0)
    assert {schedule.apart for schedule in schedules} == {True, False}
    draw = np.random.default_rng(0)
    x, w, t = (
        draw.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 15, 19, 8), (3, 3, 8, 8), (3, 3, 3, 8))
    )
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    made = np.maximum(np.einsum("nbhwkrs,brsk->nbhwk", windows, t), 0)
    wanted = np.einsum("nbhwc,kbcl->nkhwl", made, w)
    assert_all_give(workload, schedules, [w, x, t], wanted, tmp_path)


def test_a_producer_is_within_where_there_is_room(context):
    workload, _ = sampled(PAIR, 0)
    target = cpu("x86-64-avx2")
    found = rule(workload, target)
    assert found.producer is not None
    assert not found.apart
    space, value = Space(workload, target), found.to_value()
    assert Schedule.from_value(value, workload) == found
    assert Workload.from_json(workload.to_json()) == workload
    module = ir.Module.create()
    module.body.append(build_workload(workload, "layer", found))
    (region,) = (op for op in build.operations(module) if op.name == "flow.dispatch.region")
    assert read_workload(read_region(region)) == workload
    wide = dataclasses.replace(found.producer, tile=(("oh", 7), ("ow", 9), ("k", 8)))
    assert "producer: tile: 63 vectors" in (space.problem(dataclasses.replace(found, producer=wide)) or "")
    # With the blocks of results outermost all that is read would be computed at the start, and computed again.
    whole = Schedule.from_value({**value, "order": ["kb", "n", "oh", "ow", "k", "cb", "c"], "peel": []}, workload)
    assert space.problem(whole) is None
    larger = dataclasses.replace(whole, producer=None)
    assert larger.problem(workload) == "producer: a schedule of what computes tensor 0 is missing"
    assert space.problem(dataclasses.replace(found, prefetch=True)) is not None
    kinds = {move.kind for move in moves(workload, found, target)}
    assert "apart" in kinds
    parts = {str(move.schedule.to_value()["producer"]) for move in moves(workload, found, target)}
    assert len(parts) > 2


# A sum over two rows of an image whose columns are each read twice, and a product that reads it.
U, R, Q, V, RESULT = (f"tensor<{shape}xf32>" for shape in ("4x9x8", "4x2", "3x4", "4x8x14", "3x8x14"))
STRETCHED = f"""
func.func @main(%x: {U}, %t: {R}, %w: {Q}) -> {RESULT} {{
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> ({RESULT}) {{
    %e = tensor.empty() : {V}
    %start = linalg.fill ins(%zero : f32) outs(%e : {V}) -> {V}
    %1 = linalg.generic {{dlas.loops = ["c", "h", "w", "r"], indexing_maps = [
        affine_map<(c, h, w, r) -> (c, h + r, w floordiv 2)>, affine_map<(c, h, w, r) -> (c, r)>,
        affine_map<(c, h, w, r) -> (c, h, w)>],
        iterator_types = ["parallel", "parallel", "parallel", "reduction"]}}
        ins(%x, %t : {U}, {R}) outs(%start : {V}) {{{SUM} -> {V}
    %g = tensor.empty() : {RESULT}
    %begin = linalg.fill ins(%zero : f32) outs(%g : {RESULT}) -> {RESULT}
    %2 = linalg.generic {{dlas.loops = ["k", "h", "w", "c"], indexing_maps = [
        affine_map<(k, h, w, c) -> (c, h, w)>, affine_map<(k, h, w, c) -> (k, c)>,
        affine_map<(k, h, w, c) -> (k, h, w)>],
        iterator_types = ["parallel", "parallel", "parallel", "reduction"]}}
        ins(%1, %w : {V}, {Q}) outs(%begin : {RESULT}) {{{SUM} -> {RESULT}
    flow.return %2 : {RESULT}
  }}
  return %y : {RESULT}
}}
"""


def test_parts_may_begin_where_no_workgroup_of_the_producer_would(tmp_path, context):
    """In parts of four of 14 columns all would begin at even ones; workgroups of seven begin some at odd ones."""
    workload = workload_in(STRETCHED)
    alike = {"kind": "cpu", "vector": "w", "lanes": 4, "tile": {"w": 4}}
    made = {**alike, "order": ["c", "h", "w", "r"]}
    reading = {**alike, "order": ["w", "h", "k", "c"], "producer": made}
    schedules = {Schedule.from_value({**reading, "distribute": {"w": part}}, workload) for part in (6, 7, 10, 14)}
    space = Space(workload, cpu("x86-64-avx2"))
    assert [space.problem(schedule) for schedule in schedules] == [None] * 4
    draw = np.random.default_rng(0)
    w, x, t = (draw.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (4, 9, 8), (4, 2)))
    wide = np.repeat(x, 2, axis=2)[:, :, :14]
    summed = sum(wide[:, row : row + 8] * t[:, row, None, None] for row in range(2))
    assert_all_give(workload, schedules, [w, x, t], np.einsum("chw,kc->khw", summed, w), tmp_path)
