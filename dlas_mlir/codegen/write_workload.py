"""A workload as a function of its own that holds its region, so that it can be compiled, checked and timed alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.index import parse_form, print_form
from dlas_mlir.codegen.read_workload import ROUNDED
from dlas_mlir.codegen.schedule import ATTRIBUTE, AnySchedule
from dlas_mlir.codegen.workload import Access, Computed, Constant, Operand, Output, Stage, Step, Tensor, Workload
from dlas_mlir.codegen.zeros import ATTRIBUTE as ZEROS
from dlas_mlir.codegen.zeros import to_value as zeros_value
from dlas_mlir.ir import attributes, constants

_SEED = 0
_WEIGHTS = "sparse_weights"
_DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


def build_workload(workload: Workload, name: str, schedule: AnySchedule | None = None) -> ir.Operation:
    """`func.func @name(tensors) -> results` with the workload as a flow.dispatch.region, in the current context.

    Its arguments are the tensors of the workload in order, but for sparse weights, which are a constant of random
    numbers with as many non-zero blocks as the workload has, and for what a producer computes, whose tensors follow.
    """
    text = f"module {{\n{_Writer(workload, schedule).function(name)}\n}}"
    module = ir.Module.parse(text)
    function = module.body.operations[0].operation.detach_from_parent()
    if workload.sparsity is not None:
        _fill_weights(function, workload)
    return function


def arguments_of(workload: Workload) -> list[int]:
    """The tensors that the function is called with, by their number; those of a producer come after them."""
    weights = workload.root.inputs[1] if workload.sparsity is not None else None
    made = {weights.tensor} if isinstance(weights, Access) else set()
    if workload.producer is not None:
        made.add(workload.producer.tensor)
    return [number for number in range(len(workload.tensors)) if number not in made]


def sparse_weights(workload: Workload) -> np.ndarray:
    """Random weights of which as many blocks of output channels are not zero as the workload says, anywhere."""
    access = workload.root.inputs[1]
    assert isinstance(access, Access)
    assert workload.sparsity is not None
    shape, block = workload.tensors[access.tensor].shape, workload.sparsity.block
    channel = next(loop for loop in workload.out if loop in workload.loops_of(access) and loop is not None)
    taps = (channel, *workload.reductions)
    grid = np.indices([workload.extents[loop] for loop in taps])
    at = dict(zip(taps, grid, strict=True))
    positions = [at.get(name, np.int64(0)) for name in workload.names]
    places = tuple(np.broadcast_to(form.at(positions), grid.shape[1:]) for form in workload.forms(access))
    blocks = workload.extents[channel] // block
    rng = np.random.default_rng(_SEED)
    flags = np.zeros(blocks * math.prod(grid.shape[2:]), bool)
    flags[rng.permutation(flags.size)[: workload.sparsity.nonzeros]] = True
    kept = np.repeat(flags.reshape(blocks, *grid.shape[2:]), block, axis=0)
    array = np.zeros(shape, _DTYPES[workload.tensors[access.tensor].element])
    array[places] = np.where(kept, rng.uniform(0.5, 1.0, kept.shape), 0).astype(array.dtype)
    return array


def _fill_weights(function: ir.Operation, workload: Workload) -> None:
    placeholder = next(op for op in function.regions[0].blocks[0].operations if _WEIGHTS in op.operation.attributes)
    with ir.InsertionPoint(placeholder), ir.Location.unknown():
        made = constants.constant(sparse_weights(workload), "weights")
    placeholder.operation.results[0].replace_all_uses_with(made)
    placeholder.operation.erase()


class _Writer:
    """Text, as that needs no attribute of the bindings for each of MLIR's."""

    def __init__(self, workload: Workload, schedule: AnySchedule | None, prefix: str = "") -> None:
        self.workload, self.schedule, self.prefix = workload, schedule, prefix
        self.lines: list[str] = []
        self.values = 0
        weights = workload.root.inputs[1] if workload.sparsity is not None else None
        self.weights = weights.tensor if isinstance(weights, Access) else None
        self.producer = _Writer(workload.producer.workload, None, "made_") if workload.producer else None
        self.made = ""

    def function(self, name: str) -> str:
        workload = self.workload
        arguments = self._arguments()
        results = ", ".join(self._result(output) for output in workload.outputs)
        lines = [f"func.func @{name}({', '.join(arguments)}) -> ({results}) {{"]
        if self.weights is not None:
            zeros = f"dense<0.0> : {self._tensor(self.weights)}"
            lines.append(f"  {self._name(self.weights)} = arith.constant {{{_WEIGHTS}}} {zeros}")
        self._region()
        count = len(workload.outputs)
        lines.append(f"  %out{f':{count}' if count > 1 else ''} = flow.dispatch.region -> ({results}) {{")
        lines += [f"    {line}" for line in self.lines]
        returned = ", ".join(f"%out#{i}" for i in range(count)) if count > 1 else "%out"
        return "\n".join([*lines, "  }", f"  return {returned} : {results}", "}"])

    def _arguments(self) -> list[str]:
        own = [f"{self._name(i)}: {self._tensor(i)}" for i in arguments_of(self.workload)]
        return own + (self.producer._arguments() if self.producer else [])

    def _name(self, number: int) -> str:
        """The value of a tensor."""
        producer = self.workload.producer
        return self.made if producer is not None and number == producer.tensor else f"%{self.prefix}tensor{number}"

    # Types.

    def _tensor(self, number: int) -> str:
        tensor = self.workload.tensors[number]
        return _type(tensor.shape, tensor.element)

    def _shape(self) -> tuple[int, ...]:
        """That of what every stage computes."""
        return tuple(1 if loop is None else self.workload.extents[loop] for loop in self.workload.out)

    def _result(self, output: Output) -> str:
        return _type(output.shape, self.workload.stages[output.stage].element)

    # The region.

    def _emit(self, text: str) -> str:
        name = f"%{self.prefix}v{self.values}"
        self.values += 1
        self.lines.append(f"{name} = {text}")
        return name

    def _stages(self) -> None:
        if self.producer is not None:
            self.producer._stages()
            (output,) = self.producer.workload.outputs
            self.made = self.producer._output(output)
            self.lines += self.producer.lines
        for number, stage in enumerate(self.workload.stages):
            self._stage(number, stage)

    def _region(self) -> None:
        self._stages()
        results = [self._output(output) for output in self.workload.outputs]
        types = ", ".join(self._result(output) for output in self.workload.outputs)
        self.lines.append(f"flow.return {', '.join(results)} : {types}")

    def _stage(self, number: int, stage: Stage) -> None:
        names = list(self.workload.names) if number == 0 else [f"d{i}" for i in range(len(self.workload.out))]
        uncovered = self._uncovered(stage) if number == 0 else []
        operands, types, maps = [], [], []
        for item, element in zip(stage.inputs, stage.input_elements, strict=True):
            value, kind, index = self._input(item, element, number, uncovered)
            if item is None:
                uncovered = []
            operands.append(value)
            types.append(kind)
            maps.append(index)
        target, kind = self._target(stage)
        out = ["0" if loop is None else loop for loop in self.workload.out] if number == 0 else names
        written = [f"affine_map<({', '.join(names)}) -> ({', '.join(index)})>" for index in [*maps, out]]
        kinds = [loop.kind for loop in self.workload.loops] if number == 0 else ["parallel"] * len(names)
        header = f"indexing_maps = [{', '.join(written)}], iterator_types = {_strings(kinds)}"
        ins = f" ins({', '.join(operands)} : {', '.join(types)})" if operands else ""
        attached = self._attributes(stage) if number == 0 else ""
        self.lines.append(
            f"%{self.prefix}stage{number} = linalg.generic {{{header}}}{ins} outs({target} : {kind})"
            f"{f' attrs = {attached}' if attached else ''} {{"
        )
        self.lines += [f"  {line}" for line in _body(stage)]
        self.lines.append(f"}} -> {kind}")

    def _attributes(self, stage: Stage) -> str:
        found: dict[str, Any] = {"dlas.loops": list(self.workload.names)}
        if stage.dot is not None:
            found["dlas.dot"] = stage.dot
        if stage.dot_filler:
            found["dlas.dot_filler"] = stage.dot_filler
        if self.workload.sparsity is not None:
            found["dlas.sparse"] = {key: getattr(self.workload.sparsity, key) for key in ("block", "nonzeros")}
        zeros = {i: item.zeros for i, item in enumerate(stage.inputs) if isinstance(item, Access) and item.zeros}
        if zeros:
            found[ZEROS] = zeros_value(zeros)
        rounded = {item.rounded for item in stage.inputs if isinstance(item, Access) and item.rounded}
        if rounded:
            found[ROUNDED] = rounded.pop()
        if self.schedule is not None:
            found[ATTRIBUTE] = self.schedule.to_value()
        return str(attributes.from_plain(found))

    def _uncovered(self, stage: Stage) -> list[str]:
        """The loops whose extent no operand shows: those of a pooling window."""
        shown = {loop for loop in self.workload.out if loop is not None}
        for item in (*stage.inputs, stage.initial):
            if isinstance(item, Access):
                shown |= set(item.index)
        return [name for name in self.workload.names if name not in shown]

    def _input(
        self, item: Operand | None, element: str, number: int, uncovered: Sequence[str]
    ) -> tuple[str, str, list[str]]:
        """The value, its type and its index."""
        if item is None:
            kind = _type([self.workload.extents[loop] for loop in uncovered], element)
            return self._emit(f"tensor.empty() : {kind}"), kind, list(uncovered)
        if isinstance(item, Constant):
            return self._filled(item, _type([], element)), _type([], element), []
        if isinstance(item, Computed):
            kind = _type(self._shape(), element)
            return f"%{self.prefix}stage{item.stage}", kind, [f"d{i}" for i in range(len(self.workload.out))]
        index = [_affine(text, self.workload.names) for text in item.index]
        if number > 0:
            index = [_affine(text, self.workload.names, self._dims()) for text in item.index]
        return self._read(item), _type(item.shape, element), index

    def _dims(self) -> list[str]:
        """How a stage behind the root calls the loops of the root."""
        dims = {loop: f"d{i}" for i, loop in enumerate(self.workload.out) if loop is not None}
        return [dims.get(name, "0") for name in self.workload.names]

    def _read(self, item: Access) -> str:
        tensor = self.workload.tensors[item.tensor]
        if item.outside:
            return self._padded(item, tensor)
        if item.shape == tensor.shape:
            return self._name(item.tensor)
        place = f"{list(item.offsets)} {list(item.shape)} {[1] * len(item.shape)}"
        kinds = f"{self._tensor(item.tensor)} to {_type(item.shape, tensor.element)}"
        return self._emit(f"tensor.extract_slice {self._name(item.tensor)}{place} : {kinds}")

    def _padded(self, item: Access, tensor: Tensor) -> str:
        low = [max(0, -offset) for offset in item.offsets]
        ends = zip(item.offsets, item.shape, tensor.shape, strict=True)
        high = [max(0, offset + size - extent) for offset, size, extent in ends]
        whole = [a + size + b for a, size, b in zip(low, tensor.shape, high, strict=True)]
        constant = self._emit(f"arith.constant {item.outside}")
        kind = _type(whole, tensor.element)
        padded = self._pad(self._name(item.tensor), low, high, constant, (self._tensor(item.tensor), kind))
        offsets = [a + offset for a, offset in zip(low, item.offsets, strict=True)]
        if tuple(whole) == item.shape:
            return padded
        place = f"{offsets} {list(item.shape)} {[1] * len(item.shape)}"
        return self._emit(f"tensor.extract_slice {padded}{place} : {kind} to {_type(item.shape, tensor.element)}")

    def _pad(self, value: str, low: Sequence[int], high: Sequence[int], constant: str, kinds: tuple[str, str]) -> str:
        name, element = f"%{self.prefix}v{self.values}", kinds[0].rpartition("x")[2].rstrip(">")
        self.values += 1
        dims = ", ".join(f"%i{i}: index" for i in range(len(low)))
        self.lines += [
            f"{name} = tensor.pad {value} low{list(low)} high{list(high)} {{",
            f"^bb0({dims}):",
            f"  tensor.yield {constant} : {element}",
            f"}} : {kinds[0]} to {kinds[1]}",
        ]
        return name

    def _filled(self, item: Constant, kind: str) -> str:
        empty = self._emit(f"tensor.empty() : {kind}")
        value = self._emit(f"arith.constant {item.value}")
        return self._emit(f"linalg.fill ins({value} : {_type_of(item.value)}) outs({empty} : {kind}) -> {kind}")

    def _target(self, stage: Stage) -> tuple[str, str]:
        kind = _type(self._shape(), stage.element)
        item = stage.initial
        if isinstance(item, Constant):
            return self._filled(item, kind), kind
        if isinstance(item, Computed):
            return f"%{self.prefix}stage{item.stage}", kind
        if isinstance(item, Access):
            return self._read(item), kind
        return self._emit(f"tensor.empty() : {kind}"), kind

    def _output(self, output: Output) -> str:
        value, element = f"%{self.prefix}stage{output.stage}", self.workload.stages[output.stage].element
        sizes = zip(output.low, self._shape(), output.high, strict=True)
        shape = [low + size + high for low, size, high in sizes]
        kind, result = _type(shape, element), self._result(output)
        if output.pad is not None:
            constant = self._emit(f"arith.constant {output.pad}")
            value = self._pad(value, output.low, output.high, constant, (_type(self._shape(), element), kind))
        if output.into is None and kind == result:
            return value
        target = self._name(output.into) if output.into is not None else self._emit(f"tensor.empty() : {result}")
        place = f"{list(output.at)} {shape} {[1] * len(output.at)}"
        return self._emit(f"tensor.insert_slice {value} into {target}{place} : {kind} into {result}")


