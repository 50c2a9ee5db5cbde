"""The choice of primitives over a whole network by measurement."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from dlas_mlir.compiler import cache, choices, tuned
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.job import Clock
from dlas_mlir.compiler.layer_graph import GraphLayer, LayerGraph, layer_graph
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.compiler.presets.here import gpu_of
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.choices import Choice, Choices
from dlas_mlir.measure.gate import measuring
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.measure.stats import Comparison, Timing
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.devices import resolve, usable_cpus
from dlas_mlir.runtime.profile import profile_dispatches, said_of
from dlas_mlir.tuning.assignments import RULE, Build, Builder
from dlas_mlir.tuning.layer_costs import LayerCosts, Primitives
from dlas_mlir.tuning.paired import compared
from dlas_mlir.tuning.primitives_report import LayerChoice, PrimitivesReport, TimedChoice, reason
from dlas_mlir.tuning.timing import typical
from dlas_mlir.tuning.tuner import Say

_SECONDS = 0.4
_CALLS = (3, 50)
_ROUNDS = 2
# The turns of each end to end.
_TURNS = 8
# Assignments that are built: those that are expected to be the best, until what was measured of them names no others.
_BEST = 3
_REFINEMENTS = 2
# No gain below this moves a network away from what the recipe chooses.
_LEAST_GAIN = 0.01


def tune_primitives(
    model: str,
    preset: str = "host/auto",
    *,
    threads: int = 1,
    db: Path | str | None = None,
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    batch: int | None = None,
    jobs: int = 0,
    timeout: float | None = LIMIT,
    say: Say = lambda _: None,
) -> PrimitivesReport:
    """Choose the primitive of each layer of `model`, and keep the choice in the data base `db` (None: the user's own),
    from which the same preset with `:tuned` takes it. `jobs` are compilers at a time (0: as many as there are CPUs).
    Raises DlasError."""
    from dlas_mlir.tuning.tune import open_trials

    file = Path(db) if db is not None else tuned.database()
    open_trials(file).close()  # before the work: it may be no data base
    with cache.workspace() as folder:
        chooser = _Chooser(
            model, preset, threads, jobs, timeout, say, folder, inputs=inputs, weights=weights, batch=batch
        )
        return chooser.run(file)


@dataclass(frozen=True)
class _Timed:
    build: Build
    ms: float


class _Chooser:
    def __init__(
        self,
        model: str,
        preset: str,
        threads: int,
        jobs: int,
        timeout: float | None,
        say: Say,
        folder: Path,
        *,
        inputs: tuple[str, ...] | None,
        weights: Path | str | None,
        batch: int | None,
    ) -> None:
        self.model, self.threads, self.timeout, self.say = model, threads, timeout, say
        self.began = time.monotonic()
        self.preset = load_preset(preset, threads=threads)
        choices.Split.of(self.preset)  # before the work: it may choose none
        gpu_of(self.preset, preset)  # nor may the GPU be here
        with Clock(say).stage(f"import {model}", "import"):
            self.imported = import_model(model, inputs=inputs, weights=weights, batch=batch, timeout=timeout)
        self.graph: LayerGraph = layer_graph(self.imported, self.preset, timeout=timeout)
        self.costs = LayerCosts(self.graph)
        device = resolve(self.preset.device, threads)
        self.builder = Builder(self.imported, self.preset, device, folder, timeout, say)
        self.rule_ns = 0.0
        self.predicted: dict[str, float] = {}
        self.jobs = jobs or max(1, len(usable_cpus()))

    def run(self, file: Path) -> PrimitivesReport:
        """Build, measure, choose, and write what came out into the data base `file`."""
        rule = {layer.name: layer.rule for layer in self.graph.layers}
        base = self.builder.rule(rule)
        singles = self.builder.build_all(families(self.graph), "single", self.jobs)
        self._profile(base, singles)
        self._refine(base)
        timed, comparisons, noise = self._timed(base)
        chosen = best(timed, comparisons)
        ratio = comparisons[chosen.name].ratio if chosen is not base else 1.0
        kept = dict(chosen.primitives) if chosen is not base else {}
        with Choices(file) as known:
            known.choose(
                Choice(
                    place=choices.place_of(self.imported, self.preset, self.threads),
                    environment=tuned.environment(self.preset),
                    primitives=kept,
                    ratio=ratio,
                    model=self.model,
                )
            )
        return self._reported(base, chosen, ratio, timed, comparisons, noise)

    def _profile(self, base: Build, builds: Sequence[Build]) -> None:
        """Learn what layers cost in these builds, which take turns with the recipe's own: that says how fast the
        machine is in a round, and all times are as if it were as fast as in the first one."""
        calls = max(_CALLS[0], min(_CALLS[1], int(_SECONDS / self.builder.call_s)))
        every = [base, *builds]
        taken: dict[str, dict[str, list[float]]] = {build.name: defaultdict(list) for build in every}
        self.say(f"time the layers in {len(every)} builds, as soon as the machine is free")
        with measuring():
            for number in range(_ROUNDS):
                self.say(f"time the layers in {len(every)} builds, round {number + 1} of {_ROUNDS}")
                times = {}
                # Each round starts with another: none always follows the same neighbour.
                for build in every[number % len(every) :] + every[: number % len(every)]:
                    if build.name not in self.builder.failures:
                        times[build.name] = self._layer_times(build, calls)
                now = sum(times[base.name].values())
                self.rule_ns = self.rule_ns or now
                for name, layers in times.items():
                    for layer, ns in layers.items():
                        taken[name][layer].append(ns * self.rule_ns / now)
        for build in every:
            if build.name not in self.builder.failures:
                self.costs.observe(build.primitives, {name: median(ns) for name, ns in taken[build.name].items()})

    def _layer_times(self, build: Build, calls: int) -> dict[str, float]:
        """Nanoseconds of a call by the name of the layer; nothing, and a failure, where it cannot be profiled.

        What a call takes beside its kernels (starting each, filling and copying buffers) is shared by all of them: a
        primitive that is done in several pays for that too."""
        builder = self.builder
        try:
            times = profile_dispatches(build.vmfb, builder.device, builder.inputs, calls=calls, timeout=self.timeout)
            with builder.worker(build) as worker:
                call = typical(worker.turn(min_seconds=_SECONDS / 2, min_count=_CALLS[0]).ns)
        except DlasError as error:
            if build.kind == "rule":
                raise
            builder.fail(build, str(error))
            return {}
        beside = max(0.0, call - sum(typical(one.ns) for one in times)) / len(times)
        found: dict[str, float] = defaultdict(float)
        for one, layer in zip(times, said_of(times, build.dispatches, "layer"), strict=True):
            found[layer] += typical(one.ns) + beside
        return found

    def _refine(self, base: Build) -> None:
        """Build the best assignments; what is learned from them may name others."""
        for _ in range(_REFINEMENTS):
            wanted = {f"choice {n}": one for n, one in enumerate(self.costs.solve(_BEST), self.builder.count + 1)}
            # Before they are built: what is learned from them would make it look better than it is.
            own = self.costs.predict(base.primitives)
            self.predicted |= {name: self.costs.predict(one) / own for name, one in wanted.items()}
            made = self.builder.build_all(wanted, "mixed", self.jobs)
            if not made:
                break
            self._profile(base, made)

    def _timed(self, base: Build) -> tuple[dict[str, _Timed], dict[str, Comparison], float]:
        """Calls end to end, in turns: the recipe's own primitives, each single one, and the best mixed ones;
        and how far the machine is from itself."""
        ranked = sorted(self.builder.builds[1:], key=lambda build: self.costs.predict(build.primitives))
        mixed = [build for build in ranked if build.kind == "mixed"][:_BEST]
        builds = [base, *mixed, *(build for build in ranked if build.kind == "single")]
        with ExitStack() as stack, measuring():
            workers = {build.name: stack.enter_context(self.builder.worker(build)) for build in builds}
            # As many of each: what is compared is compared round by round.
            protocol = Protocol(rounds=_TURNS, starts=2, max_rounds=_TURNS)
            rounds = Rounds(workers, protocol, lambda text: self.say(f"time the networks, {text}")).run()
        turns = {name: found for name, found in rounds.turns.items() if name not in rounds.errors}
        self.builder.failures |= rounds.errors
        if RULE not in turns:
            raise DlasError(f"{self.model}: {rounds.errors[RULE]}")
        times = {b.name: _Timed(b, Timing.of(turns[b.name]).median_ms) for b in builds if b.name in turns}
        found = {name: compared(turns[name], turns[RULE], rounds.noise) for name in times if name != RULE}
        return times, found, rounds.noise or 0.0

    def _reported(
        self,
        base: Build,
        chosen: Build,
        ratio: float,
        timed: Mapping[str, _Timed],
        comparisons: Mapping[str, Comparison],
        noise: float,
    ) -> PrimitivesReport:
        own = self.costs.predict(base.primitives)
        same = Comparison(1.0, 1.0, 1.0, 0.0)
        lines = []
        for name, one in timed.items():
            found = comparisons.get(name, same)
            part = self.predicted.get(name, self.costs.predict(one.build.primitives) / own)
            # Both are parts of the recipe's own time: that of a round in which the machine was slow is slower too.
            times = (part * timed[RULE].ms, found.ratio * timed[RULE].ms)
            lines.append(TimedChoice(name, one.build.kind, *times, found.ratio, found.low, found.high, found.verdict))
        lines.sort(key=lambda line: line.ratio)
        return PrimitivesReport(
            model=self.model,
            preset=self.preset.name,
            threads=self.threads,
            chosen=chosen.name,
            ratio=ratio,
            seconds=time.monotonic() - self.began,
            builds=self.builder.count,
            checked_by=self._checked_by(),
            layers=tuple(self._layer(layer, chosen) for layer in {one.name: one for one in self.graph.layers}.values()),
            timed=tuple(lines),
            failures=self.builder.failures,
            noise=noise,
        )

    def _layer(self, layer: GraphLayer, chosen: Build) -> LayerChoice:
        costs, taken = self.costs.shown(layer), chosen.primitives[layer.name]
        return LayerChoice(layer.name, layer.shape, costs, layer.rule, taken, reason(costs, layer.rule, taken))

    def _checked_by(self) -> str:
        if self.imported.golden is None:
            return f"{RULE} alone: {self.imported.unchecked}"
        with np.load(self.imported.golden, allow_pickle=False) as golden:
            return str(golden["reference"]) if "reference" in golden.files else "PyTorch"


def families(graph: LayerGraph) -> dict[str, Primitives]:
    """Each primitive wherever it applies, by its name; those that are the same once, and not the recipe's own, which
    stands elsewhere, in the same layout if it can be."""
    rule = {layer.name: layer.rule for layer in graph.layers}
    found: dict[str, Primitives] = {}
    for variant in dict.fromkeys(name for layer in graph.layers for name in layer.variants):
        layouts = {layer.candidates[layer.variants[variant]] for layer in graph.layers if variant in layer.variants}
        taken = {layer.name: _in_family(layer, variant, layouts) for layer in graph.layers}
        if taken != rule and taken not in found.values():
            found[variant] = taken
    return found


def _in_family(layer: GraphLayer, variant: str, layouts: set[str]) -> str:
    if variant in layer.variants:
        return layer.variants[variant]
    own = layer.rule.partition("{")[0]
    alike = [name for name, layout in layer.candidates.items() if layout in layouts and name.partition("{")[0] == own]
    return layer.rule if not alike or layer.rule in alike else alike[0]


def best(timed: Mapping[str, _Timed], comparisons: Mapping[str, Comparison]) -> Build:
    """The fastest of those that are faster than the recipe's own by more than chance, else that."""
    for name, found in sorted(comparisons.items(), key=lambda item: item[1].ratio):
        if found.high < 1 and found.ratio < 1 - _LEAST_GAIN:
            return timed[name].build
    return timed[RULE].build
