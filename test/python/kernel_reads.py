"""Small functions that read through all kinds of maps, over unusual loops, in several types."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from kernel_cases import (
    ADDED,
    NEGATED,
    SUBTRACTED,
    SUMMED,
    Case,
    empty,
    fill,
    function,
    generic,
    matrix,
    pairs,
    read_case,
)

# Maps that lanes are read through. The last tiles of 300 and of 44 columns are moved back.
READS = [
    read_case("divided", (2, 40), "d0, d1 floordiv 8", (2, 300)),
    read_case("divided_evenly", (2, 40), "d0, d1 floordiv 8", (2, 304)),
    read_case("divided_by_three", (2, 100), "d0, d1 floordiv 3", (2, 300)),
    read_case("divided_by_many", (3,), "d0 floordiv 72", (144,)),
    read_case("remainder", (2, 40), "d0, d1 mod 40", (2, 256)),
    read_case("remainder_of_eight", (2, 8), "d0, d1 mod 8", (2, 300)),
    read_case("remainder_of_many", (72,), "d0 mod 72", (144,)),
    read_case("both", (13, 24), "d1 floordiv 24, d1 mod 24", (2, 300)),
    read_case("together", (300,), "(d1 floordiv 3) * 3 + d1 mod 3", (2, 300)),
    read_case("shifted", (2, 40), "d0, (d1 + 5) floordiv 8", (2, 300)),
    read_case("rounded_up", (2, 41), "d0, d1 ceildiv 8", (2, 300)),
    read_case("of_a_row", (5, 8), "(d0 * 40 + d1) floordiv 48, d1 mod 8", (5, 40)),
    read_case("reversed", (2, 44), "d0, 43 - d1", (2, 44)),
    read_case("reversed_of_few", (2, 20), "d0, 19 - d1", (2, 20)),
    read_case("pairs_reversed", (2, 44), "d0, 43 - (d1 floordiv 2) * 2", (2, 44)),
    read_case("every_other", (2, 88), "d0, d1 * 2 + 1", (2, 44)),
    read_case("every_fifth", (2, 220), "d0, d1 * 5", (2, 44)),
    read_case("transposed", (44, 20), "d1, d0", (20, 44)),
    read_case("diagonal", (44, 44), "d1, d1", (3, 44)),
    read_case("skewed", (63,), "d0 + d1", (20, 44)),
    read_case("one_element", (7, 9), "3, 5", (4, 44)),
    read_case("one_column", (4, 9), "d0, 5", (4, 44)),
    read_case("one_row", (7, 44), "3, d1", (4, 44)),
    read_case("no_dimension", (), "", (4, 44)),
    read_case("unit_result", (4,), "d0", (4, 1)),
    read_case("unit_row", (44, 1), "d1, 0", (1, 44)),
]


def two_slices(name: str, map_: str) -> Case:
    """The difference of two slices of one tensor, whose rows are read through `map_`."""
    maps = f"d0, {map_}; d0, {map_}; d0, d1"
    body = f"""
    %top = tensor.extract_slice %0[0, 0] [1, 16] [1, 1] : tensor<2x16xf32> to tensor<1x16xf32>
    %end = tensor.extract_slice %0[1, 0] [1, 16] [1, 1] : tensor<2x16xf32> to tensor<1x16xf32>
    {empty("%e", "1x16xf32")}
    {generic("%y", "%top: 1x16xf32, %end: 1x16xf32", "%e: 1x16xf32", maps, "pp", SUBTRACTED)}
    %y"""
    columns = eval(map_.replace("floordiv", "//"), {"d1": np.arange(16)})
    text = function("2x16xf32", "1x16xf32", body)
    return Case(name, text, ("2x16xf32",), lambda x: (x[0] - x[1])[None, columns])


SLICES = [two_slices("slices", "d1"), two_slices("slices_in_pairs", "d1 floordiv 2")]

# Loops that are unusual, and what sums start from.
LOOPS = [
    matrix("called_reduction_but_none", pairs("%y", "%0: 4x20xf32", NEGATED, kinds="rp") + "\n%y", lambda x, _: -x),
    matrix(
        "called_reduction_all_of_it", pairs("%y", "%0: 4x20xf32", SUMMED, "%1: 4x20xf32", kinds="rr") + "\n%y", np.add
    ),
    matrix(
        "last_one_wins",
        f"""
        {empty("%f", "20xf32")} {generic("%y", "%0: 4x20xf32", "%f: 20xf32", "d1, d0; d0", "pr", NEGATED)}
        %y""",
        lambda x, _: -x[-1],
        "20xf32",
    ),
    matrix(
        "sum_on_a_fill",
        f"""
        {fill("%k", "2.5", "20xf32")} {generic("%y", "%0: 4x20xf32", "%k: 20xf32", "d1, d0; d0", "pr", SUMMED)}
        %y""",
        lambda x, _: 2.5 + x.sum(0),
        "20xf32",
    ),
    matrix(
        "sum_on_a_slice",
        f"""
        %s = tensor.extract_slice %1[2, 0] [1, 20] [1, 1] : tensor<4x20xf32> to tensor<1x20xf32>
        {generic("%y", "%0: 4x20xf32", "%s: 1x20xf32", "d2, d1; d0, d1", "ppr", SUMMED)}
        %y""",
        lambda x, y: y[2:3] + x.sum(0),
        "1x20xf32",
    ),
    matrix(
        "sum_of_rows_kept",
        f"""
        {fill("%k", "0.0", "1x20xf32")} {generic("%y", "%0: 4x20xf32", "%k: 1x20xf32", "d0, d1; 0, d1", "rp", SUMMED)}
        %y""",
        lambda x, _: x.sum(0, keepdims=True),
        "1x20xf32",
    ),
    matrix(
        "sum_of_columns_kept",
        f"""
        {fill("%k", "0.0", "4x1xf32")} {generic("%y", "%0: 4x20xf32", "%k: 4x1xf32", "d0, d1; d0, 0", "pr", SUMMED)}
        %y""",
        lambda x, _: x.sum(1, keepdims=True),
        "4x1xf32",
    ),
    matrix(
        "sum_then_scaled",
        f"""
        {fill("%k", "0.0", "4x1xf32")} {generic("%y", "%0: 4x20xf32", "%k: 4x1xf32", "d0, d1; d0, 0", "pr", SUMMED)}
        {empty("%f", "4x1xf32")} {generic("%z", "%y: 4x1xf32", "%f: 4x1xf32", "d0, 0; d0, d1", "pp", NEGATED)}
        %z""",
        lambda x, _: -x.sum(1, keepdims=True),
        "4x1xf32",
        kernels=2,
    ),
    matrix(
        "transposed_result",
        f"""
        {empty("%f", "20x4xf32")} {generic("%y", "%0: 4x20xf32", "%f: 20x4xf32", "d0, d1; d1, d0", "pp", NEGATED)}
        {generic("%z", "%y: 20x4xf32, %1: 4x20xf32", "%f: 20x4xf32", "d1, d0; d0, d1; d1, d0", "pp", ADDED)}
        %z""",
        lambda x, y: (y - x).T,
        "20x4xf32",
    ),
]


def typed(name: str, source: str, result: str, body: str, expected: Callable, kernels: int = 1) -> Case:
    """An operation on all elements, from one type to another."""
    x, y = f"4x20x{source}", f"4x20x{result}"
    text = empty("%e", y) + generic("%y", f"%0: {x}", f"%e: {y}", "d0, d1; d0, d1", "pp", body) + "\n%y"
    return Case(name, function(x, y, text), (x,), expected, kernels)


TYPES = [
    typed("i8_doubled", "i8", "i8", "%r = arith.addi %a, %a : i8; %r", lambda x: x + x),
    typed(
        "i16_halved", "i16", "i16", "%k = arith.constant 1 : i16; %r = arith.shrsi %a, %k : i16; %r", lambda x: x >> 1
    ),
    typed("i64_squared", "i64", "i64", "%r = arith.muli %a, %a : i64; %r", lambda x: x * x),
    typed(
        "i8_widened", "i8", "i32", "%r = arith.extui %a : i8 to i32; %r", lambda x: x.view(np.uint8).astype(np.int32)
    ),
    typed("i32_narrowed", "i32", "i8", "%r = arith.trunci %a : i32 to i8; %r", lambda x: x.astype(np.int8)),
    typed(
        "selected",
        "f32",
        "f32",
        """
        %k = arith.constant 0.0 : f32
        %c = arith.cmpf ogt, %a, %k : f32
        %r = arith.select %c, %a, %k : f32
        %r""",
        lambda x: np.maximum(x, 0),
    ),
    typed(
        "truth_as_number",
        "f32",
        "i8",
        """
        %k = arith.constant 0.0 : f32
        %c = arith.cmpf ogt, %a, %k : f32
        %r = arith.extui %c : i1 to i8
        %r""",
        lambda x: (x > 0).astype(np.int8),
    ),
    typed(
        "through_an_index",
        "i32",
        "i32",
        """
        %i = arith.index_cast %a : i32 to index
        %j = arith.addi %i, %i : index
        %r = arith.index_cast %j : index to i32
        %r""",
        lambda x: x + x,
    ),
    typed(
        "extended_product", "i32", "i32", "%l, %h = arith.mulsi_extended %a, %a : i32; %h", lambda x: x * 0, kernels=0
    ),
    Case(
        "no_elements",
        function(
            "0x20xf32",
            "0x20xf32",
            f"""
        {empty("%e", "0x20xf32")} {generic("%y", "%0: 0x20xf32", "%e: 0x20xf32", "d0, d1; d0, d1", "pp", NEGATED)}
        %y""",
        ),
        ("0x20xf32",),
        lambda x: x,
        0,
    ),
    matrix(
        "scalar_operand",
        """
        %c = arith.constant 2.5 : f32
        %y = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> ()>,
            affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
            ins(%0, %c : tensor<4x20xf32>, f32) outs(%e : tensor<4x20xf32>) {
        ^bb0(%a: f32, %b: f32, %o: f32):
          %r = arith.mulf %a, %b : f32
          linalg.yield %r : f32
        } -> tensor<4x20xf32>
        %y""",
        lambda x, _: x * 2.5,
        kernels=0,
    ),
]
