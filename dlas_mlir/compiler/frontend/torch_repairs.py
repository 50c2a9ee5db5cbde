"""What torch-mlir gets wrong or does not lower, rewritten in the torch dialect before that. Does not import torch.

Loops. `torch.prim.Loop` goes on while a condition holds that its body computes. torch-mlir takes one whose first
condition is known to hold for a loop over a fixed number of steps, and never asks the body's: a `while_loop` with a
counter from 0 never ends.

Bits. `torch.aten.view.dtype` has no lowering; between types of one width it is an `arith.bitcast` of each element.
"""

from __future__ import annotations

import re

from torch_mlir import ir
from torch_mlir.passmanager import PassManager

_TENSOR = re.compile(r"!torch\.vtensor<\[([0-9,]*)\],[su]?([a-z0-9]+)>")


def repair(module: ir.Module) -> None:
    """Rewrite `module` in place."""
    for op in _found(module, "torch.prim.Loop"):
        keep_condition(op)
    views = _found(module, "torch.aten.view.dtype")
    if views:
        _load_casts(module.context)
    for op in views:
        write_bitcast(op)


def keep_condition(loop: ir.Operation) -> None:
    """Let the first condition of a loop that may end at any step be nothing that folds to a constant.

    Before:
    ```mlir
    %go = torch.aten.Bool.Tensor %first : !torch.vtensor<[],i1> -> !torch.bool
    %end = torch.prim.Loop %most, %go, init(%x) {
    ```
    After:
    ```mlir
    %any = torch.aten.any %first : !torch.vtensor<[],i1> -> !torch.vtensor<[],i1>
    %go = torch.aten.Bool.Tensor %any : !torch.vtensor<[],i1> -> !torch.bool
    %end = torch.prim.Loop %most, %go, init(%x) {
    ```
    """
    going_on = loop.operands[1].owner
    if not isinstance(going_on, ir.Operation | ir.OpView) or going_on.name != "torch.aten.Bool.Tensor":
        return  # a constant: the loop ends by its number of steps
    first = going_on.operands[0]
    with going_on.location:
        anything = ir.Operation.create("torch.aten.any", [first.type], [first], ip=ir.InsertionPoint(going_on))
    going_on.operands[0] = anything.result


def write_bitcast(view: ir.Operation) -> None:
    """A view of one element type as another of the same width.

    Before:
    ```mlir
    %y = torch.aten.view.dtype %x, %int3 : !torch.vtensor<[4],f32>, !torch.int -> !torch.vtensor<[4],si32>
    ```
    After:
    ```mlir
    %0 = torch_c.to_builtin_tensor %x : !torch.vtensor<[4],f32> -> tensor<4xf32>
    %1 = linalg.generic {.. parallel ..} ins(%0 : tensor<4xf32>) outs(%empty : tensor<4xi32>) { arith.bitcast }
    %y = torch_c.from_builtin_tensor %1 : tensor<4xi32> -> !torch.vtensor<[4],si32>
    ```
    """
    x, result = view.operands[0], view.results[0]
    with view.location, ir.InsertionPoint(view):
        given = _created("torch_c.to_builtin_tensor", _builtin(x.type), x)
        bits = _each_bitcast(given, _builtin(result.type))
        result.replace_all_uses_with(_created("torch_c.from_builtin_tensor", result.type, bits))
    view.erase()


def _found(module: ir.Module, name: str) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == name:
            found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return found


def _created(name: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
    return ir.Operation.create(name, [result], operands).result


def _each_bitcast(x: ir.Value, result: ir.RankedTensorType) -> ir.Value:
    identity = ir.AffineMapAttr.get(ir.AffineMap.get_identity(result.rank))
    parallel = ir.Attribute.parse("#linalg.iterator_type<parallel>")
    generic = ir.Operation.create(
        "linalg.generic",
        [result],
        [x, _created("tensor.empty", result)],
        {
            "indexing_maps": ir.ArrayAttr.get([identity, identity]),
            "iterator_types": ir.ArrayAttr.get([parallel] * result.rank),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1]),
        },
        regions=1,
    )
    elements = [ir.RankedTensorType(x.type).element_type, result.element_type]
    body = generic.regions[0].blocks.append(*elements)
    with ir.InsertionPoint(body):
        ir.Operation.create("linalg.yield", [], [_created("arith.bitcast", elements[1], body.arguments[0])])
    return generic.result


def _builtin(tensor: ir.Type) -> ir.RankedTensorType:
    """The tensor type of linalg that torch-mlir's becomes, whose integers have no sign."""
    match = _TENSOR.fullmatch(str(tensor))
    assert match is not None, tensor
    sizes, element = match.groups()
    shape = [int(size) for size in sizes.split(",") if size]
    return ir.RankedTensorType.get(shape, ir.Type.parse(element))


def _load_casts(context: ir.Context) -> None:
    """Load the dialect of casts to and from tensors, which a pass that needs it loads."""
    PassManager.parse("builtin.module(torch-func-backend-type-conversion)", context).run(
        ir.Module.create(ir.Location.unknown(context)).operation
    )
