"""What the loops of a dense workload are to each other, once one of them is in the lanes of vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from dlas_mlir.codegen.workload import Access, Workload, element_bits


@dataclass(frozen=True)
class Roles:
    """The operands of the root: those that have one element for all lanes (broadcast), and those that have a vector (of
    weights, where there are both). `columns` are the loops of the result that only broadcast operands depend on,
    `blocks` those that vectors depend on, but the vector loop; each of several iterations, the innermost last."""

    workload: Workload
    vector: str
    lanes: int

    @cached_property
    def inputs(self) -> tuple[Access, ...]:
        """The operands that are read from tensors."""
        return tuple(item for item in self.workload.root.inputs if isinstance(item, Access))

    @cached_property
    def broadcast(self) -> tuple[Access, ...]:
        """The inputs that are the same for all lanes, where something is summed."""
        if not self.workload.reductions:
            return ()
        return tuple(item for item in self.inputs if self.vector not in self.workload.loops_of(item))

    @cached_property
    def vectors(self) -> tuple[Access, ...]:
        """The inputs that differ from lane to lane."""
        return tuple(item for item in self.inputs if self.vector in self.workload.loops_of(item))

    @property
    def is_contraction(self) -> bool:
        """Whether each vector that is read serves many results, and each broadcast element too."""
        return bool(self.broadcast and self.vectors)

    @cached_property
    def broadcast_loops(self) -> frozenset[str]:
        return frozenset().union(*(self.workload.loops_of(item) for item in self.broadcast))

    @cached_property
    def vector_loops(self) -> frozenset[str]:
        return frozenset().union(*(self.workload.loops_of(item) for item in self.vectors))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        out = (loop for loop in self.workload.out if loop in self.broadcast_loops and loop not in self.vector_loops)
        return tuple(loop for loop in out if loop is not None and self.workload.extents[loop] > 1)

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        out = (loop for loop in self.workload.out if loop in self.vector_loops and loop != self.vector)
        return tuple(loop for loop in out if loop is not None and self.workload.extents[loop] > 1)

    @property
    def units(self) -> int:
        """The whole vectors in the vector loop."""
        return self.workload.extents[self.vector] // self.lanes

    @property
    def panel_loop(self) -> str | None:
        """The loop that a register tile has several vectors of: the vector loop if it holds some, else a block."""
        if self.units > 1:
            return self.vector
        return self.blocks[-1] if self.blocks else None

    @property
    def panels(self) -> int:
        """How many vectors that loop has."""
        loop = self.panel_loop
        if loop is None:
            return 1
        return self.units if loop == self.vector else self.workload.extents[loop]

    def bytes_of(self, access: Access) -> int:
        """The size of what an operand reads."""
        bits = element_bits(self.workload.tensors[access.tensor].element)
        return math.prod(access.shape) * bits // 8

    @property
    def weight_bytes(self) -> int:
        """The size of the largest operand of vectors."""
        return max((self.bytes_of(item) for item in self.vectors), default=0)


def waste(extent: int, tile: int) -> float:
    """What is computed over what is asked for where tiles overlap at the end."""
    return -(-extent // tile) * tile / extent
