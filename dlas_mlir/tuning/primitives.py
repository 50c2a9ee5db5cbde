"""The choice of primitives over a whole network by measurement."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.compiler import cache, choices, tuned
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.job import Clock, Job
from dlas_mlir.compiler.layer_graph import LayerGraph, layer_graph
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import TOLERANCE
from dlas_mlir.measure.choices import Choice, Choices
from dlas_mlir.measure.gate import measuring, working
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.measure.stats import Comparison, Timing, compare
from dlas_mlir.passes.primitives import names
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.profile import profile_dispatches
from dlas_mlir.tuning.layer_costs import LayerCosts, Primitives
from dlas_mlir.tuning.timing import typical
from dlas_mlir.tuning.tuner import Say

RULE = "the recipe's rule"
_SECONDS = 0.4
_CALLS = (3, 50)
_ROUNDS = 2
# Assignments that are built: those that are expected to be the best, until what was measured of them names no others.
_BEST = 3
_REFINEMENTS = 2
# No gain below this moves a network away from what the recipe chooses.
_LEAST_GAIN = 0.01


@dataclass(frozen=True)
class LayerChoice:
    """One layer: what it is, the microseconds of each primitive in the network as far as it was measured, the recipe's
    own primitive and the chosen one."""

    layer: str
    shape: str
    costs: dict[str, float]
    rule: str
    chosen: str


@dataclass(frozen=True)
class TimedChoice:
    """One assignment of primitives to layers that was timed end to end: the milliseconds of a call that were predicted
    and measured, and the time over that with the recipe's own primitives."""

    name: str
    predicted_ms: float
    measured_ms: float
    ratio: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class PrimitivesReport:
    """One network. `chosen` is the name of the assignment that was kept; `failures` says of each that could not be
    built, or was wrong, why."""

    model: str
    preset: str
    threads: int
    chosen: str
    ratio: float
    seconds: float
    builds: int
    layers: tuple[LayerChoice, ...]
    timed: tuple[TimedChoice, ...]
    failures: dict[str, str]

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class _Build:
    name: str
    primitives: Primitives
    vmfb: Path
    dispatches: Sequence[Mapping[str, str]]


def tune_primitives(
    model: str,
    preset: str = "host/auto",
    *,
    threads: int = 1,
    db: Path | str | None = None,
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    timeout: float | None = LIMIT,
    say: Say = lambda _: None,
) -> PrimitivesReport:
    """Choose the primitive of each layer of `model`, and keep the choice in the data base `db` (None: the user's own),
    from which the same preset with `:tuned` takes it. Raises DlasError."""
    from dlas_mlir.tuning.tune import open_trials

    file = Path(db) if db is not None else tuned.database()
    open_trials(file).close()  # before the work: it may be no data base
    with cache.workspace() as folder:
        return _Chooser(model, preset, threads, inputs, weights, timeout, say, folder).run(file)


