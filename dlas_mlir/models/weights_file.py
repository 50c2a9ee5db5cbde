"""Reading weights as people have them: a state_dict, bare or in a checkpoint, of a wrapped or a pruned model."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlas_mlir.errors import DlasError

_KEYS_SHOWN = 6
# How deep in a checkpoint a state_dict is looked for: {"model": {"state_dict": ...}}.
_DEPTH = 2


def read_weights(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file for the keys of `wanted`, a model's state_dict; batch counters may be missing.

    A .safetensors file, or one of torch.save, whose code is not run. In a checkpoint, the one dictionary whose keys are
    the model's is taken; a prefix that all keys share (`module.`) is left out, and masks of torch's pruning applied.
    Raises DlasError when the file cannot be read, or keys or shapes are not the model's.
    """
    found = {name: _for_model(state, wanted) for name, state in _state_dicts(_load(path), path).items()}
    fitting = [name for name, state in found.items() if not _misfit(state, wanted)]
    if len(fitting) > 1:
        first = "".join(f"[{key!r}]" for key in fitting[0].split("."))
        raise DlasError(
            f"weights file {path} holds several state_dicts that fit the model: {', '.join(fitting)}; write the "
            f"one that is meant to a file of its own: torch.save(torch.load(FILE, weights_only=True){first}, NEW)"
        )
    if not fitting:
        nearest = max(found, key=lambda name: len(found[name].keys() & wanted.keys()))
        where = f" (its `{nearest}`)" if nearest else ""
        raise DlasError(f"weights file {path}{where} does not fit the model; {_misfit(found[nearest], wanted)}")
    return found[fitting[0]]


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DlasError(f"cannot read weights file {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:  # PyTorch's message advises to run the code in the file
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"Python objects ({named.group(1)})" if named else "Python objects, or is no file of torch.save"
        raise DlasError(
            f"cannot read weights file {path}: it holds {what}; only tensors are read, as "
            "torch.save(model.state_dict(), FILE) writes them"
        ) from None
    except Exception as error:  # both readers raise many kinds for a damaged file
        # The first sentence says what is wrong, the others guess why.
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise DlasError(
            f"cannot read weights file {path}: {reason} "
            "(it must be safetensors, or a state_dict of tensors written by torch.save)"
        ) from None


def _state_dicts(stored: Any, path: Path) -> dict[str, Mapping[str, Tensor]]:
    """The state_dicts in `stored` by the path of their keys, which is empty for itself."""
    found = dict(_inner(stored, "", _DEPTH))
    if found:
        return found
    if not isinstance(stored, Mapping):
        raise DlasError(f"weights file {path} is not a state_dict: it holds a {type(stored).__name__}")
    other = next((key for key, value in stored.items() if not isinstance(value, Tensor)), None)
    holds = f"`{other}` is a {type(stored[other]).__name__}" if other is not None else "it is empty"
    raise DlasError(f"weights file {path} is not a state_dict: it must map names to tensors, and {holds}")


def _inner(value: Any, name: str, depth: int) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        return
    if all(isinstance(item, Tensor) for item in value.values()):
        yield name, value
    elif depth:
        for key, item in value.items():
            yield from _inner(item, f"{name}.{key}".lstrip("."), depth - 1)


def _for_model(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {_published_name(key): value for key, value in _masked(state, wanted).items()}
    prefix = _prefix(named, wanted)
    return {key.removeprefix(prefix): value for key, value in named.items()}


def _masked(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights where torch.nn.utils.prune keeps `weight_orig` and `weight_mask`, unless the model does so itself."""
    if any(key.endswith("_mask") for key in wanted):
        return state
    pruned = [key.removesuffix("_mask") for key in state if key.endswith("_mask")]
    pruned = [key for key in pruned if f"{key}_orig" in state]
    applied = {key: state[f"{key}_orig"] * state[f"{key}_mask"] for key in pruned}
    parts = {f"{key}{part}" for key in pruned for part in ("_orig", "_mask")}
    return {key: value for key, value in state.items() if key not in parts} | applied


def _prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What stands before the model's keys in those of `state`: `module.`, or what its owner calls the model."""
    needed = list(_needed(wanted))
    if not needed or all(key in state for key in needed):
        return ""
    prefixes = [key.removesuffix(needed[0]) for key in state if key.endswith(f".{needed[0]}")]
    return next((prefix for prefix in prefixes if all(f"{prefix}{key}" in state for key in needed)), "")


def _needed(wanted: Iterable[str]) -> Iterator[str]:
    # Older files have no batch counters; inference does not read them.
    return (key for key in wanted if not key.endswith("num_batches_tracked"))


def _misfit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What keeps `state` from being the model's; nothing where it is."""
    missing = [key for key in _needed(wanted) if key not in state]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        lines = [f"missing: {_shorten(missing)}"] if missing else []
        lines += [f"unexpected: {_shorten(unexpected)}"] if unexpected else []
        return "; ".join(lines)
    wrong = [
        f"{key} is {_shape(state[key])}, the model's is {_shape(value)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    return _shorten(wrong)


def _published_name(key: str) -> str:
    """torchvision's published DenseNet files still say norm.1 where its models say norm1."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _shorten(names: list[str]) -> str:
    more = len(names) - _KEYS_SHOWN
    return ", ".join(names[:_KEYS_SHOWN]) + (f" and {more} more" if more > 0 else "")
