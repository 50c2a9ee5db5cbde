"""ONNX models as people have them: old opsets, computed shapes, open batches, data in other files; all checked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from onnx_cases import KINDS, KINDS_MODEL, RECURRENT

from dlas_mlir import api
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.frontend.onnx import check as onnx_check
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import check
from dlas_mlir.runtime.worker import golden_limits, load_golden, sorted_keys

onnx = pytest.importorskip("onnx")

Array = np.ndarray


@pytest.fixture(autouse=True)
def _cache(shared_cache, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))


def save(path: Path, text: str, weights: dict[str, Array] | None = None, **options) -> Path:
    """A model in ONNX's text form, with `weights` as initializers."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in (weights or {}).items())
    onnx.save(model, str(path), **options)
    return path


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_right(path: Path, *inputs: str, preset: str = "host/auto", batch: int | None = None) -> list[Array]:
    """Compile, run, and compare with what somebody else computed; returns the outputs."""
    artifact = compile_model(path, preset, inputs=inputs or None, batch=batch)
    assert artifact.unchecked == ""
    golden = load_golden(str(artifact.golden))
    outputs = api.run(artifact)
    expected = [golden[key] for key in sorted_keys(golden, "output_")]
    result = check(outputs, expected, **golden_limits(golden))
    assert result.verified, result.reason
    return outputs


CLASSIFIER = """<ir_version: 8, opset_import: ["": {opset}]>
net (float[{batch}, 3, 8, 8] x) => (float[{batch}, 5] y)
<int64[1] minus = {{-1}}, int64[1] first = {{0}}, int64 zero = {{0}}> {{
  [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w)
  [norm] n = BatchNormalization (c, scale, bias, mean, var)
  [relu] r = Relu (n)
  [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
  s = Shape (p)
  b = Gather <axis = 0> (s, zero)
  u = {unsqueeze}
  t = Concat <axis = 0> (u, minus)
  f = Reshape (p, t)
  [fc] y = Gemm <transB = 1> (f, fw, fb)
}}"""


def classifier(path: Path, opset: int, batch: str = "1") -> Path:
    """What exporters write: a batch normalization, and a flatten that computes its shape."""
    unsqueeze = "Unsqueeze <axes = [0]> (b)" if opset < 13 else "Unsqueeze (b, first)"
    weights = {"w": random(8, 3, 3, 3), "fw": random(5, 128), "fb": random(5), "var": np.abs(random(8)) + 0.5}
    weights |= {name: random(8, seed=seed) for seed, name in enumerate(("scale", "bias", "mean"))}
    return save(path, CLASSIFIER.format(opset=opset, batch=batch, unsqueeze=unsqueeze), weights)


@pytest.mark.parametrize("opset", [7, 9, 11, 14, 21])
def test_old_opsets_and_computed_shapes(tmp_path, opset):
    path = classifier(tmp_path / "net.onnx", opset)
    imported = import_model(str(path))
    assert imported.macs == 64 * 8 * 27 + 128 * 5
    assert_right(path)


def test_an_open_batch_is_fixed_by_input(tmp_path):
    path = classifier(tmp_path / "net.onnx", 12, "batch")
    with pytest.raises(DlasError, match=r"input 'x' is batchx3x8x8xf32: .* give --input 1x3x8x8xf32"):
        import_model(str(path))
    (output,) = assert_right(path, "2x3x8x8xf32")
    assert output.shape == (2, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("1x4x8x8xf32",), "input 'x' is batchx3x8x8xf32, and cannot be 1x4x8x8xf32"),
        (("1x3x8x8xf16",), "cannot be 1x3x8x8xf16"),
        (("3x8x8xf32",), "cannot be 3x8x8xf32"),
        (("1x3x8x8xf32", "4xf32"), "2 inputs are given; it has 1: 'x' batchx3x8x8xf32"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path, given, message):
    with pytest.raises(DlasError, match=message):
        import_model(str(classifier(tmp_path / "net.onnx", 12, "batch")), inputs=given)


def external(path: Path, value: float) -> Path:
    text = '<ir_version: 8, opset_import: ["": 17]> net (float[2, 4] x) => (float[2, 4] y) { y = Add (x, w) }'
    weights = {"w": np.full((2, 4), value, np.float32)}
    return save(path, text, weights, save_as_external_data=True, location="w.data", size_threshold=0)


