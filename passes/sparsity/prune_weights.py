"""dlas-prune-weights: set the smallest weights of convolutions and linear layers to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.ir import build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.layer_names import SKIPS
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.opt.base import Pass, PassError, option, remark
from dlas_mlir.passes.sparsity._layers import float_weights, selected, weight_layers
from dlas_mlir.passes.sparsity._structure import block_scores, n_of_m_mask, refusal


@dataclass(frozen=True)
class PruneWeightsPass(Pass):
    """Set the weights of the smallest magnitude to zero, in the constants of the module.

    `sparsity` is the share of zeros, over all layers together or in each (`scope`). With `block` above 1, so many
    output channels in succession become zero together, ranked by their mean magnitude. With `n` and `m`, the n largest
    of each m input channels in succession stay, and `sparsity` says nothing. `skip` and `exclude` leave layers out;
    so do weights that are not constant (run dlas-fold-constants first). A file can so be pruned without its model, to
    see what it would cost; accuracy is not looked after (see `dlas compress`).

    Before:
    ```mlir
    %w = arith.constant dense<[[0.5, -0.1], [0.2, 0.9]]> : tensor<2x2xf32>
    %0 = linalg.matmul ins(%x, %w : tensor<1x2xf32>, tensor<2x2xf32>) outs(%zeros : tensor<1x2xf32>)
    ```
    After `dlas-prune-weights{sparsity=0.5}`:
    ```mlir
    %w = arith.constant dense<[[0.5, 0.0], [0.0, 0.9]]> : tensor<2x2xf32>
    %0 = linalg.matmul ins(%x, %w : tensor<1x2xf32>, tensor<2x2xf32>) outs(%zeros : tensor<1x2xf32>)
    ```
    """

    name: ClassVar[str] = "dlas-prune-weights"

    sparsity: float = option(0.9, "share of the weights, or blocks, that become zero, 0 to 1", minimum=0, maximum=1)
    scope: str = option(
        "global", "rank the weights of all layers together, or in each layer", choices=("global", "layer")
    )
    block: int = option(1, "output channels in succession that become zero together", minimum=1)
    n: int = option(0, "of m input channels, those that stay", minimum=0)
    m: int = option(0, "input channels in succession of which n stay; 0 for no N:M structure", minimum=0)
    skip: tuple[str, ...] = option((), "kinds of layers to leave out", choices=SKIPS)
    exclude: tuple[str, ...] = option((), "patterns of the names of layers to leave out")

    def run(self, module: ir.Module) -> None:
        structure = self._structure(module)
        constants = Constants(module.operation)
        weights: dict[str, np.ndarray] = {}
        layers = selected(weight_layers(module), self.skip, self.exclude, module)
        for name, layer in layers.items():
            array = float_weights(layer, constants)
            if array is None:
                remark(layer.op, f"layer '{name}' is not pruned: its weights are no floating-point constant")
                continue
            if not np.isfinite(array).all():
                raise PassError(
                    f"layer '{name}': its weights are not all finite numbers; nothing can be ranked", layer.op
                )
            if reason := refusal(layer, structure):
                raise PassError(f"layer '{name}': {reason}; leave it out with exclude or skip", layer.op)
            weights[name] = array
        if not weights:
            raise PassError("no layer with constant weights is left to prune", module.operation)
        pools = [list(weights)] if self.scope == "global" else [[name] for name in weights]
        for pool in pools:
            masks = self._masks([weights[name] for name in pool])
            for name, mask in zip(pool, masks, strict=True):
                _set_to_zero(layers[name], weights[name], mask)
        build.erase_dead(module)

    def _structure(self, module: ir.Module) -> Encoding:
        if not self.m and not self.n:
            return Encoding("bsr", block=self.block)
        if not 0 < self.n < self.m:
            raise PassError(f"{self.n}:{self.m} is no N:M structure: N is at least 1 and below M", module.operation)
        if self.block > 1:
            raise PassError("block and N:M exclude one another", module.operation)
        return Encoding("nm", n=self.n, m=self.m)

    def _masks(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each array, True where weights stay; they are ranked together."""
        if self.m:
            return [n_of_m_mask(array, self.n, self.m) for array in weights]
        scores = [block_scores(array, self.block) for array in weights]
        ranked = np.concatenate([score.reshape(-1) for score in scores])
        keep = np.ones(ranked.size, bool)
        count = round(self.sparsity * ranked.size)
        keep[np.argsort(ranked, kind="stable")[:count]] = False
        ends = np.cumsum([score.size for score in scores])[:-1]
        parts = zip(np.split(keep, ends), scores, strict=True)
        return [np.repeat(part.reshape(score.shape), self.block, axis=0) for part, score in parts]


def _set_to_zero(layer: Convolution, weights: np.ndarray, mask: np.ndarray) -> None:
    with ir.InsertionPoint(layer.op), layer.op.location:
        pruned = np.where(mask, weights, weights.dtype.type(0))
        layer.set_weights(constant(layer.in_form(pruned), "weights"))
