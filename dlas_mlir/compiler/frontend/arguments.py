"""What a model is called with: tensors, and what else stands beside and between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from dlas_mlir.errors import DlasError


@dataclass(frozen=True)
class Arguments:
    """Positional arguments and keywords. The tensors in them are a model's inputs; numbers and the like are fixed."""

    leaves: tuple[Any, ...]
    spec: pytree.TreeSpec

    @staticmethod
    def of(positional: Sequence[Any], keywords: Mapping[str, Any] | None = None) -> Arguments:
        """The arguments of a call."""
        leaves, spec = pytree.tree_flatten((tuple(positional), dict(keywords or {})))
        return Arguments(tuple(leaves), spec)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs, in the order of the compiled function's."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Tensor))

    @property
    def positional(self) -> tuple[Any, ...]:
        """The arguments without keywords, as they were given."""
        return pytree.tree_unflatten(list(self.leaves), self.spec)[0]

    def filled(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional arguments and keywords with other tensors in the places of these."""
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        return pytree.tree_unflatten(leaves, self.spec)

    def batched(self, batch: int, owner: str) -> Arguments:
        """The same for `batch` entries: of all tensors whose first dimension is that of the first one that has any.

        What is too many is left out. What is added are the entries that are there with their elements moved round:
        other entries, of values that the model takes. Raises DlasError without such a tensor.
        """
        sizes = [tensor.shape[0] for tensor in self.tensors if tensor.ndim]
        if not sizes or not sizes[0]:
            raise DlasError(f"{owner}: no input has a batch, a first dimension, that could be {batch}")

        def resized(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or not leaf.ndim or leaf.shape[0] != sizes[0]:
                return leaf
            entries = [leaf[i % sizes[0]] for i in range(batch)]
            return torch.stack([_moved_round(entry, i // sizes[0]) for i, entry in enumerate(entries)])

        with torch.no_grad():
            return Arguments(tuple(map(resized, self.leaves)), self.spec)

    def caller(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as one of the tensors alone."""

        def call(*tensors: Tensor) -> Any:
            positional, keywords = self.filled(tensors)
            return function(*positional, **keywords)

        return call


def _moved_round(entry: Tensor, places: int) -> Tensor:
    return entry.flatten().roll(places).reshape(entry.shape)


def example_arguments(given: Any, owner: str) -> Arguments:
    """`example_inputs` as people write them: a tensor, or a tuple of arguments, empty or with a tensor among them.

    Raises DlasError for anything else, also None.
    """
    if isinstance(given, Tensor):
        given = (given,)
    if isinstance(given, tuple | list):
        arguments = Arguments.of(given)
        if arguments.tensors or not given:
            return arguments
    raise DlasError(
        f"{owner} has no inputs: `example_inputs` must be a tensor, or the tuple of arguments that it is called with "
        "(on the command line, --input 1x3x224x224xf32)"
    )


@torch.no_grad()
def copies(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Copies, for a model that may write to its inputs."""
    return tuple(tensor.detach().clone() for tensor in tensors)
