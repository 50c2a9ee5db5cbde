"""Operations of a CUDA kernel: 32-bit arithmetic, pointers, and PTX's instructions as operations of LLVM's and NVVM's
dialects, at the insertion point.

Numbers of 32 bits are Python's where they are known, so that what is constant is folded here and an address keeps its
constant part apart, as the machine's loads and stores have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from iree.compiler import ir
from iree.compiler.dialects import arith, gpu, hal, llvm, memref, nvvm, scf, vector

# A number of 32 bits: known, or computed by each thread.
Number: TypeAlias = "int | ir.Value"

GLOBAL, SHARED, CLUSTER = 1, 3, 7


def i32() -> ir.Type:
    """The type of numbers."""
    return ir.IntegerType.get_signless(32)


def f32() -> ir.Type:
    """The type of sums."""
    return ir.F32Type.get()


def pointer(space: int) -> ir.Type:
    """A pointer to memory of `space`."""
    return ir.Type.parse(f"!llvm.ptr<{space}>")


def struct(elements: Sequence[ir.Type]) -> ir.Type:
    """What instructions with several results give."""
    return ir.Type.parse(f"!llvm.struct<({', '.join(map(str, elements))})>")


# Arithmetic of 32 bits, unsigned.


def value(number: Number) -> ir.Value:
    """A number as a value."""
    return arith.constant(i32(), number) if isinstance(number, int) else number


def add(*numbers: Number) -> Number:
    """The sum."""
    known = sum(number for number in numbers if isinstance(number, int))
    total: Number | None = None
    for number in numbers:
        if not isinstance(number, int):
            total = number if total is None else arith.addi(total, number)
    if total is None:
        return known
    return arith.addi(total, value(known)) if known else total


def sub(left: Number, right: Number) -> Number:
    """left - right."""
    if isinstance(right, int):
        return add(left, -right)
    return arith.subi(value(left), right)


def mul(left: Number, right: Number) -> Number:
    """The product."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if isinstance(left, int):
        left, right = right, left
    if isinstance(right, int):
        if right in (0, 1):
            return left if right else 0
        if right > 0 and right & (right - 1) == 0:
            return arith.shli(left, value(right.bit_length() - 1))
    return arith.muli(left, value(right))


def div(left: Number, right: int) -> Number:
    """left / right, rounded down; left is not negative."""
    if isinstance(left, int):
        return left // right
    if right & (right - 1) == 0:
        return left if right == 1 else arith.shrui(left, value(right.bit_length() - 1))
    return arith.divui(left, value(right))


def rem(left: Number, right: int) -> Number:
    """What left / right leaves."""
    if isinstance(left, int):
        return left % right
    if right & (right - 1) == 0:
        return bits(left, right - 1)
    return arith.remui(left, value(right))


def bits(left: Number, mask: Number) -> Number:
    """Bit by bit and."""
    if isinstance(left, int) and isinstance(mask, int):
        return left & mask
    return 0 if 0 in (left, mask) else arith.andi(value(left), value(mask))


def either(left: Number, right: Number) -> Number:
    """Bit by bit or."""
    if isinstance(left, int) and isinstance(right, int):
        return left | right
    if isinstance(left, int):
        left, right = right, left
    return left if right == 0 else arith.ori(left, value(right))


def differ(left: Number, right: Number) -> Number:
    """Bit by bit exclusive or."""
    if isinstance(left, int) and isinstance(right, int):
        return left ^ right
    if isinstance(left, int):
        left, right = right, left
    return left if right == 0 else arith.xori(left, value(right))


def shifted(left: Number, places: Number) -> Number:
    """`left` shifted right by `places`."""
    if isinstance(left, int) and isinstance(places, int):
        return left >> places
    return left if places == 0 else arith.shrui(value(left), value(places))


def dot(numbers: Sequence[Number], factors: Sequence[int], constant: int = 0) -> Number:
    """The sum of the products, and a constant."""
    return add(*(mul(number, factor) for number, factor in zip(numbers, factors, strict=True)), constant)


