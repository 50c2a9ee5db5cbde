"""Builders for the tensor and linalg operations that passes create, at the current insertion point."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith
from iree.compiler.dialects import tensor as tensor_dialect

from dlas_mlir.ir import affine
from dlas_mlir.ir import loops as loop_names

PURE_DIALECTS = ("arith", "linalg", "tensor", "math", "affine", "sparse_tensor")


def tensor(shape: Sequence[int], element: ir.Type) -> ir.RankedTensorType:
    """A static tensor type."""
    return ir.RankedTensorType.get(list(shape), element)


def element_type(value: ir.Value) -> ir.Type:
    """The element type of a tensor value."""
    return ir.RankedTensorType(value.type).element_type


def is_narrow_float(kind: ir.Type) -> bool:
    """Whether `kind` is a floating-point type of 16 bits."""
    return isinstance(kind, ir.F16Type | ir.BF16Type)


def i64s(values: Sequence[int]) -> ir.Attribute:
    """An array<i64>."""
    return ir.DenseI64ArrayAttr.get(list(values))


def scalar(element: ir.Type, value: float) -> ir.Value:
    """A scalar constant."""
    return arith.constant(element, value)


def zero(element: ir.Type) -> ir.Value:
    """The zero of an element type."""
    return scalar(element, 0.0 if isinstance(element, ir.FloatType) else 0)


def empty(shape: Sequence[int], element: ir.Type) -> ir.Value:
    """tensor.empty."""
    return tensor_dialect.empty(list(shape), element)


def fill(value: ir.Value, shape: Sequence[int]) -> ir.Value:
    """A tensor of `shape` filled with a scalar."""
    destination = empty(shape, value.type)
    op = ir.Operation.create(
        "linalg.fill",
        results=[destination.type],
        operands=[value, destination],
        attributes={"operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1])},
        regions=1,
    )
    block = op.regions[0].blocks.append(value.type, value.type, arg_locs=[ir.Location.unknown()] * 2)
    with ir.InsertionPoint(block):
        ir.Operation.create("linalg.yield", operands=[block.arguments[0]])
    return op.result


def maps_attr(maps: Sequence[ir.AffineMap]) -> ir.Attribute:
    """The indexing_maps attribute."""
    return ir.ArrayAttr.get([ir.AffineMapAttr.get(map_) for map_ in maps])


def iterators_attr(kinds: Sequence[str]) -> ir.Attribute:
    """The iterator_types attribute from `parallel` and `reduction`."""
    return ir.ArrayAttr.get([ir.Attribute.parse(f"#linalg.iterator_type<{kind}>") for kind in kinds])


def generic(
    inputs: Sequence[ir.Value],
    destination: ir.Value,
    maps: Sequence[Sequence[ir.AffineExpr]],
    kinds: Sequence[str],
    body: Callable[..., ir.Value],
    loops: Sequence[str] = (),
) -> ir.OpView:
    """A linalg.generic with one result. `maps` lists the result expressions per operand, the destination last;
    `body` gets the block arguments and returns what is yielded; `loops` are the names of the loops, if they have
    any."""
    op = _generic_shell(inputs, destination, [ir.AffineMap.get(len(kinds), 0, list(exprs)) for exprs in maps], kinds)
    if loops:
        loop_names.set_names(op, loops)
    types = [element_type(value) for value in (*inputs, destination)]
    block = op.regions[0].blocks.append(*types, arg_locs=[ir.Location.unknown()] * len(types))
    with ir.InsertionPoint(block):
        ir.Operation.create("linalg.yield", operands=[body(*block.arguments)])
    return op.opview


def truncated(value: ir.Value, element: ir.Type) -> ir.Value:
    """A tensor of floats rounded to a narrower type, one by one."""
    kind = ir.RankedTensorType(value.type)
    identity = [affine.dim(i) for i in range(kind.rank)]
    return generic(
        [value],
        empty(kind.shape, element),
        [identity, identity],
        ["parallel"] * kind.rank,
        lambda x, _: arith.truncf(element, x),
    ).results[0]


def generic_like(
    op: ir.Operation,
    inputs: Sequence[ir.Value],
    destination: ir.Value,
    maps: Sequence[ir.AffineMap],
    kinds: Sequence[str],
    adapt: Callable[[list[ir.Value]], list[ir.Value]] = list,
    loops: Sequence[str] | None = None,
) -> ir.Operation:
    """A linalg.generic with the body and the discardable `dlas.*` attributes of `op` on other operands and maps.
    `adapt` makes the arguments that the body expects of those that the operands have. `loops` are the names of its
    loops (empty: none); without them they are those of `op`, and as many."""
    new = _generic_shell(inputs, destination, maps, kinds)
    for named in attributes_of(op):
        if named.name.startswith("dlas.") and named.name != loop_names.ATTRIBUTE:
            new.attributes[named.name] = named.attr
    if loops is None and loop_names.named(op):
        loops = loop_names.names(op)
    if loops:
        loop_names.set_names(new, loops)
    types = [element_type(value) for value in (*inputs, destination)]
    block = new.regions[0].blocks.append(*types, arg_locs=[ir.Location.unknown()] * len(types))
    with ir.InsertionPoint(block):
        copy_body(op.regions[0].blocks[0], block, adapt(list(block.arguments)))
    return new


def copy_body(source: ir.Block, target: ir.Block, arguments: Sequence[ir.Value] | None = None) -> None:
    """Clone the operations of `source` into `target`, with `arguments` (default: the target's) for its arguments."""
    with ir.InsertionPoint(target):
        ir.Operation.create("linalg.yield", operands=[inline_body(source, arguments or list(target.arguments))])


def inline_body(source: ir.Block, arguments: Sequence[ir.Value]) -> ir.Value:
    """Clone the operations of `source` to the insertion point, with `arguments` for its arguments, and return what it
    yields."""
    mapping = dict(zip(source.arguments, arguments, strict=True))
    *body, end = source.operations
    for inner in body:
        clone = inner.operation.clone()
        for place, value in enumerate(inner.operation.operands):
            if value in mapping:
                clone.operands[place] = mapping[value]
        mapping.update(zip(inner.operation.results, clone.results, strict=True))
    (yielded,) = end.operation.operands
    return mapping.get(yielded, yielded)


def _generic_shell(
    inputs: Sequence[ir.Value], destination: ir.Value, maps: Sequence[ir.AffineMap], kinds: Sequence[str]
) -> ir.Operation:
    return ir.Operation.create(
        "linalg.generic",
        results=[destination.type],
        operands=[*inputs, destination],
        attributes={
            "indexing_maps": maps_attr(maps),
            "iterator_types": iterators_attr(kinds),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(inputs), 1]),
        },
        regions=1,
    )


