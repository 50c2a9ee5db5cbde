"""Decompositions of what torch-mlir gets wrong of numbers: whole ones, small ones, their bits and signs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
# torch-mlir dies of products and remainders of these.
_SMALL_INTEGERS = (torch.int8, torch.uint8, torch.int16)
_SMALL_INTEGER_OPERATIONS = (
    _aten.mul.Tensor,
    _aten.mul.Scalar,
    _aten.remainder.Tensor,
    _aten.remainder.Scalar,
    _aten.fmod.Tensor,
    _aten.fmod.Scalar,
    _aten.floor_divide.default,
    _aten.div.Tensor_mode,
    _aten.div.Scalar_mode,
    _aten.mm.default,
    _aten.bmm.default,
)
# Operations that are known of tensors alone.
_OF_SCALARS = {
    _aten.fmod.Scalar: _aten.fmod.Tensor,
    _aten.remainder.Scalar_Tensor: _aten.remainder.Tensor,
    _aten.bitwise_or.Scalar: _aten.bitwise_or.Tensor,
    _aten.bitwise_xor.Scalar: _aten.bitwise_xor.Tensor,
    _aten.bitwise_and.Scalar_Tensor: _aten.bitwise_and.Tensor,
    _aten.bitwise_or.Scalar_Tensor: _aten.bitwise_or.Tensor,
    _aten.bitwise_xor.Scalar_Tensor: _aten.bitwise_xor.Tensor,
    _aten.bitwise_left_shift.Tensor_Scalar: _aten.bitwise_left_shift.Tensor,
    _aten.bitwise_left_shift.Scalar_Tensor: _aten.bitwise_left_shift.Tensor,
    _aten.bitwise_right_shift.Tensor_Scalar: _aten.bitwise_right_shift.Tensor,
    _aten.bitwise_right_shift.Scalar_Tensor: _aten.bitwise_right_shift.Tensor,
}
# torch-mlir folds those of a constant and a whole number as if both were whole.
_COMPARISONS = tuple(getattr(_aten, name).Scalar for name in ("lt", "le", "gt", "ge", "eq", "ne"))
# A power of a constant is a product up to here.
_LONGEST_PRODUCT = 64
# What holds the bits of an element, by its bytes.
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def add(found: dict[Any, Callable[..., Any]]) -> None:
    """Put them into a table of decompositions, before those that are there."""
    found[_aten.isfinite.default] = isfinite
    found[_aten.isclose.default] = isclose
    found[_aten.view.dtype] = view_dtype
    found[_aten.signbit.default] = signbit
    found[_aten.copysign.Tensor] = copysign
    found[_aten.copysign.Scalar] = copysign
    found[_aten.log10.default] = log10
    found[_aten.median.default] = median
    for operation in _COMPARISONS:
        found[operation] = _with_own_kind(operation, found.get(operation))
    found[_aten.neg.default] = negative
    found[_aten.fmod.Tensor] = fmod
    found[_aten.clamp.default] = _clamp
    found[torch.ops.prims.scalar_tensor.default] = scalar_tensor
    for operation in (_aten.pow.Tensor_Scalar, _aten.pow.Scalar, _aten.pow.Tensor_Tensor):
        in_floats = _or_else(float_power, found.get(operation))
        found[operation] = _of_whole_numbers(power, _of_floats(operation, in_floats))
    for operation in (_aten.div.Tensor_mode, _aten.div.Scalar_mode, _aten.floor_divide.default):
        found[operation] = _of_whole_numbers(_rounded_down, found.get(operation))
    for operation in (
        _aten.any.default,
        _aten.any.dim,
        _aten.any.dims,
        _aten.all.default,
        _aten.all.dim,
        _aten.all.dims,
    ):
        found[operation] = _of_truths(operation, found.get(operation))
    for operation, with_tensor in _OF_SCALARS.items():
        found[operation] = _with_tensor(with_tensor)
    for operation in _SMALL_INTEGER_OPERATIONS:
        found[operation] = _in_32_bits(operation, found.get(operation))


def view_dtype(x: Tensor, dtype: torch.dtype) -> Any:
    """x's bits as another type, of another width too. That of the same width is left to `torch_repairs`."""
    if x.dtype == dtype:
        return x.clone()
    if x.dtype == torch.bool:
        return x.to(torch.uint8).view(dtype)
    if dtype == torch.bool:
        return x.view(torch.uint8) != 0
    before, after = x.element_size(), dtype.itemsize
    if before == after:
        return NotImplemented
    wide, narrow = (_INTEGERS[width] for width in (max(before, after), min(before, after)))
    steps = range(0, 8 * wide.itemsize, 8 * narrow.itemsize)
    if before > after:  # the least significant first
        words = x.view(wide)
        return torch.stack([(words >> step).to(narrow) for step in steps], -1).flatten(-2).view(dtype)
    words = x.view(narrow).to(wide).unflatten(-1, (-1, len(steps))) & ((1 << 8 * narrow.itemsize) - 1)
    joined = words[..., 0]
    for place, step in enumerate(steps[1:], 1):
        joined = joined | (words[..., place] << step)
    return joined.view(dtype)


