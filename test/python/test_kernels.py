"""Kernels of small functions, of kinds that were read or written wrong, or could be; NumPy tells what is right."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import Case, read_case, run_cases, tensor

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
    x, row, y = tensor((2, 16)), tensor((1, 16)), tensor((1, 16))
    text = f"""
  func.func @NAME(%x: {x}) -> {y} {{
    %a = tensor.extract_slice %x[0, 0] [1, 16] [1, 1] : {x} to {row}
    %b = tensor.extract_slice %x[1, 0] [1, 16] [1, 1] : {x} to {row}
    %e = tensor.empty() : {y}
    %c = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0, {map_})>,
        affine_map<(d0, d1) -> (d0, {map_})>, affine_map<(d0, d1) -> (d0, d1)>],
        iterator_types = ["parallel", "parallel"]}} ins(%a, %b : {row}, {row}) outs(%e : {y}) {{
    ^bb0(%u: f32, %v: f32, %o: f32):
      %s = arith.subf %u, %v : f32
      linalg.yield %s : f32
    }} -> {y}
    return %c : {y}
  }}"""
    columns = eval(map_.replace("floordiv", "//"), {"d1": np.arange(16)})
    return Case(name, text, ("2x16xf32",), lambda x: (x[0] - x[1])[None, columns])


SLICES = [two_slices("slices", "d1"), two_slices("slices_in_pairs", "d1 floordiv 2")]
CASES = [*READS, *SLICES]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run_cases(CASES, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_right(results, case):
    expected = case.expected(*case.arrays())
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(results[case.name]) == len(expected)
    for found, wanted in zip(results[case.name], expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