def attributes_of(op: ir.Operation) -> list[ir.NamedAttribute]:
    """All attributes of `op`."""
    return [op.attributes[i] for i in range(len(op.attributes))]


def multiply_accumulate(a: ir.Value, b: ir.Value, accumulator: ir.Value) -> ir.Value:
    """The scalar accumulator + a * b, in the accumulator's type."""
    a, b = (value if value.type == accumulator.type else arith.extf(accumulator.type, value) for value in (a, b))
    return arith.addf(accumulator, arith.mulf(a, b))


# On a linalg.pack: nothing that is computed for a real element depends on what it is padded with.
UNREAD_FILLER = "dlas.unread_filler"


def pack(source: ir.Value, dims: Sequence[int], tiles: Sequence[int], *, unread: bool = False) -> ir.Value:
    """linalg.pack of `dims` into inner `tiles`, padded with zeros where a tile does not divide; `unread` says that its
    readers do not look at that padding."""
    kind = ir.RankedTensorType(source.type)
    shape = list(kind.shape)
    padded = any(shape[dim] % tile for dim, tile in zip(dims, tiles, strict=True))
    for dim, tile in zip(dims, tiles, strict=True):
        shape[dim] = -(-shape[dim] // tile)
    destination = empty([*shape, *tiles], kind.element_type)
    operands = [source, destination] + ([zero(kind.element_type)] if padded else [])
    op = ir.Operation.create(
        "linalg.pack",
        results=[destination.type],
        operands=operands,
        attributes={
            "outer_dims_perm": i64s([]),
            "inner_dims_pos": i64s(dims),
            "static_inner_tiles": i64s(tiles),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1, int(padded), 0]),
        },
    )
    if padded and unread:
        op.attributes[UNREAD_FILLER] = ir.UnitAttr.get()
    return op.result


def unpack(source: ir.Value, dims: Sequence[int], shape: Sequence[int]) -> ir.Value:
    """linalg.unpack of the inner tiles of `source` into `dims` of a tensor of `shape`."""
    kind = ir.RankedTensorType(source.type)
    destination = empty(shape, kind.element_type)
    return ir.Operation.create(
        "linalg.unpack",
        results=[destination.type],
        operands=[source, destination],
        attributes={
            "outer_dims_perm": i64s([]),
            "inner_dims_pos": i64s(dims),
            "static_inner_tiles": i64s(kind.shape[len(shape) :]),
        },
    ).result


def _groups_attr(groups: Sequence[Sequence[int]]) -> ir.Attribute:
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get([ir.ArrayAttr.get([ir.IntegerAttr.get(i64, i) for i in group]) for group in groups])


def collapse(source: ir.Value, groups: Sequence[Sequence[int]]) -> ir.Value:
    """tensor.collapse_shape."""
    kind = ir.RankedTensorType(source.type)
    shape = []
    for group in groups:
        size = 1
        for dim in group:
            size *= kind.shape[dim]
        shape.append(size)
    return tensor_dialect.collapse_shape(tensor(shape, kind.element_type), source, _groups_attr(groups))


