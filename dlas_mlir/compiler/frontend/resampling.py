"""Up-sampling of images as reads at places that are quotients of the pixel's, and weights that depend on nothing.

PyTorch's own decompositions compute both at run time, hold the places within the image, and read every pixel of
[N, C, H, W] by itself. A place that is `(pixel * a + b) // d` can be the index of a kernel's operand
(dlas-read-in-place).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_aten = torch.ops.aten
# Of a step from pixel to pixel: what is no ratio of small numbers is left to PyTorch.
_LARGEST = 4096


def nearest(x: Tensor, output_size: Sequence[int] | None, scales: Sequence[float] | None) -> Any:
    """[N, C, H, W] with each pixel as often as the image grows: upsample_nearest2d.vec, for whole numbers."""
    if x.dim() != 4:
        return NotImplemented
    size = _sizes(x, output_size, scales)
    steps = [_step(*each) for each in zip(x.shape[2:], size, scales or [None, None], strict=True)]
    if any(step is None or step.numerator != 1 for step in steps):
        return NotImplemented
    rows, columns = (
        torch.div(torch.arange(count), step.denominator, rounding_mode="trunc")
        for count, step in zip(size, steps, strict=True)
        if step
    )
    return _at(x, rows, columns)


def bilinear(x: Tensor, output_size: Sequence[int] | None, align_corners: bool, scales: Sequence[float] | None) -> Any:
    """[N, C, H, W] at OH x OW places between its pixels: upsample_bilinear2d.vec. What has 16 bits is interpolated in
    float32 and rounded once."""
    if x.dim() != 4 or not x.is_floating_point():
        return NotImplemented
    size = _sizes(x, output_size, scales)
    lines = []
    for before, after, scale in zip(x.shape[2:], size, scales or [None, None], strict=True):
        line = _line(before, after, scale, align_corners)
        if line is None:
            return NotImplemented
        lines.append(line)
    rows, columns = lines
    # A place before the first pixel or behind the last has a neighbour that counts for nothing.
    padded, wide = functional.pad(x, [1, 1, 1, 1]), torch.promote_types(x.dtype, torch.float32)
    total: Tensor | None = None
    for down in (0, 1):
        here: Tensor | None = None
        for right in (0, 1):
            pixels = _at(padded, rows.places + down, columns.places + right).to(wide)
            part = pixels * columns.weights[right].to(wide)
            here = part if here is None else here + part
        assert here is not None
        part = here * rows.weights[down].unsqueeze(1).to(wide)
        total = part if total is None else total + part
    assert total is not None
    return total.to(x.dtype)


@dataclass(frozen=True)
class _Line:
    """Of each pixel along a line, where the first of its two neighbours is in the padded line, and what both count."""

    places: Tensor
    weights: tuple[Tensor, Tensor]


def _line(before: int, after: int, scale: float | None, align_corners: bool) -> _Line | None:
    """A line of `before` pixels as one of `after`; None where the step between them is no ratio of small numbers."""
    if align_corners:
        # From the middle of the first pixel to the middle of the last.
        step, start = Fraction(before - 1, after - 1) if after > 1 else Fraction(0), Fraction(0)
    else:
        found = _step(before, after, scale)
        if found is None:
            return None
        step, start = found, (found - 1) / 2
    # pixel * step + start, as (pixel * factor + shift) / whole
    whole = step.denominator * start.denominator
    factor, shift = int(step * whole), int(start * whole)
    # In the padded line everything is one further on.
    numerator = torch.arange(after) * factor + (shift + whole)
    places = torch.div(numerator, whole, rounding_mode="trunc")
    share = (numerator - places * whole).to(torch.float32) * (1.0 / whole)
    share = torch.where(places < 1, 1.0, torch.where(places >= before, 0.0, share))
    return _Line(places, (1.0 - share, share))


def _sizes(x: Tensor, output_size: Sequence[int] | None, scales: Sequence[float] | None) -> list[int]:
    """[OH, OW]"""
    if output_size is not None:
        return list(output_size)
    assert scales is not None
    return [int(size * scale) for size, scale in zip(x.shape[2:], scales, strict=True)]


def _step(before: int, after: int, scale: float | None) -> Fraction | None:
    """How far it is from one pixel to the next, in pixels of the source."""
    step = Fraction(before, after) if scale is None else 1 / Fraction(scale)
    return step if step.denominator <= _LARGEST and step.numerator <= _LARGEST else None


def _at(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[N, C, H, W] at rows [OH] and columns [OW]."""
    return _aten.index.Tensor(x, [None, None, rows.unsqueeze(1), columns])


# What returns NotImplemented for forms that it does not know.
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    _aten.upsample_nearest2d.vec: nearest,
    _aten.upsample_bilinear2d.vec: bilinear,
}
