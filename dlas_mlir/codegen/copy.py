"""A copy of a tensor that nothing folds away: a dispatch that reads it and writes it."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen import build


def copied(value: ir.Value) -> ir.Value:
    """A copy of `value`, a tensor of static shape and any element type, in a buffer of its own."""
    op = ir.Operation.create(
        "flow.dispatch.workgroups",
        results=[value.type],
        operands=[value],
        attributes={
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 1, 0, 0]),
            "tied_operands": ir.ArrayAttr.get([ir.IntegerAttr.get(ir.IndexType.get(), -1)]),
        },
        regions=2,
    )
    kinds = [
        ir.Type.parse(f"!iree_tensor_ext.dispatch.tensor<{access}:{value.type}>")
        for access in ("readonly", "writeonly")
    ]
    body = op.regions[0].blocks.append(*kinds, arg_locs=[ir.Location.unknown()] * 2)
    with ir.InsertionPoint(body):
        source, target = body.arguments
        loaded = ir.Operation.create(
            "iree_tensor_ext.dispatch.tensor.load",
            results=[value.type],
            operands=[source],
            attributes=_whole(value, [1, 0, 0, 0, 0]),
        ).result
        ir.Operation.create(
            "iree_tensor_ext.dispatch.tensor.store",
            operands=[loaded, target],
            attributes=_whole(value, [1, 1, 0, 0, 0, 0]),
        )
        ir.Operation.create("flow.return")
    with ir.InsertionPoint(op.regions[1].blocks.append()):
        ir.Operation.create("flow.return", operands=[build.index(1)] * 3)
    return op.result


def _whole(value: ir.Value, segments: list[int]) -> dict[str, ir.Attribute]:
    """The attributes of a load or store of all of a tensor like `value`."""
    shape = list(ir.RankedTensorType(value.type).shape)
    return {
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get(segments),
        "static_offsets": ir.DenseI64ArrayAttr.get([0] * len(shape)),
        "static_sizes": ir.DenseI64ArrayAttr.get(shape),
        "static_strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
    }