def test_changed_external_data_is_seen(tmp_path):
    path = external(tmp_path / "net.onnx", 1.0)
    before = path.read_bytes()
    first = import_model(str(path))
    assert import_model(str(path)) == first
    (tmp_path / "w.data").unlink()
    external(path, 2.0)
    assert path.read_bytes() == before
    (output,) = assert_right(path)
    golden = load_golden(str(import_model(str(path)).golden))
    np.testing.assert_array_equal(output, golden["input_0"] + 2)


def test_the_same_file_beside_other_data(tmp_path):
    outputs = []
    for value in (1.0, 2.0):
        folder = tmp_path / f"of{value}"
        folder.mkdir()
        outputs.append(assert_right(external(folder / "net.onnx", value), preset="host/stock")[0])
    np.testing.assert_allclose(outputs[1] - outputs[0], 1, rtol=1e-6)


def test_missing_external_data_is_named(tmp_path):
    path = external(tmp_path / "net.onnx", 1.0)
    (tmp_path / "w.data").unlink()
    with pytest.raises(DlasError, match=r"cannot read the data of .*net\.onnx, in w\.data"):
        import_model(str(path))


ONE = '<ir_version: 8, opset_import: ["": 17, "com.acme": 1]> net (float[4] x) => (float[4] y) {{ [act] y = {} }}'


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("com.acme.Relu (x)", r"node 'act' \(com.acme.Relu\) is an operation of the domain com.acme"),
        ("Relux (x)", r"node 'act' \(Relux\): opset 17 of ONNX has no such operation"),
        (
            'TfIdfVectorizer <max_gram_length=1,max_skip_count=0,min_gram_length=1,mode="TF",ngram_counts=[0],'
            "ngram_indexes=[0]> (x)",
            "is no valid ONNX model",
        ),
    ],
)
def test_what_is_refused_is_named(tmp_path, call, message):
    with pytest.raises(DlasError, match=message) as error:
        import_model(str(save(tmp_path / "net.onnx", ONE.format(call))))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("types", "call", "message"),
    [
        ("double[4] x) => (double[4] y", "Relu (x)", "input 'x' is float64, and iree-compile makes everything float32"),
        ("uint16[4] x) => (uint16[4] y", "Add (x, x)", "input 'x' is of the type uint16, which is not supported"),
        ("float[4] x) => (float[4] y", "RandomNormalLike (x)", "takes random numbers"),
        ("float[4] x) => (int64[1, 4] y", "NonZero (x)", "the size of its result depends on values"),
        (
            "float[4] x, int64[1] axes) => (float[1] y",
            "ReduceMax (x, axes)",
            r"node 'act' \(ReduceMax\): its input 'axes' must be constant",
        ),
        (
            "float[2, 1, 3] x, float[1, 4, 3] w, float[1, 4, 4] r) => (float[2, 1, 1, 4] y",
            'RNN <hidden_size = 4, activations = ["Softsign"]> (x, w, r)',
            "the activation Softsign is not supported: only Relu, Sigmoid, Tanh are",
        ),
        ("float[4, 4] x) => (float y", "Det (x)", "determinants of 4x4 are not supported"),
        (
            "float[1, 4, 4] x, int64[2] size, int64[2] block) => (float[1, 1, 3, 3] y",
            "Col2Im (x, size, block)",
            r"node 'act' \(Col2Im\) is not supported in this form",
        ),
    ],
)
def test_what_has_no_form_is_refused(tmp_path, types, call, message):
    text = f'<ir_version: 8, opset_import: ["": 18]> net ({types}) {{ [act] y = {call} }}'
    with pytest.raises(DlasError, match=message):
        import_model(str(save(tmp_path / "net.onnx", text)))


def test_peepholes_are_refused(tmp_path):
    """The lowering leaves them out."""
    text = """<ir_version: 8, opset_import: ["": 17]> net (float[2, 1, 3] x) => (float[2, 1, 1, 4] y) {
      [cell] y = LSTM <hidden_size = 4> (x, w, r, , , , , p) }"""
    weights = {"w": random(1, 16, 3), "r": random(1, 16, 4), "p": random(1, 12)}
    with pytest.raises(DlasError, match=r"node 'cell' \(LSTM\): peepholes are not supported"):
        import_model(str(save(tmp_path / "net.onnx", text, weights)))


def test_what_takes_too_long_is_not_checked_and_says_so(tmp_path, monkeypatch, capsys):
    from dlas_mlir.cli import dlas

    monkeypatch.setattr(onnx_check, "LIMIT", 0.01)
    path = save(tmp_path / "net.onnx", ONE.format("Relu (x)"))
    imported = import_model(str(path))
    assert imported.golden is None
    assert "took more than 0.01 s" in imported.unchecked
    assert dlas.main(["run", str(path), "--preset", "host/stock"]) == 0
    assert f"not checked: {imported.unchecked}" in capsys.readouterr().out


