"""Long sums in blocks: each block starts a sum of its own, which is added to that of the block around it.

One chain of n additions is off by up to n roundings, blocks in blocks by the sum of the chains' lengths (as in
PyTorch's cascade_sum): 16 million numbers in chains of 16 by 6 x 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen import build
from dlas_mlir.codegen.position import Position
from dlas_mlir.codegen.region import Access, Stage
from dlas_mlir.ir import affine

# One chain for each block, of some 16 additions.
_CHAIN = 16
# From how many additions on a sum is made in blocks. Contractions are shorter but for a few, and bound by arithmetic.
_LONG, LONG_CONTRACTION = 64, 65536


def is_long_sum(root: Stage, extents: tuple[int, ...], reductions: tuple[int, ...]) -> bool:
    """Whether `root` adds so many floating-point numbers that one chain of additions loses digits."""
    additions = math.prod(extents[loop] for loop in reductions)
    return additions > (LONG_CONTRACTION if _is_contraction(root, reductions) else _LONG) and _adds(root.body)


def _adds(body: ir.Block) -> bool:
    """Whether a body adds something to its accumulator."""
    accumulator = body.arguments[len(body.arguments) - 1]
    *_, terminator = body.operations
    total = terminator.operands[0].owner
    if isinstance(total, ir.Block) or total.name != "arith.addf":
        return False
    return len(list(accumulator.uses)) == 1 and accumulator in list(total.operands)


def _is_contraction(root: Stage, reductions: tuple[int, ...]) -> bool:
    """Whether two operands that are summed over belong to different results: each is read for many of them."""
    accesses = [item for item in root.inputs if isinstance(item, Access)]
    read = [set().union(*(affine.dims_of(expr) for expr in access.exprs)) for access in accesses]
    return len({frozenset(dims - set(reductions)) for dims in read if dims & set(reductions)}) > 1


@dataclass(frozen=True)
class Cascade:
    """Emits a sum over nested loops in blocks.

    `loops` are the reduction loops from the outermost in, as (loop, iterations, step); `unrolled` is how many additions
    the innermost iteration makes. `chain(depth, here, sums)` emits the loops from `depth` on in one chain; `zeros` are
    what each block starts from.
    """

    loops: tuple[tuple[int, int, int], ...]
    unrolled: int
    chain: Callable[[int, Position, list[ir.Value]], list[ir.Value]]
    zeros: list[ir.Value]

    def total(self, here: Position, depth: int = 0) -> list[ir.Value]:
        """The sums over the loops from `depth` on."""
        # What is unrolled, however much, is one chain.
        if depth == len(self.loops) or self._additions(depth) <= 2 * _CHAIN:
            return self.chain(depth, here, self.zeros)
        iterations = self.loops[depth][1]
        return self._block(depth, here, iterations) if iterations > 1 else self.total(here, depth + 1)

    def _additions(self, depth: int) -> int:
        return math.prod(iterations for _, iterations, _ in self.loops[depth:]) * self.unrolled

    def _block(self, depth: int, here: Position, count: int) -> list[ir.Value]:
        """The sums over `count` iterations of one loop from `here` on, and all of the loops within."""
        inner = self._additions(depth + 1)
        if count == 1 and inner > 2 * _CHAIN:
            return self.total(here, depth + 1)
        if count * inner <= 2 * _CHAIN or count == 1:
            return self._repeat(depth, here, count, 1, lambda at, sums: self.chain(depth + 1, at, sums))
        size = block_size(count, inner)
        sums = self._repeat(
            depth, here, count // size, size, lambda at, sums: added(sums, self._block(depth, at, size))
        )
        if rest := count % size:
            loop, _, step = self.loops[depth]
            sums = added(sums, self._block(depth, here.at(loop, (count - rest) * step), rest))
        return sums

    def _repeat(
        self,
        depth: int,
        here: Position,
        count: int,
        size: int,
        body: Callable[[Position, list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """`count` times `body`, which gets every `size`-th position from `here` on."""
        loop, _, step = self.loops[depth]
        if count == 1:
            return body(here, self.zeros)

        def iteration(iv: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            return body(here.advanced(loop, iv), carried)

        return build.for_loop(count * size * step, size * step, self.zeros, iteration)


def block_size(count: int, inner: int) -> int:
    """How many of `count` iterations of `inner` additions each make one block: a divisor, so that all blocks have as
    many additions as there are blocks, if there is one near; else a power of the chain's length."""
    levels = math.ceil(math.log(count * inner, _CHAIN) - 1e-9)
    wanted = (count * inner) ** (1 / levels)
    blocks = [n for n in range(2, min(count, 2 * _CHAIN) + 1) if count % n == 0 and wanted / 2 <= n <= wanted * 2]
    if blocks:
        return count // min(blocks, key=lambda n: abs(math.log(n / wanted)))
    size = 1
    while size * _CHAIN < count:
        size *= _CHAIN
    return size


def added(sums: list[ir.Value], more: list[ir.Value]) -> list[ir.Value]:
    """The sums of two lists of vectors."""
    return [arith.addf(a, b) for a, b in zip(sums, more, strict=True)]