class _Chooser:
    def __init__(
        self,
        model: str,
        preset: str,
        threads: int,
        inputs: tuple[str, ...] | None,
        weights: Path | str | None,
        timeout: float | None,
        say: Say,
        folder: Path,
    ) -> None:
        self.model, self.threads, self.timeout, self.say, self.folder = model, threads, timeout, say, folder
        self.began = time.monotonic()
        self.preset = load_preset(preset, threads=threads)
        self.device = resolve(self.preset.device, threads)
        self.split = choices.Split.of(self.preset)
        with Clock(say).stage(f"import {model}", "import"):
            self.imported = import_model(model, inputs=inputs, weights=weights, timeout=timeout)
        self.graph: LayerGraph = layer_graph(self.imported, self.preset, names(), timeout)
        self.costs = LayerCosts(self.graph)
        self.builds: list[_Build] = []
        self.failures: dict[str, str] = {}
        self.count = 0

    def run(self, file: Path) -> PrimitivesReport:
        """Build, measure, choose, and write what came out into the data base `file`."""
        rule = {layer.name: layer.rule for layer in self.graph.layers}
        base = self._build(RULE, rule)
        if base is None:
            raise DlasError(f"{self.model} for {self.preset.name}: {self.failures[RULE]}")
        families = [self._build(name, primitives) for name, primitives in self._families(rule).items()]
        self._profile([build for build in [base, *families] if build is not None])
        mixed = self._mixed()
        timed, comparisons = self._timed(base, mixed)
        chosen = self._best(timed, comparisons)
        ratio = comparisons[chosen.name].ratio if chosen is not base else 1.0
        kept = dict(chosen.primitives) if chosen is not base else {}
        with Choices(file) as known:
            known.choose(
                Choice(
                    place=choices.place_of(self.imported, self.preset, self.threads),
                    environment=tuned.environment(),
                    primitives=kept,
                    ratio=ratio,
                    model=self.model,
                )
            )
        return self._reported(base, chosen, ratio, timed, comparisons)

    def _families(self, rule: Primitives) -> dict[str, Primitives]:
        """Each primitive wherever it applies, and the recipe's own elsewhere; those that are the same once."""
        found: dict[str, Primitives] = {}
        for name in names():
            taken = dict(rule)
            for layer in self.graph.layers:
                own = [p for p in layer.candidates if p.partition("{")[0] == name]
                if own and not (len(layer.candidates) > 1 and taken[layer.name] in own):
                    taken[layer.name] = own[0]
            if taken != rule and taken not in found.values():
                found[name] = taken
        return found

    def _build(self, name: str, primitives: Primitives) -> _Build | None:
        """Compile and check; None, with the reason in `failures`, where that fails."""
        same = next((build for build in self.builds if build.primitives == primitives), None)
        if same is not None:
            return same
        self.say(f"compile {self.model} with {name}")
        self.count += 1
        module, vmfb = self.folder / f"{self.count}.mlirbc", self.folder / f"{self.count}.vmfb"
        # The recipe's own are what it does without a file.
        pipeline = self.preset.pipeline
        if self.builds:
            pipeline = self.split.with_choices(choices.written(primitives))
        title = f"{self.imported.name} for {self.preset.name} with {name}"
        job = Job(title, self.imported.path, pipeline, self.preset.iree_flags, self.timeout)
        try:
            with working():
                job.run_pipeline(module, None)
                dispatches = job.iree_compile(module, vmfb)
            self._check(vmfb)
        except DlasError as error:
            self.failures[name] = str(error)
            return None
        self.builds.append(_Build(name, primitives, vmfb, dispatches))
        return self.builds[-1]

    def _check(self, vmfb: Path) -> None:
        """Compare outputs with the model's. Raises DlasError."""
        with Worker(vmfb, self.device, self.imported.golden, timeout=self.timeout) as worker:
            if self.imported.golden is not None:
                element = self.preset.element
                check = worker.check(TOLERANCE[element] if element else None)
                if not check.verified:
                    raise DlasError(check.reason)
            if not self.builds:
                self.inputs: Sequence[np.ndarray] = worker.examples()
                self.call_s = min(worker.turn(min_seconds=0.2, min_count=3).ns) / 1e9

    def _profile(self, builds: Sequence[_Build]) -> None:
        """Learn what layers cost in these builds, which take turns."""
        calls = max(_CALLS[0], min(_CALLS[1], int(_SECONDS / self.call_s)))
        taken: dict[str, dict[str, list[float]]] = {build.name: defaultdict(list) for build in builds}
        for number in range(_ROUNDS):
            self.say(f"time the layers in {len(builds)} builds, round {number + 1} of {_ROUNDS}")
            for build in builds:
                if build.name in self.failures:
                    continue
                try:
                    with measuring():
                        times = profile_dispatches(
                            build.vmfb, self.device, self.inputs, calls=calls, timeout=self.timeout
                        )
                except DlasError as error:
                    if build.name == RULE:
                        raise
                    self.failures[build.name] = str(error)
                    continue
                per_name: dict[str, float] = defaultdict(float)
                for one, layer in zip(times, _layers_of([t.name for t in times], build.dispatches), strict=True):
                    per_name[layer] += typical(one.ns)
                for layer, ns in per_name.items():
                    taken[build.name][layer].append(ns)
        for build in builds:
            if build.name not in self.failures:
                self.costs.observe(build.primitives, {name: min(ns) for name, ns in taken[build.name].items()})
        self.builds = [build for build in self.builds if build.name not in self.failures]

    def _mixed(self) -> list[_Build]:
        """The best assignments, built; what is learned from them may name others."""
        for _ in range(_REFINEMENTS):
            known = [build.primitives for build in self.builds]
            wanted = [one for one in self.costs.solve(_BEST) if one not in known]
            made = [self._build(f"choice {self.count + 1}", one) for one in wanted]
            made = [build for build in made if build is not None]
            if not made:
                break
            self._profile(made)
        ranked = sorted(self.builds[1:], key=lambda build: self.costs.predict(build.primitives))
        single = next((build for build in ranked if not build.name.startswith("choice ")), None)
        mixed = [build for build in ranked if build.name.startswith("choice ")][:_BEST]
        return [*mixed, *([single] if single is not None else [])]

    def _timed(self, base: _Build, others: Sequence[_Build]) -> tuple[dict[str, _Timed], dict[str, Comparison]]:
        """Calls end to end, in turns with the recipe's own primitives."""
        builds = [base, *others]
        with ExitStack() as stack, measuring():
            workers = {
                build.name: stack.enter_context(
                    Worker(build.vmfb, self.device, self.imported.golden, timeout=self.timeout)
                )
                for build in builds
            }
            protocol = Protocol(rounds=6, starts=2, max_rounds=12)
            rounds = Rounds(workers, protocol, lambda text: self.say(f"time the networks, {text}")).run()
        turns = {name: found for name, found in rounds.turns.items() if name not in rounds.errors}
        self.failures |= rounds.errors
        if RULE not in turns:
            raise DlasError(f"{self.model}: {rounds.errors[RULE]}")
        times = {b.name: _Timed(b, Timing.of(turns[b.name]).median_ms) for b in builds if b.name in turns}
        found = {name: compare(turns[name], turns[RULE], noise=rounds.noise) for name in times if name != RULE}
        return times, found

    def _best(self, timed: Mapping[str, _Timed], comparisons: Mapping[str, Comparison]) -> _Build:
        """The fastest, if it is faster than the recipe's own by more than chance."""
        ranked = sorted(timed.values(), key=lambda one: one.ms)
        for one in ranked:
            found = comparisons.get(one.build.name)
            if found is None or (found.high < 1 and found.ratio < 1 - _LEAST_GAIN):
                return one.build
        raise AssertionError

    def _reported(
        self,
        base: _Build,
        chosen: _Build,
        ratio: float,
        timed: Mapping[str, _Timed],
        comparisons: Mapping[str, Comparison],
    ) -> PrimitivesReport:
        # What a call takes beside its kernels is taken from the recipe's own.
        beside = timed[RULE].ms - self.costs.predict(base.primitives) / 1e6
        same = Comparison(1.0, 1.0, 1.0, 0.0)
        lines = []
        for name, one in timed.items():
            found = comparisons.get(name, same)
            predicted = self.costs.predict(one.build.primitives) / 1e6 + beside
            lines.append(TimedChoice(name, predicted, one.ms, found.ratio, found.low, found.high, found.verdict))
        layers = {layer.name: layer for layer in self.graph.layers}
        return PrimitivesReport(
            model=self.model,
            preset=self.preset.name,
            threads=self.threads,
            chosen=chosen.name,
            ratio=ratio,
            seconds=time.monotonic() - self.began,
            builds=self.count,
            layers=tuple(
                LayerChoice(name, layer.shape, self.costs.shown(layer), layer.rule, chosen.primitives[name])
                for name, layer in layers.items()
            ),
            timed=tuple(lines),
            failures=self.failures,
        )


@dataclass(frozen=True)
class _Timed:
    build: _Build
    ms: float


def _layers_of(timed: Sequence[str], dispatches: Sequence[Mapping[str, str]]) -> list[str]:
    """The layer of each dispatch that was timed: equal code is shared, so the n-th use of a name tells."""
    uses: dict[str, list[str]] = defaultdict(list)
    for dispatch in dispatches:
        uses[dispatch["name"]].append(dispatch["layer"])
    found = []
    for name in timed:
        left = uses.get(name)
        found.append((left.pop(0) if len(left) > 1 else left[0]) if left else "")
    return found
