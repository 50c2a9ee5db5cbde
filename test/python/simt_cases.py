"""Kernels of threads as workloads, and what NumPy makes of them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

import numpy as np

from dlas_mlir.codegen.index import parse_form
from dlas_mlir.codegen.workload import Access, Computed, Constant, Loop, Output, Stage, Step, Tensor, Workload

_STARTS = {"sum": "0.0 : f32", "maximum": "-1.000000e+30 : f32", "copy": ""}


@dataclass(frozen=True)
class Read:
    """A tensor of `shape` read at `index`, expressions over loops. What is read beyond its ends is `outside`."""

    shape: tuple[int, ...]
    index: tuple[str, ...]
    outside: float | None = None


@dataclass(frozen=True)
class Kernel:
    """The product of `reads` over `loops`, of which those in `reduced` are summed over, or the maximum of is taken.
    Behind it a bias of the last loop of the result is added, a `residual` if there is one; nothing negative is left."""

    name: str
    loops: dict[str, int]
    reduced: tuple[str, ...]
    reads: tuple[Read, ...]
    combine: str
    residual: bool = False
    element: str = "f32"
    extra: dict[str, int] = field(default_factory=dict)

    @property
    def out(self) -> dict[str, int]:
        """The loops of the result."""
        return {name: extent for name, extent in self.loops.items() if name not in self.reduced}

    def workload(self) -> Workload:
        """It as a workload: the tensors are those of `reads`, the bias, the residual."""
        out, element = self.out, self.element
        tensors = [Tensor(read.shape, element) for read in self.reads]
        root = self._root([self._access(number, read) for number, read in enumerate(self.reads)])
        *_, last = out
        shape, none = tuple(out.values()), (0,) * len(out)
        inputs: list = [Computed(0), Access(len(tensors), (last,), (out[last],), (0,))]
        tensors.append(Tensor((out[last],), "f32"))
        steps = [Step("arith.addf", ("in0", "in1"), "f32")]
        if self.residual:
            inputs.append(Access(len(tensors), tuple(out), shape, none))
            tensors.append(Tensor(shape, "f32"))
            steps.append(Step("arith.addf", ("%0", "in2"), "f32"))
        steps.append(Step("arith.maximumf", (f"%{len(steps) - 1}", "0.0 : f32"), "f32"))
        if element != "f32":
            steps.append(Step("arith.truncf", (f"%{len(steps) - 1}",), element))
        end = Stage(tuple(inputs), ("f32",) * len(inputs), None, element, tuple(steps), f"%{len(steps) - 1}")
        kinds = {name: "reduction" if name in self.reduced else "parallel" for name in self.loops}
        loops = tuple(Loop(name, extent, kinds[name]) for name, extent in self.loops.items())  # type: ignore[arg-type]
        return Workload(loops, tuple(out), tuple(tensors), (root, end), (Output(1, none, none, None, shape, none),))

    def _access(self, number: int, read: Read) -> Access:
        if read.outside is None:
            return Access(number, read.index, read.shape, (0,) * len(read.shape))
        names = tuple(self.loops)
        forms = [parse_form(text, names) for text in read.index]
        low, shape, index = [], [], []
        for text, form, size in zip(read.index, forms, read.shape, strict=True):
            ends = [factor * (self.loops[names[term]] - 1) for term, factor in form.terms if isinstance(term, int)]
            least, most = form.constant, form.constant + sum(ends)
            low.append(max(0, -least))
            shape.append(max(size, most + 1) + low[-1])
            index.append(text.replace(f" - {-form.constant}", "") if low[-1] else text)
        return Access(
            number,
            tuple(index),
            tuple(shape),
            tuple(-extra for extra in low),
            outside=f"{read.outside:e} : {self.element}",
        )

    def _root(self, inputs: list[Access]) -> Stage:
        elements = (self.element,) * len(inputs)
        steps = [Step("arith.extf", (f"in{i}",), "f32") for i in range(len(inputs))] if self.element != "f32" else []
        names = [f"%{i}" if steps else f"in{i}" for i in range(len(inputs))]
        if len(inputs) == 2:
            steps.append(Step("arith.mulf", (names[0], names[1]), "f32"))
            names = [f"%{len(steps) - 1}"]
        if self.combine == "copy":
            return Stage(tuple(inputs), elements, None, "f32", tuple(steps), names[0])
        steps.append(Step("arith.maximumf" if self.combine == "maximum" else "arith.addf", ("init", names[0]), "f32"))
        start = Constant(_STARTS[self.combine])
        return Stage(tuple(inputs), elements, start, "f32", tuple(steps), f"%{len(steps) - 1}")

    def arrays(self) -> list[np.ndarray]:
        """Random tensors, the same each time."""
        random = np.random.default_rng(len(self.name))
        kinds = {"f32": np.float32, "f16": np.float16}
        return [random.standard_normal(x.shape).astype(kinds[x.element]) for x in self.workload().tensors]

    def expected(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The result in double precision."""
        axes = np.meshgrid(*(np.arange(extent) for extent in self.loops.values()), indexing="ij")
        where = dict(zip(self.loops, axes, strict=True))
        values = []
        for read, array in zip(self.reads, arrays, strict=False):
            places = [_evaluate(text, where) for text in read.index]
            inside = np.logical_and.reduce([(p >= 0) & (p < n) for p, n in zip(places, read.shape, strict=True)])
            near = tuple(np.clip(p, 0, n - 1) for p, n in zip(places, read.shape, strict=True))
            outside = np.nan if read.outside is None else read.outside
            values.append(np.where(inside, array.astype(np.float64)[near], outside))
        total = np.multiply.reduce(values)
        summed = tuple(place for place, name in enumerate(self.loops) if name in self.reduced)
        total = total.max(summed) if self.combine == "maximum" else total.sum(summed)
        total = total + arrays[len(self.reads)]
        if self.residual:
            total = total + arrays[len(self.reads) + 1]
        return np.maximum(total, 0)


