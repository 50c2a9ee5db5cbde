"""How far a quantized network's outputs move where its sums are rounded a little differently.

A sum that lies next to the middle between two codes becomes the one or the other, depending on the order of its
terms. The step of a whole code then moves sums of the next layer past other middles; over some layers the difference
grows to that of two networks that were rounded independently, however small the first one was. No fixed tolerance of
an element type says how much that is, but the network can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from dlas_mlir.measure.check import CODES

# Of a result's largest value. Adding some thousand terms in float32 in another order moves a sum by a tenth of it; a
# code is four hundred times as much.
_NOISE = 1e-5
_DRAWS = 3
# Between the largest of a few draws and what a correct implementation may do.
_MARGIN = 2.0


@torch.no_grad()
def limits(run: Callable[..., Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[float, ...]:
    """What max|a-b| / max|b| of a correct implementation stays below, for each of `outputs`: one number for all that
    are floating-point, for codes their own, 0 for other whole numbers.

    `run` computes `outputs` from `inputs` in float32 (or less), with conversions to and from integers in between.
    """
    worst = [0.0] * len(outputs)
    for draw in range(_DRAWS):
        with _Noise(draw):
            returned = pytree.tree_leaves(run(*[tensor.clone() for tensor in inputs]))
        moved = [value for value in returned if isinstance(value, Tensor)]
        worst = [max(most, _moved(ours, theirs)) for most, ours, theirs in zip(worst, moved, outputs, strict=True)]
    floats = max((most for most, output in zip(worst, outputs, strict=True) if output.is_floating_point()), default=0.0)
    return tuple(
        _MARGIN * (floats if output.is_floating_point() else most) for most, output in zip(worst, outputs, strict=True)
    )


def _moved(ours: Tensor, theirs: Tensor) -> float:
    """How far two outputs are apart, of the largest number; 0 where nothing of them may be."""
    finite = theirs.isfinite() & ours.isfinite()
    if not (theirs.is_floating_point() or _name(theirs) in CODES) or not bool(finite.any()):
        return 0.0
    found, wanted = ours[finite].double(), theirs[finite].double()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


class _Noise(TorchDispatchMode):
    """Adds to each floating-point result what rounding could; conversions of integers are exact, and are left."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace != "aten" or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        if not result.numel():
            return result
        noise = torch.randn(result.shape, generator=self._generator)
        exact = result if result.dtype in (torch.float32, torch.float64) else result.float()
        size = exact.where(exact.isfinite(), 0).abs()
        # Where 16 bits are stored, what lies next to the middle of two numbers becomes the one or the other.
        last = torch.finfo(result.dtype).eps / 2 if exact is not result else 0.0
        return (exact + (_NOISE * size.max() + last * size) * noise).to(result.dtype)
