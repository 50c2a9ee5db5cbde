"""Which structure dlas-encode-sparsity finds in zeros, and what dlas-prune-weights makes of any weights."""

from __future__ import annotations

import numpy as np
from encoded_layers import Layer, convolution_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from iree.compiler import ir

from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.opt.pipeline import parse_pipeline
from dlas_mlir.passes.sparsity._structure import block_scores, is_n_of_m, n_of_m_mask, zero_share

BLOCKS = (1, 2, 4, 8)
LAYER = Layer("conv_2d_nchw_fchw", (1, 8, 3, 3), (16, 8, 3, 3), (1, 16, 1, 1))


def weights(outputs: int, inputs: int):
    """Arrays [outputs, inputs, 1, 2] of weights, many of them zero."""
    values = st.floats(-4, 4, width=32, allow_subnormal=False) | st.just(0.0)
    return arrays.arrays(np.float32, (outputs, inputs, 1, 2), elements=values)


@settings(deadline=None)
@given(weights(8, 4), st.sampled_from(BLOCKS))
def test_a_block_is_zero_where_all_its_weights_are(array: np.ndarray, block: int):
    scores = block_scores(array, block)
    assert zero_share(array, block) == np.mean(scores == 0)
    assert zero_share(array, block) <= zero_share(array)


@settings(deadline=None)
@given(weights(2, 8), st.sampled_from([(1, 2), (2, 4), (1, 8), (3, 4)]))
def test_n_of_m_keeps_the_largest(array: np.ndarray, structure: tuple[int, int]):
    n, m = structure
    mask = n_of_m_mask(array, n, m)
    assert is_n_of_m(array * mask, n, m)
    groups = (2, 8 // m, m, 1, 2)
    kept, left = (np.abs(np.where(which, array, np.nan)).reshape(groups) for which in (mask, ~mask))
    assert (mask.reshape(groups).sum(axis=2) == n).all()
    assert (np.nanmin(kept, axis=2) >= np.nanmax(left, axis=2)).all()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(BLOCKS), st.integers(40, 95))
def test_auto_finds_the_blocks_that_were_pruned(block: int, percent: int):
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = ir.Module.parse(LAYER.module())
        options = f"sparsity={percent / 100} block={block}"
        parse_pipeline(f"dlas-prune-weights{{{options}}},dlas-encode-sparsity{{threshold=0.3}}").run(module)
        view = convolution_of(module)
        assert view.shape.encoding == (Encoding("csr") if block == 1 else Encoding("bsr", block=block))
        array = view.constant_oihw(Constants(module.operation))
        share = ir.FloatAttr(view.op.attributes["dlas.sparsity"]).value
    count = array.size // block
    assert zero_share(array, block) == round(percent / 100 * count) / count
    assert abs(share - zero_share(array, block)) < 1e-4
