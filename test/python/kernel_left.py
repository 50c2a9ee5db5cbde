"""Small functions that iree-compile makes the kernels of, because their elements are bits or their loops are not ours,
and those that ours are made of because it would make wrong ones."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from kernel_cases import ADDED, Case, empty, fill, function, generic, matrix

# %c: where x > y.
_BITS = f"""
    {empty("%bits", "4x20xi1")}
    {
    generic(
        "%c",
        "%0: 4x20xf32, %1: 4x20xf32",
        "%bits: 4x20xi1",
        "d0, d1; d0, d1; d0, d1",
        "pp",
        "%s = arith.cmpf ogt, %a, %b : f32; %s",
    )
}"""
_COUNTED = "%s = arith.xori %a, %b : i1; %t = arith.uitofp %s : i1 to f32; %t"


def _places(map_: str, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    loops = {f"d{i}": index for i, index in enumerate(np.indices(shape))}
    at = eval(f"[{re.sub('floordiv', '//', map_).replace('mod', '%')}]", loops)
    return tuple(np.broadcast_to(index, shape) for index in at)


def _bits_read(name: str, first: str, second: str) -> Case:
    """y[d0, d1] = c[first] xor c[second]."""

    def expected(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        c = x > y
        return (c[_places(first, (4, 9))] ^ c[_places(second, (4, 9))]).astype(np.float32)

    body = f"""
    {_BITS}
    {empty("%f", "4x9xf32")}
    {generic("%y", "%c: 4x20xi1, %c: 4x20xi1", "%f: 4x9xf32", f"{first}; {second}; d0, d1", "pp", _COUNTED)}
    %y"""
    return matrix(name, body, expected, "4x9xf32", kernels=0)


BITS = [
    _bits_read("bits_shifted", "d0, d1 + 3", "d0, d1 * 2"),
    _bits_read("bits_shifted_second", "d0, d1 * 2", "3 - d0, d1 + 1"),
    _bits_read("bits_skewed", "d0, d0 + d1", "d0, d0 + d1 + 4"),
    _bits_read("bits_every_other", "d0, d1 * 2", "d0, d1 * 2 + 1"),
    _bits_read("bits_reversed", "3 - d0, 8 - d1", "d0, d1 + 11"),
    _bits_read("bits_divided", "d0, d1 floordiv 4", "d1 floordiv 3, d1 * 2"),
    _bits_read("bits_remainder", "d0, d1 mod 4", "d1 mod 3, d1 + d0 floordiv 2"),
    _bits_read("bits_of_a_row", "(d0 * 9 + d1) floordiv 12, (d0 * 9 + d1) mod 12", "d0, d0 floordiv 2 + d1"),
    matrix(
        "bits_of_shifted_rows",
        f"""
        {_BITS}
        {fill("%z", "0.0", "3xf32")}
        {
            generic(
                "%y",
                "%c: 4x20xi1, %z: 3xf32",
                "%z: 3xf32",
                "d0 + 1, d1; d0; d0",
                "pr",
                "%t = arith.uitofp %a : i1 to f32; %s = arith.addf %o, %t : f32; %s",
            )
        }
        %y""",
        lambda x, y: (x > y)[1:].sum(1).astype(np.float32),
        "3xf32",
        kernels=0,
    ),
    matrix(
        "bits_shifted_after_bits",
        f"""
        {_BITS}
        {empty("%g", "4x20xi1")}
        {
            generic(
                "%n",
                "%c: 4x20xi1, %c: 4x20xi1",
                "%g: 4x20xi1",
                "d0, d1; 3 - d0, d1; d0, d1",
                "pp",
                "%s = arith.andi %a, %b : i1; %s",
            )
        }
        {empty("%f", "3x9xf32")}
        {
            generic(
                "%y",
                "%n: 4x20xi1",
                "%f: 3x9xf32",
                "d0 + 1, d1 + 3; d0, d1",
                "pp",
                "%s = arith.uitofp %a : i1 to f32; %s",
            )
        }
        %y""",
        lambda x, y: ((x > y) & (x > y)[::-1])[1:, 3:12].astype(np.float32),
        "3x9xf32",
        kernels=0,
    ),
    matrix(
        "bits_of_a_slice_counted_backwards",
        f"""
        {_BITS}
        {fill("%z", "0", "i32")} {empty("%w", "9xi1")}
        %s = tensor.extract_slice %c[2, 1] [1, 9] [1, 2] : tensor<4x20xi1> to tensor<9xi1>
        {
            generic(
                "%y",
                "%s: 9xi1, %w: 9xi1",
                "%z: i32",
                "8 - d0; d0; ",
                "r",
                "%t = arith.extui %a : i1 to i32; %u = arith.addi %o, %t : i32; %u",
            )
        }
        %y""",
        lambda x, y: (x > y)[2, 1:19:2].sum(dtype=np.int32),
        "i32",
        kernels=0,
    ),
    matrix(
        "any_bit_from_a_constant",
        f"""
        {_BITS}
        %first = arith.constant dense<[true, false, true, false]> : tensor<4xi1>
        {generic("%any", "%c: 4x20xi1", "%first: 4xi1", "d0, d1; d0", "pr", "%s = arith.ori %o, %a : i1; %s")}
        {empty("%f", "4xf32")}
        {generic("%y", "%any: 4xi1", "%f: 4xf32", "d0; d0", "p", "%s = arith.uitofp %a : i1 to f32; %s")}
        %y""",
        lambda x, y: ((x > y).any(1) | [True, False, True, False]).astype(np.float32),
        "4xf32",
        kernels=0,
    ),
    matrix(
        "product_of_bits_from_a_constant",
        f"""
        {_BITS}
        %first = arith.constant dense<[[true, false], [true, true], [false, true], [false, false]]> : tensor<4x2xi1>
        %two = tensor.extract_slice %c[0, 0] [2, 20] [1, 1] : tensor<4x20xi1> to tensor<2x20xi1>
        {
            generic(
                "%any",
                "%c: 4x20xi1, %two: 2x20xi1",
                "%first: 4x2xi1",
                "d0, d2; d1, d2; d0, d1",
                "ppr",
                "%t = arith.andi %a, %b : i1; %s = arith.ori %o, %t : i1; %s",
            )
        }
        {empty("%f", "4x2xf32")}
        {generic("%y", "%any: 4x2xi1", "%f: 4x2xf32", "d0, d1; d0, d1", "pp", "%s = arith.uitofp %a : i1 to f32; %s")}
        %y""",
        lambda x, y: (
            ((x > y)[:, None] & (x > y)[:2]).any(2) | [[True, False], [True, True], [False, True], [False, False]]
        ).astype(np.float32),
        "4x2xf32",
        kernels=0,
    ),
    matrix(
        "matrix_product_of_bits_from_a_constant",
        f"""
        {_BITS}
        %first = arith.constant dense<[[true, false, true], [false, true, false]]> : tensor<2x3xi1>
        %m = tensor.extract_slice %c[0, 0] [2, 3] [1, 1] : tensor<4x20xi1> to tensor<2x3xi1>
        %n = tensor.extract_slice %c[1, 5] [3, 3] [1, 1] : tensor<4x20xi1> to tensor<3x3xi1>
        %p = linalg.matmul ins(%m, %n : tensor<2x3xi1>, tensor<3x3xi1>) outs(%first : tensor<2x3xi1>) -> tensor<2x3xi1>
        {empty("%f", "2x3xf32")}
        {generic("%y", "%p: 2x3xi1", "%f: 2x3xf32", "d0, d1; d0, d1", "pp", "%s = arith.uitofp %a : i1 to f32; %s")}
        %y""",
        lambda x, y: (
            ((x > y)[:2, :3, None] & (x > y)[1:4, 5:8]).any(1) | [[True, False, True], [False, True, False]]
        ).astype(np.float32),
        "2x3xf32",
        kernels=0,
    ),
]


def _pool(operation: str, kind: str, shape: tuple[int, ...], combine: Callable[..., np.ndarray]) -> Case:
    """A window of 3 in each dimension of the image, from a constant start."""
    letters = operation.split("_")[1]
    image = tuple(place for place, letter in enumerate(letters) if letter not in "nc")
    result = tuple(size - 2 if place in image else size for place, size in enumerate(shape))
    start = np.random.default_rng(7).integers(-3, 9, result)
    if "unsigned" in operation:
        start = abs(start)
    x, y = ("x".join([*map(str, sizes), kind]) for sizes in (shape, result))
    window = "x".join(["3"] * len(image))
    ones = f"tensor<{len(image)}xi64>"
    values = start.astype(float if kind == "f32" else int).tolist()
    body = f"""
    %start = arith.constant dense<{values}> : tensor<{y}>
    {empty("%window", f"{window}x{kind}")}
    %y = linalg.{operation} {{dilations = dense<1> : {ones}, strides = dense<1> : {ones}}}
        ins(%0, %window : tensor<{x}>, tensor<{window}x{kind}>) outs(%start : tensor<{y}>) -> tensor<{y}>
    %y"""

    def expected(x: np.ndarray) -> np.ndarray:
        unsigned = np.uint32 if "unsigned" in operation else x.dtype
        windows = np.lib.stride_tricks.sliding_window_view(x.view(unsigned), (3,) * len(image), axis=image)
        found = start.astype(unsigned)
        for places in np.ndindex(*[3] * len(image)):
            found = combine(found, windows[(..., *places)])
        return found.view(x.dtype)

    return Case(f"{operation}_{kind}_from_a_constant", function(x, y, body), (x,), expected)


_THREE_IMAGES = "; ".join(["d0, d1, d2, d3"] * 3)

POOLS = [
    _pool("pooling_ncw_max", "f32", (2, 5, 9), np.maximum),
    _pool("pooling_nwc_max", "f32", (2, 9, 5), np.maximum),
    _pool("pooling_nwc_min", "f32", (2, 9, 5), np.minimum),
    _pool("pooling_ncw_sum", "f32", (2, 5, 9), np.add),
    _pool("pooling_nchw_max", "f32", (1, 5, 6, 7), np.maximum),
    _pool("pooling_nhwc_max", "i32", (1, 6, 7, 5), np.maximum),
    _pool("pooling_nhwc_min", "f32", (1, 6, 7, 5), np.minimum),
    _pool("pooling_nhwc_max_unsigned", "i32", (1, 6, 7, 5), np.maximum),
    _pool("pooling_ndhwc_max", "f32", (1, 4, 5, 4, 3), np.maximum),
    Case(
        "pool_of_a_constant",
        function(
            "1x6x7x5xf32",
            "1x6x7x5xf32",
            f"""
        {fill("%k", "-1.0", "1x8x7x5xf32")} {fill("%z", "0.0", "1x6x7x5xf32")} {empty("%window", "3x1xf32")}
        %s = linalg.pooling_nhwc_sum {{dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}}
            ins(%k, %window : tensor<1x8x7x5xf32>, tensor<3x1xf32>) outs(%z : tensor<1x6x7x5xf32>)
            -> tensor<1x6x7x5xf32>
        {generic("%y", "%s: 1x6x7x5xf32, %0: 1x6x7x5xf32", "%z: 1x6x7x5xf32", _THREE_IMAGES, "pppp", ADDED)}
        %y""",
        ),
        ("1x6x7x5xf32",),
        lambda x: x - 3,
    ),
    Case(
        "convolution_of_one_number_with_another",
        function(
            "2x4x3x3x5xf32",
            "2x4x3x3x5xf32",
            f"""
        %x = arith.constant dense<-1.0> : tensor<2x9x5x5x9xf32>
        {fill("%w", "0.25", "4x9x3x3x5xf32")}
        %y = linalg.conv_3d_ncdhw_fcdhw {{dilations = dense<1> : tensor<3xi64>, strides = dense<1> : tensor<3xi64>}}
            ins(%x, %w : tensor<2x9x5x5x9xf32>, tensor<4x9x3x3x5xf32>) outs(%0 : tensor<2x4x3x3x5xf32>)
            -> tensor<2x4x3x3x5xf32>
        %y""",
        ),
        ("2x4x3x3x5xf32",),
        lambda start: start - np.float32(9 * 45 * 0.25),
        kernels=1,  # The copy of the argument.
    ),
    Case(
        "convolution_that_leaves_columns_unread",
        function(
            "1x2x5xf32 4x2x3xf32",
            "1x4x1xf32",
            f"""
        {fill("%k", "0.0", "1x4x1xf32")}
        %y = linalg.conv_1d_ncw_fcw {{dilations = dense<1> : tensor<1xi64>, strides = dense<3> : tensor<1xi64>}}
            ins(%0, %1 : tensor<1x2x5xf32>, tensor<4x2x3xf32>) outs(%k : tensor<1x4x1xf32>) -> tensor<1x4x1xf32>
        %y""",
        ),
        ("1x2x5xf32", "4x2x3xf32"),
        lambda x, w: np.einsum("ncs,kcs->nk", x[..., :3], w)[..., None],
        kernels=0,
    ),
    Case(
        "convolution_in_3_dimensions_that_leaves_rows_unread",
        function(
            "1x4x4x3x3xf32 3x3x3x3x4xf32",
            "1x1x1x1x4xf32",
            f"""
        {fill("%k", "0.0", "1x1x1x1x4xf32")}
        %y = linalg.conv_3d_ndhwc_dhwcf {{dilations = dense<1> : tensor<3xi64>, strides = dense<2> : tensor<3xi64>}}
            ins(%0, %1 : tensor<1x4x4x3x3xf32>, tensor<3x3x3x3x4xf32>) outs(%k : tensor<1x1x1x1x4xf32>)
            -> tensor<1x1x1x1x4xf32>
        %y""",
        ),
        ("1x4x4x3x3xf32", "3x3x3x3x4xf32"),
        lambda x, w: np.einsum("ntrsc,trsck->nk", x[:, :3, :3], w)[:, None, None, None],
        kernels=0,
    ),
    Case(
        "pool_that_leaves_rows_unread",
        function(
            "1x8x9x5xf32",
            "1x3x2x5xf32",
            f"""
        {fill("%k", "0.0", "1x3x2x5xf32")} {empty("%window", "2x1xf32")}
        %y = linalg.pooling_nhwc_max {{dilations = dense<1> : tensor<2xi64>, strides = dense<[2, 5]> : tensor<2xi64>}}
            ins(%0, %window : tensor<1x8x9x5xf32>, tensor<2x1xf32>) outs(%k : tensor<1x3x2x5xf32>)
            -> tensor<1x3x2x5xf32>
        %y""",
        ),
        ("1x8x9x5xf32",),
        lambda x: np.maximum(np.maximum(x[:, :6:2, ::5], x[:, 1:6:2, ::5]), 0),
    ),
    Case(
        "convolution_inserted_into_zeros_and_padded",
        function(
            "1x16x5xf32 3x5xf32",
            "1x6x10xf32",
            f"""
        {fill("%k", "0.0", "1x6x5xf32")} {fill("%wide", "0.0", "1x6x8xf32")}
        %zero = arith.constant 0.0 : f32
        %y = linalg.depthwise_conv_1d_nwc_wc
            {{dilations = dense<2> : tensor<1xi64>, strides = dense<2> : tensor<1xi64>}}
            ins(%0, %1 : tensor<1x16x5xf32>, tensor<3x5xf32>) outs(%k : tensor<1x6x5xf32>) -> tensor<1x6x5xf32>
        %i = tensor.insert_slice %y into %wide[0, 0, 1] [1, 6, 5] [1, 1, 1]
            : tensor<1x6x5xf32> into tensor<1x6x8xf32>
        %p = tensor.pad %i low[0, 0, 1] high[0, 0, 1] {{
        ^bb0(%a: index, %b: index, %c: index):
          tensor.yield %zero : f32
        }} : tensor<1x6x8xf32> to tensor<1x6x10xf32>
        %p""",
        ),
        ("1x16x5xf32", "3x5xf32"),
        lambda x, w: np.pad(x[:, 0:11:2] * w[0] + x[:, 2:13:2] * w[1] + x[:, 4:15:2] * w[2], ((0, 0), (0, 0), (2, 3))),
    ),
    Case(
        "convolution_of_numbers_counted_from_indices",
        function(
            "22x8xi64 1x3xi64",
            "22x6xi64",
            f"""
        {empty("%e", "22x8xi64")} {fill("%k", "0", "22x6xi64")}
        %n = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
            iterator_types = ["parallel", "parallel"]}} ins(%0 : tensor<22x8xi64>) outs(%e : tensor<22x8xi64>) {{
        ^bb0(%a: i64, %o: i64):
          %i = linalg.index 0 : index
          %j = arith.index_cast %i : index to i64
          %s = arith.addi %a, %j : i64
          linalg.yield %s : i64
        }} -> tensor<22x8xi64>
        %y = linalg.conv_2d ins(%n, %1 : tensor<22x8xi64>, tensor<1x3xi64>) outs(%k : tensor<22x6xi64>)
            -> tensor<22x6xi64>
        %y""",
        ),
        ("22x8xi64", "1x3xi64"),
        lambda x, w: np.lib.stride_tricks.sliding_window_view(x + np.arange(22)[:, None], 3, axis=1) @ w[0],
        kernels=0,
    ),
    matrix(
        "highest_from_a_constant",
        """
        %first = arith.constant dense<[0.0, -9.0, 3.0, 1.0]> : tensor<4xf32>
        %y = linalg.reduce {arith.maximumf} ins(%0 : tensor<4x20xf32>) outs(%first : tensor<4xf32>) dimensions = [1]
        %y""",
        lambda x, _: np.maximum(x.max(1), np.array([0, -9, 3, 1], np.float32)),
        "4xf32",
    ),
]
