"""Which weights are zero together, in numpy: weights are [K, C/G, R, S], a linear layer's with R = S = 1."""

from __future__ import annotations

import numpy as np

from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.sparsity import Encoding


def refusal(convolution: Convolution, encoding: Encoding) -> str | None:
    """Why the channels of a layer do not divide into the blocks, or the groups of N:M; None when they do."""
    each = " in each group" if convolution.shape.groups > 1 else ""
    # Blocks run along the innermost dimension of output channels, which are the groups of a plain depthwise layer.
    grouped = "f" in convolution.weights_form
    rows = convolution.shape.group_out if grouped else convolution.shape.groups
    if rows % encoding.block:
        return f"blocks of {encoding.block} do not divide its {rows} output channels{each if grouped else ''}"
    if encoding.m and convolution.shape.group_in % encoding.m:
        return f"groups of {encoding.m} do not divide its {convolution.shape.group_in} input channels{each}"
    return None


def block_scores(weights: np.ndarray, block: int) -> np.ndarray:
    """Mean magnitudes of blocks of output channels: [K, ...] to [K / block, ...], in float32 at least."""
    wide = np.abs(weights.astype(np.promote_types(weights.dtype, np.float32), copy=False))
    return wide.reshape(-1, block, *weights.shape[1:]).mean(axis=1)


def n_of_m_mask(weights: np.ndarray, n: int, m: int) -> np.ndarray:
    """True for the `n` largest of each `m` input channels in succession; shaped as `weights`, [K, C/G, R, S]."""
    k, c, r, s = weights.shape
    scores = block_scores(weights, 1).reshape(k, c // m, m, r, s)
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, np.argsort(-scores, axis=2, kind="stable")[:, :, :n], True, axis=2)
    return mask.reshape(weights.shape)


def zero_share(weights: np.ndarray, block: int = 1) -> float:
    """The share of blocks of output channels that are all zero."""
    stored = (weights != 0).reshape(-1, block, *weights.shape[1:]).any(axis=1)
    return np.count_nonzero(~stored) / stored.size


def is_n_of_m(weights: np.ndarray, n: int, m: int) -> bool:
    """Whether at most `n` of each `m` input channels in succession are not zero."""
    k, c, r, s = weights.shape
    return bool(((weights != 0).reshape(k, c // m, m, r, s).sum(axis=2) <= n).all())
