"""Poolings in the kernels of the products before them, run in NumPy by PTX's definitions; what is refused, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from gpu_cases import Conv, error, schedule, varied
from gpu_simulator import run
from iree.compiler import ir
from ptx import assemble, ptxas, text_of_module

from dlas_mlir.codegen.gpu.pooled_rule import pooled
from dlas_mlir.codegen.gpu.pooling import KIND, Pooling
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.replace import ScheduleFault
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.ir import build
from dlas_mlir.opt.base import PassError
from dlas_mlir.passes.dispatch.lower_dispatches import LowerDispatchesPass
from dlas_mlir.runtime.launches import read_program

WGMMA = "m64k16.f16.f32"


@dataclass(frozen=True)
class Pool:
    """A maximum (of the type that it reads), or a mean (in float32), over windows; `pad` pixels are read beyond each
    end."""

    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (2, 2)
    pad: int = 1
    mean: bool = False

    def out(self, conv: Conv) -> tuple[int, int]:
        """Rows and columns of the result."""
        spans = zip(conv.out, self.kernel, self.stride, strict=True)
        rows, columns = ((size + 2 * self.pad - k) // s + 1 for size, k, s in spans)
        return rows, columns

    def text(self, conv: Conv, value: str, chosen: str, attributes: str) -> tuple[str, str]:
        """Its region behind `value`, and the type of its result."""
        (h, w), (oh, ow), (kh, kw), (sh, sw) = conv.out, self.out(conv), self.kernel, self.stride
        n, k, kind, p = conv.batch, conv.channels[1], conv.result, self.pad
        total = "f32" if self.mean else kind
        lowest = {"f16": "0xFC00", "f32": "0xFF800000", "bf16": "0xFF80", "i8": "-128"}[total]
        lowest = "0.0" if self.mean else lowest
        read, result = f"tensor<{n}x1x{h}x{w}x{k}x{kind}>", f"tensor<{n}x1x{oh}x{ow}x{k}x{total}>"
        padded = f"tensor<{n}x1x{h + 2 * p}x{w + 2 * p}x{k}x{kind}>"
        pad = f"""
          %padded = tensor.pad {value} low[0, 0, {p}, {p}, 0] high[0, 0, {p}, {p}, 0] {{
          ^bb0(%i0: index, %i1: index, %i2: index, %i3: index, %i4: index):
            tensor.yield %outside : {kind}
          }} : {read} to {padded}"""
        wide = "%wide = arith.extf %p : f16 to f32" if self.mean and kind == "f16" else ""
        element = "%wide" if wide else "%p"
        most = "arith.maxsi" if kind == "i8" else "arith.maximumf"
        combine = f"arith.addf %o, {element}" if self.mean else f"{most} %o, {element}"
        names = '"n", "kb", "oh", "ow", "k", "r", "s"'
        kinds = ", ".join(['"parallel"'] * 5 + ['"reduction"'] * 2)
        loops = "n, b, oh, ow, k, r, s"
        mean = f"""
          %divided = linalg.generic {{indexing_maps = [affine_map<(n, b, h, w, k) -> (n, b, h, w, k)>,
              affine_map<(n, b, h, w, k) -> (n, b, h, w, k)>],
              iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}}
            ins(%reduced : {result}) outs(%e : {result}) {{
          ^bb0(%p: f32, %o: f32):
            %q = arith.divf %p, %count : f32
            linalg.yield %q : f32
          }} -> {result}"""
        return (
            f"""
        %start = arith.constant {lowest} : {total}
        %outside = arith.constant {lowest if not self.mean else "0.0"} : {kind}
        %count = arith.constant {float(kh * kw)} : f32
        %pooled = flow.dispatch.region -> ({result}) {{
          {pad if p else ""}
          %e = tensor.empty() : {result}
          %window = tensor.empty() : tensor<{kh}x{kw}x{kind}>
          %f = linalg.fill ins(%start : {total}) outs(%e : {result}) -> {result}
          %reduced = linalg.generic {{indexing_maps = [
              affine_map<({loops}) -> (n, b, oh * {sh} + r, ow * {sw} + s, k)>, affine_map<({loops}) -> (r, s)>,
              affine_map<({loops}) -> (n, b, oh, ow, k)>], iterator_types = [{kinds}]}}
            ins({"%padded" if p else value}, %window : {padded if p else read}, tensor<{kh}x{kw}x{kind}>)
            outs(%f : {result}) attrs = {{dlas.loops = [{names}], {attributes}
              dlas.schedule = {{kind = "{KIND}", tile = {chosen}}}}} {{
          ^bb0(%p: {kind}, %q: {kind}, %o: {total}):
            {wide}
            %m = {combine} : {total}
            linalg.yield %m : {total}
          }} -> {result}
          {mean if self.mean else ""}
          flow.return {"%divided" if self.mean else "%reduced"} : {result}
        }}""",
            result,
        )

    def expected(self, image: np.ndarray, conv: Conv) -> np.ndarray:
        """Of an image [N, 1, H, W, K], in double precision."""
        p, (sh, sw) = self.pad, self.stride
        filler = 0.0 if self.mean else -np.inf
        padded = np.pad(image, ((0, 0), (0, 0), (p, p), (p, p), (0, 0)), constant_values=filler)
        (oh, ow), (kh, kw) = self.out(conv), self.kernel
        taps = [
            padded[:, :, r : r + sh * (oh - 1) + 1 : sh, s : s + sw * (ow - 1) + 1 : sw]
            for r in range(kh)
            for s in range(kw)
        ]
        return np.mean(taps, axis=0) if self.mean else np.max(taps, axis=0)


def module(conv: Conv, chosen: GpuSchedule, pool: Pool, tile: str, chain: str = "dlas.chain = {chain = 0},") -> str:
    """A convolution and a pooling behind it, as one chain."""
    with ir.Context(), ir.Location.unknown():
        made = ir.Module.create()
        made.body.append(build_workload(conv.workload(), "main", chosen))
        text = str(made)
    value = re.search(r"return (%\w+) :", text.rpartition("flow.return")[2])
    assert value is not None
    region, result = pool.text(conv, value[1], tile, chain)
    head, _, tail = text.rpartition(f"    return {value[1]}")
    text = f"{head}{region}\n    return %pooled : {result}\n{tail.partition(chr(10))[2]}"
    text = re.sub(r"(func.func @main\(.*\)) -> tensor<[^>]*>", rf"\1 -> {result}", text)
    return text.replace("dlas.schedule = {halo", f"{chain} dlas.schedule = {{halo", 1)


def lowered(text: str) -> ir.Module:
    """What the passes make of it, in the current context."""
    with ir.Location.unknown():
        found = ir.Module.parse(text)
        LowerDispatchesPass().run(found)
    assert found.operation.verify()
    return found


CASES = {
    "a maximum with padding, two images": (
        varied(batch=2, size=(29, 33), channels=(8, 32), stride=(2, 2), pad=(0, 0, 0, 0)),
        schedule(128, 32, 32, 16, 3),
        Pool(),
        "{oh = 3, ow = 7}",
    ),
    "a stem, in patches of 256 pixels": (
        varied(size=(40, 44), kernel=(7, 7), channels=(8, 64), stride=(2, 2), pad=(3, 3, 3, 3)),
        schedule(256, 64, 64, 64, 3, WGMMA),
        Pool(),
        "{oh = 7, ow = 7}",
    ),
    "ragged patches and columns, an image that somebody has padded": (
        varied(size=(13, 11), channels=(64, 40), pad=(0, 0, 0, 0)),
        schedule(64, 32, 32, 16, 2),
        Pool((3, 2), (1, 2), 0),
        "{oh = 6, ow = 3}",
    ),
    "the mean of images, with a residual": (
        varied(batch=3, size=(7, 7), residual=True),
        schedule(64, 64, 64, 64, 3, WGMMA),
        Pool((7, 7), (1, 1), 0, mean=True),
        "{}",
    ),
    "the mean of small images, of one channel for a thread": (
        varied(batch=2, size=(4, 4), channels=(64, 24), kernel=(1, 1), pad=(0,) * 4),
        schedule(32, 32, 16, 16, 2),
        Pool((4, 4), (1, 1), 0, mean=True),
        "{}",
    ),
    "means of 2x2 behind three products of tf32": (
        varied(size=(8, 6), channels=(32, 32), element="f32", result="f32"),
        schedule(64, 32, 32, 16, 2, "m16n8k8.tf32x3.f32"),
        Pool((2, 2), (2, 2), 0, mean=True),
        "{oh = 4, ow = 3}",
    ),
    "the maximum of codes": (
        varied(size=(15, 13), channels=(64, 32), element="i8", result="i8", unsigned=True),
        schedule(64, 32, 32, 16, 2, "m16n8k32.s8.s32"),
        Pool(),
        "{oh = 3, ow = 3}",
    ),
    "the maximum of bfloat16": (
        varied(size=(15, 13), channels=(64, 32), element="bf16", result="bf16"),
        schedule(64, 64, 64, 64, 3, "m64k16.bf16.f32"),
        Pool((2, 2), (2, 2), 0),
        "{oh = 4, ow = 4}",
    ),
    "means of windows with padding": (
        varied(size=(9, 7), channels=(64, 32)),
        schedule(128, 32, 32, 16, 2),
        Pool((3, 3), (1, 1), 1, mean=True),
        "{oh = 6, ow = 5}",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str) -> None:
    conv, chosen, pool, tile = CASES[name]
    arrays = conv.arrays()
    with ir.Context():
        found = lowered(module(conv, chosen, pool, tile))
        dispatches = [op for op in found.body.operations[-1].regions[0].blocks[0] if op.name == "flow.dispatch"]
        (result,) = run(found, arrays)
    assert len(dispatches) == 1
    want = pool.expected(conv.expected(arrays), conv)
    assert error(result.astype(np.float64), want) < {"f16": 4e-4, "bf16": 4e-3, "f32": 5e-6, "i8": 1e-9}[conv.result]


@pytest.mark.skipif(ptxas() is None, reason="no ptxas is installed: pip install -e '.[gpu-check]'")
@pytest.mark.parametrize("name", CASES)
def test_registers(name: str, tmp_path: Path) -> None:
    conv, chosen, pool, tile = CASES[name]
    target = load_preset("cuda-sm90/f16-auto").target
    with ir.Context(), ir.Location.unknown():
        made = ir.Module.parse(module(conv, chosen, pool, tile))
        made.operation.attributes["dlas.target"] = target.to_attr()
        text = text_of_module(made, tmp_path)
    (kernel,), _ = assemble(text, "sm_90a", tmp_path)
    assert (kernel.stack, kernel.spilled) == (0, 0)
    assert kernel.registers <= 160


FAULTS = {
    "tile: it reads 15 x 17 pixels of the product, in a patch of 16 x 32; a workgroup computes 128": (
        schedule(128, 32, 32, 16, 3),
        "{oh = 7, ow = 8}",
    ),
    "split, halo: a product that is pooled has neither": (schedule(128, 32, 32, 16, 3, split=2), "{oh = 3, ow = 7}"),
    "tile: `r` is no loop of the result; they are n, kb, oh, ow, k": (schedule(128, 32, 32, 16, 3), "{r = 3}"),
    "tile: 9 of the 7 iterations of `oh`": (schedule(128, 32, 32, 16, 3), "{oh = 9}"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults(message: str) -> None:
    chosen, tile = FAULTS[message]
    conv, _, pool, _ = CASES["a maximum with padding, two images"]
    with ir.Context(), pytest.raises(ScheduleFault, match=re.escape(message)):
        lowered(module(conv, chosen, pool, tile))


def test_it_is_for_chains_only() -> None:
    conv, chosen, pool, tile = CASES["a maximum with padding, two images"]
    text = module(conv, chosen, pool, tile, chain="")
    with ir.Context(), pytest.raises(PassError, match="kind: `pooled` is for a pooling in a chain"):
        lowered(text)
    text = module(conv, chosen, pool, tile, chain="dlas.chain = {chain = 0, shared = 1},")
    with ir.Context(), pytest.raises(PassError, match="a product and its pooling have no `shared` dimensions"):
        lowered(text)


def test_what_is_read_elsewhere_is_no_chain() -> None:
    conv, chosen, pool, tile = CASES["a maximum with padding, two images"]
    text = module(conv, chosen, pool, tile)
    value = re.search(r"tensor.pad (%\w+)", text)
    assert value is not None
    kind = "tensor<2x1x14x16x32xf16>"
    text = re.sub(r"(func.func @main\(.*\)) -> (tensor<[^>]*>)", rf"\1 -> (\2, {kind})", text)
    text = re.sub(r"return %pooled : (tensor<[^>]*>)", rf"return %pooled, {value[1]} : \1, {kind}", text)
    with ir.Context(), pytest.raises(PassError, match="what a kernel computes before the last one is read elsewhere"):
        lowered(text)


@pytest.mark.usefixtures("tuning_surroundings")
def test_the_rule() -> None:
    """A maximum behind 7x7, and a mean behind 1x1, are one launch each with what is before them."""
    program = read_program(compile_model("gpu_model:stem", "cuda-sm90/f16-auto").vmfb)
    kernels = [launch.name for launch in program.launches]
    assert ["_pooled_" in name for name in kernels] == [False, True, True, False], kernels


def test_what_reads_the_image_once_more_is_no_pooling() -> None:
    conv, chosen, pool, tile = CASES["means of 2x2 behind three products of tf32"]
    with ir.Context(), ir.Location.unknown():
        made = ir.Module.parse(module(conv, chosen, pool, tile))
        last = [op for op in build.operations(made) if op.name == "flow.dispatch.region"][-1]
        workload = read_workload(read_region(last))
    assert isinstance(Pooling.of(conv.workload(), workload), Pooling)
    stage = workload.stages[-1]
    again = msgspec.structs.replace(
        stage, inputs=(*stage.inputs, workload.root.inputs[0]), input_elements=(*stage.input_elements, "f32")
    )
    changed = msgspec.structs.replace(workload, stages=(*workload.stages[:-1], again))
    assert Pooling.of(conv.workload(), changed) == "behind the pooling it reads what it pools"


def test_a_convolution_is_no_pooling() -> None:
    target = load_preset("cuda-sm90/f16-auto").target
    assert isinstance(target, GpuTarget)
    conv = varied(batch=2, size=(8, 8)).workload()
    assert pooled(conv, conv, target, 1e9) is None