def test_wrong_numbers_are_found(tmp_path):
    path = save(tmp_path / "net.onnx", ONE.format("Sigmoid (x)"))
    golden = load_golden(str(import_model(str(path)).golden))
    assert str(golden["reference"]).startswith(("onnxruntime ", "the reference evaluator of onnx "))
    result = check([-golden["output_0"]], [golden["output_0"]], **golden_limits(golden))
    assert not result.verified
    assert str(golden["reference"]) in result.reason


def test_kinds_of_operations(tmp_path):
    lines = [f"o{i} = {call}" for i, call in enumerate(KINDS.values())]
    outputs = ", ".join(f"float o{i}" for i in range(len(lines)))
    text = KINDS_MODEL.format(outputs=outputs, lines="\n  ".join(lines))
    weights = {"w": random(5, 4, 3, 3), "t": random(4, 2, 3, 3), "square": random(5, 4)}
    weights |= {"two": random(2), "four": random(4), "seven": random(7)}
    weights |= {"long": 100 + random(3000, 2)}
    weights |= {"queries": random(1, 2, 3, 4), "past": random(1, 2, 5, 4)}
    path = save(tmp_path / "kinds.onnx", text, weights)
    model = onnx.load(str(path))
    for output in model.graph.output:  # the text form knows no open rank
        output.type.tensor_type.ClearField("shape")
    onnx.save(model, str(path))
    assert_each_right(path, KINDS)


def assert_each_right(path: Path, names: Iterable[str], preset: str = "host/stock") -> None:
    """The same as `assert_right`, with a name for each output."""
    artifact = compile_model(path, preset)
    assert artifact.unchecked == ""
    golden = load_golden(str(artifact.golden))
    for i, (name, output) in enumerate(zip(names, api.run(artifact), strict=True)):
        result = check([output], [golden[f"output_{i}"]], **golden_limits(golden))
        assert result.verified, f"{name}: {result.reason}"


def recurrent(path: Path) -> tuple[Path, list[str]]:
    """All of RECURRENT as one model; the names of its outputs."""
    lines, outputs = [], []
    for name, (asked, call) in RECURRENT.items():
        named = ["" if each == "_" else f"{name}_{each}" for each in asked.split()]
        lines.append(f"[{name}] {', '.join(named)} = {call}")
        outputs += filter(None, named)
    found = {"s1": random(1, 3, 4), "s2": random(2, 3, 4), "c2": random(2, 3, 4, seed=1)}
    found |= {"t1": random(3, 1, 4), "t2": random(3, 2, 4)}
    for letter, gates in (("r", 1), ("g", 3), ("l", 4)):
        for ways in (1, 2):
            found[f"{letter}w{ways}"] = random(ways, gates * 4, 6)
            found[f"{letter}r{ways}"] = random(ways, gates * 4, 4, seed=1)
            found[f"{letter}b{ways}"] = random(ways, gates * 8, seed=2)
    lines += [f"o_{name} = Identity ({name})" for name in outputs]
    results = ", ".join(f"float o_{name}" for name in outputs)
    text = f"""<ir_version: 8, opset_import: ["": 17]> net (float[5, 3, 6] x, float[3, 5, 6] b) => ({results})
    <int32[3] whole = {{5, 5, 5}}> {{ {" ".join(lines)} }}"""
    save(path, text, found)
    model = onnx.load(str(path))
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(model, str(path))
    return path, outputs


def test_recurrent_layers_that_go_backwards(tmp_path):
    path, outputs = recurrent(tmp_path / "net.onnx")
    assert_each_right(path, outputs, "host/auto")


QUANTIZED = """<ir_version: 8, opset_import: ["": 17]>
net (uint8[1, 4, 6, 6] x, float[2, 8] y)
 => (uint8[1, 5, 6, 6] conv, int8[2, 3] matmul, int32[2, 3] product, float[2, 8] back)
<float xs = {0.02}, uint8 xz = {120}, float[5] ws = {0.01, 0.02, 0.005, 0.03, 0.01}, int8[5] wz = {0, 0, 0, 0, 0},
 float ys = {0.15}, uint8 yz = {130}, int32[5] bias = {4000, -3000, 10, 0, 900}, float bs = {0.02}, int8 bz = {3},
 float cs = {0.1}, int8 cz = {-5}>
{
  [quantized_convolution] conv = QLinearConv <pads = [1, 1, 1, 1]> (x, xs, xz, w, ws, wz, ys, yz, bias)
  [codes] q, qs, qz = DynamicQuantizeLinear (y)
  [quantized_product] matmul = QLinearMatMul (q, qs, qz, b, bs, bz, cs, cz)
  [integer_product] product = MatMulInteger (q, b, qz, bz)
  [back] back = DequantizeLinear (q, qs, qz)
}"""


