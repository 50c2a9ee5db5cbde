"""Which operations become one kernel: roots, what is computed with them, and what pads and places their results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from iree.compiler import ir

from dlas_mlir.codegen.region import stage_refusal
from dlas_mlir.codegen.sparse.attribute import ATTRIBUTE as SPARSE
from dlas_mlir.ir import build
from dlas_mlir.ir.build import identity
from dlas_mlir.ir.evaluate import is_elementwise
from dlas_mlir.ir.linalg import indexing_maps, is_plain_insertion, iterators
from dlas_mlir.ir.pads import Padding

# Who has padding: the region that computes what is padded, or those that read it.
WRITE, READ = "write", "read"


@dataclass(eq=False)
class Group:
    """A root, the `members` that are computed with it, and the `tails` that pad and insert results of these."""

    root: ir.Operation
    members: list[ir.Operation] = field(default_factory=list)
    tails: list[ir.Operation] = field(default_factory=list)
    first: int = 0  # Where it begins and ends in the block.
    last: int = 0
    reads: set[ir.Value] = field(default_factory=set)  # Tensors from outside.
    uses: dict[int, int] = field(default_factory=dict)  # Those of each member's result that are outside.

    def take(self, op: ir.Operation) -> None:
        """Make `op` a member."""
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
                reads.add(viewed(value))
        uses[identity(op)] = sum(1 for _ in op.results[0].uses)
        return reads, uses


class Groups:
    """The groups of the operations of `block`, each of at most so many `bindings`; `padding` is WRITE or READ."""

    def __init__(self, block: ir.Block, bindings: int, padding: str) -> None:
        self.bindings = bindings
        self.padding = padding
        self.operations = [op.operation for op in block.operations]
        self.order = {identity(op): i for i, op in enumerate(self.operations)}
        self.group_of: dict[int, Group] = {}
        self.groups: list[Group] = []
        self.sources: dict[int, list[ir.Operation | None]] = {}

    def find(self) -> list[Group]:
        """All of them, those with a reduction first."""
        for wanted in (_has_reduction, is_elementwise):
            for op in self.operations:
                if identity(op) not in self.group_of and _can_be_root(op) and wanted(op):
                    self._grow(op)
        return self.groups

    def _users(self, value: ir.Value) -> list[ir.Operation]:
        """The users of `value` in this block, in order."""
        found = [user for user in build.users(value) if identity(user) in self.order]
        return sorted(found, key=lambda op: self.order[identity(op)])

    def _grow(self, root: ir.Operation) -> None:
        group = Group(root)
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

    def _end(self, group: Group, member: ir.Operation) -> None:
        """The paddings of `member`, and the insertions of it or of one of them, are tails of the group."""
        for user in self._users(member.results[0]):
            if self._may_end(group, member, user):
                group.tails.append(user)
                if user.name == "tensor.pad":
                    self._end(group, user)

    def _may_end(self, group: Group, member: ir.Operation, op: ir.Operation) -> bool:
        """Whether `op` pads a result of the group, or inserts it, or its padding, into a buffer that the group neither
        reads nor waits for."""
        if op.name == "tensor.pad":
            if member.name == "tensor.pad":
                return False
            padding = Padding.of(op)
            wanted = self.padding == WRITE or (SPARSE in group.root.attributes and has_sparse_readers(op))
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
        read = {viewed(value) for inner in group.members for value in inner.operands}
        return op.operands[1] not in read and not self._depends_on([op.operands[1]], group)

    def _is_updated_with_own(self, group: Group, tail: ir.Operation) -> bool:
        """Whether another result of the group is inserted into that of `tail`. iree-compile would place the one in the
        buffer of the other, and a dispatch cannot have one of its results as the place of another."""
        updates = [
            user
            for member in (*group.members, *group.tails)
            for user in self._users(member.results[0])
            if user.name == "tensor.insert_slice" and user not in group.tails and user.operands[0] == member.results[0]
        ]
        return any(identity(tail) in _makers(update.operands[1]) for update in updates)

    def _may_join(self, group: Group, op: ir.Operation) -> bool:
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

    def _depends_on(self, values: Iterable[ir.Value], group: Group) -> bool:
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

    def _earliest_that_may_depend_on(self, group: Group) -> int:
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


def viewed(value: ir.Value) -> ir.Value:
    """What `value` is a slice of."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "tensor.extract_slice":
        return value
    return viewed(owner.operation.operands[0])


def _has_reduction(op: ir.Operation) -> bool:
    return "reduction" in iterators(op)


def _can_be_root(op: ir.Operation) -> bool:
    return op.name == "linalg.generic" and stage_refusal(op) is None


def has_sparse_readers(op: ir.Operation) -> bool:
    """Whether a sparse contraction reads the result of `op`."""
    return any(SPARSE in reader.attributes for reader in build.users(op.results[0]))
