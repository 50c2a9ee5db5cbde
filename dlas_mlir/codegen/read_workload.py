"""The workload of a dispatch region."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen import region as regions
from dlas_mlir.codegen.dot import ATTRIBUTE as DOT
from dlas_mlir.codegen.dot import FILLER
from dlas_mlir.codegen.index import print_form
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.sparse.attribute import sparsity_of
from dlas_mlir.codegen.workload import (
    Access,
    Computed,
    Constant,
    Loop,
    Operand,
    Output,
    Producer,
    Stage,
    Step,
    Tensor,
    Workload,
)
from dlas_mlir.codegen.zeros import Ends, zeros_of
from dlas_mlir.ir import attributes
from dlas_mlir.ir import loops as loop_names
from dlas_mlir.ir.linalg import indexing_maps, scalar_constant, shape_of
from dlas_mlir.ir.strides import form_of
from dlas_mlir.opt.base import PassError

# On a sum of products: the type that its float32 operands may be rounded to.
ROUNDED = "dlas.rounded"


def read_workload(region: Region) -> Workload:
    """What `region` computes. Raises PassError for an index that has no exact form."""
    return _Reader(region).read()


def rounding_of(op: ir.Operation) -> str:
    """The type that the operands of a sum of products may be rounded to, `dlas.rounded`. Raises PassError for another
    than tf32."""
    if ROUNDED not in op.attributes:
        return ""
    text = attributes.text(op, ROUNDED)
    if text != "tf32":
        raise PassError(f"`{ROUNDED}`: expected tf32, found `{text}`", op)
    return text


class _Reader:
    def __init__(self, region: Region) -> None:
        self.region = region
        self.names = loop_names.names(region.root.op)
        self.tensors: dict[ir.Value, int] = {}
        self.stage_of: dict[ir.Value, int] = {}

    def read(self) -> Workload:
        region = self.region
        stages = []
        for number, stage in enumerate(region.stages):
            stages.append(self._stage(stage, number))
            self.stage_of[stage.result] = number
        outputs = tuple(self._output(output) for output in region.outputs)
        return Workload(
            loops=tuple(
                Loop(name, extent, "reduction" if i in region.reductions else "parallel")
                for i, (name, extent) in enumerate(zip(self.names, region.extents, strict=True))
            ),
            out=tuple(None if loop is None else self.names[loop] for loop in region.out_loops),
            tensors=tuple(
                Tensor(tuple(shape_of(value)), str(ir.RankedTensorType(value.type).element_type))
                for value in self.tensors
            ),
            stages=tuple(stages),
            outputs=outputs,
            sparsity=sparsity_of(region.root.op),
            producer=self._producer(),
        )

    def _producer(self) -> Producer | None:
        region = self.region
        if region.producer is None or region.produced is None:
            return None
        return Producer(self.tensors[region.produced], read_workload(region.producer))

    def _tensor(self, value: ir.Value) -> int:
        return self.tensors.setdefault(value, len(self.tensors))

    def _stage(self, stage: regions.Stage, number: int) -> Stage:
        op = stage.op
        maps = indexing_maps(op)
        operands = []
        zeros = zeros_of(op) if number == 0 else {}
        for place, item in enumerate((*stage.inputs, stage.initial)):
            exprs = maps[place].results if number == 0 else None
            operands.append(self._operand(item, op.operands[place], exprs, zeros.get(place, ())))
        elements = [str(ir.RankedTensorType(value.type).element_type) for value in op.operands]
        body, yields = body_of(stage.body)
        return Stage(
            inputs=tuple(operands[:-1]),
            input_elements=tuple(elements[:-1]),
            initial=operands[-1],
            element=elements[-1],
            body=body,
            yields=yields,
            dot=None if stage.dot is None else ir.StringAttr(op.attributes[DOT]).value,
            dot_filler=attributes.integer(op, FILLER) if FILLER in op.attributes else 0,
        )

    def _operand(
        self, item: regions.Operand | None, value: ir.Value, exprs: list[ir.AffineExpr] | None, zeros: Ends
    ) -> Operand | None:
        """`exprs` are those of the operation, which a dot product reads otherwise; None: those of `item`."""
        if item is None:
            return None
        if isinstance(item, regions.Access):
            index = tuple(self._index(expr) for expr in exprs or item.exprs)
            outside = "" if item.view.outside is None else str(item.view.outside)
            tensor, shape = self._tensor(item.view.source), tuple(shape_of(value))
            rounded = rounding_of(self.region.root.op) if exprs else ""
            return Access(tensor, index, shape, item.view.offsets, zeros, outside, rounded)
        if isinstance(item, ir.Value):
            return Computed(self.stage_of[item])
        return Constant(str(item))

    def _index(self, expr: ir.AffineExpr) -> str:
        form = form_of(expr)
        if form is None:
            raise PassError(f"an operand indexed by {expr} cannot be part of a kernel", self.region.op)
        return print_form(form, self.names)

    def _output(self, output: regions.Output) -> Output:
        return Output(
            stage=self.stage_of[output.value],
            low=output.low,
            high=output.high,
            pad=None if output.pad is None else str(output.pad),
            shape=tuple(output.type.shape),
            at=output.at,
            into=None if output.into is None else self._tensor(output.into),
        )


def body_of(block: ir.Block) -> tuple[tuple[Step, ...], str]:
    """The steps of a body, and what it yields."""
    inputs = len(block.arguments) - 1
    names: dict[ir.Value, str] = {
        argument: f"in{i}" if i < inputs else "init" for i, argument in enumerate(block.arguments)
    }

    def named(value: ir.Value) -> str:
        return names[value] if value in names else str(scalar_constant(value))

    steps: list[Step] = []
    for op in block.operations:
        op = op.operation
        if op.name == "linalg.yield":
            return tuple(steps), named(op.operands[0])
        if op.name == "arith.constant":
            continue
        operands = tuple(named(value) for value in op.operands)
        steps.append(Step(op.name, operands, str(op.results[0].type), _attributes(op)))
        names[op.results[0]] = f"%{len(steps) - 1}"
    raise PassError("a body without linalg.yield", block.owner)


def _attributes(op: ir.Operation) -> str:
    found = sorted((op.attributes[i].name, str(op.attributes[i].attr)) for i in range(len(op.attributes)))
    return ", ".join(f"{name} = {attr}" for name, attr in found)