def test_quantized_operations(tmp_path):
    """A bias and scales for each channel, zero points, unsigned codes at the border."""
    generator = np.random.default_rng(1)
    weights = {"w": generator.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8)}
    weights["b"] = generator.integers(-127, 128, (8, 3)).astype(np.int8)
    convolution, product, sums, back = assert_right(
        save(tmp_path / "net.onnx", QUANTIZED, weights), preset="host/stock"
    )
    assert [each.dtype for each in (convolution, product, sums, back)] == [np.uint8, np.int8, np.int32, np.float32]
    assert len(np.unique(convolution)) > 50


INTEGER = """<ir_version: 8, opset_import: ["": 17]>
net (float[1, 16, 8, 8] x) => (float[1, 8, 8, 8] y)
<float xs = {0.02}, uint8 xz = {120}, float ys = {0.15}, uint8 yz = {130}, int8[8] wz = {0, 0, 0, 0, 0, 0, 0, 0},
 int32[8] bias = {4000, -3000, 10, 0, 900, -1, 2, 3}>
{
  q = QuantizeLinear (x, xs, xz)
  [linear] a = QLinearConv <pads = [1, 1, 1, 1]> (q, xs, xz, w, ws, wz, ys, yz, bias)
  b = DequantizeLinear (a, ys, yz)
  numbers = DequantizeLinear <axis = 0> (v, ws, wz)
  [qdq] c = Conv <pads = [1, 1, 1, 1]> (b, numbers)
  d = QuantizeLinear (c, ys, yz)
  y = DequantizeLinear (d, ys, yz)
}"""


def test_quantized_convolutions_are_done_in_integers(tmp_path, capfd):
    generator = np.random.default_rng(1)
    codes = {
        name: generator.integers(-127, 128, (8, channels, 3, 3)).astype(np.int8)
        for name, channels in (("w", 16), ("v", 8))
    }
    path = save(tmp_path / "net.onnx", INTEGER, {**codes, "ws": np.linspace(0.001, 0.003, 8, dtype=np.float32)})
    (output,) = assert_right(path)
    assert len(np.unique(output)) > 50
    compile_model(path, "x86-64-avx512-vnni/auto", mlir_out=tmp_path / "out.mlir")
    assert "stays in float" not in capfd.readouterr().err
    assert "vpdpbusd" in (tmp_path / "out.mlir").read_text()


LOOPS = """<ir_version: 8, opset_import: ["": 17]>
net (float[3] x) => (float[3] early, float[3] whole, float[3] never)
<int64 steps = {6}, bool yes = {1}, bool no = {0}, float one = {1}, float low = {9}, float high = {1000}> {
  early = Loop (steps, yes, x) <body = early_body (int64 i, bool go, float[3] a) => (bool going, float[3] b) {
    b = Add (a, one)
    sum = ReduceSum <keepdims = 0> (b)
    going = Less (sum, low)
  }>
  whole = Loop (steps, yes, x) <body = whole_body (int64 i2, bool go2, float[3] a2) => (bool going2, float[3] b2) {
    b2 = Add (a2, one)
    sum2 = ReduceSum <keepdims = 0> (b2)
    going2 = Less (sum2, high)
  }>
  never = Loop (steps, no, x) <body = never_body (int64 i3, bool go3, float[3] a3) => (bool going3, float[3] b3) {
    b3 = Add (a3, one)
    going3 = Identity (go3)
  }>
}"""


def test_loops_end_when_their_condition_says(tmp_path):
    early, whole, never = assert_right(save(tmp_path / "net.onnx", LOOPS))
    np.testing.assert_allclose(whole - never, 6, atol=1e-5)
    assert early.sum() >= 9 > early.sum() - 3


def test_a_loop_without_steps_is_refused(tmp_path):
    text = LOOPS.replace("early = Loop (steps, yes, x)", "early = Loop (, yes, x)")
    with pytest.raises(DlasError, match=r"Loop\): a loop without a number of steps, whose first condition is known"):
        import_model(str(save(tmp_path / "net.onnx", text)))
