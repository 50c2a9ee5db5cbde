"""Which loop the vectors of a kernel run along, and how many neighbours they can read and write at once.

A GPU reads a vector where it is aligned. So a vector is as wide as all that it reads and writes allows: its loop's
iterations, and whatever moves an access in a dimension that neighbours lie in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from dlas_mlir.codegen.sparse.attribute import FACTORS
from dlas_mlir.codegen.workload import Access, Workload

# The widest that is tried: 16 bytes of 8 bits.
_WIDEST = 16


def refusal(workload: Workload) -> str | None:
    """Why no thread computes `workload`, or None."""
    others = {tensor.element for tensor in workload.tensors} - set(FACTORS)
    if workload.sparsity is not None and others:
        return f"its weights are sparse, and it reads {', '.join(sorted(others))}"
    if workload.root.dot is not None:
        return f"its instruction `{workload.root.dot}` is a CPU's"
    return None


# What results are combined by, and whether what they start from counts each time: not that of a maximum.
_COMBINERS = {"arith.addf": True, "arith.addi": True} | dict.fromkeys(
    (f"arith.{name}" for name in ("maximumf", "minimumf", "maxnumf", "minnumf", "maxsi", "minsi", "maxui", "minui")),
    False,
)


def combiner(workload: Workload) -> str | None:
    """The operation by which the root combines its last argument, used for nothing else, with each of its iterations,
    in any order; None where there is none."""
    root = workload.root
    if not root.body or root.yields != f"%{len(root.body) - 1}" or root.body[-1].op not in _COMBINERS:
        return None
    uses = sum(step.operands.count("init") for step in root.body)
    return root.body[-1].op if uses == 1 and "init" in root.body[-1].operands else None


def starts_once(workload: Workload) -> bool:
    """Whether the combiner, which there is, may take in what it starts from only once: parts start from zero then."""
    name = combiner(workload)
    return name is not None and _COMBINERS[name]


def vector_of(workload: Workload) -> str:
    """The usual choice: the innermost loop of the result that has several iterations."""
    out = [loop for loop in workload.out if loop is not None]
    return next((loop for loop in reversed(out) if workload.extents[loop] > 1), out[-1])


def reads_along(workload: Workload, loop: str) -> bool:
    """Whether neighbours in memory of the first operand lie along `loop`."""
    first = next(item for item in workload.root.inputs if isinstance(item, Access))
    return bool(first.index) and workload.names.index(loop) in workload.forms(first)[-1].dims()


@lru_cache(maxsize=1024)
def widest(workload: Workload, vector: str) -> int:
    """The most lanes of `vector` that are aligned in everything they are neighbours in, a power of two."""
    lanes = math.gcd(workload.extents[vector], _WIDEST)
    for moved in _distances(workload, vector):
        lanes = math.gcd(lanes, moved)
    return lanes


def _distances(workload: Workload, vector: str) -> Iterator[int]:
    """By how many elements what is read and written as vectors moves, but for the vector loop itself."""
    dim = workload.names.index(vector)
    for stage in workload.stages:
        for item in (*stage.inputs, stage.initial):
            if isinstance(item, Access) and item.index and dim in workload.forms(item)[-1].dims():
                yield from _of_access(workload, item, dim)
    for output in workload.outputs:
        if workload.out[-1] == vector:
            yield output.shape[-1] if len(output.shape) > 1 else 0
            yield output.at[-1] + output.low[-1]


def _of_access(workload: Workload, item: Access, dim: int) -> Iterator[int]:
    form = workload.forms(item)[-1]
    size = workload.tensors[item.tensor].shape
    if len(size) > 1:
        yield size[-1]
    yield form.constant + item.offsets[-1]
    yield from (factor for term, factor in form.terms if term != dim)
