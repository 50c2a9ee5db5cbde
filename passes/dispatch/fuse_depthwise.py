"""dlas-fuse-depthwise: compute what a depthwise convolution gives in the kernel that reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.frame import captured
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import scheduled_root
from dlas_mlir.codegen.sparse.attribute import ATTRIBUTE as SPARSE
from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.codegen.workload import Access, Workload, element_bits
from dlas_mlir.ir import build
from dlas_mlir.opt.base import Pass, PassError, option


@dataclass(frozen=True)
class FuseDepthwisePass(Pass):
    """Move the operations of a dispatch region, a sum in which nothing is read for several results (a depthwise
    convolution, pooling), into the region that reads its result (the 1x1 convolution behind it), if that is the only
    one: what is computed is then read while it is in the first-level cache.

    It does so for results that take a share of the second-level cache, `within_share` of the target's figures, or more,
    and if the rule's schedule of both can have the one within the kernel of the other. Regions that have schedules stay
    as they are. A schedule with `apart` makes two kernels of the region.

    Before:
    ```mlir
    %1 = flow.dispatch.region -> (tensor<1x8x56x56x16xf32>) {
      %2 = linalg.generic ins(%x, %taps) { multiply-accumulate }
      %3 = linalg.generic ins(%2) { maximumf }
      flow.return %3
    }
    %4 = flow.dispatch.region -> (tensor<1x8x56x56x16xf32>) {
      %5 = linalg.generic ins(%1, %w) { multiply-accumulate }
      flow.return %5
    }
    ```
    After:
    ```mlir
    %4 = flow.dispatch.region -> (tensor<1x8x56x56x16xf32>) {
      %2 = linalg.generic ins(%x, %taps) { multiply-accumulate }
      %3 = linalg.generic ins(%2) { maximumf }
      %5 = linalg.generic ins(%3, %w) { multiply-accumulate }
      flow.return %5
    }
    ```
    """

    name: ClassVar[str] = "dlas-fuse-depthwise"
    bindings: int = option(32, "how many tensors a region may read and make; IREE's command buffers know 32", minimum=2)

    def run(self, module: ir.Module) -> None:
        target = Target.known(module)
        if not isinstance(target, CpuTarget):
            return
        for block in build.functions(module):
            regions = [op.operation for op in block.operations if op.operation.name == "flow.dispatch.region"]
            readers: set[int] = set()
            for number, op in [(build.identity(op), op) for op in regions]:
                if number not in readers and (reader := _reader(op)) is not None:
                    place = build.identity(reader)
                    if self._fuse(op, reader, target):
                        readers.add(place)

    def _fuse(self, op: ir.Operation, reader: ir.Operation, target: CpuTarget) -> bool:
        """Move `op` into `reader` where that is worth it. Whether it was."""
        made = _is_worth_it(op, target)
        reads = _inputs(op)
        others = _inputs(reader)
        if not made or reads is None or others is None:
            return False
        if len({*reads, *others}) - 1 + len(reader.results) > self.bindings:
            return False
        both = _together(op, reader)
        if not _fits(both, target):
            both.erase()
            return False
        for old, new in zip(reader.results, both.results, strict=True):
            old.replace_all_uses_with(new)
        reader.erase()
        op.erase()
        return True


def _fits(both: ir.Operation, target: CpuTarget) -> bool:
    """Whether the rule's schedule has the one within the kernel of the other."""
    try:
        region = read_region(both)
        captured(region)  # raises: it may update what it reads
        workload = read_workload(region)
        return not backends.backend_for(workload, target).rule(workload, target).apart
    except (PassError, LookupError):
        return False


def _reader(op: ir.Operation) -> ir.Operation | None:
    """The region that alone reads what `op`, a region without a schedule, computes; itself without one."""
    if len(op.results) != 1 or scheduled_root(op) is not None:
        return None
    uses = list(op.results[0].uses)
    if len(uses) != 1:
        return None
    parent = uses[0].owner.operation.parent
    if parent is None or parent.name != "flow.dispatch.region" or scheduled_root(parent) is not None:
        return None
    return parent.operation


def _is_worth_it(op: ir.Operation, target: CpuTarget) -> bool:
    """Whether `op` has a sum for each result of its own, and much that is read again."""
    try:
        workload = read_workload(read_region(op))
    except PassError:
        return False
    if not workload.reductions or workload.sparsity is not None or len(workload.outputs) != 1:
        return False
    (output,) = workload.outputs
    plain = output.pad is None and output.into is None and not any(output.at)
    size = math.prod(output.shape) * element_bits(workload.stages[output.stage].element) // 8
    return plain and _is_depthwise(workload) and size >= target.cost.within_share * target.l2_bytes


def _is_depthwise(workload: Workload) -> bool:
    """Whether no operand is read for several results in the innermost dimension."""
    last = next((loop for loop in reversed(workload.out) if loop is not None), None)
    operands = [item for item in workload.root.inputs if isinstance(item, Access)]
    return bool(operands) and all(last in workload.loops_of(item) for item in operands)


def _inputs(op: ir.Operation) -> Sequence[ir.Value] | None:
    """What a region reads; None if it cannot be a kernel, or its root is sparse."""
    if any(SPARSE in inner.operation.attributes for inner in op.regions[0].blocks[0].operations):
        return None
    try:
        region = read_region(op)
        return captured(region) if region.producer is None else None
    except PassError:
        return None


def _together(op: ir.Operation, reader: ir.Operation) -> ir.Operation:
    """A region with what is in both, in front of `reader`."""
    with ir.InsertionPoint(reader):
        both = reader.clone()
    block, made = both.regions[0].blocks[0], op.results[0]
    first = block.operations[0]
    copied: dict[ir.Value, ir.Value] = {}
    returned = made
    for inner in op.regions[0].blocks[0].operations:
        inner = inner.operation
        if inner.name == "flow.return":
            returned = copied[inner.operands[0]]
            continue
        with ir.InsertionPoint(first):
            clone = inner.clone()
        for place, operand in enumerate(inner.operands):
            if operand in copied:
                clone.operands[place] = copied[operand]
        for old, new in zip(inner.results, clone.results, strict=True):
            copied[old] = new
    for inner in block.operations:
        for place, operand in enumerate(inner.operation.operands):
            if operand == made:
                inner.operation.operands[place] = returned
    return both