def digits(number: Number, extents: Sequence[int]) -> list[Number]:
    """`number` in the mixed radix of `extents`, the last digit first counted; the first one takes all that is left."""
    found: list[Number] = []
    for extent in reversed(extents[1:]):
        found.append(rem(number, extent))
        number = div(number, extent)
    return [number, *reversed(found)] if extents else []


def offset(number: Number, parts: Sequence[Number], extents: Sequence[int], moves: Sequence[int]) -> Number:
    """The sum of the digits of `number` times `moves`: `parts` are its digits in the mixed radix of `extents`, which
    are not needed where it moves evenly."""
    even = all(moves[i] == extents[i + 1] * moves[i + 1] for i in range(len(extents) - 1))
    return mul(number, moves[-1]) if even and moves else dot(parts, moves)


# Truth values.


def less(left: Number, right: Number) -> ir.Value | bool:
    """Whether left < right, both unsigned: a negative left is not less than a positive right."""
    if isinstance(left, int) and isinstance(right, int):
        return 0 <= left < right
    return arith.cmpi(arith.CmpIPredicate.ult, value(left), value(right))


def equal(left: Number, right: Number) -> ir.Value | bool:
    """Whether they are the same."""
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    return arith.cmpi(arith.CmpIPredicate.eq, value(left), value(right))


def both(*conditions: ir.Value | bool) -> ir.Value | bool:
    """Whether all are true."""
    if any(condition is False for condition in conditions):
        return False
    rest = [condition for condition in conditions if not isinstance(condition, bool)]
    if not rest:
        return True
    found = rest[0]
    for other in rest[1:]:
        found = arith.andi(found, other)
    return found


def chosen(condition: ir.Value | bool, yes: Number, no: Number) -> Number:
    """`yes` where the condition holds, else `no`."""
    if isinstance(condition, bool):
        return yes if condition else no
    return arith.select(condition, value(yes), value(no))


# Control.


def when(condition: ir.Value | bool, body: Callable[[], None]) -> None:
    """`body` where the condition holds."""
    if isinstance(condition, bool):
        if condition:
            body()
        return
    op = scf.IfOp(condition)
    with ir.InsertionPoint(op.then_block):
        body()
        scf.YieldOp([])


def loop(
    count: Number, carried: Sequence[ir.Value], body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]]
) -> list[ir.Value]:
    """`body` of 0, 1 ... and of what is carried, `count` times; returns what is carried at the end."""
    op = scf.ForOp(value(0), value(count), value(1), list(carried))
    with ir.InsertionPoint(op.body):
        scf.YieldOp(list(body(op.induction_variable, list(op.inner_iter_args))))
    return list(op.results)


# Where a thread is.


def thread() -> ir.Value:
    """The number of the thread in its workgroup."""
    return arith.index_cast(i32(), gpu.thread_id(gpu.Dimension.x))


def workgroup(dimension: int) -> ir.Value:
    """The number of the workgroup along a dimension of the grid."""
    found = hal.interface_workgroup_id(dimension, results=[ir.IndexType.get()])
    return arith.index_cast(i32(), found)


def uniform(number: ir.Value) -> ir.Value:
    """A number that is the same in all threads of a warp, and known to be."""
    kind = ir.Attribute.parse("#nvvm.shfl_kind<idx>")
    return nvvm.shfl_sync(value(-1), number, value(0), value(31), kind, results=[i32()])


# Memory.


def address(base: ir.Value, space: int) -> ir.Value:
    """A pointer to the first byte of a memref."""
    place = arith.index_cast(ir.IntegerType.get_signless(64), memref.extract_aligned_pointer_as_index(base))
    return llvm.inttoptr(pointer(space), place)


def shared(size: int, alignment: int) -> ir.Value:
    """A pointer to `size` bytes of the workgroup's own, at a multiple of `alignment`, a power of two."""
    space = ir.Attribute.parse("#gpu.address_space<workgroup>")
    kind = ir.MemRefType.get([size + alignment], ir.IntegerType.get_signless(8), memory_space=space)
    place = memref.extract_aligned_pointer_as_index(memref.alloc(kind, [], []))
    place = bits(add(arith.index_cast(i32(), place), alignment - 1), -alignment)
    return llvm.inttoptr(pointer(SHARED), value(place))


