"""Small functions whose operands and results are unusual, and some that no kernel is made of."""

from __future__ import annotations

import numpy as np
from kernel_cases import ADDED, NEGATED, SUBTRACTED, SUMMED, Case, empty, fill, function, generic, matrix, pairs

NEGATIVE = pairs("%n", "%0: 4x20xf32", NEGATED)


def with_parts(*parts: tuple[int, int, np.ndarray]) -> np.ndarray:
    """Threes with arrays put in at (row, column)."""
    result = np.full((9, 40), 3, np.float32)
    for row, column, part in parts:
        result[row : row + part.shape[0], column : column + part.shape[1]] = part
    return result


# What operands may be: fills, slices of them, new tensors, results of the kernel, one value twice, in any order.
OPERANDS = [
    matrix(
        "fill_read",
        f"""
        {fill("%k", "2.0", "4x20xf32")} {pairs("%y", "%0: 4x20xf32, %k: 4x20xf32", SUBTRACTED)}
        %y""",
        lambda x, _: x - 2,
    ),
    matrix(
        "fill_of_a_row",
        f"""
        {fill("%k", "2.0", "20xf32")}
        {generic("%y", "%k: 20xf32, %0: 4x20xf32", "%e: 4x20xf32", "d1; d0, d1; d0, d1", "pp", SUBTRACTED)}
        %y""",
        lambda x, _: 2 - x,
    ),
    matrix(
        "fill_sliced",
        f"""
        {fill("%k", "2.0", "9x30xf32")}
        %s = tensor.extract_slice %k[2, 3] [4, 20] [1, 1] : tensor<9x30xf32> to tensor<4x20xf32>
        {pairs("%y", "%0: 4x20xf32, %s: 4x20xf32", SUBTRACTED)}
        %y""",
        lambda x, _: x - 2,
    ),
    matrix(
        "fill_accumulated_and_read",
        f"""
        {fill("%k", "2.0", "4x20xf32")} {fill("%z", "0.5", "4x4xf32")}
        {
            generic(
                "%y",
                "%k: 4x20xf32, %0: 4x20xf32",
                "%z: 4x4xf32",
                "d0, d2; d1, d2; d0, d1",
                "ppr",
                '''
            %m = arith.mulf %a, %b : f32
            %r = arith.addf %o, %m : f32
            %r''',
            )
        }
        %y""",
        lambda x, _: np.tile(0.5 + 2 * x.sum(1), (4, 1)),
        "4x4xf32",
    ),
    matrix(
        "result_as_destination",
        f"""
        {NEGATIVE} {pairs("%y", "%1: 4x20xf32", "%s = arith.subf %a, %o : f32; %s", "%n: 4x20xf32")}
        %y""",
        lambda x, y: y + x,
    ),
    matrix(
        "argument_as_destination",
        f"""
        {pairs("%y", "%0: 4x20xf32", "%s = arith.subf %a, %o : f32; %s", "%1: 4x20xf32")}
        %y, %1""",
        lambda x, y: (x - y, y),
        "4x20xf32 4x20xf32",
    ),
    matrix(
        "slice_as_destination",
        f"""
        %s = tensor.extract_slice %1[1, 4] [2, 9] [1, 1] : tensor<4x20xf32> to tensor<2x9xf32>
        %t = tensor.extract_slice %0[0, 0] [2, 9] [1, 1] : tensor<4x20xf32> to tensor<2x9xf32>
        {generic("%y", "%t: 2x9xf32", "%s: 2x9xf32", "d0, d1; d0, d1", "pp", SUMMED)}
        %y""",
        lambda x, y: x[:2, :9] + y[1:3, 4:13],
        "2x9xf32",
    ),
    matrix(
        "strided_slice",
        f"""
        %s = tensor.extract_slice %0[0, 1] [4, 10] [1, 2] : tensor<4x20xf32> to tensor<4x10xf32>
        {empty("%f", "4x10xf32")} {generic("%y", "%s: 4x10xf32", "%f: 4x10xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        %y""",
        lambda x, _: -x[:, 1::2],
        "4x10xf32",
    ),
    matrix(
        "row_of_lower_rank",
        f"""
        %s = tensor.extract_slice %0[2, 0] [1, 20] [1, 1] : tensor<4x20xf32> to tensor<20xf32>
        {generic("%y", "%s: 20xf32, %1: 4x20xf32", "%e: 4x20xf32", "d1; d0, d1; d0, d1", "pp", SUBTRACTED)}
        %y""",
        lambda x, y: x[2] - y,
    ),
    Case(
        "minus_its_transpose",
        function(
            "20x20xf32",
            "20x20xf32",
            f"""
        {empty("%e", "20x20xf32")}
        {generic("%n", "%0: 20x20xf32", "%e: 20x20xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        {generic("%y", "%n: 20x20xf32, %n: 20x20xf32", "%e: 20x20xf32", "d0, d1; d1, d0; d0, d1", "pp", SUBTRACTED)}
        %y""",
        ),
        ("20x20xf32",),
        lambda x: x.T - x,
        2,
    ),
    matrix(
        "one_argument_through_two_maps",
        f"""
        {
            generic(
                "%y", "%0: 4x20xf32, %0: 4x20xf32", "%e: 4x20xf32", "d0, d1; 3 - d0, 19 - d1; d0, d1", "pp", SUBTRACTED
            )
        }
        %y""",
        lambda x, _: x - x[::-1, ::-1],
    ),
]