def signbit(x: Tensor) -> Tensor:
    """Whether x is negative, of -0.0 and NaN too."""
    return (x.view(_INTEGERS[x.element_size()]) if x.is_floating_point() else x) < 0


def copysign(x: Tensor, sign: Tensor | float) -> Tensor:
    """|x| with the sign of `sign`."""
    element = torch.result_type(x, sign)
    size = x.to(element if element.is_floating_point else torch.get_default_dtype()).abs()
    if isinstance(sign, Tensor):
        return torch.where(signbit(sign), -size, size)
    return -size if math.copysign(1, sign) < 0 else size


def isfinite(x: Tensor) -> Tensor:
    """True where x is neither infinite nor NaN."""
    return x.abs() < float("inf") if x.is_floating_point() else torch.ones_like(x, dtype=torch.bool)


def isclose(x: Tensor, y: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """torch.isclose; torch-mlir's calls a NaN close to everything."""
    close = x == y
    if equal_nan and x.is_floating_point():
        close = close | ((x != x) & (y != y))
    if not rtol and not atol:
        return close
    if not x.is_floating_point():
        x, y = x.to(torch.get_default_dtype()), y.to(torch.get_default_dtype())
    apart = (x - y).abs()
    return close | (isfinite(apart) & (apart <= atol + (rtol * y).abs()))


def _clamp(x: Tensor, low: Any = None, high: Any = None) -> Any:
    """Whole numbers between bounds that are not become floating-point ones first."""
    if x.is_floating_point() or not any(isinstance(bound, float) for bound in (low, high)):
        return NotImplemented
    return _aten.clamp.default(x.to(torch.get_default_dtype()), low, high)


def negative(x: Tensor) -> Any:
    """-x of whole numbers; torch-mlir's is rounded to a float32."""
    return NotImplemented if x.is_floating_point() else _aten.rsub.Scalar(x, 0)


def floor_divide(x: Tensor, y: Tensor | int) -> Tensor:
    """The quotient of whole numbers rounded down; torch-mlir's is one of floats."""
    quotient = torch.div(x, y, rounding_mode="trunc")
    rest = x - quotient * y
    return quotient - ((rest != 0) & ((rest < 0) != (y < 0))).to(quotient.dtype)


def _rounded_down(x: Tensor, y: Tensor | int, rounding_mode: str | None = "floor") -> Any:
    return floor_divide(x, y) if rounding_mode == "floor" else NotImplemented


def power(x: Tensor | int, exponent: Tensor | int) -> Any:
    """A power of whole numbers, by squaring; modulo 2^n, as products are."""
    if isinstance(exponent, int) and exponent < 0:
        return NotImplemented
    element = torch.result_type(x, exponent)
    base = x.to(element) if isinstance(x, Tensor) else torch.full((), x, dtype=element)
    result = torch.ones_like(base)
    if not isinstance(exponent, Tensor):
        for bit in reversed(f"{exponent:b}"):
            result, base = result * base if bit == "1" else result, base * base
        return result
    exponent, first = exponent.to(element), base
    for bit in range(torch.iinfo(element).bits):
        taken = ((exponent >> bit) & 1) != 0
        result, base = torch.where(taken, result * base, result), base * base
    # What the bits of a negative one give is right for 1 and -1.
    return torch.where((exponent < 0) & (first != 1) & (first != -1), 0, result)


def log10(x: Tensor) -> Tensor:
    """The logarithm to base 10; nothing that generated code may call computes it."""
    element = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return (x.to(torch.float32).log() / math.log(10)).to(element)


def float_power(x: Tensor | float, exponent: Tensor | float) -> Any:
    """A power of floating-point numbers; generated code has none of negative ones."""
    if isinstance(exponent, Tensor) or not isinstance(x, Tensor):
        return _general_power(x, exponent)
    if not float(exponent).is_integer() or abs(exponent) > _LONGEST_PRODUCT:
        return NotImplemented
    element = x.dtype
    base = x.to(torch.float32)
    result: Tensor | None = None
    for bit in reversed(f"{abs(int(exponent)):b}"):
        if bit == "1":
            result = base if result is None else result * base
        base = base * base
    result = torch.ones_like(x) if result is None else result
    return (result.reciprocal() if exponent < 0 else result).to(element)


def _general_power(x: Tensor | float, exponent: Tensor | float) -> Tensor:
    element = torch.result_type(x, exponent)
    base, y = (
        value.to(torch.float32) if isinstance(value, Tensor) else torch.full((), value, dtype=torch.float32)
        for value in (x, exponent)
    )
    size = torch.where(y == 0, 1.0, torch.exp(y * torch.log(base.abs())))
    signed = torch.where(torch.remainder(y, 2) == 1, -size, size)
    return torch.where(base < 0, torch.where(y == y.floor(), signed, torch.nan), size).to(element)


def fmod(x: Tensor, y: Tensor) -> Any:
    """The rest with the sign of x; torch-mlir's is off by as much as the quotient is rounded."""
    if not torch.result_type(x, y).is_floating_point:
        return NotImplemented
    rest = torch.remainder(x.abs(), y.abs())
    return torch.where(x < 0, -rest, rest)


def median(x: Tensor) -> Tensor:
    """The middle one of all values, or the lower of two; NaN if there is one."""
    values = x.reshape(-1)
    middle = values.sort().values.narrow(0, (values.numel() - 1) // 2, 1).squeeze(0)
    return torch.where((x != x).any(), torch.nan, middle) if x.is_floating_point() else middle


def scalar_tensor(value: Any, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """A number as a tensor."""
    del device  # all is on one
    return torch.full((), value, dtype=dtype)


def _of_truths(operation: Any, otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`operation` of numbers as one of whether they are not 0."""

    def decomposed(x: Tensor, *arguments: Any, **keywords: Any) -> Any:
        if x.dtype == torch.bool:
            return otherwise(x, *arguments, **keywords) if otherwise else NotImplemented
        result = operation(x != 0, *arguments, **keywords)
        return result.to(torch.uint8) if x.dtype == torch.uint8 else result

    return decomposed


def _with_own_kind(operation: Any, otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`operation` of a floating-point tensor and a whole number as one of two floating-point numbers."""

    def decomposed(x: Tensor, y: Any) -> Any:
        if x.is_floating_point() and isinstance(y, int):
            return operation(x, float(y))
        return otherwise(x, y) if otherwise else NotImplemented

    return decomposed


def _or_else(ours: Callable[..., Any], otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    def decomposed(*arguments: Any) -> Any:
        result = ours(*arguments)
        return otherwise(*arguments) if result is NotImplemented and otherwise else result

    return decomposed


def _with_tensor(operation: Any) -> Callable[..., Any]:
    """`operation` on a tensor and a number, as one on two tensors."""

    def decomposed(x: Any, y: Any) -> Any:
        element = torch.result_type(x, y)
        x, y = (value if isinstance(value, Tensor) else torch.full((), value, dtype=element) for value in (x, y))
        return operation(x, y)

    return decomposed


def _of_whole_numbers(ours: Callable[..., Any], otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`ours` where all arguments are whole numbers and it knows how."""

    def decomposed(*arguments: Any, **keywords: Any) -> Any:
        result = ours(*arguments, **keywords) if all(map(_is_whole, arguments)) else NotImplemented
        if result is NotImplemented and otherwise:
            return otherwise(*arguments, **keywords)
        return result

    return decomposed


def _of_floats(operation: Any, otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`operation` on floating-point numbers where it makes such a number of a tensor of whole ones."""

    def decomposed(x: Any, y: Any) -> Any:
        element = torch.result_type(x, y)
        if element.is_floating_point and any(map(_is_whole_tensor, (x, y))):
            return operation(*(value.to(element) if isinstance(value, Tensor) else value for value in (x, y)))
        return otherwise(x, y) if otherwise else NotImplemented

    return decomposed


def _is_whole_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_floating_point()


def _is_whole(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dtype != torch.bool and not value.is_floating_point()
    return isinstance(value, int) and not isinstance(value, bool)


def _in_32_bits(operation: Any, otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`operation` on small integers, computed in 32 bits and cut off: the same by arithmetic modulo 2^n."""

    def decomposed(*arguments: Any, **keywords: Any) -> Any:
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        true_quotient = "rounding_mode" in keywords and keywords["rounding_mode"] is None
        element = _result_type(arguments) if tensors and not true_quotient else None
        if element not in _SMALL_INTEGERS:
            return otherwise(*arguments, **keywords) if otherwise else NotImplemented
        wide = [value.to(torch.int32) if isinstance(value, Tensor) else _wrapped(value, element) for value in arguments]
        return operation(*wide, **keywords).to(element)

    return decomposed


def _wrapped(value: int, element: torch.dtype) -> int:
    """What a number becomes in a small type."""
    size = 1 << torch.iinfo(element).bits
    return (int(value) - torch.iinfo(element).min) % size + torch.iinfo(element).min


def _result_type(arguments: Sequence[Any]) -> torch.dtype:
    values = [value for value in arguments if isinstance(value, Tensor | int | float | bool)]
    return torch.result_type(values[0], values[1])
