"""Magnitude pruning of weights: single ones, blocks of output channels, or N of M along the input channels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import L1Unstructured

from dlas_mlir.compression.layers import Layer, groups_of, selected
from dlas_mlir.compression.step import Context, Step, check_choice, check_range, tune
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.layer_names import SKIPS, matching


@dataclass(frozen=True)
class Structure:
    """Which weights go together: `block` output channels, or at most `keep` of `out_of` input channels stay."""

    block: int = 1
    keep: int = 0
    out_of: int = 0

    @classmethod
    def parse(cls, text: str) -> Structure:
        """Read `unstructured`, `4x1` or `2:4`. Raises DlasError for anything else."""
        if text == "unstructured":
            return cls()
        if (found := re.fullmatch(r"(\d+)x1", text)) and int(found[1]) > 1:
            return cls(block=int(found[1]))
        if (found := re.fullmatch(r"(\d+):(\d+)", text)) and 0 < int(found[1]) < int(found[2]):
            return cls(keep=int(found[1]), out_of=int(found[2]))
        raise DlasError(f"structure: expected unstructured, blocks such as 4x1 or N:M such as 2:4, found `{text}`")

    def check(self, name: str, layer: Layer) -> None:
        """Raises DlasError when the layer's channels do not divide."""
        shape, groups = tuple(layer.weight.shape), groups_of(layer)
        outputs = shape[0] // groups
        each = " in each group" if groups > 1 else ""
        if outputs % self.block:
            problem = f"blocks of {self.block} do not divide its {outputs} output channels{each}"
        elif self.out_of and shape[1] % self.out_of:
            problem = f"groups of {self.out_of} do not divide its {shape[1]} input channels{each}"
        else:
            return
        raise DlasError(f"structure: {name}: {problem}; leave the layer out with exclude or skip")


@dataclass(frozen=True)
class Override:
    """What is different for the layers of `pattern`: another sparsity (then by themselves), another structure."""

    pattern: str
    sparsity: float | None = None
    structure: str | None = None

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_range("override.sparsity", self.sparsity, 0, 1)


@dataclass(frozen=True)
class Prune(Step):
    """Set the smallest weights of convolutions and linear layers to zero.

    `sparsity` is the share of zeros, over all layers together (`scope = "global"`) or in each (`"layer"`); N:M
    implies it. A block counts by its mean magnitude. `skip` leaves out `first`, `last`, `depthwise`, `linear`;
    `exclude` leaves out patterns of layer names. With `iterations` above 1 the sparsity rises as a cubic curve,
    with `epochs` of fine-tuning after each iteration. The last override that matches a layer counts.
    """

    kind: ClassVar[str] = "prune"

    sparsity: float | None = None
    structure: str = "unstructured"
    scope: str = "global"
    skip: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    iterations: int = 1
    epochs: int = 0
    learning_rate: float = 0.0
    override: tuple[Override, ...] = ()

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_range("sparsity", self.sparsity, 0, 1)
        check_choice("scope", self.scope, ("global", "layer"))
        check_choice("skip", self.skip, SKIPS)
        check_range("iterations", self.iterations, 1, 1000)
        check_range("epochs", self.epochs, 0, 10_000)
        check_range("learning_rate", self.learning_rate, 0, 100)
        structures = [_checked_structure("", self.structure, self.sparsity, self.sparsity)]
        for each in self.override:
            sparsity = self.sparsity if each.sparsity is None else each.sparsity
            structures.append(
                _checked_structure("override.", each.structure or self.structure, each.sparsity, sparsity)
            )
        if self.iterations > 1 and any(structure.out_of for structure in structures):
            raise DlasError("iterations: N:M is pruned at once; leave the key out")

    @property
    def epochs_needed(self) -> int:
        return self.epochs * self.iterations

    def apply(self, model: nn.Module, context: Context) -> None:
        pools = self._pools(selected(model, self.skip, self.exclude))
        for iteration in range(1, self.iterations + 1):
            part = 1 - (1 - iteration / self.iterations) ** 3
            for (structure, sparsity, _), layers in pools.items():
                _prune_pool(layers, structure, sparsity * part)
            context.progress(f"prune: iteration {iteration} of {self.iterations}")
            tune(model, context, self.epochs, self.learning_rate)

    def _pools(self, layers: Mapping[str, Layer]) -> dict[tuple[Structure, float, str], dict[str, Layer]]:
        """The layers whose weights are ranked together."""
        chosen: dict[str, Override] = {}
        for override in self.override:
            for name in matching(override.pattern, layers, "override.pattern"):
                chosen[name] = override
        pools: dict[tuple[Structure, float, str], dict[str, Layer]] = defaultdict(dict)
        for name, layer in layers.items():
            override = chosen.get(name, Override(""))
            structure = Structure.parse(override.structure or self.structure)
            structure.check(name, layer)
            sparsity = self.sparsity if override.sparsity is None else override.sparsity
            alone = self.scope == "layer" or override.sparsity is not None
            pools[structure, sparsity or 0.0, name if alone else ""][name] = layer
        return pools


def _checked_structure(prefix: str, text: str, own: float | None, inherited: float | None) -> Structure:
    structure = Structure.parse(text)
    if structure.out_of and own is not None:
        raise DlasError(f"{prefix}sparsity: {text} says it already; leave the key out")
    if not structure.out_of and inherited is None:
        raise DlasError(f"{prefix}sparsity: the key is missing")
    return structure


@torch.no_grad()
def _prune_pool(layers: Mapping[str, Layer], structure: Structure, sparsity: float) -> None:
    for name, layer in layers.items():
        if not layer.weight.isfinite().all():
            raise DlasError(f"{name}: its weights are not all finite numbers; nothing can be ranked")
    if structure.out_of:
        for layer in layers.values():
            layer.weight.mul_(n_of_m_mask(layer.weight, structure.keep, structure.out_of))
        return
    scores = [block_scores(layer.weight, structure.block) for layer in layers.values()]
    ranked = torch.cat([score.flatten() for score in scores])
    mask = L1Unstructured(amount=sparsity).compute_mask(ranked, torch.ones_like(ranked))
    parts = mask.split([score.numel() for score in scores])
    for layer, score, part in zip(layers.values(), scores, parts, strict=True):
        layer.weight.mul_(part.view_as(score).repeat_interleave(structure.block, 0))


def block_scores(weight: Tensor, block: int) -> Tensor:
    """Mean magnitudes of blocks of output channels: [O, I, ...] to [O / block, I, ...]."""
    return weight.detach().abs().unflatten(0, (-1, block)).mean(1)


def n_of_m_mask(weight: Tensor, keep: int, out_of: int) -> Tensor:
    """1 for the `keep` largest of each `out_of` consecutive input channels, else 0; shaped as `weight`, [O, I, ...]."""
    groups = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, out_of))
    largest = groups.topk(keep, dim=-1).indices
    mask = torch.zeros_like(groups).scatter_(-1, largest, 1)
    return mask.flatten(-2).movedim(-1, 1)
