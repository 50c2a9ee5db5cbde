"""dlas-form-dispatches: put each convolution, pooling or reduction with its epilogue in one dispatch region."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import flow

from dlas_mlir.codegen.dot import ATTRIBUTE as DOT
from dlas_mlir.codegen.region import stage_refusal
from dlas_mlir.codegen.sparse.attribute import ATTRIBUTE as SPARSE
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.build import identity
from dlas_mlir.ir.evaluate import is_elementwise
from dlas_mlir.ir.linalg import (
    fill_constant,
    indexing_maps,
    is_plain_insertion,
    is_plain_slice,
    iterators,
)
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass, option

WRITE, READ = "write", "read"


@dataclass(frozen=True)
class FormDispatchesPass(Pass):
    """Group operations into flow.dispatch.region: a linalg.generic with a reduction, or else the first element-wise
    one, is the root; the element-wise operations on its result (bias, batch-norm, residual, activation) and the
    padding of the results join it, with the slices and fills that they read.

    An operation joins only if nothing that it reads depends on the group from outside (a squeeze-and-excite gate
    waits for its mean), and as long as the region reads and makes no more tensors than a dispatch can be given. A value
    of the group that is read outside is a result of the region.

    With `padding=read` no region writes padding: what reads a padded tensor gets the padding in its region, and reads
    zeros where there is nothing. Only sparse contractions, which know of places and not of rows, get it written: by the
    sparse contraction before, or by a copy.

    Before:
    ```mlir
    %1 = linalg.generic ins(%x, %w) outs(%zeros) { multiply-accumulate }
    %2 = linalg.generic ins(%1, %bias) { arith.addf }
    %3 = tensor.pad %2
    ```
    After:
    ```mlir
    %3 = flow.dispatch.region -> (tensor<...>) {
      %0 = linalg.fill
      %1 = linalg.generic ins(%x, %w) outs(%0) { multiply-accumulate }
      %2 = linalg.generic ins(%1, %bias) { arith.addf }
      %4 = tensor.pad %2
      flow.return %4
    }
    ```
    """

    name: ClassVar[str] = "dlas-form-dispatches"
    bindings: int = option(32, "how many tensors a region may read and make; IREE's command buffers know 32", minimum=2)
    padding: str = option(
        WRITE, "who has padding: the region that computes what is padded, or those that read it", choices=(WRITE, READ)
    )

    def run(self, module: ir.Module) -> None:
        for block in build.functions(module):
            if self.padding == WRITE:
                _copy_lone_padding(block, lambda padding: not _is_computed(padding.source))
            _FormDispatches(block, self.bindings, self.padding).run()
            if self.padding == READ and _copy_lone_padding(block, lambda padding: _has_sparse_readers(padding.op)):
                _FormDispatches(block, self.bindings, WRITE).run()
        build.erase_dead(module)


@dataclass(eq=False)
class _Group:
    root: ir.Operation
    members: list[ir.Operation] = field(default_factory=list)
    tails: list[ir.Operation] = field(default_factory=list)
    first: int = 0  # Where it begins and ends in the block.
    last: int = 0
    reads: set[ir.Value] = field(default_factory=set)  # Tensors from outside.
    uses: dict[int, int] = field(default_factory=dict)  # Those of each member's result that are outside.

    def take(self, op: ir.Operation) -> None:
        self.reads, self.uses = self._with(op)
        self.members.append(op)

    def bindings(self, op: ir.Operation | None = None) -> int:
        """How many tensors the dispatch is given, with `op` if it joins: no more than there are reads and results."""
        reads, uses = self._with(op) if op is not None else (self.reads, self.uses)
        return len(reads) + sum(count > 0 for count in uses.values())

    def _with(self, op: ir.Operation) -> tuple[set[ir.Value], dict[int, int]]:
        reads, uses = set(self.reads), dict(self.uses)
        for value in filter(_is_tensor, build.read_by(op)):
            maker = build.defining(value)
            if maker is not None and identity(maker) in uses:
                uses[identity(maker)] -= 1
            elif maker is None or maker.name not in ("tensor.empty", "linalg.fill"):
                reads.add(_viewed(value))
        uses[identity(op)] = sum(1 for _ in op.results[0].uses)
        return reads, uses


def _copy_lone_padding(block: ir.Block, wanted: Callable[[Padding], bool]) -> bool:
    """Padding that is `wanted` of what no kernel computes (a network's input) becomes a copy that is padded. Returns
    whether there is any."""
    found = False
    for op in list(block.operations):
        op = op.operation
        padding = Padding.of(op)
        if padding is None or padding.cuts or not wanted(padding):
            continue
        source = op.operands[0]
        if not ir.RankedTensorType(source.type).has_static_shape:
            continue
        found = True
        with ir.InsertionPoint(op), op.location:
            shape = ir.RankedTensorType(source.type).shape
            identity = [affine.dim(i) for i in range(len(shape))]
            copy = build.generic(
                [source],
                build.empty(shape, build.element_type(source)),
                [identity, identity],
                ["parallel"] * len(shape),
                lambda value, _: value,
            )
            op.operands[0] = copy.results[0]
    return found


def _is_computed(value: ir.Value) -> bool:
    maker = build.defining(value)
    return maker is not None and maker.name == "linalg.generic"


class _FormDispatches:
    def __init__(self, block: ir.Block, bindings: int, padding: str) -> None:
        self.block = block
        self.bindings = bindings
        self.padding = padding
        self.operations = [op.operation for op in block.operations]
        self.order = {identity(op): i for i, op in enumerate(self.operations)}
        self.group_of: dict[int, _Group] = {}
        self.groups: list[_Group] = []
        self.sources: dict[int, list[ir.Operation | None]] = {}

    def run(self) -> None:
        for wanted in (_has_reduction, is_elementwise):
            for op in self.operations:
                if identity(op) not in self.group_of and _can_be_root(op) and wanted(op):
                    self._grow(op)
        for group in self.groups:
            _form(group, self.order, self.padding)
        _sort_topologically(self.block)

    def _users(self, value: ir.Value) -> list[ir.Operation]:
        """The users of `value` in this block, in order."""
        found = [user for user in build.users(value) if identity(user) in self.order]
        return sorted(found, key=lambda op: self.order[identity(op)])

    def _grow(self, root: ir.Operation) -> None:
        group = _Group(root)
        group.take(root)
        self.group_of[identity(root)] = group
        grown = True
        while grown:
            grown = False
            for member in list(group.members):
                for user in self._users(member.results[0]):
                    if identity(user) not in self.group_of and self._may_join(group, user):
                        group.take(user)
                        self.group_of[identity(user)] = group
                        grown = True
        for member in group.members:
            self._end(group, member)
        group.tails = [tail for tail in group.tails if not self._is_updated_with_own(group, tail)]
        places = [self.order[identity(op)] for op in (*group.members, *group.tails)]
        group.first, group.last = min(places), max(places)
        self.groups.append(group)

    def _end(self, group: _Group, member: ir.Operation) -> None:
        """The paddings of `member`, and the insertions of it or of one of them, are tails of the group."""
        for user in self._users(member.results[0]):
            if self._may_end(group, member, user):
                group.tails.append(user)
                if user.name == "tensor.pad":
                    self._end(group, user)

    def _may_end(self, group: _Group, member: ir.Operation, op: ir.Operation) -> bool:
        """Whether `op` pads a result of the group, or inserts it, or its padding, into a buffer that the group neither
        reads nor waits for."""
        if op.name == "tensor.pad":
            if member.name == "tensor.pad":
                return False
            padding = Padding.of(op)
            wanted = self.padding == WRITE or (SPARSE in group.root.attributes and _has_sparse_readers(op))
            return wanted and padding is not None and not padding.cuts
        if op.name != "tensor.insert_slice" or op.operands[0] != member.results[0]:
            return False
        if group.bindings() >= self.bindings:
            return False
        # Two results of the same elements would be one tensor to iree-compile, and one of them a copy.
        if member.name == "tensor.pad" and len(self._users(member.results[0])) > 1:
            return False
        if not is_plain_insertion(op) or any(op.operands[1] in tail.operands for tail in group.tails):
            return False
        read = {_viewed(value) for inner in group.members for value in inner.operands}
        return op.operands[1] not in read and not self._depends_on([op.operands[1]], group)

    def _is_updated_with_own(self, group: _Group, tail: ir.Operation) -> bool:
        """Whether another result of the group is inserted into that of `tail`. iree-compile would place the one in the
        buffer of the other, and a dispatch cannot have one of its results as the place of another."""
        updates = [
            user
            for member in (*group.members, *group.tails)
            for user in self._users(member.results[0])
            if user.name == "tensor.insert_slice" and user not in group.tails and user.operands[0] == member.results[0]
        ]
        return any(identity(tail) in _makers(update.operands[1]) for update in updates)

    def _may_join(self, group: _Group, op: ir.Operation) -> bool:
        root_shape = ir.RankedTensorType(group.root.results[0].type).shape
        if not (is_elementwise(op) and _can_be_root(op)):
            return False
        if ir.RankedTensorType(op.results[0].type).shape != root_shape:
            return False
        maps = indexing_maps(op)
        outside = []
        for operand, map_ in zip(op.operands, maps, strict=True):
            owner = operand.owner
            if not isinstance(owner, ir.Block) and self.group_of.get(identity(owner.operation)) is group:
                if map_ != maps[-1]:
                    return False
            else:
                outside.append(operand)
        if group.bindings(op) > self.bindings:
            return False
        captured = build.read_by(op)[len(op.operands) :]
        return not self._depends_on([*outside, *captured], group)

    def _depends_on(self, values: Iterable[ir.Value], group: _Group) -> bool:
        """Whether one of `values` depends on the group, directly or through other groups (which act as a whole)."""
        first = self._earliest_that_may_depend_on(group)
        pending, seen = [self._owner(value) for value in values], set()
        while pending:
            op = pending.pop()
            if op is None or identity(op) in seen:
                continue
            seen.add(identity(op))
            other = self.group_of.get(identity(op))
            if other is group:
                return True
            if other is not None:
                for member in (*other.members, *other.tails):
                    if identity(member) not in seen:
                        seen.add(identity(member))
                        pending.extend(self._sources(member))
            if other is not None or self.order[identity(op)] > first:
                pending.extend(self._sources(op))
        return False

    def _owner(self, value: ir.Value) -> ir.Operation | None:
        """The operation of this block that makes `value`."""
        owner = value.owner
        return None if isinstance(owner, ir.Block) or identity(owner.operation) not in self.order else owner.operation

    def _sources(self, op: ir.Operation) -> list[ir.Operation | None]:
        """What makes the values that `op` reads, those that its body captures among them."""
        key = identity(op)
        if key not in self.sources:
            self.sources[key] = [self._owner(value) for value in build.read_by(op)]
        return self.sources[key]

    def _earliest_that_may_depend_on(self, group: _Group) -> int:
        """The place before which nothing waits for `group`: its root's, or the start of a group that reaches beyond."""
        first = self.order[identity(group.root)]
        for other in sorted(self.groups, key=lambda other: other.last, reverse=True):
            if other.last > first > other.first:
                first = other.first
        return first


def _is_tensor(value: ir.Value) -> bool:
    return isinstance(value.type, ir.RankedTensorType)


def _makers(value: ir.Value) -> set[int]:
    """What `value` is made by, and what made that which it is another form of."""
    found: set[int] = set()
    while (op := build.defining(value)) is not None and op.name.startswith("tensor."):
        found.add(identity(op))
        if not len(op.operands):
            break
        value = op.operands[1 if op.name == "tensor.insert_slice" else 0]
    return found


def _viewed(value: ir.Value) -> ir.Value:
    """What `value` is a slice of."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "tensor.extract_slice":
        return value
    return _viewed(owner.operation.operands[0])


def _has_reduction(op: ir.Operation) -> bool:
    return "reduction" in iterators(op)


def _can_be_root(op: ir.Operation) -> bool:
    return op.name == "linalg.generic" and stage_refusal(op) is None


def _form(group: _Group, order: dict[int, int], padding: str) -> None:
    members = sorted(group.members, key=lambda op: order[identity(op)])
    # The root leads, whatever the order: what joins it comes after it.
    inner = [*members, *group.tails]
    own = {identity(op) for op in inner}
    escaping = [op for op in inner if any(identity(user) not in own for user in build.users(op.results[0]))]
    last = max(inner, key=lambda op: order[identity(op)])
    with ir.InsertionPoint(last), group.root.location:
        region = flow.DispatchRegionOp([op.results[0].type for op in escaping], [], [])
        block = region.regions[0].blocks.append()
        with ir.InsertionPoint(block):
            copied: dict[ir.Value, ir.Value] = {}
            for op in inner:
                for operand in op.operands:
                    # What is inserted into is updated in place, unless it is new.
                    updated = op.name == "tensor.insert_slice" and not _is_new(operand)
                    if not updated and not _is_read_as_tensor(op, operand, padding):
                        _copy_source(operand, copied, padding)
                _clone(op, copied)
            flow.return_([copied[op.results[0]] for op in escaping])
    for op, result in zip(escaping, region.results, strict=True):
        for use in list(op.results[0].uses):
            if identity(use.owner.operation) not in own:
                use.owner.operation.operands[use.operand_number] = result
    for op in reversed(inner):
        op.erase()


def _copy_source(value: ir.Value, copied: dict[ir.Value, ir.Value], padding: str) -> None:
    """Clone what a kernel reads through: slices, fills, the shapes of windows, and padding where it is read."""
    op = build.defining(value)
    if value in copied or op is None or not (_is_read_through(op) or (padding == READ and _is_padding(op))):
        return
    for operand in op.operands:
        _copy_source(operand, copied, padding)
    _clone(op, copied)


def _has_sparse_readers(op: ir.Operation) -> bool:
    """Whether a sparse contraction reads the result of `op`."""
    return any(SPARSE in reader.attributes for reader in build.users(op.results[0]))


def _is_read_as_tensor(op: ir.Operation, operand: ir.Value, padding: str) -> bool:
    """Whether `op` loads its `operand`, be it filled with one value: so do sparse contractions and dot products.
    The former do so with padding, too."""
    source = build.defining(_viewed(operand))
    loads = any(name in op.attributes for name in (SPARSE, DOT)) and operand in list(op.operands)[:2]
    return (
        loads
        and source is not None
        and (source.name in ("linalg.fill", "tensor.empty") or (padding == READ and _is_padding(source)))
    )


def _is_read_through(op: ir.Operation) -> bool:
    if op.name == "tensor.extract_slice":
        return is_plain_slice(op)
    return op.name == "tensor.empty" or (op.name == "linalg.fill" and fill_constant(op) is not None)


def _is_padding(op: ir.Operation) -> bool:
    padding = Padding.of(op)
    if padding is None or padding.cuts:
        return False
    source = build.defining(padding.source)
    return source is None or not (_is_read_through(source) or _is_padding(source))


def _is_new(value: ir.Value) -> bool:
    op = build.defining(value)
    return op is not None and op.name == "tensor.empty"


def _clone(op: ir.Operation, copied: dict[ir.Value, ir.Value]) -> None:
    clone = op.clone()
    for place, operand in enumerate(op.operands):
        if operand in copied:
            clone.operands[place] = copied[operand]
    copied[op.results[0]] = clone.results[0]


def _sort_topologically(block: ir.Block) -> None:
    """Bring each operation behind what it reads, changing the order no more than that needs."""
    operations = {identity(op.operation): op.operation for op in block.operations}
    *_, terminator = operations.values()
    placed: set[int] = set()

    def sources(op: ir.Operation) -> list[int]:
        owners = [value.owner for value in build.read_by(op)]
        keys = [identity(owner.operation) for owner in owners if not isinstance(owner, ir.Block)]
        return [key for key in keys if key in operations and key not in placed]

    for first in operations:
        stack = [first] if first not in placed else []
        while stack:
            waiting = sources(operations[stack[-1]])
            if waiting:
                assert waiting[0] not in stack, "dispatches that wait for one another"
                stack.append(waiting[0])
                continue
            key = stack.pop()
            if key not in placed:
                placed.add(key)
                if operations[key] != terminator:
                    operations[key].move_before(terminator)
