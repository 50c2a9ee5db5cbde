"""Results that several threads of a workgroup compute together: each a part of the iterations of reductions.

Every thread leaves what it has in memory that the workgroup shares, and all of them read what belongs to their result
and combine it, in the order of the parts: so they all have it, the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.cascade import added
from dlas_mlir.codegen.position import Position
from dlas_mlir.codegen.simt.layout import combiner, starts_once
from dlas_mlir.codegen.simt.threads import ByThreads
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.ir import affine

_SHARED = "#gpu.address_space<workgroup>"


@dataclass(frozen=True)
class Joining:
    """The parts of `workload` that the threads of `sharing` have: of each loop in `across` an equal one."""

    workload: Workload
    across: tuple[tuple[str, int], ...]
    sharing: ByThreads

    @property
    def count(self) -> int:
        """How many threads have a result together."""
        return self.sharing.across

    def number(self) -> ir.Value:
        """Which of them this is."""
        return self.sharing.part_of_result()

    def start(self, here: Position) -> Position:
        """Where a thread's part begins."""
        rest = self.sharing.part_of_result()
        for loop, count in reversed(self.across):
            size = self.workload.extents[loop] // count
            number = build.apply(affine.dim(0) % count, [rest])
            here = here.moved(self.workload.names.index(loop), build.apply(affine.dim(0) * size, [number]))
            rest = build.apply(ir.AffineExpr.get_floor_div(affine.dim(0), count), [rest])
        return here

    def neutral(self, initial: Sequence[ir.Value]) -> list[ir.Value]:
        """What a part starts from, where the whole starts from `initial`: that, where it may be combined often."""
        if not starts_once(self.workload):
            return list(initial)
        zeros = {value.type: build.zero(ir.VectorType(value.type).element_type) for value in initial}
        return [build.splat(zeros[value.type], ir.VectorType(value.type).shape[0]) for value in initial]

    def joined(self, initial: list[ir.Value], parts: list[ir.Value]) -> list[ir.Value]:
        """The vectors of the result, of which this thread has `parts`."""
        kind = ir.VectorType(parts[0].type)
        (lanes,), element = kind.shape, kind.element_type
        shared = shared_tensor([self.sharing.threads, len(parts) * lanes], element)
        thread = self.sharing.thread()
        columns = [build.index(place * lanes) for place in range(len(parts))]
        for column, vector in zip(columns, parts, strict=True):
            shared = build.write_vector(vector, shared, [thread, column])
        shared = ir.Operation.create("iree_gpu.value_barrier", results=[shared.type], operands=[shared]).result

        def read(number: ir.Value) -> list[ir.Value]:
            slot = self.sharing.thread_of(number)
            return [build.read_vector(shared, [slot, column], lanes) for column in columns]

        first = read(build.index(0))
        total = build.for_range(
            build.index(1),
            build.index(self.sharing.across),
            build.index(1),
            first,
            lambda number, sums: self._combined(sums, read(number)),
        )
        return self._combined(initial, total) if starts_once(self.workload) else total

    def _combined(self, sums: list[ir.Value], more: list[ir.Value]) -> list[ir.Value]:
        name = combiner(self.workload)
        assert name is not None, "the schedule has been looked at"
        if name == "arith.addf":
            return added(sums, more)
        return [
            ir.Operation.create(name, results=[a.type], operands=[a, b]).result for a, b in zip(sums, more, strict=True)
        ]


def shared_tensor(shape: list[int], element: ir.Type) -> ir.Value:
    """A tensor in memory that a workgroup shares."""
    made = ir.Operation.create(
        "bufferization.alloc_tensor",
        results=[ir.RankedTensorType.get(shape, element)],
        attributes={
            "memory_space": ir.Attribute.parse(_SHARED),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, 0, 0]),
        },
    )
    return made.result
