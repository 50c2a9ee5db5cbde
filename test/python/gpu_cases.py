"""Convolutions as workloads of GPU kernels, what NumPy makes of them, and the kernels run by the simulator."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from gpu_simulator import Report, run
from iree.compiler import ir

from dlas_mlir.codegen.gpu.schedule import Block, GpuSchedule
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.workload import Access, Computed, Constant, Loop, Output, Stage, Step, Tensor, Workload
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.passes.dispatch.lower_dispatches import LowerDispatchesPass

_DTYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "i8": np.int8, "i32": np.int32}

# What sums are multiplied by that become codes: exactly.
SCALE = 2.0**-14


@dataclass(frozen=True)
class Conv:
    """A convolution of channels-last images; `pad` is top, bottom, left and right. Its epilogue adds a bias, a
    `residual` if there is one, cuts off what is negative, and rounds to `result`."""

    size: tuple[int, int] = (9, 7)
    channels: tuple[int, int] = (64, 64)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (1, 1, 1, 1)
    batch: int = 1
    element: str = "f16"
    result: str = "f16"
    residual: bool = False
    epilogue: bool = True
    rounded: str = ""
    groups: int = 1
    unsigned: bool = False

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        (top, bottom, left, right), kernel = self.pad, self.kernel
        padded = (self.size[0] + top + bottom, self.size[1] + left + right)
        spans = zip(padded, kernel, self.stride, self.dilation, strict=True)
        rows, columns = ((whole - (k - 1) * d - 1) // s + 1 for whole, k, s, d in spans)
        return rows, columns

    @property
    def total(self) -> str:
        """The type of sums."""
        return "i32" if self.element == "i8" else "f32"

    def workload(self) -> Workload:
        """It as a workload: tensors are the image, the weights [K, R, S, C], the bias, the residual."""
        (h, w), (c, k), (oh, ow) = self.size, self.channels, self.out
        (sh, sw), (dh, dw) = self.stride, self.dilation
        top, bottom, left, right = self.pad
        inputs = c // self.groups
        channel = "c" if self.groups == 1 else f"(k // {k // self.groups})*{inputs} + c"
        loops = {"n": self.batch, "kb": 1, "oh": oh, "ow": ow, "k": k}
        window = {"r": self.kernel[0], "s": self.kernel[1], "c": inputs}
        padded = any(self.pad)
        zero = f"0 : {self.element}" if self.element == "i8" else f"0.0 : {self.element}"
        image = Access(
            0,
            ("n", "kb", f"oh*{sh} + r*{dh}", f"ow*{sw} + s*{dw}", channel),
            (self.batch, 1, h + top + bottom, w + left + right, c),
            (0, 0, -top, -left, 0),
            outside=zero if padded else "",
            rounded=self.rounded,
        )
        weights = Access(1, ("k", "r", "s", "c"), (k, *self.kernel, inputs), (0,) * 4, rounded=self.rounded)
        start = Constant(f"0 : {self.total}" if self.total == "i32" else f"0.0 : {self.total}")
        last = f"%{len(self._product()) - 1}"
        root = Stage((image, weights), (self.element,) * 2, start, self.total, self._product(), last)
        tensors = [Tensor((self.batch, 1, h, w, c), self.element), Tensor((k, *self.kernel, inputs), self.element)]
        stages = [root, *self._epilogue(tensors)]
        shape = (self.batch, 1, oh, ow, k)
        none = (0,) * 5
        return Workload(
            tuple(Loop(name, extent, "parallel") for name, extent in loops.items())
            + tuple(Loop(name, extent, "reduction") for name, extent in window.items()),
            tuple(loops),
            tuple(tensors),
            tuple(stages),
            (Output(len(stages) - 1, none, none, None, shape, none),),
        )

    def _product(self) -> tuple[Step, ...]:
        if self.element == "f32":
            return Step("arith.mulf", ("in0", "in1"), "f32"), Step("arith.addf", ("init", "%0"), "f32")
        extend, product, plus = ("arith.extsi", "arith.muli", "arith.addi") if self.total == "i32" else (
            "arith.extf", "arith.mulf", "arith.addf")  # fmt: skip
        return (
            Step("arith.extui" if self.unsigned else extend, ("in0",), self.total),
            Step(extend, ("in1",), self.total),
            Step(product, ("%0", "%1"), self.total),
            Step(plus, ("init", "%2"), self.total),
        )

    def _epilogue(self, tensors: list[Tensor]) -> list[Stage]:
        if not self.epilogue:
            return []
        k, (oh, ow) = self.channels[1], self.out
        inputs: list = [Computed(0), Access(len(tensors), ("k",), (k,), (0,))]
        tensors.append(Tensor((k,), "f32"))
        elements = [self.total, "f32"]
        steps = [Step("arith.sitofp", ("in0",), "f32")] if self.total == "i32" else []
        steps.append(Step("arith.addf", ("%0" if steps else "in0", "in1"), "f32"))
        if self.residual:
            shape = (self.batch, 1, oh, ow, k)
            inputs.append(Access(len(tensors), ("n", "kb", "oh", "ow", "k"), shape, (0,) * 5))
            tensors.append(Tensor(shape, self.result))
            elements.append(self.result)
            total, other = f"%{len(steps) - 1}", "in2"
            if self.result != "f32":
                steps.append(Step("arith.extf", ("in2",), "f32"))
                other = f"%{len(steps) - 1}"
            steps.append(Step("arith.addf", (total, other), "f32"))
        steps.append(Step("arith.maximumf", (f"%{len(steps) - 1}", "0.0 : f32"), "f32"))
        if self.result == "i8":
            steps.append(Step("arith.mulf", (f"%{len(steps) - 1}", f"{SCALE} : f32"), "f32"))
        if self.result != "f32":
            rounding = "arith.fptosi" if self.result == "i8" else "arith.truncf"
            steps.append(Step(rounding, (f"%{len(steps) - 1}",), self.result))
        last = f"%{len(steps) - 1}"
        return [Stage(tuple(inputs), tuple(elements), None, self.result, tuple(steps), last)]

    def arrays(self) -> list[np.ndarray]:
        """Random tensors, the same each time."""
        random = np.random.default_rng(sum(self.size) + sum(self.channels))
        found = []
        for number, tensor in enumerate(self.workload().tensors):
            if tensor.element == "i8":
                found.append(random.integers(-127, 128, tensor.shape).astype(np.int8))
                continue
            scale = np.prod(tensor.shape[1:]) ** -0.5 if number == 1 else 1
            found.append((random.standard_normal(tensor.shape) * scale).astype(_DTYPES[tensor.element]))
        return found

    def expected(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The result in double precision."""
        image, weights = (array.astype(np.float64) for array in arrays[:2])
        if self.unsigned:
            image = arrays[0].view(np.uint8).astype(np.float64)
        top, bottom, left, right = self.pad
        padded = np.pad(image[:, 0], ((0, 0), (top, bottom), (left, right), (0, 0)))
        (oh, ow), (sh, sw), (dh, dw) = self.out, self.stride, self.dilation
        total = np.zeros((self.batch, oh, ow, self.channels[1]))
        for r in range(self.kernel[0]):
            for s in range(self.kernel[1]):
                part = padded[:, r * dh :: sh, s * dw :: sw][:, :oh, :ow]
                outputs, inputs = len(weights) // self.groups, weights.shape[3]
                for group in range(self.groups):
                    own = slice(group * outputs, (group + 1) * outputs)
                    total[..., own] += part[..., group * inputs : (group + 1) * inputs] @ weights[own, r, s].T
        total = total[:, None]
        if self.epilogue:
            total += arrays[2].astype(np.float64)
            if self.residual:
                total += arrays[3].astype(np.float64)
            total = np.maximum(total, 0)
        return np.floor(total * SCALE) if self.result == "i8" else total


