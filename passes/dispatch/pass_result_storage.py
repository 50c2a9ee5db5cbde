"""dlas-pass-result-storage: results are written to storage that the caller passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.opt.base import Pass

ATTRIBUTE = "iree.abi.output"


@dataclass(frozen=True)
class PassResultStoragePass(Pass):
    """Give functions an argument for each tensor that they return: the storage that it is written to.

    A call then allocates nothing for its results, and those of several calls may stand in different places. Whoever
    calls passes what it likes as long as types and sizes are right; nobody reads what is in it. Functions that return
    a dynamic shape, or have such arguments already, stay as they are.

    Before:
    ```mlir
    func.func @main(%x: tensor<1x8xf32>) -> tensor<1x4xf32>
    ```
    After:
    ```mlir
    func.func @main(%x: tensor<1x8xf32>, %storage: tensor<1x4xf32> {iree.abi.output = 0 : index}) -> tensor<1x4xf32>
    ```
    """

    name: ClassVar[str] = "dlas-pass-result-storage"

    def run(self, module: ir.Module) -> None:
        for op in module.body.operations:
            if op.operation.name == "func.func" and op.operation.regions[0].blocks and _is_public(op.operation):
                _extend(op.operation)


def _is_public(function: ir.Operation) -> bool:
    marks = function.attributes
    return "sym_visibility" not in marks or ir.StringAttr(marks["sym_visibility"]).value == "public"


def _extend(function: ir.Operation) -> None:
    kind = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    marks = _argument_marks(function, len(kind.inputs))
    tensors = {i: one for i, one in enumerate(kind.results) if isinstance(one, ir.RankedTensorType)}
    dynamic = not all(ir.RankedTensorType(one).has_static_shape for one in tensors.values())
    if dynamic or any(ATTRIBUTE in one for one in marks):
        return
    entry = function.regions[0].blocks[0]
    index = ir.IndexType.get()
    for number, result in tensors.items():
        entry.add_argument(result, function.location)
        marks.append(ir.DictAttr.get({ATTRIBUTE: ir.IntegerAttr.get(index, number)}))
    inputs = [*kind.inputs, *tensors.values()]
    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, kind.results))
    function.attributes["arg_attrs"] = ir.ArrayAttr.get(marks)


def _argument_marks(function: ir.Operation, count: int) -> list[ir.DictAttr]:
    if "arg_attrs" not in function.attributes:
        return [ir.DictAttr.get({}) for _ in range(count)]
    return [ir.DictAttr(one) for one in ir.ArrayAttr(function.attributes["arg_attrs"])]
