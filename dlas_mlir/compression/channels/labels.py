"""Labels of channels: equal ones stand for channels that can only be removed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# The labels along one dimension, one for each index; None where nothing along it can be removed.
Dim = np.ndarray | None
# Those of a tensor.
Dims = tuple[Dim, ...]


@dataclass
class Labels:
    """Labels that are made, tied to one another and pinned while a graph is walked; `resolve` says what came of it.

    A pinned label stands for a channel that stays. `changed` collects labels of channels whose removal changes what
    the others come to, as it does in a norm over channels.
    """

    made: int = 0
    changed: list[np.ndarray] = field(default_factory=list)
    _ties: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    _pins: list[tuple[np.ndarray, str]] = field(default_factory=list)

    def fresh(self, count: int) -> np.ndarray:
        """Labels of `count` channels that nothing is known of yet."""
        self.made += count
        return np.arange(self.made - count, self.made)

    def pin(self, dim: Dim, reason: str) -> None:
        """Let the channels stay, for the reason given."""
        if dim is not None:
            self._pins.append((dim, reason))

    def tie(self, a: Dim, b: Dim, reason: str) -> None:
        """Let channels at the same index go together; `reason` says why those stay that meet a fixed size."""
        if a is None or b is None or len(a) != len(b):
            self.pin(a, reason)
            self.pin(b, reason)
        else:
            self._ties.append((a, b))

    def together(self, rows: np.ndarray) -> None:
        """Let each column of a matrix of labels go together."""
        for row in rows[1:]:
            self._ties.append((rows[0], row))

    def resolve(self) -> np.ndarray:
        """The class of each label, as the least label in it, [made]."""
        classes = np.arange(self.made)
        if not self._ties:
            return classes
        a, b = (np.concatenate([np.ravel(pair[i]) for pair in self._ties]) for i in range(2))
        while True:
            least = np.minimum(classes[a], classes[b])
            before = classes.copy()
            # The representatives of both sides too, else a chain would be walked label by label.
            for side in (a, b):
                np.minimum.at(classes, before[side], least)
                np.minimum.at(classes, side, least)
            while not np.array_equal(classes, shorter := classes[classes]):
                classes = shorter
            if np.array_equal(classes, before):
                return classes

    def reasons(self, classes: np.ndarray) -> dict[int, str]:
        """The classes with a pinned label, and the first reason of each."""
        found: dict[int, str] = {}
        for dim, reason in self._pins:
            for each in classes[dim].tolist():
                found.setdefault(each, reason)
        return found


def reshaped(labels: Labels, dims: Dims, before: Sequence[int], after: Sequence[int], reason: str) -> Dims:
    """The labels of a tensor of shape `before` that is viewed as `after`; what cannot be followed is pinned.

    Where one dimension becomes several, the largest keeps the channels: 64 channels in 4 groups lose the same ones
    of 16 in each group.
    """
    if 0 in before:
        return (None,) * len(after)
    result: list[Dim] = []
    for old, new in _blocks(before, after):
        sizes, shapes = [before[i] for i in old], [after[i] for i in new]
        labelled = [i for i, place in enumerate(old) if dims[place] is not None and sizes[i] > 1]
        if len(labelled) > 1 and sizes != shapes:
            for i in labelled:
                labels.pin(dims[old[i]], reason)
            labelled = []
        if sizes == shapes:
            result += [dims[place] for place in old]
        elif not labelled:
            result += [None] * len(new)
        else:
            (one,) = labelled
            result += _split(labels, _spread(dims[old[one]], sizes, one), shapes)
    return tuple(result)


def _blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of dimensions, of both shapes, that have the same number of elements."""
    blocks, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        old, new = ([i] if i < len(before) else []), ([j] if j < len(after) else [])
        sizes = [before[i] if old else 1, after[j] if new else 1]
        i, j = i + len(old), j + len(new)
        while sizes[0] != sizes[1]:
            if (sizes[0] < sizes[1] and i < len(before)) or j >= len(after):
                old.append(i)
                sizes[0] *= before[i]
                i += 1
            else:
                new.append(j)
                sizes[1] *= after[j]
                j += 1
        blocks.append((old, new))
    return blocks


def _spread(dim: Dim, sizes: Sequence[int], place: int) -> np.ndarray:
    """The labels of one dimension at each element of a block, [elements]."""
    assert dim is not None
    shape = [1] * len(sizes)
    shape[place] = sizes[place]
    return np.broadcast_to(dim.reshape(shape), list(sizes)).reshape(-1)


def _split(labels: Labels, spread: np.ndarray, shape: Sequence[int]) -> list[Dim]:
    whole = spread.reshape(list(shape))
    for place in range(len(shape)):
        rows = np.moveaxis(whole, place, -1).reshape(-1, shape[place])
        if shape[place] > 1 and (rows == rows[0]).all():
            break
    else:
        place = int(np.argmax(shape))
        rows = np.moveaxis(whole, place, -1).reshape(-1, shape[place])
        labels.together(rows)
    return [rows[0] if i == place else None for i in range(len(shape))]
