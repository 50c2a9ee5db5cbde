"""Products of small matrices, whose elements are spread over the registers of a warp or of four, by PTX's figures."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from gpu_simulator.memory import Shared

_LANES = np.arange(32)
_GROUP, _IN_GROUP = _LANES // 4, _LANES % 4
_TYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "s8": np.int8, "u8": np.uint8, "f32": np.float32}


def _elements(register: np.ndarray, ptx: str) -> np.ndarray:
    """The elements of A or B in a register of each thread: [warps, 32, elements]."""
    bits = np.ascontiguousarray(register).reshape(len(register), -1).view(np.uint8)
    if ptx == "tf32":
        # The hardware does not look at the last 13 bits.
        whole = np.ascontiguousarray(bits).view(np.uint32) & np.uint32(0xFFFFE000)
        return whole.view(np.float32).reshape(-1, 32, 1)
    return np.ascontiguousarray(bits).view(_TYPES[ptx]).reshape(len(register) // 32, 32, -1)


def _added(total: np.ndarray, product: np.ndarray) -> np.ndarray:
    """`total` with a sum of products: integers wrap; what float32 cannot hold is cut off, as tensor cores do it (Fasi
    et al., PeerJ CS 2021), so that errors of long sums add up."""
    if total.dtype != np.float32:
        return (total + product).astype(total.dtype)
    exact = total.astype(np.float64) + product
    rounded = exact.astype(np.float32)
    return np.where(np.abs(rounded) > np.abs(exact), np.nextafter(rounded, np.float32(0)), rounded)


def mma(a: list[np.ndarray], b: list[np.ndarray], c: list[np.ndarray], ptx: tuple[str, str]) -> list[np.ndarray]:
    """mma.sync of m16n8, row and column: 32 bytes of k, which are four registers of A and two of B."""
    left, right = [_elements(one, ptx[0]) for one in a], [_elements(one, ptx[1]) for one in b]
    each, warps = left[0].shape[2], left[0].shape[0]
    wide = _wide(ptx[0])
    matrix_a, matrix_b = np.zeros((warps, 16, 8 * each), wide), np.zeros((warps, 8 * each, 8), wide)
    for e in range(each):
        k = _IN_GROUP * each + e
        for number, (row, column) in enumerate(((0, 0), (8, 0), (0, 4), (8, 4))):
            matrix_a[:, _GROUP + row, k + column * each] = left[number][:, :, e]
        for number, row in enumerate((0, 4)):
            matrix_b[:, k + row * each, _GROUP] = right[number][:, :, e]
    product = matrix_a @ matrix_b
    found = []
    for number, total in enumerate(c):
        own = product[:, _GROUP + 8 * (number // 2), 2 * _IN_GROUP + number % 2].reshape(-1)
        found.append(_added(total, own))
    return found


def ldmatrix(rows: np.ndarray, count: int) -> list[np.ndarray]:
    """`rows` are the 16 bytes that each thread points to; the registers of each thread as int32."""
    words = np.ascontiguousarray(rows).view(np.int32).reshape(-1, 32, 4)
    return [words[:, 8 * matrix + _GROUP, _IN_GROUP].reshape(-1) for matrix in range(count)]


def wgmma(
    shared: Shared,
    descriptors: tuple[np.ndarray, np.ndarray],
    sums: list[np.ndarray],
    n: int,
    ptx: tuple[str, str],
    live: np.ndarray,
) -> list[np.ndarray]:
    """wgmma of m64 by the warpgroups whose threads are `live`, with both factors in shared memory, 128-byte swizzle, k
    in neighbours: 32 bytes of k."""
    found = [total.copy() for total in sums]
    for first in (128 * int(group) for group in np.flatnonzero(live[::128])):
        group = slice(first, first + 128)
        assert all(len(set(one[group].tolist())) == 1 for one in descriptors), "descriptors of one warpgroup differ"
        a, b = (
            _tile(shared, int(one[first]), first, rows, kind)
            for one, rows, kind in zip(descriptors, (64, n), ptx, strict=True)
        )
        product = a @ b.T
        lane, warp = np.arange(128) % 32, np.arange(128) // 32
        for number in range(len(found)):
            block, place = divmod(number, 4)
            row = warp * 16 + lane // 4 + 8 * (place // 2)
            own = product[row, block * 8 + 2 * (lane % 4) + place % 2]
            found[number][group] = _added(found[number][group], own)
    return found


def _tile(shared: Shared, descriptor: int, thread: int, rows: int, ptx: str) -> np.ndarray:
    start, stride = (descriptor & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
    assert descriptor >> 62 & 3 == 1, "not the 128-byte swizzle"
    size = 4 if ptx == "tf32" else np.dtype(_TYPES[ptx]).itemsize
    row, k = np.arange(rows)[:, None], np.arange(32)[None]
    places = start + row // 8 * stride + row % 8 * 128 + k
    places ^= (places >> 7 & 7) << 4
    assert (places < shared.size).all(), "a descriptor beyond shared memory"
    content = shared.read_asynchronously(thread // shared.threads * shared.size + places, thread)
    if ptx == "tf32":
        whole = np.ascontiguousarray(content).view(np.uint32) & np.uint32(0xFFFFE000)
        return whole.view(np.float32).astype(np.float64)
    return np.ascontiguousarray(content).reshape(rows, 32 // size * size).view(_TYPES[ptx]).astype(_wide(ptx))


def _wide(ptx: str) -> type[np.int64] | type[np.float64]:
    """Numbers in which products and their sum are exact."""
    return np.int64 if ptx in ("s8", "u8") else np.float64
