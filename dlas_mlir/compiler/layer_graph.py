"""The layers of a network as a graph: which primitives may do each, and which hand their results to which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlas_mlir import process
from dlas_mlir.compiler.choices import Split
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError

_PROCESS = "dlas_mlir.compiler.layer_graph_process"


@dataclass(frozen=True)
class GraphLayer:
    """One layer. `candidates` are the primitives that do it, with the layout in which each reads and writes images;
    `variants` gives them by how they are asked for (`winograd` is `winograd{block=16}` here); `rule` is the recipe's
    own. `input` and `output` are groups of values that have one layout: all that is joined by element-wise operations,
    pooling, padding, additions and concatenations. `sizes` are the elements of both."""

    name: str
    shape: str
    candidates: Mapping[str, str]
    rule: str
    input: int
    output: int
    sizes: tuple[int, int]
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerGraph:
    """The layers in order, and the group of each operation that is none, by its name."""

    layers: tuple[GraphLayer, ...]
    groups: Mapping[str, int]


def layer_graph(imported: Imported, preset: Preset, timeout: float | None = process.LIMIT) -> LayerGraph:
    """The layers of a model as `preset` finds them, with all primitives that apply. Raises DlasError for a preset that
    chooses no primitives, and what passes raise."""
    split = Split.of(preset)
    request = {"source": str(imported.path), "before": str(split.before), "select": str(split.select())}
    what = f"{imported.name} for {preset.name}"
    try:
        found = process.call(f"{_PROCESS}:run", request, what="the pass pipeline", timeout=timeout, preload=[_PROCESS])
    except DlasError as error:
        raise DlasError(f"{what}: {error}") from None
    layers = tuple(map(_layer, found["layers"]))
    if not layers:
        raise DlasError(f"{imported.name}: there is no layer that primitives do, so there is nothing to choose")
    return LayerGraph(layers, dict(found["groups"]))


def _layer(one: Mapping[str, Any]) -> GraphLayer:
    rule, layout = one["rule"]
    candidates = {rule: layout} | {taken: layout for _, taken, layout in one["candidates"]}
    return GraphLayer(
        name=one["name"],
        shape=one["shape"],
        candidates=candidates,
        rule=rule,
        input=one["input"],
        output=one["output"],
        sizes=tuple(one["sizes"]),
        variants={asked: taken for asked, taken, _ in one["candidates"]},
    )
