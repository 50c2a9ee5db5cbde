"""The non-zeros of constant weights as three arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlas_mlir.opt.base import PassError


@dataclass(frozen=True)
class Rows:
    """The non-zeros of all blocks of output channels, chunk after chunk: `starts` [chunks * blocks + 1], `offsets`
    [non-zeros] from where the chunk begins, `values` [non-zeros, block]; chunks begin `stride` elements apart."""

    starts: np.ndarray
    offsets: np.ndarray
    values: np.ndarray
    blocks: int
    stride: int


def compress(matrix: np.ndarray, places: np.ndarray, block: int, chunks: int, narrow: bool = True) -> Rows:
    """The rows of `matrix` [output channels, taps] in blocks of `block`; `places`, of the same shape, are those of the
    activations, with 16 bits if `narrow` and they fit. Raises PassError where the rows of a block read different ones.
    """
    channels, taps = matrix.shape
    if channels % block or np.any(places.reshape(-1, block, taps)[:, :1] != places.reshape(-1, block, taps)):
        raise PassError(f"blocks of {block} do not divide the output channels of a group")
    blocks, chunk_taps = channels // block, taps // chunks
    stride = int(places[0, chunk_taps] - places[0, 0]) if chunks > 1 else 0
    by_chunk = matrix.reshape(blocks, block, chunks, chunk_taps).transpose(2, 0, 3, 1)
    mask = by_chunk.any(axis=-1)
    starts = np.concatenate([[0], np.cumsum(mask.sum(axis=-1).reshape(-1))]).astype(np.int32)
    offsets = places[::block].reshape(blocks, chunks, chunk_taps).transpose(1, 0, 2)
    offsets = (offsets - stride * np.arange(chunks)[:, None, None])[mask]
    narrow = narrow and (offsets.size == 0 or (offsets.min() >= 0 and offsets.max() < 1 << 16))
    offsets = offsets.astype(np.uint16).view(np.int16) if narrow else offsets.astype(np.int32)
    if not offsets.size:
        return Rows(starts, np.zeros(1, offsets.dtype), np.zeros(block, matrix.dtype), blocks, stride)
    return Rows(starts, offsets, by_chunk[mask], blocks, stride)
