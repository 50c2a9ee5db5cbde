"""The zoo: plain PyTorch models with seeded weights, their state_dict keys equal to torchvision's.

Only `registry` may be imported where PyTorch must not be; `build` imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlas_mlir.models.registry import ZooModel, find, lookup, registry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ZooModel", "build", "find", "lookup", "registry"]


def build(name: str, weights: Path | None = None) -> nn.Module:
    """The model `name` in eval mode, with the weights of the file, or with seeded ones.

    Raises DlasError for an unknown name, and for a file that is unreadable or does not fit the model.
    """
    from dlas_mlir.models.fill import fill_seeded, load_weights

    entry = lookup(name)
    if weights is None:
        model = fill_seeded(entry.build, entry.input_shape)
    else:
        model = entry.build()
        load_weights(model, weights)
    return model.eval()
