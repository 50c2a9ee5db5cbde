"""Sparsity encodings: what they say, and that upstream's sparsifier computes from them what PyTorch computes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from encoded_layers import BSR, CSR, LAYERS, NM, Layer, by_pytorch, convolution_of, data_of, encoded_module
from iree.compiler import ir
from torch_mlir import ir as upstream_ir
from upstream_sparsifier import run_upstream

from dlas_mlir.compiler import work
from dlas_mlir.ir import build, conv, sparsity
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.opt.base import PassError
from dlas_mlir.opt.pipeline import parse_pipeline

FORMS = sorted({forms[1] for forms in conv._FORMS.values()})


@pytest.fixture
def context():
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        yield context


def applies(layer: Layer, encoding: Encoding) -> bool:
    return encoding.format != "nm" or not layer.op.startswith("depthwise")


CASES = [
    pytest.param(layer, encoding, id=f"{name}-{encoding.format}")
    for name, layer in LAYERS.items()
    for encoding in (CSR, BSR, NM)
    if applies(layer, encoding)
]


@pytest.mark.parametrize(("layer", "encoding"), CASES)
def test_upstream_sparsifier_computes_what_pytorch_does(context, layer: Layer, encoding: Encoding):
    module = encoded_module(layer, encoding)
    view = convolution_of(module)
    assert view.shape.encoding == encoding
    inputs = data_of(layer)
    wanted = by_pytorch(layer, view, inputs)
    parse_pipeline("dlas-generalize-encoded").run(module)
    text = str(module)
    assert "sparse_tensor.convert" in text
    assert "linalg.generic" in text
    got = run_upstream(text, inputs, len(layer.result))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["3x3", "strided", "linear", "chw"])
def test_csr_goes_upstream_as_it_is(context, name: str):
    """The named operations and levels that the passes leave are upstream's: the sparsifier takes them."""
    module = encoded_module(LAYERS[name], CSR)
    inputs = data_of(LAYERS[name])
    wanted = by_pytorch(LAYERS[name], convolution_of(module), inputs)
    got = run_upstream(str(module), inputs, len(LAYERS[name].result))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", [CSR, BSR, NM, Encoding("bsr", block=8), Encoding("nm", n=1, m=8)], ids=str)
def test_encodings_are_read_back(context, form: str, encoding: Encoding):
    """From the attribute, text, bytecode, and from what upstream's context prints."""
    if encoding.m and "c" not in form:
        return
    shape, element = [8] * len(form), ir.F32Type.get()
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        weights = ir.Operation.create("test.weights", results=[build.tensor(shape, element)]).result
        encoded = sparsity.encode(weights, encoding, form)
    assert sparsity.dense(encoded) == weights
    assert sparsity.dense(weights) == weights
    assert sparsity.encoding_of(encoded, form) == encoding
    assert sparsity.encoding_of(weights, form) is None
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    with upstream_ir.Context():
        upstream = str(upstream_ir.Type.parse(str(encoded.type)))
    parsed = [ir.Module.parse(source) for source in (str(module), buffer.getvalue())]
    kinds = [read.body.operations[1].operation.results[0].type for read in parsed]
    for kind in (*kinds, ir.Type.parse(upstream)):
        value = ir.Operation.create("test.encoded", results=[kind]).result
        assert sparsity.encoding_of(value, form) == encoding


@pytest.mark.parametrize(
    "levels",
    [
        "(k, c, r, s) -> (k : compressed, c : compressed, r : compressed, s : compressed)",
        "(k, c, r, s) -> (c : dense, k : compressed(nonunique), r : singleton(nonunique), s : singleton)",
        "(k, c, r, s) -> (k floordiv 4 : dense, c : compressed, r : compressed, s : compressed, k mod 2 : dense)",
    ],
)
def test_other_encodings_are_refused(context, levels: str):
    kind = ir.Type.parse(f"tensor<8x8x3x3xf32, #sparse_tensor.encoding<{{ map = {levels} }}>>")
    with pytest.raises(PassError, match="is none that dlas passes know"):
        sparsity.encoding_of(ir.Operation.create("test.encoded", results=[kind]).result, "fchw")


ODD = """
#odd = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (s : dense, c : compressed, r : compressed, k : compressed) }>
func.func @main(%x: tensor<1x4x2x2xf32>, %z: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x4x1x1xf32>
  %c = "sparse_tensor.convert"(%w) : (tensor<4x4x1x1xf32>) -> tensor<4x4x1x1xf32, #odd>
  %1 = linalg.conv_2d_nchw_fchw ins(%x, %c : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32, #odd>)
      outs(%z : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %1 : tensor<1x4x2x2xf32>
}
"""


def test_layers_with_other_encodings_are_dense_to_whoever_does_not_ask():
    """Counting has no context to make messages in, and recipes without sparse primitives take the dense weights."""
    with ir.Context() as context:
        context.allow_unregistered_dialects = True
        module = ir.Module.parse(ODD, context)
    assert work.count(module).macs == 4 * 4 * 4
    with context:
        (view,) = (found for op in build.operations(module) if (found := conv.view(op)))
        assert view.shape.encoding is None
        assert view.shape.macs == 4 * 4 * 4


@pytest.mark.parametrize("encoding", [CSR, BSR, NM], ids=str)
def test_passes_before_and_after_keep_the_encoding(context, encoding: Encoding):
    module = encoded_module(LAYERS["3x3"], encoding)
    before = convolution_of(module).constant_oihw(Constants(module.operation))
    clean = "dlas-fold-constants,canonicalize,cse,dlas-fold-batch-norm,canonicalize,cse,dlas-encode-sparsity"
    parse_pipeline(clean).run(module)
    view = convolution_of(module)
    assert view.shape.encoding == encoding
    np.testing.assert_array_equal(view.constant_oihw(Constants(module.operation)), before)