# What results may be: read again, returned twice or in several forms, inserted into all kinds of buffers.
RESULTS = [
    matrix("returned_twice", f"{NEGATIVE} \n %n, %n", lambda x, _: (-x, -x), "4x20xf32 4x20xf32"),
    matrix(
        "returned_and_read",
        f"""
        {NEGATIVE} {pairs("%y", "%n: 4x20xf32, %1: 4x20xf32", ADDED)}
        %n, %y""",
        lambda x, y: (-x, y - x),
        "4x20xf32 4x20xf32",
    ),
    matrix(
        "returned_bare_and_padded",
        f"""
        %k = arith.constant 3.0 : f32
        {NEGATIVE}
        %p = tensor.pad %n low[1, 0] high[0, 2] {{
        ^bb0(%i: index, %j: index):
          tensor.yield %k : f32
        }} : tensor<4x20xf32> to tensor<5x22xf32>
        %q = tensor.pad %n low[0, 3] high[0, 0] {{
        ^bb0(%i: index, %j: index):
          tensor.yield %k : f32
        }} : tensor<4x20xf32> to tensor<4x23xf32>
        %n, %p, %q""",
        lambda x, _: (
            -x,
            np.pad(-x, ((1, 0), (0, 2)), constant_values=3),
            np.pad(-x, ((0, 0), (3, 0)), constant_values=3),
        ),
        "4x20xf32 5x22xf32 4x23xf32",
    ),
    matrix(
        "inserted_into_a_fill",
        f"""
        {fill("%k", "3.0", "9x20xf32")} {NEGATIVE}
        %y = tensor.insert_slice %n into %k[2, 0] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x20xf32>
        %y""",
        lambda x, _: np.pad(-x, ((2, 3), (0, 0)), constant_values=3),
        "9x20xf32",
    ),
    matrix(
        "inserted_into_a_fill_that_is_returned",
        f"""
        {fill("%k", "3.0", "9x20xf32")} {NEGATIVE}
        %y = tensor.insert_slice %n into %k[2, 0] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x20xf32>
        %k, %y""",
        lambda x, _: (np.full((9, 20), 3, np.float32), np.pad(-x, ((2, 3), (0, 0)), constant_values=3)),
        "9x20xf32 9x20xf32",
    ),
    matrix(
        "inserted_into_a_fill_that_is_read",
        f"""
        {fill("%k", "3.0", "4x20xf32")}
        {pairs("%n", "%0: 4x20xf32, %k: 4x20xf32", SUBTRACTED)}
        %s = tensor.extract_slice %n[0, 0] [2, 20] [1, 1] : tensor<4x20xf32> to tensor<2x20xf32>
        {empty("%f", "2x20xf32")} {generic("%m", "%s: 2x20xf32", "%f: 2x20xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        %y = tensor.insert_slice %m into %k[1, 0] [2, 20] [1, 1] : tensor<2x20xf32> into tensor<4x20xf32>
        %y""",
        lambda x, _: np.pad(3 - x[:2], ((1, 1), (0, 0)), constant_values=3),
        kernels=2,
    ),
    matrix(
        "inserted_twice_into_a_fill",
        f"""
        {fill("%k", "3.0", "9x40xf32")} {NEGATIVE}
        %y = tensor.insert_slice %n into %k[2, 0] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x40xf32>
        %z = tensor.insert_slice %n into %k[5, 20] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x40xf32>
        %w = tensor.insert_slice %n into %y[5, 20] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x40xf32>
        %y, %z, %w""",
        lambda x, _: (with_parts((2, 0, -x)), with_parts((5, 20, -x)), with_parts((2, 0, -x), (5, 20, -x))),
        "9x40xf32 9x40xf32 9x40xf32",
    ),
    matrix(
        "inserted_into_its_own_padding",
        f"""
        %k = arith.constant 3.0 : f32
        {NEGATIVE}
        %p = tensor.pad %n low[1, 0] high[2, 0] {{
        ^bb0(%i: index, %j: index):
          tensor.yield %k : f32
        }} : tensor<4x20xf32> to tensor<7x20xf32>
        %y = tensor.insert_slice %n into %p[2, 0] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<7x20xf32>
        %y""",
        lambda x, _: np.concatenate([np.full((1, 20), 3), -x[:1], -x, np.full((1, 20), 3)]).astype(np.float32),
        "7x20xf32",
    ),
    matrix(
        "inserted_twice_into_one_buffer",
        f"""
        {fill("%k", "3.0", "9x40xf32")} {NEGATIVE}
        %y = tensor.insert_slice %n into %k[2, 0] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x40xf32>
        %z = tensor.insert_slice %n into %y[5, 20] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x40xf32>
        %z""",
        lambda x, _: with_parts((2, 0, -x), (5, 20, -x)),
        "9x40xf32",
    ),
    Case(
        "inserted_into_an_argument_that_is_returned",
        function(
            "4x20xf32 9x20xf32",
            "9x20xf32 9x20xf32",
            f"""
        %s = tensor.extract_slice %1[1, 0] [4, 20] [1, 1] : tensor<9x20xf32> to tensor<4x20xf32>
        {empty("%e", "4x20xf32")} {pairs("%n", "%s: 4x20xf32", NEGATED)}
        %y = tensor.insert_slice %n into %1[3, 0] [4, 20] [1, 1] : tensor<4x20xf32> into tensor<9x20xf32>
        %y, %1""",
        ),
        ("4x20xf32", "9x20xf32"),
        lambda _, b: (np.concatenate([b[:3], -b[1:5], b[7:]]), b),
        2,
    ),
    matrix(
        "inserted_into_a_constant",
        f"""
        %k = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
        %s = tensor.extract_slice %0[0, 0] [2, 2] [1, 1] : tensor<4x20xf32> to tensor<2x2xf32>
        {empty("%f", "2x2xf32")} {generic("%m", "%s: 2x2xf32", "%f: 2x2xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        %y = tensor.insert_slice %m into %k[1, 0] [2, 2] [1, 1] : tensor<2x2xf32> into tensor<3x2xf32>
        %k, %y""",
        lambda x, _: (
            np.arange(1, 7, dtype=np.float32).reshape(3, 2),
            np.concatenate([[[1, 2]], -x[:2, :2]]).astype(np.float32),
        ),
        "3x2xf32 3x2xf32",
    ),
    matrix(
        "inserted_into_a_slice",
        f"""
        %s = tensor.extract_slice %1[1, 0] [3, 20] [1, 1] : tensor<4x20xf32> to tensor<3x20xf32>
        %t = tensor.extract_slice %0[0, 0] [2, 20] [1, 1] : tensor<4x20xf32> to tensor<2x20xf32>
        {empty("%f", "2x20xf32")} {generic("%m", "%t: 2x20xf32", "%f: 2x20xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        %y = tensor.insert_slice %m into %s[1, 0] [2, 20] [1, 1] : tensor<2x20xf32> into tensor<3x20xf32>
        %y, %1""",
        lambda x, y: (np.concatenate([y[1:2], -x[:2]]), y),
        "3x20xf32 4x20xf32",
        kernels=2,
    ),
    matrix(
        "sum_of_all",
        f"""
        {fill("%k", "0.0", "f32")} {generic("%y", "%0: 4x20xf32", "%k: f32", "d0, d1; ", "rr", SUMMED)}
        %y""",
        lambda x, _: x.sum(),
        "f32",
        kernels=2,
    ),
]

