"""Single numbers: slices of one that are given more dimensions than they were cut from, and sums of everything."""

from __future__ import annotations

import numpy as np
from kernel_cases import Case, empty, fill, function, generic

_ELEMENT = "%s = tensor.extract_slice %0[0, 3] [1, 1] [1, 1] : tensor<1x8xf32> to tensor<1x1xf32>"
_EXPANDED = """
        %e = tensor.expand_shape %{0} [[0], [1, 2, 3]] output_shape [1, 1, 1, 1]
            : tensor<1x1xf32> into tensor<1x1x1x1xf32>"""
_PACKED = f"""
        %zero = arith.constant 0.0 : f32
        {empty("%to", "1x1x1x1x8xf32")}
        %y = linalg.pack %e padding_value(%zero : f32) inner_dims_pos = [0] inner_tiles = [8] into %to
            : tensor<1x1x1x1xf32> -> tensor<1x1x1x1x8xf32>
        %y"""


def _padded(x: np.ndarray) -> np.ndarray:
    return np.pad(x[:, 3:4].reshape(1, 1, 1, 1, 1), ((0, 0),) * 4 + ((0, 7),))


def _case(name: str, result: str, body: str, expected=_padded, kernels: int = 0) -> Case:
    return Case(name, function("1x8xf32", result, _ELEMENT + body), ("1x8xf32",), expected, kernels)


ELEMENTS = [
    _case("element_packed", "1x1x1x1x8xf32", _EXPANDED.format("s") + _PACKED),
    _case(
        "element_transposed_and_packed",
        "1x1x1x1x8xf32",
        f"""
        {empty("%across", "1x1xf32")}
        %t = linalg.transpose ins(%s : tensor<1x1xf32>) outs(%across : tensor<1x1xf32>) permutation = [1, 0]
        {_EXPANDED.format("t")} {_PACKED}""",
    ),
    _case(
        "element_broadcast_and_packed",
        "1x1x1x1x8xf32",
        f"""
        {empty("%wide", "1x1x1x1xf32")}
        %e = linalg.broadcast ins(%s : tensor<1x1xf32>) outs(%wide : tensor<1x1x1x1xf32>) dimensions = [2, 3]
        {_PACKED}""",
    ),
    _case(
        "element_sliced_again",
        "1x1x1x1xf32",
        f"""
        {_EXPANDED.format("s")}
        %y = tensor.extract_slice %e[0, 0, 0, 0] [1, 1, 1, 1] [2, 3, 1, 1]
            : tensor<1x1x1x1xf32> to tensor<1x1x1x1xf32>
        %y""",
        lambda x: x[:, 3:4].reshape(1, 1, 1, 1),
    ),
    Case(
        "windows_times_weights_to_one_number",
        function(
            "2x7xf32 2x5x3xf32",
            "f32",
            f"""
        {fill("%k", "0.0", "f32")}
        {
                generic(
                    "%y",
                    "%0: 2x7xf32, %1: 2x5x3xf32",
                    "%k: f32",
                    "d0, d1 + d2; d0, d1, d2; ",
                    "rrr",
                    "%p = arith.mulf %a, %b : f32; %s = arith.addf %o, %p : f32; %s",
                )
            }
        %y""",
        ),
        ("2x7xf32", "2x5x3xf32"),
        lambda x, w: np.array(np.einsum("nks,nks->", np.lib.stride_tricks.sliding_window_view(x, 3, axis=1), w)),
    ),
]
