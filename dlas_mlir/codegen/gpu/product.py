"""A workload as a product of matrices that are not written out: result[rows, columns] = sum over depth of A times B.

Rows are the loops that only the first factor is indexed by (the pixels of all images), columns the one loop that only
the second is (output channels), and what is summed over are taps, then channels, which are neighbours in memory in
both factors. That is the implicit product of Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from dlas_mlir.codegen.taps import factors
from dlas_mlir.codegen.workload import Access, Workload
from dlas_mlir.ir.strides import Floor

BYTES = {"f16": 2, "bf16": 2, "f32": 4, "i8": 1, "i32": 4}
# Bytes of each row of a factor that are multiplied in one step, and that are copied at once.
STEP, CHUNK = 128, 16


class NotAProduct(ValueError):
    """Why a workload is no product of matrices that kernels are made for."""


@dataclass(frozen=True)
class Guard:
    """A dimension of a factor that is read beyond its ends, where there are zeros: the index is the sum of the loops
    times `factors`, and `constant`; what is not in 0 ... size - 1 is zero."""

    factors: dict[str, int]
    constant: int
    size: int


@dataclass(frozen=True)
class Groups:
    """A loop in groups of `size` iterations, each of which reads `stride` elements further on than the one before."""

    loop: str
    size: int
    stride: int


@dataclass(frozen=True)
class Layout:
    """Where an operand is read: element `constant` plus the loops times `strides`, and the groups of a loop, of tensor
    number `tensor`."""

    tensor: int
    element: str
    strides: dict[str, int]
    constant: int
    guards: tuple[Guard, ...]
    groups: Groups | None = None

    def bytes(self, loop: str) -> int:
        """By how many bytes it moves with a loop."""
        return self.strides.get(loop, 0) * BYTES[self.element]


@dataclass(frozen=True)
class Product:
    """Which loop of a workload is what, how the factors lie, and which are codes without a sign. Loops of one iteration
    are nowhere."""

    workload: Workload
    rows: tuple[str, ...]
    column: str
    taps: tuple[str, ...]
    depth: str
    a: Layout
    b: Layout
    unsigned: tuple[bool, bool] = (False, False)

    def types(self, ptx: str) -> tuple[str, str]:
        """What an instruction calls the elements of A and B, whose type it calls `ptx`: codes may have no sign."""
        a, b = ("u8" if ptx == "s8" and unsigned else ptx for unsigned in self.unsigned)
        return a, b

    @property
    def element(self) -> str:
        """The type of the factors' elements."""
        return self.a.element

    @property
    def rounding(self) -> str:
        """What elements may be rounded to before they are multiplied; empty: nothing."""
        item = self.workload.root.inputs[0]
        return item.rounded if isinstance(item, Access) else ""

    @property
    def total(self) -> str:
        """The type of the sums."""
        return self.workload.root.element

    def extents_of(self, loops: tuple[str, ...]) -> tuple[int, ...]:
        """Their iterations."""
        return tuple(self.workload.extents[loop] for loop in loops)

    @cached_property
    def m(self) -> int:
        """How many rows there are."""
        return math.prod(self.extents_of(self.rows))

    @cached_property
    def n(self) -> int:
        """How many columns there are."""
        return self.workload.extents[self.column]

    @cached_property
    def channels(self) -> int:
        """What is summed over within a tap."""
        return self.workload.extents[self.depth] if self.depth else 1

    @cached_property
    def tap_count(self) -> int:
        """How many taps there are."""
        return math.prod(self.extents_of(self.taps))

    @cached_property
    def k(self) -> int:
        """How many products make one sum."""
        return self.tap_count * self.channels

    @property
    def group_columns(self) -> int:
        """Columns that read the same rows: all, where there are no groups."""
        return self.a.groups.size if self.a.groups else self.n

    @property
    def group_bytes(self) -> int:
        """How far the rows of one group are from those of the next."""
        return self.a.groups.stride * BYTES[self.element] if self.a.groups else 0

    @cached_property
    def whole_steps(self) -> bool:
        """Whether each step is of one tap."""
        return self.channels * BYTES[self.element] % STEP == 0

    @cached_property
    def steps(self) -> int:
        """How many steps of 128 bytes the sum takes."""
        return -(-self.k * BYTES[self.element] // STEP)

    @staticmethod
    def of(workload: Workload) -> Product:
        """`workload` as a product. Raises NotAProduct."""
        found = _product(workload)
        if isinstance(found, str):
            raise NotAProduct(found)
        return found


@lru_cache(maxsize=512)
def _product(workload: Workload) -> Product | str:
    try:
        return _read(workload)
    except NotAProduct as error:
        return str(error)


def _read(workload: Workload) -> Product:
    root = workload.root
    if root.dot is not None or workload.sparsity is not None:
        raise NotAProduct("it has an instruction or an encoding of its own")
    if len(root.inputs) != 2 or factors(root.body, root.yields, 2) != [0, 1]:
        raise NotAProduct("it is no sum of products of two operands")
    if root.input_elements.count("i8") == 1:
        raise NotAProduct("it multiplies codes by something else")
    a, b = root.inputs
    if not isinstance(a, Access) or not isinstance(b, Access):
        raise NotAProduct("it multiplies by a constant")
    columns = [loop for loop in workload.out if loop is not None and workload.extents[loop] > 1]
    if not columns:
        raise NotAProduct("its result is one number")
    column = columns[-1]
    if column in _plain_loops(workload, a):
        a, b, places = b, a, (1, 0)
    else:
        places = (0, 1)
    if column in _plain_loops(workload, a):
        raise NotAProduct(f"both factors are indexed by `{column}`, the innermost loop of the result")
    left, right = (
        layout_of(workload, item, root.input_elements[place]) for item, place in zip((a, b), places, strict=True)
    )
    unsigned = tuple(_is_unsigned(workload, place) for place in places)
    return _roles(workload, column, (left, right), (unsigned[0], unsigned[1]))


def _is_unsigned(workload: Workload, place: int) -> bool:
    """Whether the codes of an operand are extended as numbers without a sign."""
    steps = [step for step in workload.root.body if step.operands == (f"in{place}",)]
    return any(step.op == "arith.extui" for step in steps)


def _plain_loops(workload: Workload, item: Access) -> set[str]:
    """The loops that an operand is indexed by, but for those of which only the group counts."""
    terms = [term for form in workload.forms(item) for term, _ in form.terms]
    return {workload.names[term] for term in terms if isinstance(term, int)}


def _roles(workload: Workload, column: str, layouts: tuple[Layout, Layout], unsigned: tuple[bool, bool]) -> Product:
    a, b = layouts
    many = [loop for loop in workload.names if workload.extents[loop] > 1]
    rows = tuple(loop for loop in workload.parallel if loop in many and loop != column)
    for loop in rows:
        if b.strides.get(loop):
            raise NotAProduct(f"both factors are indexed by `{loop}`, which is not summed over")
    if b.groups or (a.groups and a.groups.loop != column):
        raise NotAProduct("it divides a loop that is no output channel to index an operand")
    reductions = [loop for loop in workload.reductions if loop in many]
    depth = next((loop for loop in reversed(reductions) if a.strides.get(loop) == b.strides.get(loop) == 1), "")
    if not depth:
        raise NotAProduct("what is summed over are not neighbours in memory in both factors")
    if b.guards or any(depth in guard.factors for guard in a.guards):
        raise NotAProduct("it reads padding of channels or of weights")
    # In the order in which they lie in the second factor.
    taps = tuple(sorted((loop for loop in reductions if loop != depth), key=lambda loop: -b.strides.get(loop, 0)))
    return Product(workload, rows, column, taps, depth, a, b, unsigned)


def layout_of(workload: Workload, item: Access, element: str) -> Layout:
    """Where an operand is read. Raises NotAProduct for an index that is no sum of loops."""
    shape = workload.tensors[item.tensor].shape
    strides: dict[str, int] = {}
    constant, guards, size = 0, [], 1
    groups: Groups | None = None
    if item.outside and float(item.outside.partition(" : ")[0]) != 0:
        raise NotAProduct(f"it reads padding of {item.outside}")
    if element not in BYTES:
        raise NotAProduct(f"it reads {element}")
    for form, extent, offset in reversed(list(zip(workload.forms(item), shape, item.offsets, strict=True))):
        terms = {}
        ends: list[int] = []
        for term, factor in form.terms:
            if isinstance(term, Floor):
                if groups is not None:
                    raise NotAProduct("it divides two loops to index an operand")
                groups = _groups(workload, term, factor * size)
                ends.append(factor * ((workload.extents[groups.loop] - 1) // groups.size))
            elif workload.loops[term].extent > 1:
                terms[workload.names[term]] = factor
        start = form.constant + offset
        ends += [factor * (workload.extents[loop] - 1) for loop, factor in terms.items()]
        low, high = start + sum(end for end in ends if end < 0), start + sum(end for end in ends if end > 0)
        if low < 0 or high >= extent:
            if any(isinstance(term, Floor) for term, _ in form.terms):
                raise NotAProduct("it reads groups beyond the ends of an operand")
            guards.append(Guard(terms, start, extent))
        for loop, factor in terms.items():
            strides[loop] = strides.get(loop, 0) + factor * size
        constant += start * size
        size *= extent
    if size * BYTES[element] >= 2**31:
        raise NotAProduct("an operand of 2 GiB and more")
    return Layout(item.tensor, element, strides, constant, tuple(reversed(guards)), groups)


def _groups(workload: Workload, term: Floor, stride: int) -> Groups:
    (inner, factor), *rest = term.form.terms
    if rest or factor != 1 or term.form.constant or not isinstance(inner, int):
        raise NotAProduct("it divides a sum of loops to index an operand")
    return Groups(workload.names[inner], term.divisor, stride)
