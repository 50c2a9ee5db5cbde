"""The notation of model inputs: 1x3x224x224xf32 is a shape and an element type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    import torch

_TORCH_NAMES = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "ui8": "uint8",
    "i1": "bool",
}


@dataclass(frozen=True)
class InputSpec:
    """One input: its shape, and its element type by MLIR's name."""

    shape: tuple[int, ...]
    element: str

    def __str__(self) -> str:
        return "x".join([*map(str, self.shape), self.element])

    def random(self, generator: torch.Generator) -> torch.Tensor:
        """A tensor of it: normally distributed, or 0 and 1 for integers (so that it may be an index, too).

        Raises DlasError when it does not fit into memory.
        """
        import torch

        dtype = getattr(torch, _TORCH_NAMES[self.element])
        try:
            if dtype.is_floating_point:
                return torch.randn(self.shape, generator=generator).to(dtype)
            return torch.randint(0, 2, self.shape, generator=generator).to(dtype)
        except (RuntimeError, TypeError):  # what torch raises when there is no memory, and for sizes beyond 64 bits
            raise DlasError(f"an input {self} cannot be allocated: it is too large") from None


def parse_input(text: str) -> InputSpec:
    """Read the notation. Raises DlasError that says what is wrong with `text`."""
    problem = _problem(text)
    if problem:
        raise DlasError(f"malformed input '{text}': {problem} (it is written as 1x3x224x224xf32)")
    *sizes, element = text.split("x")
    return InputSpec(tuple(map(int, sizes)), element)


def spec_of(tensor: torch.Tensor) -> InputSpec:
    """The notation of a tensor. Raises DlasError for an element type that has none."""
    name = str(tensor.dtype).removeprefix("torch.")
    for element, torch_name in _TORCH_NAMES.items():
        if torch_name == name:
            return InputSpec(tuple(int(size) for size in tensor.shape), element)
    raise DlasError(f"inputs of type {name} are not supported: use {', '.join(_TORCH_NAMES)}")


def _problem(text: str) -> str | None:
    *sizes, element = text.split("x")
    if element not in _TORCH_NAMES:
        return f"its element type must be one of {', '.join(_TORCH_NAMES)}"
    for size in sizes:
        if size in ("?", "*", "-1"):
            return "every dimension must be a number"
        if not re.fullmatch(r"[0-9]+", size) or int(size) == 0:
            return f"'{size}' is not a dimension"
    return None
