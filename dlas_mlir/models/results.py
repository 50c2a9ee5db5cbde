"""Running a model for what it gives, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

_SEED = 0


def results_of(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors among what `model` returns, without gradients. Model and inputs stay as they are, and random
    numbers in the model are the same each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), unchanged(model):
        torch.manual_seed(_SEED)
        found = pytree.tree_leaves(model(*[value.clone() for value in inputs]))
    return [value for value in found if isinstance(value, Tensor)]


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Give the buffers back what they held before: streaming models update some in their forward."""
    before = [(module, name, value, value.clone()) for module in model.modules() for name, value in _buffers(module)]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, value, content in before:
                if value.shape == content.shape:
                    value.copy_(content)
                module._buffers[name] = value


def _buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    return list(module.named_buffers(recurse=False))


def differ(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether any number is further away than `tolerance` of the largest; equal infinities and NaNs are the same."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return True
    if not expected.is_floating_point():
        return not torch.equal(found, expected)
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()) or not torch.equal(_rest(found, finite), _rest(expected, finite)):
        return True
    if not bool(finite.any()):
        return False
    ours, theirs = found[finite].double(), expected[finite].double()
    return bool((ours - theirs).abs().amax() > tolerance * theirs.abs().amax())


def _rest(values: Tensor, finite: Tensor) -> Tensor:
    """What are no finite numbers, such that equal ones compare as equal."""
    return values[~finite].nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0)
