"""Kernels that leave out products with padding compute what NumPy does, by any schedule; what they leave out, and what
that is estimated to save."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import numpy as np
import pytest
from iree.compiler import ir
from test_workloads import host_code

from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.taps import borders_of, computed_share, factors
from dlas_mlir.codegen.workload import Access, Loop, Output, Stage, Step, Tensor, Workload
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

BLOCK = 8


@dataclasses.dataclass(frozen=True)
class Case:
    """A packed convolution: `pad` is top, bottom, left and right. `depthwise`: of each channel on its own; `product`:
    the operations of the body."""

    out: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (1, 1, 1, 1)
    blocks: tuple[int, int] = (2, 2)
    depthwise: bool = False
    element: str = "f32"

    @property
    def size(self) -> tuple[int, int]:
        spans = zip(self.out, self.kernel, self.stride, self.dilation, strict=True)
        rows, columns = ((o - 1) * s + (k - 1) * d + 1 for o, k, s, d in spans)
        return rows, columns

    def workload(self) -> Workload:
        kb, cb = self.blocks
        (sh, sw), (dh, dw), (h, w) = self.stride, self.dilation, self.size
        top, bottom, left, right = self.pad
        loops = {"n": 1, "kb": kb, "oh": self.out[0], "ow": self.out[1], "k": BLOCK}
        window = {"r": self.kernel[0], "s": self.kernel[1]}
        sums = window if self.depthwise else {"cb": cb, **window, "c": BLOCK}
        block, lane = ("kb", "k") if self.depthwise else ("cb", "c")
        shape = (1, kb if self.depthwise else cb, h, w, BLOCK)
        zeros = ((0, 0), (0, 0), (top, bottom), (left, right), (0, 0))
        data = Access(0, ("n", block, f"oh*{sh} + r*{dh}", f"ow*{sw} + s*{dw}", lane), shape, (0,) * 5, zeros)
        index = ("kb", "r", "s", "k") if self.depthwise else ("kb", "cb", "r", "s", "c", "k")
        extents = loops | sums
        weights_shape = tuple(extents[name] for name in index)
        weights = Access(1, index, weights_shape, (0,) * len(index))
        wide, kind = ("i32", "i") if self.element == "i8" else ("f32", "f")
        body = [Step(f"arith.mul{kind}", ("in0", "in1"), wide), Step(f"arith.add{kind}", ("init", "%0"), wide)]
        if self.element == "i8":
            body = [
                Step("arith.extui", ("in0",), wide),
                Step("arith.extsi", ("in1",), wide),
                Step("arith.muli", ("%0", "%1"), wide),
                Step("arith.addi", ("init", "%2"), wide),
            ]
        out_shape = (1, kb, *self.out, BLOCK)
        initial = Access(2, ("n", "kb", "oh", "ow", "k"), out_shape, (0,) * 5)
        return Workload(
            loops=tuple(
                Loop(name, extent, "reduction" if name in sums else "parallel") for name, extent in extents.items()
            ),
            out=("n", "kb", "oh", "ow", "k"),
            tensors=(Tensor(shape, self.element), Tensor(weights_shape, self.element), Tensor(out_shape, wide)),
            stages=(
                Stage(
                    inputs=(data, weights),
                    input_elements=(self.element, self.element),
                    initial=initial,
                    element=wide,
                    body=tuple(body),
                    yields=f"%{len(body) - 1}",
                ),
            ),
            outputs=(Output(0, (0,) * 5, (0,) * 5, None, out_shape, (0,) * 5),),
        )

    def arrays(self) -> list[np.ndarray]:
        """Operands whose border holds zeros; what the result starts from."""
        draw = np.random.default_rng(len(str(self)))
        found = []
        for tensor in self.workload().tensors:
            if tensor.element == "f32":
                found.append(draw.standard_normal(tensor.shape).astype(np.float32))
            else:
                kind = {"i8": np.int8, "i32": np.int32}[tensor.element]
                found.append(draw.integers(-100, 100, tensor.shape).astype(kind))
        (h, w), (top, bottom, left, right) = self.size, self.pad
        inside = np.zeros((h, w, 1), bool)
        inside[top : h - bottom, left : w - right] = True
        found[0] = np.where(inside, found[0], 0).astype(found[0].dtype)
        return found

    def expected(self) -> np.ndarray:
        data, weights, start = self.arrays()
        if self.element == "i8":
            data, weights = data.view(np.uint8).astype(np.int32), weights.astype(np.int32)
        windows = np.lib.stride_tricks.sliding_window_view(
            data, [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)], axis=(2, 3)
        )[:, :, :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]]
        form = "nkhwlrs,krsl->nkhwl" if self.depthwise else "nbhwcrs,kbrscl->nkhwl"
        return np.einsum(form, windows, weights) + start


CASES = [
    Case((7, 7)),
    Case((5, 9), pad=(2, 0, 0, 2)),
    Case((4, 6), kernel=(5, 3), pad=(2, 2, 1, 1)),
    Case((6, 5), kernel=(1, 7), pad=(0, 0, 3, 3)),
    Case((5, 7), stride=(2, 2)),
    Case((6, 7), stride=(2, 1), kernel=(7, 5), pad=(3, 3, 2, 2)),
    Case((6, 6), dilation=(2, 3), pad=(2, 2, 3, 3)),
    Case((7, 5), dilation=(2, 2), stride=(2, 2), pad=(3, 1, 0, 2)),
    # Rows and columns of which no tap is on the image.
    Case((5, 6), pad=(4, 3, 3, 4)),
    Case((2, 2), kernel=(1, 1), pad=(1, 0, 0, 1)),
    Case((7, 7), depthwise=True),
    Case((5, 6), kernel=(5, 5), stride=(2, 2), pad=(2, 1, 2, 1), depthwise=True),
    Case((7, 7), element="i8"),
    Case((4, 5), kernel=(3, 5), stride=(1, 2), pad=(1, 1, 2, 2), element="i8"),
]
SAMPLES = 2


def sample(workload: Workload, rng: random.Random) -> Schedule:
    """A random schedule of little code: small tiles, a part of the window unrolled."""
    extents = workload.extents
    tile = {"k": BLOCK, "kb": rng.randint(1, 2), **{x: rng.randint(1, min(4, extents[x])) for x in ("oh", "ow")}}
    if rng.random() < 0.4:
        tile["ow"] = extents["ow"]
    if rng.random() < 0.3:
        tile["s"] = extents["s"]
    reductions = list(workload.reductions)
    rng.shuffle(reductions)
    return Schedule.of(
        workload,
        kind="cpu",
        vector="k",
        lanes=BLOCK,
        order=("n", *rng.sample(["kb", "oh", "ow"], 3), "k", *reductions),
        distribute={"oh": rng.randint(tile["oh"], extents["oh"])} if rng.random() < 0.4 else {},
        tile=tile,
        peel=[x for x in ("oh", "ow") if rng.random() < 0.7],
    )


@pytest.fixture
def context():
    with ir.Context() as context, ir.Location.unknown():
        yield context


def test_any_schedule_computes_the_same(tmp_path, context):
    rng = random.Random(3)
    together, kernels = ir.Module.create(), []
    for case in CASES:
        workload = case.workload()
        assert workload == Workload.from_json(workload.to_json())
        assert len(borders_of(workload)) == sum(any(case.pad[i : i + 2]) for i in (0, 2))
        for schedule in (sample(workload, rng) for _ in range(SAMPLES)):
            kernels.append((f"kernel{len(kernels)}", case, schedule))
            together.body.append(build_workload(workload, kernels[-1][0], schedule))
    assert sum(bool(schedule.peel) for _, _, schedule in kernels) > len(kernels) // 2
    path = tmp_path / "kernels.mlirbc"
    with path.open("wb") as file:
        together.operation.write_bytecode(file)
    artifact = compile_imported(Imported("kernels", file_digest(path), path, 0, 0, None), host_code("auto"))
    for name, case, schedule in kernels:
        (found,) = Session(artifact.vmfb, resolve("local"), function=name)(*case.arrays())
        np.testing.assert_allclose(found, case.expected(), rtol=1e-4, atol=1e-4, err_msg=f"{case} {schedule}")


def scheduled(case: Case, **fields) -> tuple[Workload, Schedule]:
    workload = case.workload()
    given = {"distribute": {}, "peel": [], **fields, "tile": {"k": BLOCK, **fields.get("tile", {})}}
    order = ("kb", "oh", "ow", "k", "cb", "r", "s", "c")
    return workload, Schedule.of(workload, kind="cpu", vector="k", lanes=BLOCK, order=order, **given)


@pytest.mark.parametrize(
    ("tile", "peel", "split", "share"),
    [
        # A loop over taps begins and ends with the image for each row and each column.
        ({}, [], {}, (19 / 21) ** 2),
        ({}, [], {"oh": 2}, (19 / 21) ** 2),
        # A row in one tile is exact, several only if the first and the last are apart.
        ({"ow": 7}, [], {}, (19 / 21) ** 2),
        ({"ow": 4}, [], {}, 19 / 21),
        ({"ow": 4}, ["ow"], {}, (19 / 21) ** 2),
        ({"oh": 2, "ow": 7}, [], {}, 19 / 21),
        ({"oh": 2, "ow": 7}, ["oh"], {}, (19 / 21) ** 2),
        # Which workgroup has the border is not known when the kernel is written, and what is unrolled has no bounds.
        ({"ow": 4}, ["ow"], {"ow": 4}, 19 / 21),
        ({"s": 3}, [], {}, 19 / 21),
    ],
)
def test_what_is_computed_of_all(tile, peel, split, share):
    workload, schedule = scheduled(Case((7, 7)), tile=tile, peel=peel, distribute=split)
    found = computed_share(workload, dict(schedule.tile), schedule.peel, dict(schedule.distribute))
    assert found == pytest.approx(share)


def test_the_nest_says_what_is_apart():
    workload, schedule = scheduled(Case((7, 7)), tile={"oh": 2, "ow": 7}, peel=["oh", "kb"])
    lines = [line.strip() for line in str(Nest.of(workload, schedule)).splitlines()]
    assert "for oh in 7 by 2, the first and last one apart" in lines
    assert "for kb in 2" in lines
    workload, schedule = scheduled(Case((7, 7), pad=(0, 0, 0, 0)), tile={"oh": 2}, peel=["oh"])
    assert "for oh in 7 by 2, the last one apart" in str(Nest.of(workload, schedule))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peel": ["y"]}, "peel: there is no loop `y`"),
        ({"peel": ["r"]}, "peel: `r` is a reduction; only parallel loops can be peeled"),
    ],
)
def test_wrong_peel(fields, message):
    with pytest.raises(ScheduleError, match=message):
        scheduled(Case((7, 7)), **fields)


@pytest.mark.parametrize(
    ("zeros", "message"),
    [
        (((0, 0),), "zeros at the ends of 1 dimensions; there are 5"),
        (((0, 0), (0, 0), (5, 5), (0, 0), (0, 0)), "5 and 5 zeros at the ends of a dimension of 9"),
    ],
)
def test_wrong_zeros(zeros, message):
    workload = Case((7, 7)).workload()
    data = workload.root.inputs[0]
    assert isinstance(data, Access)
    data = msgspec.structs.replace(data, zeros=zeros)
    root = msgspec.structs.replace(workload.root, inputs=(data, workload.root.inputs[1]))
    with pytest.raises(ValueError, match=message):
        msgspec.structs.replace(workload, stages=(root,)).check()


@pytest.mark.parametrize(
    ("body", "yields", "found"),
    [
        ([("mulf", "in0", "in1"), ("addf", "init", "%0")], "%1", [0, 1]),
        ([("addf", "in0", "init")], "%0", [0]),
        ([("extf", "in0"), ("extf", "in1"), ("mulf", "%0", "%1"), ("addf", "%2", "init")], "%3", [0, 1]),
        # Neither a sum, nor of products.
        ([("mulf", "in0", "in1"), ("maximumf", "init", "%0")], "%1", []),
        ([("addf", "in0", "in1"), ("addf", "init", "%0")], "%1", []),
        ([("exp", "in0"), ("addf", "init", "%0")], "%1", []),
        ([("mulf", "in0", "init"), ("addf", "init", "%0")], "%1", []),
        ([("mulf", "in0", "in1"), ("addf", "init", "%0"), ("negf", "%1")], "%2", []),
    ],
)
def test_factors(body, yields, found):
    steps = [Step(f"{'math' if op == 'exp' else 'arith'}.{op}", tuple(names), "f32") for op, *names in body]
    assert factors(steps, yields, 2) == found
