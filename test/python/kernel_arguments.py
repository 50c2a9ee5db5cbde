"""Small functions that compute on top of an argument, or of a value that lives on, and return that too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from kernel_cases import NEGATED, Case, empty, function, generic


def _pairs(result: str, inputs: str, body: str, out: str = "") -> str:
    """An operation on whole values."""
    kind, values = "1x3x4xi32", inputs.split(", ")
    maps = "; ".join(["d0, d1, d2"] * (len(values) + 1))
    started, out = ("", out) if out else (empty(f"{result}_empty", kind), f"{result}_empty")
    return started + generic(
        result, ", ".join(f"{value}: {kind}" for value in values), f"{out}: {kind}", maps, "ppp", body
    )


_DOUBLED = _pairs("%n", "%2", "%r = arith.addi %a, %a : i32; %r")


def _case(name: str, arguments: str, results: str, body: str, expected: Callable, kernels: int) -> Case:
    return Case(name, function(arguments, results, body), tuple(arguments.split()), expected, kernels)


def _product(result: str, start: str, of: str = "%0") -> str:
    """`of` x %1 on top of `start`, in a form that no kernel of ours is made of."""
    return f"""
    {result} = linalg.conv_1d_nwc_wcf {{dilations = dense<1> : tensor<1xi64>, strides = dense<1> : tensor<1xi64>}}
        ins({of}, %1 : tensor<1x3x4xi32>, tensor<1x4x4xi32>) outs({start} : tensor<1x3x4xi32>) -> tensor<1x3x4xi32>"""


def _integers(name: str, body: str, expected: Callable, kernels: int, start: str = "1x3x4xi32") -> Case:
    """Something computed of %0, %1 and %2 in some form, and %2."""
    text = f"{body}\n%y, %2"
    return _case(name, f"1x3x4xi32 1x4x4xi32 {start}", f"1x3x4xi32 {start}", text, expected, kernels)


def _put(x: np.ndarray, into: np.ndarray, row: int) -> np.ndarray:
    result = into.copy()
    result[row : row + len(x)] = x
    return result


# A kernel of ours reads the argument and writes something new; for what is left, and insertions, it is copied first.
ARGUMENTS = [
    _integers("argument_of_a_product", _product("%y", "%2"), lambda a, b, c: (a @ b + c, c), 1),
    _integers(
        "argument_of_two_products",
        f"""
        {_product("%p", "%2")} {_product("%q", "%2", of="%p")}
        {_pairs("%y", "%p, %q", "%r = arith.subi %b, %a : i32; %r")}""",
        lambda a, b, c: ((c + (c + a @ b) @ b) - (c + a @ b), c),
        3,
    ),
    _integers(
        "argument_in_another_shape",
        f"""
        %s = tensor.expand_shape %2 [[0, 1, 2]] output_shape [1, 3, 4] : tensor<12xi32> into tensor<1x3x4xi32>
        {_product("%y", "%s")}""",
        lambda a, b, c: (a @ b + c.reshape(1, 3, 4), c),
        1,
        "12xi32",
    ),
    _integers(
        "part_of_an_argument",
        f"""
        %s = tensor.extract_slice %2[0, 2, 0] [1, 3, 4] [1, 1, 1] : tensor<1x5x4xi32> to tensor<1x3x4xi32>
        {_product("%y", "%s")}""",
        lambda a, b, c: (a @ b + c[:, 2:], c),
        1,
        "1x5x4xi32",
    ),
    _integers(
        "argument_that_is_not_read",
        _pairs("%y", "%2", "%r = arith.addi %a, %a : i32; %r", "%2"),
        lambda a, b, c: (2 * c, c),
        1,
    ),
    _case(
        "argument_of_a_product_of_floats",
        "3x5xf32 5x4xf32 3x4xf32",
        "3x4xf32 3x4xf32",
        """
        %y = linalg.matmul ins(%0, %1 : tensor<3x5xf32>, tensor<5x4xf32>) outs(%2 : tensor<3x4xf32>) -> tensor<3x4xf32>
        %y, %2""",
        lambda a, b, c: (a @ b + c, c),
        1,
    ),
    _case(
        "argument_of_a_convolution",
        "1x2x10xi32 1x10x18xi32 1x1x18xi32",
        "1x1x18xi32 1x1x18xi32",
        """
        %y = linalg.conv_1d_nwc_wcf {dilations = dense<1> : tensor<1xi64>, strides = dense<2> : tensor<1xi64>}
            ins(%0, %1 : tensor<1x2x10xi32>, tensor<1x10x18xi32>) outs(%2 : tensor<1x1x18xi32>) -> tensor<1x1x18xi32>
        %2, %y""",
        lambda x, w, c: (c, x[:, :1] @ w[0] + c),
        1,
    ),
    _case(
        "argument_of_a_pool",
        "1x6x6x3xi32 1x3x3x3xi32",
        "1x3x3x3xi32 1x3x3x3xi32",
        f"""
        {empty("%w", "2x2xi32")}
        %y = linalg.pooling_nhwc_max {{dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>}}
            ins(%0, %w : tensor<1x6x6x3xi32>, tensor<2x2xi32>) outs(%1 : tensor<1x3x3x3xi32>) -> tensor<1x3x3x3xi32>
        %y, %1""",
        lambda x, c: (np.maximum(x.reshape(1, 3, 2, 3, 2, 3).max((2, 4)), c), c),
        1,
    ),
    _case(
        "argument_of_rank_0",
        "7xi32 i32",
        "i32 i32",
        """
        %y = linalg.reduce {arith.addi} ins(%0 : tensor<7xi32>) outs(%1 : tensor<i32>) dimensions = [0]
        %y, %1""",
        lambda x, c: (x.sum(dtype=np.int32) + c, c),
        1,
    ),
    _case(
        "argument_inserted_into",
        "2x4xf32 5x4xf32",
        "5x4xf32 5x4xf32",
        """
        %y = tensor.insert_slice %0 into %1[1, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<5x4xf32>
        %y, %1""",
        lambda x, c: (_put(x, c, 1), c),
        1,
    ),
    _case(
        "large_argument_inserted_into",
        "2x257xf32 640x257xf32",
        "640x257xf32 640x257xf32",
        """
        %y = tensor.insert_slice %0 into %1[1, 0] [2, 257] [1, 1] : tensor<2x257xf32> into tensor<640x257xf32>
        %y, %1""",
        lambda x, c: (_put(x, c, 1), c),
        1,
    ),
    _case(
        "argument_inserted_into_by_a_kernel",
        "2x4xf32 5x4xf32",
        "5x4xf32 5x4xf32",
        f"""
        {empty("%e", "2x4xf32")} {generic("%n", "%0: 2x4xf32", "%e: 2x4xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        %y = tensor.insert_slice %n into %1[3, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<5x4xf32>
        %y, %1""",
        lambda x, c: (_put(-x, c, 3), c),
        2,
    ),
    _case(
        "argument_copied_by_an_operation",
        "2x4xf32 5x4xf32",
        "5x4xf32 5x4xf32",
        f"""
        {empty("%e", "5x4xf32")}
        %c = linalg.copy ins(%1 : tensor<5x4xf32>) outs(%e : tensor<5x4xf32>) -> tensor<5x4xf32>
        %y = tensor.insert_slice %0 into %c[1, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<5x4xf32>
        %y, %1""",
        lambda x, c: (_put(x, c, 1), c),
        1,
    ),
    _case(
        "argument_carried_by_a_loop",
        "1x4xf32 5x4xf32",
        "5x4xf32 5x4xf32",
        """
        %c0 = arith.constant 0 : index
        %c1 = arith.constant 1 : index
        %c3 = arith.constant 3 : index
        %y = scf.for %i = %c0 to %c3 step %c1 iter_args(%z = %1) -> tensor<5x4xf32> {
          %t = tensor.insert_slice %0 into %z[%i, 0] [1, 4] [1, 1] : tensor<1x4xf32> into tensor<5x4xf32>
          scf.yield %t : tensor<5x4xf32>
        }
        %y, %1""",
        lambda x, c: (_put(np.tile(x, (3, 1)), c, 0), c),
        1,
    ),
    _case(
        "value_that_is_computed_upon_and_returned",
        "1x3x4xi32 1x4x4xi32 1x3x4xi32",
        "1x3x4xi32 1x3x4xi32 1x3x4xi32",
        f"""
        {_DOUBLED} {_product("%y", "%n")} {_product("%z", "%n", of="%y")}
        %n, %y, %z""",
        lambda a, b, c: (2 * c, a @ b + 2 * c, (a @ b + 2 * c) @ b + 2 * c),
        1,
    ),
    _case(
        "value_that_is_inserted_into_and_returned",
        "1x1x4xi32 1x1x4xi32 1x3x4xi32",
        "1x3x4xi32 1x3x4xi32 1x3x4xi32",
        f"""
        {_DOUBLED}
        %y = tensor.insert_slice %0 into %n[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x1x4xi32> into tensor<1x3x4xi32>
        %z = tensor.insert_slice %1 into %n[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x1x4xi32> into tensor<1x3x4xi32>
        %n, %y, %z""",
        lambda a, b, c: (2 * c, _put(a[0], 2 * c[0], 1)[None], _put(b[0], 2 * c[0], 1)[None]),
        1,
    ),
    # iree-compile takes one result of a dispatch that reads nothing for another.
    _case(
        "constants_that_are_inserted_into_and_returned",
        "1x1x4xi32 1x1x4xi32 1x3x4xi32",
        "1x3x4xi32 1x3x4xi32 1x3x4xi32",
        f"""
        {_pairs("%z", "%2, %2", "%r = arith.xori %a, %b : i32; %r")}
        {_pairs("%n", "%z", "%k = arith.constant 5 : i32; %r = arith.addi %a, %k : i32; %r")}
        {_pairs("%m", "%n", "%k = arith.constant 4 : i32; %r = arith.muli %a, %k : i32; %r")}
        %y = tensor.insert_slice %0 into %m[0, 1, 0] [1, 1, 4] [1, 1, 1] : tensor<1x1x4xi32> into tensor<1x3x4xi32>
        %n, %m, %y""",
        lambda a, b, c: (0 * c + 5, 0 * c + 20, _put(a[0], 0 * c[0] + 20, 1)[None]),
        0,
    ),
]
