"""What a linalg operation says: its maps, its loops, the constants it reads; and slices and paddings around it."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.ir import affine
from dlas_mlir.opt.base import PassError


def indexing_maps(op: ir.Operation) -> list[ir.AffineMap]:
    """The indexing maps of a linalg.generic, inputs first."""
    return [ir.AffineMapAttr(attr).value for attr in ir.ArrayAttr(op.attributes["indexing_maps"])]


def iterators(op: ir.Operation) -> list[str]:
    """`parallel` or `reduction` for each loop of a linalg.generic."""
    kinds = ir.ArrayAttr(op.attributes["iterator_types"])
    return ["reduction" if "reduction" in str(kind) else "parallel" for kind in kinds]


def reduction_loops(op: ir.Operation) -> tuple[int, ...]:
    """The reductions of a linalg.generic. A loop that the result is indexed by is none, whatever it is called."""
    out = set().union(*(affine.dims_of(expr) for expr in indexing_maps(op)[-1].results), set())
    return tuple(i for i, kind in enumerate(iterators(op)) if kind == "reduction" and i not in out)


def loop_extents(op: ir.Operation) -> tuple[int, ...]:
    """The extent of each loop of a linalg.generic, from the operands that it indexes plainly."""
    maps = indexing_maps(op)
    extents: dict[int, int] = {}
    for operand, map_ in zip(op.operands, maps, strict=True):
        for expr, size in zip(map_.results, shape_of(operand), strict=True):
            if affine.is_dim(expr):
                extents[affine.dim_position(expr)] = size
    return tuple(extents[i] for i in range(maps[0].n_dims))


def out_loops(map_: ir.AffineMap) -> tuple[int | None, ...]:
    """The loop that each result of an output map is; None for a constant zero. Raises PassError for anything else."""
    loops = []
    for expr in map_.results:
        if affine.is_dim(expr):
            loops.append(affine.dim_position(expr))
        elif not affine.dims_of(expr) and affine.evaluate(expr, []) == 0:
            loops.append(None)
        else:
            raise PassError(f"a result indexed by {expr} cannot be part of a kernel")
    return tuple(loops)


def shape_of(value: ir.Value) -> list[int]:
    """The static shape of a tensor value. Raises PassError for a dynamic one."""
    kind = ir.RankedTensorType(value.type)
    if not kind.has_static_shape:
        raise PassError(f"dynamic shapes are not supported: {kind}", getattr(value, "owner", None))
    return list(kind.shape)


def scalar_constant(value: ir.Value) -> ir.Attribute | None:
    """The attribute of an arith.constant that is a scalar or a splat, as a scalar; None for anything else."""
    owner = value.owner
    if not isinstance(owner, ir.Operation | ir.OpView) or owner.operation.name != "arith.constant":
        return None
    attr = owner.operation.attributes["value"]
    if isinstance(attr, ir.FloatAttr | ir.IntegerAttr):
        return attr
    if isinstance(attr, ir.DenseElementsAttr) and attr.is_splat:
        return attr.get_splat_value()
    return None


def fill_constant(op: ir.Operation) -> ir.Attribute | None:
    """The scalar constant that a linalg.fill puts everywhere; None where it is none or is converted."""
    value = scalar_constant(op.operands[0])
    same = ir.RankedTensorType(op.operands[1].type).element_type == op.operands[0].type
    return value if same else None


def is_plain_slice(op: ir.Operation) -> bool:
    """Whether a tensor.extract_slice takes a value of full rank from a constant place with unit strides."""
    strides = set(ir.DenseI64ArrayAttr(op.attributes["static_strides"]))
    return len(op.operands) == 1 and strides == {1} and _same_rank(op.operands[0], op.results[0])


def is_plain_insertion(op: ir.Operation) -> bool:
    """Whether a tensor.insert_slice puts a value of full rank at a constant place with unit strides."""
    strides = set(ir.DenseI64ArrayAttr(op.attributes["static_strides"]))
    return len(op.operands) == 2 and strides == {1} and _same_rank(op.operands[0], op.operands[1])


def _same_rank(a: ir.Value, b: ir.Value) -> bool:
    return ir.RankedTensorType(a.type).rank == ir.RankedTensorType(b.type).rank
