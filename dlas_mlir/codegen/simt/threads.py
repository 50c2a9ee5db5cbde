"""Which part of the result a thread does: parts are numbered in the order of the loops, the last one fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import gpu

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.nest import Axis
from dlas_mlir.ir import affine

# The most workgroups in a dimension of the grid that every Vulkan device has.
_MOST = 65535


@dataclass(frozen=True)
class ByThreads:
    """One part for each thread, in workgroups of `threads`. Threads that are left over in the last workgroup do the
    last part again, and write the same."""

    threads: int

    def grid(self, axes: Sequence[Axis]) -> list[int]:
        """In one dimension as far as that goes."""
        groups = -(-_parts(axes) // self.threads)
        rows = -(-groups // _MOST)
        return [-(-groups // rows), rows]

    def numbers(self, axes: Sequence[Axis]) -> Iterator[ir.Value]:
        """The digits of the thread's number."""
        thread, (across, rows) = self._thread(), self.grid(axes)
        expr = affine.dim(0) * self.threads + affine.dim(1)
        operands = [dispatch.workgroup_id(0), thread]
        if rows > 1:
            expr = expr + affine.dim(2) * (across * self.threads)
            operands.append(dispatch.workgroup_id(1))
        if across * rows * self.threads == _parts(axes):
            rest = build.apply(expr, operands)
        else:
            rest = build.minimum([expr, affine.constant(_parts(axes) - 1)], operands)
        for place, axis in enumerate(reversed(axes)):
            if place == len(axes) - 1:
                yield rest
                return
            yield build.apply(affine.dim(0) % axis.count, [rest])
            rest = build.apply(ir.AffineExpr.get_floor_div(affine.dim(0), axis.count), [rest])

    def _thread(self) -> ir.Value:
        """The thread's number in its workgroup; the operation says how iree-compile lowers the kernel that it is in."""
        info = (
            "#iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{}>, "
            "translation_info = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<BaseLowering> "
            f"workgroup_size = [{self.threads}, 1, 1]>>"
        )
        found = gpu.thread_id(gpu.Dimension.x)
        found.owner.attributes["compilation_info"] = ir.Attribute.parse(info)
        return found


def _parts(axes: Sequence[Axis]) -> int:
    return math.prod(axis.count for axis in axes)
