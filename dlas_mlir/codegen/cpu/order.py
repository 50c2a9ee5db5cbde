"""The order of a dense kernel's loops: the one that brings the fewest bytes into the caches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dlas_mlir.codegen.cpu.roles import Roles
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Access, element_bits
from dlas_mlir.ir.strides import Span


def order(roles: Roles, tile: Mapping[str, int], target: CpuTarget) -> tuple[str, ...]:
    """The result's loops in order, with the blocks of weights where the least is read again: outside of the images of
    a batch where the weights of all blocks do not stay in the cache, or inside of their rows."""
    usual, *others = _orders(roles, target)
    # A kernel is bound by arithmetic first: another order must be worth it.
    margin = 1 - target.cost.order_gain

    def bytes_of(parallel: Sequence[str]) -> float:
        far = traffic(roles, parallel, tile, int(target.l2_bytes * target.cost.weights_share))
        return traffic(roles, parallel, tile, target.l1d_bytes) + target.cost.far_byte * far

    best = min(others, key=bytes_of, default=usual)
    chosen = best if bytes_of(best) < margin * bytes_of(usual) else usual
    return (*chosen, *roles.workload.reductions)


def _orders(roles: Roles, target: CpuTarget) -> list[tuple[str, ...]]:
    """Orders of the parallel loops, the usual one first: where all weights stay in the cache, blocks inside of rows, or
    outside of them; else outside of rows, or of images too. (Workgroups that do some images each share but weights.)"""
    workload = roles.workload
    parallel = workload.parallel
    if not workload.reductions or not roles.vectors:
        return [parallel]
    data = frozenset().union(*(workload.loops_of(item) for item in roles.broadcast), ())
    blocks = tuple(x for x in parallel if x in roles.vector_loops and x not in data and x != roles.vector)
    rows = [x for x in parallel if x in data and x not in roles.vector_loops]
    if not blocks or len(rows) < 2:
        return [parallel]
    rest = [x for x in parallel if x not in blocks]
    places = [rest.index(x) for x in rows]
    found = [(*rest[:at], *blocks, *rest[at:]) for at in places]
    resident = roles.weight_bytes <= target.cost.resident_share * target.l2_bytes
    return found[-1:-3:-1] if resident else [parallel, found[0]]


def traffic(roles: Roles, parallel: Sequence[str], tile: Mapping[str, int], cache: int) -> float:
    """The bytes of the operands that come into a cache of `cache` bytes, with the loops `parallel` around register
    tiles of all that is summed. What an iteration of a loop reads is there still for the next if it fits."""
    extents = roles.workload.extents
    covered = {name: extents[name] if name in roles.workload.reductions else tile.get(name, 1) for name in extents}
    read = {item: footprint(roles, item, covered) for item in roles.inputs}
    total: dict[Access, float] = dict(read)
    for loop in reversed(parallel):
        trips = math.ceil(extents[loop] / covered[loop])
        stays = sum(read.values()) <= cache
        covered[loop] = extents[loop]
        for item in roles.inputs:
            after = footprint(roles, item, covered)
            total[item] *= after / read[item] if stays else trips
            read[item] = after
    return sum(total.values())


def footprint(roles: Roles, access: Access, covered: Mapping[str, int]) -> int:
    """The bytes of an operand that `covered` iterations of each loop read."""
    workload = roles.workload
    spans = [Span.of(covered[name]) for name in workload.names]
    sizes = []
    for form, size in zip(workload.forms(access), access.shape, strict=True):
        span = form.span(spans)
        sizes.append(min(size, span.high - span.low + 1))
    return math.prod(sizes) * element_bits(workload.tensors[access.tensor].element) // 8
