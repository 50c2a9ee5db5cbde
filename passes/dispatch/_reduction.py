"""What a linalg.generic that combines many elements into one reads and how, for dlas-split-reductions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.ir import affine, build, loops
from dlas_mlir.ir.linalg import indexing_maps, loop_extents, out_loops, reduction_loops

Exprs = tuple[ir.AffineExpr, ...]

# What each operation starts from: of integers a function of their width.
_START = {
    "arith.addf": 0.0,
    "arith.mulf": 1.0,
    "arith.maximumf": -math.inf,
    "arith.minimumf": math.inf,
    "arith.addi": lambda bits: 0,
    "arith.muli": lambda bits: 1,
    "arith.maxsi": lambda bits: -(1 << (bits - 1)),
    "arith.minsi": lambda bits: (1 << (bits - 1)) - 1,
    "arith.maxui": lambda bits: 0,
    "arith.minui": lambda bits: -1,
    "arith.andi": lambda bits: -1,
    "arith.ori": lambda bits: 0,
    "arith.xori": lambda bits: 0,
}


@dataclass(frozen=True)
class Reduction:
    """A linalg.generic `op` whose body combines something into its one result by `combiner`.

    `maps` are the expressions that operands are read by, the result's last, in which loops of one iteration are 0;
    `out` holds the loop of each dimension of the result, None for one of one element.
    """

    op: ir.Operation
    combiner: str
    extents: tuple[int, ...]
    maps: tuple[Exprs, ...]
    out: tuple[int | None, ...]
    reductions: tuple[int, ...]

    @staticmethod
    def of(op: ir.Operation) -> Reduction | None:
        """A view of `op`; None where it is something else or its shape is not static."""
        if op.name != "linalg.generic" or len(op.results) != 1:
            return None
        marks = [named.name for named in build.attributes_of(op) if named.name.startswith("dlas.")]
        if any(name != loops.ATTRIBUTE for name in marks):
            return None
        kinds = [value.type for value in op.operands]
        if not all(isinstance(kind, ir.RankedTensorType) and kind.has_static_shape for kind in kinds):
            return None
        combiner = None if _is_bit(kinds[-1]) else combiner_of(op.regions[0].blocks[0])
        maps = indexing_maps(op)
        if combiner is None or not all(affine.is_dim(expr) or str(expr) == "0" for expr in maps[-1].results):
            return None
        extents = loop_extents(op)
        dims = [affine.dim(i) if extent > 1 else affine.constant(0) for i, extent in enumerate(extents)]
        exprs = [tuple(affine.substitute(expr, dims, len(extents)) for expr in map_.results) for map_ in maps]
        reductions = tuple(loop for loop in reduction_loops(op) if extents[loop] > 1)
        view = Reduction(op, combiner, extents, tuple(exprs), out_loops(maps[-1]), reductions)
        return view if set(range(len(extents))) <= {*reduction_loops(op), *view.out} else None

    @property
    def length(self) -> int:
        """How many elements are combined into one."""
        return math.prod(self.extents[loop] for loop in self.reductions)

    @property
    def element(self) -> ir.Type:
        """The type of the result's elements."""
        return build.element_type(self.op.results[0])

    @property
    def start(self) -> ir.Value:
        """The scalar that the combiner leaves everything as it is with."""
        return start_of(self.combiner, self.element)

    def read(self) -> list[Exprs]:
        """The expressions of the inputs that the body uses."""
        arguments = self.op.regions[0].blocks[0].arguments
        return [exprs for i, exprs in enumerate(self.maps[:-1]) if list(arguments[i].uses)]

    def is_contraction(self) -> bool:
        """Whether two inputs that are reduced belong to different results, so that each is read many times."""
        dims = [set().union(*(affine.dims_of(expr) for expr in exprs)) for exprs in self.read()]
        reduced = set(self.reductions)
        return len({frozenset(found - reduced) for found in dims if found & reduced}) > 1

    def is_plain(self, loop: int, unused: bool = False) -> bool:
        """Whether every input (with `unused` also those that the body does not use) that depends on `loop` is indexed
        by it and nothing else in one dimension."""
        for exprs in self.maps[:-1] if unused else self.read():
            used = [expr for expr in exprs if loop in affine.dims_of(expr)]
            if used and not (len(used) == 1 and affine.is_dim(used[0], loop)):
                return False
        return True

    def contiguous(self) -> int | None:
        """The reduction loop along which an input's neighbours in memory lie, if every input reads it plainly."""
        for exprs in self.read():
            varying = [expr for expr in exprs if affine.dims_of(expr)]
            if varying and affine.is_dim(varying[-1]):
                loop = affine.dim_position(varying[-1])
                if loop in self.reductions and self.is_plain(loop):
                    return loop
        return None


def _is_bit(kind: ir.Type) -> bool:
    element = ir.RankedTensorType(kind).element_type
    return isinstance(element, ir.IntegerType) and element.width == 1


def start_of(combiner: str, element: ir.Type) -> ir.Value:
    """The scalar of type `element` that `combiner` leaves everything as it is with."""
    start = _START[combiner]
    if isinstance(element, ir.IntegerType):
        return build.scalar(element, start(element.width))  # type: ignore[operator]
    return build.scalar(element, start)  # type: ignore[arg-type]


def combiner_of(body: ir.Block) -> str | None:
    """The operation that a body combines its accumulator (which it uses for nothing else) with something by."""
    accumulator = body.arguments[len(body.arguments) - 1]
    *_, terminator = (op.operation for op in body.operations)
    last = build.defining(terminator.operands[0])
    if last is None or last.name not in _START or len(list(accumulator.uses)) != 1:
        return None
    return last.name if accumulator in list(last.operands) else None