def _evaluate(text: str, where: dict[str, np.ndarray]) -> np.ndarray:
    def value(node: ast.expr) -> np.ndarray:
        match node:
            case ast.Name(id=name):
                return where[name]
            case ast.Constant(value=number):
                return np.asarray(number)
            case ast.BinOp(left=left, op=op, right=right):
                does = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.FloorDiv: np.floor_divide}
                return does[type(op)](value(left), value(right))
        raise AssertionError(text)

    return value(ast.parse(text, mode="eval").body) + np.zeros_like(next(iter(where.values())))


def _window(size: int, stride: int, pad: int, columns: tuple[int, int], **loops: int) -> tuple[dict[str, int], tuple]:
    h, w = columns
    out = [(x + 2 * pad - size) // stride + 1 for x in (h, w)]
    rows = tuple(f"{o}*{stride} + {r}{f' - {pad}' if pad else ''}" for o, r in (("oh", "r"), ("ow", "s")))
    return {"n": loops.pop("n", 1), "oh": out[0], "ow": out[1], **loops, "r": size, "s": size}, rows


def depthwise(name: str, channels: int, stride: int = 1, pad: int = 1, size: int = 3, **more) -> Kernel:
    """One image, [N, H, W, C]."""
    loops, (row, column) = _window(size, stride, pad, (9, 11), n=2, k=channels)
    image = Read((2, 9, 11, channels), ("n", row, column, "k"), 0.0 if pad else None)
    return Kernel(name, loops, ("r", "s"), (image, Read((size, size, channels), ("r", "s", "k"))), "sum", **more)


def direct(name: str, channels: tuple[int, int], stride: int = 1, pad: int = 1, **more) -> Kernel:
    """Weights [R, S, C, K]."""
    (c, k), (loops, (row, column)) = channels, _window(3, stride, pad, (7, 10), k=channels[1])
    image = Read((1, 7, 10, c), ("n", row, column, "c"), 0.0 if pad else None)
    weights = Read((3, 3, c, k), ("r", "s", "c", "k"))
    return Kernel(name, {**loops, "c": c}, ("r", "s", "c"), (image, weights), "sum", **more)


def grouped(name: str, groups: int, channels: tuple[int, int]) -> Kernel:
    """Channels in a group in and out; groups are a loop."""
    c, k = channels
    loops, (row, column) = _window(3, 1, 1, (6, 5), g=groups, k=k)
    image = Read((1, 6, 5, groups * c), ("n", row, column, f"g*{c} + c"), 0.0)
    weights = Read((groups, 3, 3, c, k), ("g", "r", "s", "c", "k"))
    return Kernel(name, {**loops, "c": c}, ("r", "s", "c"), (image, weights), "sum")


def pool(name: str, combine: str, channels: int, size: int, stride: int, pad: int) -> Kernel:
    """The maximum or the sum of a window, times a number for each place in it."""
    loops, (row, column) = _window(size, stride, pad, (9, 8), k=channels)
    image = Read((1, 9, 8, channels), ("n", row, column, "k"), 0.25 if pad else None)
    return Kernel(name, loops, ("r", "s"), (image, Read((size, size), ("r", "s"))), combine)


KERNELS = [
    depthwise("depthwise", 16),
    depthwise("depthwise_stride", 12, stride=2),
    depthwise("depthwise_five", 8, pad=2, size=5),
    depthwise("depthwise_odd_channels", 7),
    depthwise("depthwise_without_padding", 6, pad=0, residual=True),
    direct("direct", (3, 16), stride=2),
    direct("direct_residual", (5, 8), residual=True),
    direct("direct_odd", (4, 5), pad=0),
    grouped("grouped", 4, (2, 4)),
    grouped("grouped_odd", 3, (2, 3)),
    pool("max_pool", "maximum", 8, 3, 2, 1),
    pool("max_pool_odd", "maximum", 5, 2, 2, 0),
    pool("sum_pool", "sum", 16, 3, 1, 1),
    Kernel("mean", {"n": 2, "k": 12, "r": 7, "s": 9}, ("r", "s"), (Read((2, 7, 9, 12), ("n", "r", "s", "k")),), "sum"),
    # Of these a workgroup's threads have parts, which they combine.
    Kernel("image", {"k": 8, "r": 16, "s": 24}, ("r", "s"), (Read((16, 24, 8), ("r", "s", "k")),), "sum"),
    Kernel("maxima", {"n": 3, "c": 96}, ("c",), (Read((3, 96), ("n", "c")),), "maximum"),
    Kernel("total", {"n": 1, "c": 1000}, ("c",), (Read((1, 1000), ("n", "c")),), "sum", residual=True),
    Kernel("rows", {"n": 5, "c": 100}, ("c",), (Read((5, 100), ("n", "c")),), "sum"),
    Kernel("elements", {"n": 3, "h": 5, "k": 20}, (), (Read((3, 5, 20), ("n", "h", "k")),), "copy", residual=True),
    Kernel("vector", {"k": 1001}, (), (Read((1001,), ("k",)),), "copy"),
    Kernel(
        "upsampled",
        {"oh": 6, "ow": 10, "k": 8},
        (),
        (Read((3, 5, 8), ("oh // 2", "ow // 2", "k")),),
        "copy",
        residual=True,
    ),
    Kernel("rows_first", {"k": 6, "h": 5, "w": 12}, (), (Read((5, 12, 6), ("h", "w", "k")),), "copy"),
    Kernel(
        "padded_columns",
        {"k": 3, "w": 16},
        (),
        (Read((3, 12), ("k", "w - 2"), 0.5),),
        "copy",
    ),
]
