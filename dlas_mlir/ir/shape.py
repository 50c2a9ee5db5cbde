"""The algebra of one convolution or linear layer as a value: what primitives are asked about, and what records hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.ir.sparsity import Encoding

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvShape:
    """A 2-D convolution or linear layer, without the operation that it comes from. Pairs are (height, width).

    `in_size` counts the padding that is added before. `element`, `weights` and `accumulator` are the types of the
    input, the weights and the result as MLIR writes them (of an integer layer those of the codes). `constant` says
    whether the weights are constant, `encoding` how their zeros lie (None: dense), `zeros` the share of them, of zero
    blocks where they lie in blocks (None: nobody has counted).

    Its canonical JSON (`to_json`) has the fields that differ from their defaults, sorted.
    """

    in_channels: int
    out_channels: int
    batch: int = 1
    groups: int = 1
    in_size: Pair = (1, 1)
    out_size: Pair = (1, 1)
    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    linear: bool = False
    element: str = "f32"
    weights: str = "f32"
    accumulator: str = "f32"
    constant: bool = True
    encoding: Encoding | None = None
    zeros: float | None = None

    @property
    def group_in(self) -> int:
        """Input channels of one group."""
        return self.in_channels // self.groups

    @property
    def group_out(self) -> int:
        """Output channels of one group."""
        return self.out_channels // self.groups

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.group_in == 1

    @property
    def integer(self) -> bool:
        """Whether the input is integers."""
        return "i" in self.element

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run, zeros included: the one place that says how many a layer has."""
        pixels = self.batch * self.out_size[0] * self.out_size[1]
        return pixels * self.out_channels * self.group_in * self.kernel[0] * self.kernel[1]

    @property
    def result_nchw(self) -> list[int]:
        """The shape of the result in canonical form, [N, K, OH, OW]."""
        return [self.batch, self.out_channels, *self.out_size]

    def describe(self) -> str:
        """A line like `3x3 64->128 @56x56 stride 2x2 groups 4`, for messages and reports."""
        parts = [f"{self.kernel[0]}x{self.kernel[1]} {self.in_channels}->{self.out_channels}"]
        parts.append(f"@{self.out_size[0]}x{self.out_size[1]}")
        if self.strides != (1, 1):
            parts.append(f"stride {self.strides[0]}x{self.strides[1]}")
        if self.dilations != (1, 1):
            parts.append(f"dilation {self.dilations[0]}x{self.dilations[1]}")
        if self.groups > 1:
            parts.append(f"groups {self.groups}")
        return " ".join(parts)

    def to_plain(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON can hold them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {key: _plain(value) for key, value in sorted(values.items()) if value != defaults[key]}

    @staticmethod
    def from_plain(values: Any) -> ConvShape:
        """What `to_plain` gave. Raises DlasError that names the key."""
        if not isinstance(values, Mapping):
            raise DlasError(f"a layer's shape: expected an object, found {values!r}")
        fields = {field.name: field for field in dataclasses.fields(ConvShape)}
        if unknown := [key for key in values if key not in fields]:
            raise DlasError(f"a layer's shape: unknown key `{unknown[0]}`; known are {', '.join(fields)}")
        for key in ("in_channels", "out_channels"):
            if key not in values:
                raise DlasError(f"a layer's shape: the key `{key}` is missing")
        return ConvShape(**{key: _value(key, values[key]) for key in values})

    def to_json(self) -> str:
        """The canonical JSON."""
        return json.dumps(self.to_plain(), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> ConvShape:
        """What `to_json` wrote. Raises DlasError."""
        try:
            return ConvShape.from_plain(json.loads(text))
        except ValueError as error:
            raise DlasError(f"a layer's shape is not JSON: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Encoding):
        return value.describe()
    return list(value) if isinstance(value, tuple) else value


def _value(key: str, value: Any) -> Any:
    """The field `key` of what JSON holds."""
    _, wanted, good, read = next(kind for kind in _KINDS if key in kind[0])
    if not good(value):
        raise DlasError(f"a layer's shape: `{key}`: expected {wanted}, found {value!r}")
    return read(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(size) is int and size >= 0 for size in value)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


# Which fields hold what, how to know it, and what is made of it.
_KINDS: tuple[tuple[tuple[str, ...], str, Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (("in_channels", "out_channels", "batch", "groups"), "a whole number, at least 0", _is_count, int),
    (("in_size", "out_size", "kernel", "strides", "dilations"), "two whole numbers, at least 0", _is_pair, tuple),
    (("linear", "constant"), "true or false", lambda value: isinstance(value, bool), bool),
    (("element", "weights", "accumulator"), "a string", lambda value: isinstance(value, str), str),
    (("encoding",), "a string", lambda value: isinstance(value, str), Encoding.parse),
    (("zeros",), "a number from 0 to 1", _is_share, float),
)