# Left to iree-compile, and right.
LEFT = [
    matrix(
        "sum_of_all_kept",
        f"""
        {fill("%k", "0.0", "1xf32")} {generic("%y", "%0: 4x20xf32", "%k: 1xf32", "d0, d1; 0", "rr", SUMMED)}
        %y""",
        lambda x, _: x.sum().reshape(1),
        "1xf32",
        kernels=0,
    ),
    matrix(
        "number_of_the_row",
        pairs(
            "%y",
            "%0: 4x20xf32",
            """
        %i = linalg.index 0 : index
        %j = arith.index_cast %i : index to i32
        %k = arith.sitofp %j : i32 to f32
        %r = arith.addf %a, %k : f32
        %r""",
        )
        + "\n%y",
        lambda x, _: x + np.arange(4, dtype=np.float32)[:, None],
        kernels=0,
    ),
    matrix(
        "scalar_of_a_tensor",
        f"""
        %c0 = arith.constant 0 : index
        %c = tensor.extract %1[%c0, %c0] : tensor<4x20xf32>
        {pairs("%y", "%0: 4x20xf32", "%r = arith.mulf %a, %c : f32; %r")}
        %y""",
        lambda x, y: x * y[0, 0],
        kernels=0,
    ),
    matrix(
        "fill_with_a_scalar_of_a_tensor",
        f"""
        %c0 = arith.constant 0 : index
        %c = tensor.extract %1[%c0, %c0] : tensor<4x20xf32>
        {empty("%f", "20xf32")}
        %k = linalg.fill ins(%c : f32) outs(%f : tensor<20xf32>) -> tensor<20xf32>
        {generic("%y", "%0: 4x20xf32", "%k: 20xf32", "d1, d0; d0", "pr", SUMMED)}
        %y""",
        lambda x, y: y[0, 0] + x.sum(0),
        "20xf32",
    ),
    matrix(
        "padded_with_a_scalar_of_a_tensor",
        f"""
        %c0 = arith.constant 0 : index
        %c = tensor.extract %1[%c0, %c0] : tensor<4x20xf32>
        {NEGATIVE}
        %p = tensor.pad %n low[1, 0] high[0, 2] {{
        ^bb0(%i: index, %j: index):
          tensor.yield %c : f32
        }} : tensor<4x20xf32> to tensor<5x22xf32>
        %p""",
        lambda x, y: np.pad(-x, ((1, 0), (0, 2)), constant_values=y[0, 0]),
        "5x22xf32",
    ),
    matrix(
        "compared",
        f"""
        {empty("%f", "4x20xi1")}
        %c = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>,
            affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}}
            ins(%0, %1 : tensor<4x20xf32>, tensor<4x20xf32>) outs(%f : tensor<4x20xi1>) {{
        ^bb0(%a: f32, %b: f32, %o: i1):
          %s = arith.cmpf ogt, %a, %b : f32
          linalg.yield %s : i1
        }} -> tensor<4x20xi1>
        %y = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>,
            affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}}
            ins(%c, %1 : tensor<4x20xi1>, tensor<4x20xf32>) outs(%e : tensor<4x20xf32>) {{
        ^bb0(%a: i1, %b: f32, %o: f32):
          %s = arith.uitofp %a : i1 to f32
          %t = arith.addf %s, %b : f32
          linalg.yield %t : f32
        }} -> tensor<4x20xf32>
        %y""",
        lambda x, y: y + (x > y),
        kernels=0,
    ),
    matrix(
        "two_results",
        """
        %y:2 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>,
            affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
            ins(%0 : tensor<4x20xf32>) outs(%e, %e : tensor<4x20xf32>, tensor<4x20xf32>) {
        ^bb0(%a: f32, %o: f32, %p: f32):
          %s = arith.negf %a : f32
          %t = arith.addf %a, %a : f32
          linalg.yield %s, %t : f32, f32
        } -> (tensor<4x20xf32>, tensor<4x20xf32>)
        %y#0, %y#1""",
        lambda x, _: (-x, x + x),
        "4x20xf32 4x20xf32",
        kernels=0,
    ),
]