def number_of(place: ir.Value) -> ir.Value:
    """A pointer to shared memory as a number."""
    return llvm.ptrtoint(i32(), place)


def of_workgroup(place: ir.Value, rank: int) -> ir.Value:
    """The same place in the shared memory of another workgroup of the cluster."""
    return nvvm.mapa(pointer(CLUSTER), place, value(rank))


def moved(base: ir.Value, *offsets: Number) -> ir.Value:
    """The pointer, so many bytes on; the sum of the offsets may be negative. What is constant comes last."""
    known = sum(offset for offset in offsets if isinstance(offset, int))
    rest = add(*(offset for offset in offsets if not isinstance(offset, int)))
    if not isinstance(rest, int):
        base = _moved(base, [rest], -(2**31))
    return _moved(base, [], known) if known else base


def _moved(base: ir.Value, dynamic: list[ir.Value], constant: int) -> ir.Value:
    byte, flags = ir.IntegerType.get_signless(8), ir.Attribute.parse("0 : i32")
    return llvm.getelementptr(base.type, base, dynamic, [constant], byte, flags)


def load(kind: ir.Type, place: ir.Value, alignment: int, constant: bool = False) -> ir.Value:
    """What stands at `place`; `constant`: nobody writes there while the kernel runs."""
    return llvm.load(kind, place, alignment=alignment, invariant=constant or None)


def store(content: ir.Value, place: ir.Value, alignment: int) -> None:
    """Write `content`."""
    llvm.store(content, place, alignment=alignment)


def store_pair(pair: tuple[ir.Value, ir.Value], place: ir.Value) -> None:
    """Write two neighbours of 32 bits."""
    store(vector.from_elements(ir.VectorType.get([2], pair[0].type), list(pair)), place, 8)


def part(content: ir.Value, number: int, kind: ir.Type) -> ir.Value:
    """One of the results of an instruction."""
    return llvm.extractvalue(kind, content, [number])


def cast(content: ir.Value, kind: ir.Type) -> ir.Value:
    """The same bits as another type."""
    return content if content.type == kind else llvm.bitcast(kind, content)


# Instructions.


def copy16(target: ir.Value, source: ir.Value, size: ir.Value | None = None) -> None:
    """cp.async: 16 bytes from global to shared memory; `size` of them (0 or 16) are read, zeros are written for the
    others."""
    nvvm.cp_async_shared_global(target, source, 16, ir.Attribute.parse("#nvvm.load_cache_modifier<cg>"), cp_size=size)


def commit_copies() -> None:
    """The copies since the last call make a group."""
    nvvm.cp_async_commit_group()


def wait_copies(left: int) -> None:
    """Wait until all but the last `left` groups of this thread's copies are there."""
    nvvm.cp_async_wait_group(left)


def barrier() -> None:
    """All threads of the workgroup."""
    nvvm.barrier()


def cluster_barrier(relaxed: bool = False) -> None:
    """All threads of the cluster. Relaxed: only that they have come so far is known, not what they have written."""
    if relaxed:
        nvvm.cluster_arrive_relaxed(aligned=True)
    else:
        nvvm.cluster_arrive(aligned=True)
    nvvm.cluster_wait(aligned=True)


def ldmatrix4(place: ir.Value) -> list[ir.Value]:
    """Four 8x8 matrices of 16 bits; thread i points to row i % 8 of matrix i / 8. Two elements of each matrix."""
    row, shape, element = (
        ir.Attribute.parse(text)
        for text in (
            "#nvvm.mma_layout<row>",
            "#nvvm.ld_st_matrix_shape<m = 8, n = 8>",
            "#nvvm.ld_st_matrix_elt_type<b16>",
        )
    )
    found = nvvm.ldmatrix(place, 4, row, shape, element, results=[struct([i32()] * 4)])
    return [part(found, number, i32()) for number in range(4)]
