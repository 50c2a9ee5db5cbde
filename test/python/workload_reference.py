"""What a workload computes, in NumPy: the sum of its root in double precision, the stages behind it as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gpu_simulator import arithmetic

from dlas_mlir.codegen.taps import factors
from dlas_mlir.codegen.workload import Access, Computed, Constant, Operand, Stage, Workload

_LETTERS = "abcdefghijklmnop"


def random_tensors(workload: Workload) -> list[np.ndarray]:
    """Numbers of the tensors' types, the same each time; sums of products stay about one."""
    random = np.random.default_rng(len(workload.exact))
    deep = np.prod([workload.extents[loop] for loop in workload.reductions]) ** 0.5
    weights = workload.root.inputs[1]
    found = []
    for number, tensor in enumerate(workload.tensors):
        kind = _dtype(tensor.element)
        if np.dtype(kind).kind in "iu":
            found.append(random.integers(-127, 128, tensor.shape).astype(kind))
            continue
        scale = deep if isinstance(weights, Access) and weights.tensor == number else 1
        found.append((random.standard_normal(tensor.shape) / scale).astype(kind))
    return found


def evaluate(workload: Workload, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results. A fresh buffer that is not written everywhere is NaN there."""
    computed = [_product(workload, tensors)]
    for stage in workload.stages[1:]:
        computed.append(_stage(workload, stage, tensors, computed))
    results = []
    for output in workload.outputs:
        value = computed[output.stage]
        kind = _dtype(workload.stages[output.stage].element)
        whole = np.full(output.shape, np.nan, np.float64) if output.into is None else tensors[output.into].copy()
        place = tuple(slice(at, at + size) for at, size in zip(output.at, value.shape, strict=True))
        whole[place] = value.astype(kind)
        results.append(whole)
    return results


def _dtype(element: str) -> Any:
    return arithmetic.FLOATS.get(element) or arithmetic.INTEGERS[element]


def _extent(workload: Workload, loop: str | None) -> int:
    return 1 if loop is None else workload.extents[loop]


def _read(workload: Workload, item: Access, tensors: Sequence[np.ndarray], loops: Sequence[str]) -> np.ndarray:
    """An operand over `loops`, one dimension for each; loops that it is not indexed by have one element."""
    tensor = tensors[item.tensor]
    low = [max(0, -offset) for offset in item.offsets]
    ends = zip(item.offsets, item.shape, tensor.shape, strict=True)
    high = [max(0, offset + size - extent) for offset, size, extent in ends]
    if item.outside:
        value = float(item.outside.partition(" : ")[0])
        tensor = np.pad(tensor, list(zip(low, high, strict=True)), constant_values=value)
    own = workload.loops_of(item)
    open_grid = np.ogrid[tuple(slice(workload.extents[loop] if loop in own else 1) for loop in loops)]
    at = dict(zip(loops, open_grid, strict=True))
    positions = [at.get(name, 0) for name in workload.names]
    index = [
        form.at(positions) + offset + a for form, offset, a in zip(workload.forms(item), item.offsets, low, strict=True)
    ]
    # An index that is a constant is one over no loop.
    if not index:
        return tensor.reshape((1,) * len(loops))
    dims = np.zeros((1,) * len(loops), np.int64)
    return tensor[tuple(np.broadcast_arrays(*(np.asarray(one) + dims for one in index)))]


def _product(workload: Workload, tensors: Sequence[np.ndarray]) -> np.ndarray:
    root = workload.root
    assert factors(root.body, root.yields, 2) == [0, 1], "only sums of products"
    loops = [loop.name for loop in workload.loops]
    operands = []
    for place, item in enumerate(root.inputs):
        assert isinstance(item, Access)
        values = _read(workload, item, tensors, loops)
        if any(step.op in ("arith.extui", "arith.uitofp") and step.operands == (f"in{place}",) for step in root.body):
            values = np.ascontiguousarray(values).view(values.dtype.str.replace("i", "u"))
        operands.append(values.astype(np.float64))
    letters = dict(zip(loops, _LETTERS, strict=False))
    subscripts, squeezed = [], []
    for operand in operands:
        kept = [loop for loop, size in zip(loops, operand.shape, strict=True) if size > 1]
        subscripts.append("".join(letters[loop] for loop in kept))
        squeezed.append(operand.reshape([size for size in operand.shape if size > 1]))
    out = [loop for loop in workload.out if loop is not None and workload.extents[loop] > 1]
    total = np.einsum(f"{','.join(subscripts)}->{''.join(letters[loop] for loop in out)}", *squeezed, optimize=True)
    total = total.reshape([_extent(workload, loop) for loop in workload.out])
    initial = _operand(workload, root.initial, tensors, [])
    return total if initial is None else total + initial.astype(np.float64)


def _operand(
    workload: Workload, item: Operand | None, tensors: Sequence[np.ndarray], computed: Sequence[np.ndarray]
) -> np.ndarray | None:
    """An operand of a stage over the dimensions of the result."""
    if item is None:
        return None
    if isinstance(item, Computed):
        return computed[item.stage]
    if isinstance(item, Constant):
        return _constant(item.value)
    loops = [loop or f"none{place}" for place, loop in enumerate(workload.out)]
    known = [loop for loop in loops if loop in workload.extents]
    value = _read(workload, item, tensors, known)
    return value.reshape([value.shape[known.index(loop)] if loop in known else 1 for loop in loops])


def _constant(text: str) -> np.ndarray:
    if text in ("true", "false"):
        return np.asarray(text == "true")
    value, _, kind = text.rpartition(" : ")
    if value.startswith("0x"):
        bits = np.asarray(int(value, 16), {"f32": np.uint32, "f16": np.uint16, "bf16": np.uint16}[kind])
        return bits.view(_dtype(kind))
    return np.asarray(float(value) if kind.startswith(("f", "b")) else int(value), _dtype(kind))


def _stage(
    workload: Workload, stage: Stage, tensors: Sequence[np.ndarray], computed: Sequence[np.ndarray]
) -> np.ndarray:
    shape = [_extent(workload, loop) for loop in workload.out]
    values: dict[str, Any] = {"init": _operand(workload, stage.initial, tensors, computed)}
    for number, (item, element) in enumerate(zip(stage.inputs, stage.input_elements, strict=True)):
        value = _operand(workload, item, tensors, computed)
        values[f"in{number}"] = None if value is None else value.astype(_dtype(element))
    for number, step in enumerate(stage.body):
        given = [values[text] if text in values else _constant(text) for text in step.operands]
        with np.errstate(all="ignore"):
            if step.op == "arith.bitcast":
                values[f"%{number}"] = np.ascontiguousarray(given[0]).view(_dtype(step.type))
                continue
            values[f"%{number}"] = np.asarray(_step(step.op, step.attributes, given)).astype(_dtype(step.type))
    result = values[stage.yields] if stage.yields in values else _constant(stage.yields)
    return np.broadcast_to(result, shape)


def _step(op: str, attributes: str, given: list[Any]) -> Any:
    if op in arithmetic.BINARY:
        return arithmetic.BINARY[op](*map(np.asarray, given))
    if op in arithmetic.UNARY:
        return arithmetic.UNARY[op](given[0])
    if op in arithmetic.CASTS:
        return given[0]
    if op == "math.fma":
        return arithmetic.multiplied_and_added(*given)
    if op == "arith.select":
        return np.where(*given)
    predicate = int(next(part for part in attributes.split(", ") if part.startswith("predicate")).split()[2])
    compare = arithmetic.compare_floats if op == "arith.cmpf" else arithmetic.compare_integers
    return compare(predicate, *map(np.asarray, given))