def kernel(workload: Workload, schedule: AnySchedule) -> ir.Module:
    """The module that the passes make of a workload with its schedule, in the current context."""
    with ir.Location.unknown():
        module = ir.Module.create()
        module.body.append(build_workload(workload, "main", schedule))
        LowerDispatchesPass().run(module)
    assert module.operation.verify()
    return module


def simulated(conv: Conv, schedule: GpuSchedule, report: Report | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel of `conv` computes, and what is right."""
    workload = conv.workload()
    assert schedule.problem(workload) is None, schedule.problem(workload)
    arrays = conv.arrays()
    with ir.Context():
        (result,) = run(kernel(workload, schedule), arrays, report)
    return result.astype(np.float64), conv.expected(arrays)


def schedule(
    rows: int, columns: int, down: int, across: int, stages: int, instruction: str = "m16n8k16.f16.f32", **more
) -> GpuSchedule:
    """A schedule of tile and warp."""
    return GpuSchedule(
        instruction=instruction, tile=Block(rows, columns), warp=Block(down, across), stages=stages, **more
    )


def error(got: np.ndarray, want: np.ndarray) -> float:
    """The difference by norm; infinite where a result is missing."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want)) if np.isfinite(got).all() else np.inf


def varied(**changes) -> Conv:
    """The usual convolution with some changes."""
    return dataclasses.replace(Conv(), **changes)