def _type(shape: Iterable[int], element: str) -> str:
    return f"tensor<{''.join(f'{size}x' for size in shape)}{element}>"


def _type_of(constant: str) -> str:
    return "i1" if constant in ("true", "false") else constant.rpartition(" : ")[2]


def _strings(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _affine(text: str, loops: tuple[str, ...], called: Sequence[str] | None = None) -> str:
    """An index as MLIR writes it, with the loops called as in `called`."""
    return print_form(parse_form(text, loops), called or loops).replace("//", "floordiv")


def _body(stage: Stage) -> list[str]:
    """The lines of a body."""
    types = {f"in{i}": element for i, element in enumerate(stage.input_elements)} | {"init": stage.element}
    lines = [f"^bb0({', '.join(f'%{name}: {kind}' for name, kind in types.items())}):"]

    def operand(text: str) -> tuple[str, str]:
        if text in types:
            return (text if text.startswith("%") else f"%{text}"), types[text]
        name = f"%c{len(lines)}"
        lines.append(f"  {name} = arith.constant {text}")
        return name, _type_of(text)

    for number, step in enumerate(stage.body):
        lines.append(_step(number, step, [operand(text) for text in step.operands]))
        types[f"%{number}"] = step.type
    value, kind = operand(stage.yields)
    return [*lines, f"  linalg.yield {value} : {kind}"]


def _step(number: int, step: Step, operands: list[tuple[str, str]]) -> str:
    names, kinds = ", ".join(name for name, _ in operands), ", ".join(kind for _, kind in operands)
    attached = f" {{{step.attributes}}}" if step.attributes else ""
    return f'  %{number} = "{step.op}"({names}){attached} : ({kinds}) -> {step.type}'
