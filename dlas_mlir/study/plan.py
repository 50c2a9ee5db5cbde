"""The plan of a study: its points, which of them make sense, and the blocks that they are measured in."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dlas_mlir.errors import DlasError
from dlas_mlir.study.absent import absent_devices
from dlas_mlir.study.applicable import Applicable
from dlas_mlir.study.axes import NAMES, Level
from dlas_mlir.study.chain import Chain, Chains, Salts
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.values import STEP_KINDS, Block, Point

# What a grid may have at most: a plan holds all its points.
MOST_POINTS = 2_000_000


@dataclass(frozen=True)
class Verdict:
    """Why a point is not measured: `excluded` or `not-applicable`, and the reason."""

    state: str
    reason: str


@dataclass
class Plan:
    """The points of a study in the order of its axes, and what is known of each before anything runs. `absent` are
    devices that are not here, with why: a plan that is made to look at what was done needs none of them."""

    spec: Spec
    applicable: Applicable
    chains: Chains
    points: list[Point]
    ids: list[str]
    verdicts: dict[str, Verdict]
    absent: Mapping[str, str] = field(default_factory=dict)
    _chains: dict[str, Chain] = field(default_factory=dict)

    @staticmethod
    def empty(spec: Spec, salts: Salts | None = None) -> Plan:
        """A plan without points, for those that are added."""
        applicable = Applicable(spec)
        return Plan(spec, applicable, Chains(spec, applicable, salts), [], [], {})

    @staticmethod
    def of(spec: Spec, salts: Salts | None = None) -> Plan:
        """The plan of a whole grid, as this machine can run it; for a search it has no points yet. Raises DlasError for
        more than can be held."""
        plan = Plan.empty(spec, salts)
        plan.absent = absent_devices(spec)
        if spec.search == "grid":
            if spec.size > MOST_POINTS:
                raise DlasError(
                    f"{spec.path}: the grid has {spec.size:,} points, more than {MOST_POINTS:,}: leave levels out, or "
                    'draw from it (study.search = "random", study.trials = N)'
                )
            plan.add(Point(*levels) for levels in itertools.product(*(spec.axes[name] for name in NAMES)))  # pyright: ignore[reportArgumentType]
        return plan

    def add(self, points: Iterable[Point]) -> list[str]:
        """Take points in; the ids of those that are new."""
        known, new = set(self.ids), []
        for point in points:
            name = point.id
            if name in known:
                continue
            known.add(name)
            self.points.append(point)
            self.ids.append(name)
            new.append(name)
            if (verdict := self.judge(point)) is not None:
                self.verdicts[name] = verdict
        self.__dict__.pop("by_id", None)
        return new

    def judge(self, point: Point) -> Verdict | None:
        """Why a point is not measured, None for one that is."""
        columns = point.as_dict() if self.spec.excludes else {}
        for exclude in self.spec.excludes:
            if exclude.when.test(columns):
                return Verdict("excluded", exclude.reason)
        # What makes no sense anywhere has that for its reason, not the machine of this run.
        reason = self.applicable.reason(point) or self.absent.get(point.device)
        return None if reason is None else Verdict("not-applicable", reason)

    @cached_property
    def by_id(self) -> dict[str, Point]:
        """Points by their ids."""
        return dict(zip(self.ids, self.points, strict=True))

    def chain(self, name: str) -> Chain:
        """The steps of a point, by its id."""
        if name not in self._chains:
            self._chains[name] = self.chains.of(self.by_id[name])
        return self._chains[name]

    @property
    def wanted(self) -> list[str]:
        """The ids of all that are to be measured."""
        return [name for name in self.ids if name not in self.verdicts]

    def blocks(self, todo: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The ids of points that take turns with each other, so that every point of `todo` is in one block.

        Points that differ only on the compared axes go together, with the first that makes sense of them all (it may
        have been measured before) at the head of each block.
        """
        groups: dict[tuple, list[str]] = {}
        for name in todo:
            groups.setdefault(self._context(self.by_id[name]), []).append(name)
        heads = self._heads(groups.keys())
        for context, members in groups.items():
            head = heads.get(context, members[0])
            others = [name for name in members if name != head]
            size = self.spec.measurement.members - 1
            for start in range(0, max(len(others), 1), size):
                yield (head, *others[start : start + size])

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """The places of the axes that are not compared."""
        return tuple(place for place, name in enumerate(NAMES) if name not in self.spec.measurement.compare)

    def _context(self, point: Point) -> tuple[Level, ...]:
        """What a point has in common with all that it may be compared with in a block."""
        levels = point.levels
        return tuple(levels[place] for place in self._places)

    def _heads(self, contexts: Iterable[tuple]) -> dict[tuple, str]:
        """The first point of each context that makes sense."""
        wanted, found = set(contexts), {}
        grid = {axis: {level: place for place, level in enumerate(self.spec.axes[axis])} for axis in NAMES}
        order = zip(self.ids, self.points, strict=True)
        if self.spec.search != "grid":  # they came as they were drawn
            order = sorted(
                order, key=lambda pair: [grid[axis].get(level, -1) for axis, level in pair[1].as_dict().items()]
            )
        for name, point in order:
            context = self._context(point)
            if context in wanted and context not in found and name not in self.verdicts:
                found[context] = name
        return found

    def with_heads(self, names: Sequence[str]) -> list[str]:
        """`names`, and what those are compared with, which is taken in where a search has not drawn it."""
        compare = self.spec.measurement.compare
        contexts = {self._context(self.by_id[name]): self.by_id[name] for name in names}
        found = list(names)
        for point in contexts.values():
            levels = [self.spec.axes[name] if name in compare else (level,) for name, level in point.as_dict().items()]
            cells = (Point(*chosen) for chosen in itertools.product(*levels))  # pyright: ignore[reportArgumentType]
            head = next(cell for cell in cells if self.judge(cell) is None)
            self.add([head])
            found += [head.id] if head.id not in found else []
        return found

    def block(self, members: Sequence[str]) -> Block:
        """The block of these points."""
        device = self.by_id[members[0]].device
        return Block(device, tuple(members), tuple(self.chain(name).measure.key for name in members))

    def steps(self, todo: Iterable[str], done: Callable[[str], bool] = lambda key: False) -> dict[tuple[str, str], int]:
        """How many steps are to be done for these points, by kind and model, each that is shared once."""
        seen: set[str] = set()
        counts: Counter[tuple[str, str]] = Counter()
        for name in todo:
            chain = self.chain(name)
            for step in (*chain.work, chain.measure):
                if step.key not in seen and not done(step.key):
                    seen.add(step.key)
                    counts[step.kind, step.subject] += 1
        order = {kind: place for place, kind in enumerate(STEP_KINDS)}
        return dict(sorted(counts.items(), key=lambda item: (order[item[0][0]], item[0][1])))
