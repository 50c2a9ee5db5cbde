"""Which part of the result a thread does: parts are numbered in the order of the loops, the last one fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from iree.compiler import ir
from iree.compiler.dialects import gpu

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.nest import Axis
from dlas_mlir.ir import affine

# The most workgroups in a dimension of the grid that every Vulkan device has.
_MOST = 65535


@dataclass
class ByThreads:
    """One part for each thread, in workgroups of `threads`; or for `across` threads together, which are neighbours if
    `beside`, else as far from each other as there are parts in a workgroup. Threads that are left over in the last
    workgroup do the last part again, and write the same."""

    threads: int
    across: int = 1
    beside: bool = False
    _made: ir.Value | None = field(default=None, init=False)

    @property
    def parts(self) -> int:
        """The parts of a workgroup."""
        return self.threads // self.across

    def grid(self, axes: Sequence[Axis]) -> list[int]:
        """In one dimension as far as that goes."""
        groups = -(-_parts(axes) // self.parts)
        rows = -(-groups // _MOST)
        return [-(-groups // rows), rows]

    def numbers(self, axes: Sequence[Axis]) -> Iterator[ir.Value]:
        """The digits of the thread's number."""
        thread, (across, rows) = self.thread(), self.grid(axes)
        expr = affine.dim(0) * self.parts + self.own()
        operands = [dispatch.workgroup_id(0), thread]
        if rows > 1:
            expr = expr + affine.dim(2) * (across * self.parts)
            operands.append(dispatch.workgroup_id(1))
        if across * rows * self.parts == _parts(axes):
            rest = build.apply(expr, operands)
        else:
            rest = build.minimum([expr, affine.constant(_parts(axes) - 1)], operands)
        yield from digits(axes, rest)

    def own(self) -> ir.AffineExpr:
        """Which of a workgroup's parts thread d1 works on."""
        if self.across == 1:
            return affine.dim(1)
        if self.beside:
            return ir.AffineExpr.get_floor_div(affine.dim(1), self.across)
        return affine.dim(1) % self.parts

    def part_of_result(self) -> ir.Value:
        """Which of the `across` threads that have one part this is."""
        if self.beside:
            return build.apply(affine.dim(0) % self.across, [self.thread()])
        return build.apply(ir.AffineExpr.get_floor_div(affine.dim(0), self.parts), [self.thread()])

    def thread_of(self, number: ir.Value) -> ir.Value:
        """The thread that has the same part as this one, and is its `number`-th."""
        if self.beside:
            first = ir.AffineExpr.get_floor_div(affine.dim(0), self.across) * self.across
            return build.apply(first + affine.dim(1), [self.thread(), number])
        return build.apply(affine.dim(0) % self.parts + affine.dim(1) * self.parts, [self.thread(), number])

    def known(self, thread: ir.Value) -> None:
        """Take the thread's number from elsewhere in the kernel."""
        self._made = thread

    def thread(self) -> ir.Value:
        """The thread's number in its workgroup; the operation says how iree-compile lowers the kernel that it is in."""
        if self._made is not None:
            return self._made
        info = (
            "#iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{}>, "
            "translation_info = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<BaseLowering> "
            f"workgroup_size = [{self.threads}, 1, 1]>>"
        )
        found = gpu.thread_id(gpu.Dimension.x)
        found.owner.attributes["compilation_info"] = ir.Attribute.parse(info)
        self._made = found
        return found


def digits(axes: Sequence[Axis], number: ir.Value) -> Iterator[ir.Value]:
    """The step of each of the `axes`, the last one's first, that a number stands for."""
    for place, axis in enumerate(reversed(axes)):
        if place == len(axes) - 1:
            yield number
            return
        yield build.apply(affine.dim(0) % axis.count, [number])
        number = build.apply(ir.AffineExpr.get_floor_div(affine.dim(0), axis.count), [number])


def _parts(axes: Sequence[Axis]) -> int:
    return math.prod(axis.count for axis in axes)
