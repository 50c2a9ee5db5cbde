"""What each primitive costs for each layer of a network: observed in builds, and estimated where nobody has seen it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from dlas_mlir.compiler.layer_graph import GraphLayer, LayerGraph
from dlas_mlir.tuning.elimination import Factor, Solution, best

# The primitive of each layer, by its name.
Primitives = Mapping[str, str]
# Nanoseconds for an element that is copied into another layout, before anybody has seen a copy.
_COPY_NS = 0.5
_NCHW = "nchw"
# What another primitive than the recipe's own has to gain, relatively: the least of some noisy times looks as good.
_DOUBT = 1.02


@dataclass
class LayerCosts:
    """Times of layers by primitive and by whether their input and output are in its layout. Of several that were seen
    the median counts: the least of many would make what is seen often, the recipe's own, look faster than the rest.

    A group of values (what lies between layers) has one layout, as a build makes it: that of the first layer that
    writes it and is not plain NCHW. What no layer writes, the network's inputs, is NCHW. Where a layer's primitive has
    another layout than its group, a copy stands between, and belongs to the layer.
    """

    graph: LayerGraph
    copy_ns: float = _COPY_NS
    _layers: dict[tuple[str, str, bool, bool], list[float]] = field(default_factory=lambda: defaultdict(list))
    _between: dict[tuple[int, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def observe(self, primitives: Primitives, times: Mapping[str, float]) -> None:
        """Learn from a build: nanoseconds of a call by the name of the layer or of another operation."""
        layouts = self.layouts(primitives)
        for layer in self._once():
            key = (layer.name, primitives[layer.name], *self._matches(layer, primitives, layouts))
            # One without a dispatch of its name is done in another's, and costs what that costs.
            self._layers[key].append(times.get(layer.name, 0.0))
        between: dict[int, float] = dict.fromkeys(self.graph.groups.values(), 0.0)
        layers = {layer.name for layer in self.graph.layers}
        for name, ns in times.items():
            if name in self.graph.groups and name not in layers:
                between[self.graph.groups[name]] += ns
        for group, ns in between.items():
            self._between[group, layouts.get(group, _NCHW)].append(ns)
        self._learn_copies()

    def predict(self, primitives: Primitives) -> float:
        """Nanoseconds of a call's kernels."""
        layouts = self.layouts(primitives)
        total = sum(
            self.of(layer, primitives[layer.name], *self._matches(layer, primitives, layouts)) for layer in self._once()
        )
        return total + sum(self._of_group(group, layouts.get(group, _NCHW)) for group in self._all_groups())

    def of(self, layer: GraphLayer, primitive: str, read: bool, write: bool) -> float:
        """Nanoseconds of a layer by a primitive, with the input (`read`) and output (`write`) in its layout or not:
        what was observed, else what was in the most similar surroundings, and the copies that differ."""
        if seen := self._layers.get((layer.name, primitive, read, write)):
            return median(seen)
        found = []
        for (name, other, r, w), seen in self._layers.items():
            if (name, other) == (layer.name, primitive):
                copies = (int(r) - int(read)) * layer.sizes[0] + (int(w) - int(write)) * layer.sizes[1]
                found.append((abs(int(r) - int(read)) + abs(int(w) - int(write)), median(seen), copies))
        if not found:
            return float("inf")
        _, ns, copies = min(found)
        return max(0.25 * ns, ns + copies * self.copy_ns)

    def shown(self, layer: GraphLayer) -> dict[str, float]:
        """Microseconds of a layer by each primitive that was measured, at best."""
        found: dict[str, float] = {}
        for (name, primitive, _, _), seen in self._layers.items():
            if name == layer.name:
                found[primitive] = min(found.get(primitive, float("inf")), median(seen) / 1e3)
        return found

    def layouts(self, primitives: Primitives) -> dict[int, str]:
        """The layout of each group that a layer writes."""
        found: dict[int, str] = {}
        for layer in self.graph.layers:
            layout = layer.candidates[primitives[layer.name]]
            if found.get(layer.output, _NCHW) == _NCHW:
                found[layer.output] = layout
        return found

    def solve(self, count: int) -> list[Primitives]:
        """The assignments that are expected to be fastest, at most `count`, the best first. A layer leaves the recipe's
        own primitive only for what is faster by more than the noise of its time."""
        options = {layer.name: list(layer.candidates) for layer in self._once()}
        sizes = {name: len(primitives) for name, primitives in options.items()}
        layouts = self._possible_layouts()
        sizes |= {_group(group): len(found) for group, found in layouts.items()}
        factors = [self._factor(layer, layouts) for layer in self._once()]
        for group, found in layouts.items():
            factors.append(Factor((_group(group),), np.array([self._of_group(group, one) for one in found])))
        solutions: list[Solution] = best(sizes, factors, count, list(options))
        return [{name: options[name][one.states[name]] for name in options} for one in solutions]

    def _factor(self, layer: GraphLayer, layouts: Mapping[int, list[str]]) -> Factor:
        """The time of a layer by its primitive and the layouts of its input and its output."""
        one = layer.input == layer.output
        groups = (layer.input,) if one else (layer.input, layer.output)
        costs = np.empty([len(layer.candidates), *(len(layouts[group]) for group in groups)])
        for place in np.ndindex(costs.shape):
            primitive, layout = list(layer.candidates.items())[place[0]]
            read, write = layouts[layer.input][place[1]], layouts[layer.output][place[-1]]
            doubt = 1.0 if primitive == layer.rule else _DOUBT
            costs[place] = doubt * self.of(layer, primitive, read == layout, write == layout)
        return Factor((layer.name, *map(_group, groups)), costs)

    def _possible_layouts(self) -> dict[int, list[str]]:
        found: dict[int, dict[str, None]] = {group: {} for group in self._all_groups()}
        for layer in self.graph.layers:
            found[layer.output].update(dict.fromkeys(layer.candidates.values()))
        return {group: list(layouts) or [_NCHW] for group, layouts in found.items()}

    def _all_groups(self) -> list[int]:
        of_layers = [group for layer in self.graph.layers for group in (layer.input, layer.output)]
        return list(dict.fromkeys([*of_layers, *self.graph.groups.values()]))

    def _once(self) -> list[GraphLayer]:
        """The layers, of those with one name (a module that is called twice has one primitive) the first."""
        found: dict[str, GraphLayer] = {}
        for layer in self.graph.layers:
            found.setdefault(layer.name, layer)
        return list(found.values())

    def _matches(self, layer: GraphLayer, primitives: Primitives, layouts: Mapping[int, str]) -> tuple[bool, bool]:
        own = layer.candidates[primitives[layer.name]]
        return layouts.get(layer.input, _NCHW) == own, layouts.get(layer.output, _NCHW) == own

    def _of_group(self, group: int, layout: str) -> float:
        """What is between layers: as it was seen in a layout, else as it was in any."""
        if seen := self._between.get((group, layout)):
            return median(seen)
        return min((median(seen) for (other, _), seen in self._between.items() if other == group), default=0.0)

    def _learn_copies(self) -> None:
        """What an element that is copied costs, from layers that were seen with and without copies."""
        rates = []
        for layer in self._once():
            for primitive in layer.candidates:
                whole = self._layers.get((layer.name, primitive, True, True))
                for read, write in ((False, True), (True, False), (False, False)):
                    other = self._layers.get((layer.name, primitive, read, write))
                    elements = (not read) * layer.sizes[0] + (not write) * layer.sizes[1]
                    if whole and other:
                        rates.append((median(other) - median(whole)) / elements)
        if rates:
            self.copy_ns = max(0.0, float(np.median(rates)))


def _group(number: int) -> str:
    return f"group {number}"