def expand(source: ir.Value, groups: Sequence[Sequence[int]], shape: Sequence[int]) -> ir.Value:
    """tensor.expand_shape to the static `shape`."""
    return tensor_dialect.expand_shape(
        tensor(shape, element_type(source)), source, _groups_attr(groups), [], list(shape)
    )


def extract_slice(source: ir.Value, offsets: Sequence[int], sizes: Sequence[int]) -> ir.Value:
    """tensor.extract_slice with constant offsets and unit strides."""
    kind, ones = tensor(sizes, element_type(source)), [1] * len(sizes)
    return tensor_dialect.extract_slice(kind, source, [], [], [], list(offsets), list(sizes), ones)


def insert_slice(source: ir.Value, destination: ir.Value, offsets: Sequence[int]) -> ir.Value:
    """tensor.insert_slice with constant offsets and unit strides."""
    sizes = ir.RankedTensorType(source.type).shape
    ones, results = [1] * len(sizes), [destination.type]
    return tensor_dialect.insert_slice(
        source, destination, [], [], [], list(offsets), list(sizes), ones, results=results
    )


def concat(parts: Sequence[ir.Value], dim: int) -> ir.Value:
    """tensor.concat of values that differ in dimension `dim` at most."""
    kinds = [ir.RankedTensorType(part.type) for part in parts]
    shape = list(kinds[0].shape)
    shape[dim] = sum(kind.shape[dim] for kind in kinds)
    return tensor_dialect.concat(tensor(shape, kinds[0].element_type), dim, parts)


def pad(source: ir.Value, low: Sequence[int], high: Sequence[int], value: ir.Value) -> ir.Value:
    """tensor.pad with a constant."""
    kind = ir.RankedTensorType(source.type)
    shape = [a + size + b for a, size, b in zip(low, kind.shape, high, strict=True)]
    op = tensor_dialect.PadOp(tensor(shape, kind.element_type), source, [], [], list(low), list(high))
    indices = [ir.IndexType.get()] * len(shape)
    block = op.regions[0].blocks.append(*indices, arg_locs=[ir.Location.unknown()] * len(shape))
    with ir.InsertionPoint(block):
        tensor_dialect.yield_(value)
    return op.result


def transpose(source: ir.Value, permutation: Sequence[int]) -> ir.Value:
    """linalg.transpose: result dimension i is source dimension `permutation[i]`."""
    kind = ir.RankedTensorType(source.type)
    destination = empty([kind.shape[i] for i in permutation], kind.element_type)
    op = ir.Operation.create(
        "linalg.transpose",
        results=[destination.type],
        operands=[source, destination],
        attributes={"permutation": i64s(permutation)},
        regions=1,
    )
    block = op.regions[0].blocks.append(kind.element_type, kind.element_type, arg_locs=[ir.Location.unknown()] * 2)
    with ir.InsertionPoint(block):
        ir.Operation.create("linalg.yield", operands=[block.arguments[0]])
    return op.result


def read_by(op: ir.Operation) -> list[ir.Value]:
    """The operands of `op` and of everything in its regions."""
    values = list(op.operands)
    for region in op.regions:
        for block in region.blocks:
            for inner in block.operations:
                values += read_by(inner.operation)
    return values


def is_static(op: ir.Operation) -> bool:
    """Whether all tensors that `op` reads and writes have static shapes."""
    kinds = [value.type for value in (*op.operands, *op.results) if isinstance(value.type, ir.RankedTensorType)]
    return all(ir.RankedTensorType(kind).has_static_shape for kind in kinds)


def functions(module: ir.Module) -> Iterator[ir.Block]:
    """The entry block of each function with a body that stands in the module."""
    for op in module.body.operations:
        if op.operation.name in ("func.func", "util.func") and op.regions[0].blocks:
            yield op.regions[0].blocks[0]


def operations(module: ir.Module) -> list[ir.Operation]:
    """The operations of all functions' entry blocks, in order. A list: the caller may rewrite."""
    return [op.operation for block in functions(module) for op in block.operations]


def erase_dead(module: ir.Module) -> None:
    """Erase the operations without uses or effects that a rewrite has left behind."""
    for op in reversed(operations(module)):
        if op.name.split(".")[0] in PURE_DIALECTS and not any(list(result.uses) for result in op.results):
            op.erase()


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def identity(op: ir.Operation) -> int:
    """A key for `op` that stays while it is rewritten: the bindings hash operations by their structure."""
    capsule = op._CAPIPtr
    return _capsule_pointer(capsule, _capsule_name(capsule))


def defining(value: ir.Value) -> ir.Operation | None:
    """The operation that computes `value`; None for an argument of a block."""
    owner = value.owner
    return None if isinstance(owner, ir.Block) else owner.operation


def users(value: ir.Value) -> list[ir.Operation]:
    """The operations that use `value`, each once, in no particular order."""
    found = []
    for use in value.uses:
        if use.owner.operation not in found:
            found.append(use.owner.operation)
    return found
