"""The schedule of a linalg.generic: how its loops are distributed, blocked in registers, vectorised and ordered."""

from __future__ import annotations

from dataclasses import dataclass, fields

from iree.compiler import ir

from dlas_mlir.opt.base import PassError

ATTRIBUTE = "dlas.schedule"


@dataclass(frozen=True)
class Schedule:
    """One entry per loop of the operation in each tuple.

    distribution: the tile of a workgroup, 0 for a loop that is not distributed. Workgroups are numbered with the last
        distributed loop of `order` fastest.
    register_tile: how many iterations are unrolled: for a parallel loop they are computed together in registers
        (a multiple of `lanes` for the vector loop), for a reduction loop they follow each other.
    order: the loops of a workgroup from the outermost in, parallel loops before reductions.
    vector: the loop whose iterations are the lanes of a vector.
    lanes: the lanes of one vector.

    A tile that does not divide its extent is no obstacle: the last one is moved back to overlap the one before it.
    """

    distribution: tuple[int, ...]
    register_tile: tuple[int, ...]
    order: tuple[int, ...]
    vector: int
    lanes: int

    def to_attr(self) -> ir.Attribute:
        """The dictionary attribute `dlas.schedule`."""
        i64 = ir.IntegerType.get_signless(64)
        array = ir.DenseI64ArrayAttr.get
        return ir.DictAttr.get(
            {
                "distribution": array(list(self.distribution)),
                "register_tile": array(list(self.register_tile)),
                "order": array(list(self.order)),
                "vector": ir.IntegerAttr.get(i64, self.vector),
                "lanes": ir.IntegerAttr.get(i64, self.lanes),
            }
        )

    @staticmethod
    def of(op: ir.Operation, extents: tuple[int, ...], reductions: tuple[int, ...], ragged: bool = False) -> Schedule:
        """The schedule on `op`, checked against its loops. With `ragged` the register tile of the vector loop may be
        of any size. Raises PassError naming the field that is wrong."""
        try:
            entries = ir.DictAttr(op.attributes[ATTRIBUTE])
            if missing := [field.name for field in fields(Schedule) if field.name not in entries]:
                raise PassError(f"`{ATTRIBUTE}` has no {', '.join(missing)}", op)
            arrays = {
                key: tuple(ir.DenseI64ArrayAttr(entries[key])) for key in ("distribution", "register_tile", "order")
            }
            schedule = Schedule(
                **arrays,
                vector=ir.IntegerAttr(entries["vector"]).value,
                lanes=ir.IntegerAttr(entries["lanes"]).value,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise PassError(f"`{ATTRIBUTE}` is not a schedule: {error}", op) from None
        schedule._check(op, extents, reductions, ragged)
        return schedule

    def _check(self, op: ir.Operation, extents: tuple[int, ...], reductions: tuple[int, ...], ragged: bool) -> None:
        loops = len(extents)
        for field in ("distribution", "register_tile", "order"):
            if len(getattr(self, field)) != loops:
                raise PassError(f"`{ATTRIBUTE}`: {field} has not one entry for each of the {loops} loops", op)
        if sorted(self.order) != list(range(loops)):
            raise PassError(f"`{ATTRIBUTE}`: order is not a permutation of the {loops} loops", op)
        first_reduction = loops - len(reductions)
        if set(self.order[first_reduction:]) != set(reductions):
            raise PassError(f"`{ATTRIBUTE}`: order must name the parallel loops before the reductions", op)
        if sum(1 for tile in self.distribution if tile) > 3:
            raise PassError(f"`{ATTRIBUTE}`: at most three loops can be distributed", op)
        for loop in range(loops):
            extent, tile, block = extents[loop], self.distribution[loop], self.register_tile[loop]
            if not 0 <= tile <= extent or (tile and loop in reductions):
                raise PassError(f"`{ATTRIBUTE}`: distribution of loop {loop} is out of range", op)
            if not 1 <= block <= (tile or extent):
                raise PassError(f"`{ATTRIBUTE}`: register_tile of loop {loop} is out of range", op)
            if loop in reductions and extent % block:
                raise PassError(f"`{ATTRIBUTE}`: register_tile must divide reduction loop {loop}", op)
        if not 0 <= self.vector < loops or self.vector in reductions:
            raise PassError(f"`{ATTRIBUTE}`: vector must be a parallel loop", op)
        if self.lanes < 1 or (self.register_tile[self.vector] % self.lanes and not ragged):
            raise PassError(f"`{ATTRIBUTE}`: register_tile of the vector loop is no multiple of lanes", op)
