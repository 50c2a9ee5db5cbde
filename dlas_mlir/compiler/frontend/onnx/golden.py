"""What an ONNX model answers to random inputs: by onnxruntime where it is installed, else by onnx's own evaluator.

For a process of its own: it may take longer than anybody waits for, and is native code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import ml_dtypes
import numpy as np
import onnx
from onnx import ModelProto

from dlas_mlir.compiler.frontend.input_spec import InputSpec, parse_input
from dlas_mlir.compiler.frontend.onnx import file as onnx_file
from dlas_mlir.compiler.frontend.onnx.graph import all_nodes
from dlas_mlir.errors import DlasError

Array = np.ndarray
Arrays = list[Array]

_SEED = 0
_TYPES = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "ui8": np.uint8,
    "i1": np.bool_,
}
# Results are codes then, which rounding alone may move.
_QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
_NEWER = 21
_DRAWS = 3
# Between the largest of a few draws and what a correct implementation may do.
_MARGIN = 2.0


def example(spec: InputSpec, random: np.random.Generator) -> Array:
    """Values of `spec`: normally distributed; codes of 8 bits of all sizes; else 0 and 1, which may be an index."""
    kind = np.dtype(_TYPES[spec.element])
    if spec.element in ("i8", "ui8"):
        limits = np.iinfo(kind)
        return random.integers(limits.min, limits.max, spec.shape, endpoint=True).astype(kind)
    if kind.kind in "iub":
        return random.integers(0, 2, spec.shape).astype(kind)
    return random.standard_normal(spec.shape).astype(kind)


def run(spec: str, output: str, inputs: list[str] | None, batch: int | None = None) -> None:
    """Write inputs and outputs of the model in the file `spec` to `output`, an .npz file; `inputs` are their shapes, or
    `batch` is the size that the file leaves open.

    Raises DlasError when nobody can compute them.
    """
    warnings.simplefilter("ignore")
    path = Path(spec)
    model, _ = onnx_file.read(path)
    onnx_file.fix_inputs(model, tuple(map(parse_input, inputs)) if inputs is not None else None, batch, path.name)
    specs = onnx_file.specs(model, path.name)
    random = np.random.default_rng(_SEED)
    values = [example(spec, random) for spec in specs]
    outputs, who = _answer(path, model, values)
    try:
        arrays = {f"input_{index}": _plain(value) for index, value in enumerate(values)}
        arrays |= {f"output_{index}": _plain(value) for index, value in enumerate(outputs)}
        arrays["element"] = np.array(_coarsest(model))
        if any(node.op_type in _QUANTIZED for node in all_nodes(model.graph.node)):
            arrays["limit"] = np.array(_limit(model, values))
    except Exception as error:  # the evaluators raise whatever NumPy does
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DlasError(f"{who} cannot run it: {lines[0]}") from None
    arrays["reference"] = np.array(who)
    with Path(output).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _answer(path: Path, model: ModelProto, values: Arrays) -> tuple[Arrays, str]:
    """The outputs, and who gave them: onnxruntime does not have every operation in every type. Raises DlasError."""
    if find_spec("onnxruntime"):
        evaluate, who = _runtime(path)
        with suppress(Exception):
            return evaluate(values), who
    evaluate, who = _evaluator(model)
    try:
        return evaluate(values), who
    except Exception as error:  # the evaluator raises whatever NumPy does
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DlasError(f"{who} cannot run it: {lines[0]}") from None


def _runtime(path: Path) -> tuple[Callable[[Arrays], Arrays], str]:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4

    def run(values: Arrays) -> Arrays:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        return cast(Arrays, session.run(None, dict(zip(names, values, strict=True))))

    return run, f"onnxruntime {onnxruntime.__version__}"


def _evaluator(model: ModelProto) -> tuple[Callable[[Arrays], Arrays], str]:
    from onnx.reference import ReferenceEvaluator

    from dlas_mlir.compiler.frontend.onnx.reference import OPERATIONS

    # It would take a result without a name for every input that is left out after it.
    for number, node in enumerate(all_nodes(model.graph.node)):
        for index, name in enumerate(node.output):
            node.output[index] = name or f"/unused/{number}/{index}"

    def run(values: Arrays) -> Arrays:
        try:
            evaluator = ReferenceEvaluator(model, new_ops=OPERATIONS)
        except NotImplementedError:  # some operations are there in their newer versions only
            newer = onnx.version_converter.convert_version(model, _NEWER)
            evaluator = ReferenceEvaluator(newer, new_ops=OPERATIONS)
        names = [info.name for info in model.graph.input]
        found = evaluator.run(None, dict(zip(names, values, strict=True)))
        return [np.asarray(value) for value in found]

    return run, f"the reference evaluator of onnx {onnx.__version__}"


def _limit(model: ModelProto, values: Arrays) -> float:
    """How far the outputs move where what is rounded to codes is a little different; see `rounding`."""
    from dlas_mlir.compiler.frontend.onnx.reference import Noise

    run, _ = _evaluator(model)
    outputs = run(values)
    worst = 0.0
    for draw in range(_DRAWS):
        Noise.generator = np.random.default_rng(draw + 1)
        for ours, theirs in zip(run(values), outputs, strict=True):
            moved = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0)
            worst = max(worst, float(moved / max(np.abs(theirs.astype(np.float64)).max(initial=0.0), 1e-30)))
    Noise.generator = None
    return _MARGIN * worst


def _coarsest(model: ModelProto) -> str:
    """The floating-point type with the fewest digits among the inputs, constants, casts and results."""
    tensor = onnx.TensorProto
    found = {info.type.tensor_type.elem_type for info in (*model.graph.input, *model.graph.output)}
    found |= {each.data_type for each in model.graph.initializer}
    found |= {each.i for node in all_nodes(model.graph.node) for each in node.attribute if each.name in ("to", "dtype")}
    for kind, name in ((tensor.BFLOAT16, "bfloat16"), (tensor.FLOAT16, "float16"), (tensor.FLOAT, "float32")):
        if kind in found:
            return name
    return "float64"


def _plain(value: Array) -> Array:
    """As .npz files hold it: bfloat16 as float32."""
    return value.astype(np.float32) if value.dtype == ml_dtypes.bfloat16 else value
