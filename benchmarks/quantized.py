"""A workload in 8-bit integers: for our compiler a checkpoint, for the others an ONNX file, calibrated alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from benchmarks.workload import Case

# Random images, as the weights are: enough for ranges that change no code path and no time.
IMAGES = 16
SEED = 0
# What others may be off from the float model, over what PyTorch's own quantization is (and a code more): they choose
# ranges, fused sequences and roundings differently.
_LATITUDE = 4.0


def prepare(case: Case, directory: Path) -> dict[str, str]:
    """Write checkpoint and ONNX file into `directory`: the fields of a Case that say where. Raises DlasError."""
    weights = directory / "int8.safetensors"
    _ours(case.spec, weights)
    golden = directory / "golden-int8.npz"
    _write_golden(case, weights, golden)
    found = {"int8_weights": str(weights), "int8_golden": str(golden)}
    try:
        path = directory / "int8.onnx"
        _onnx(Path(case.onnx_file()), path)
        return found | {"int8_onnx": str(path)}
    except ImportError as error:
        return found | {"int8_error": f"quantizing ONNX needs the extra `peers` (make peers): {error}"}
    except Exception as error:  # whatever the quantizer raises
        return found | {"int8_error": str(error).splitlines()[0] if str(error) else type(error).__name__}


def _ours(spec: str, path: Path) -> None:
    from dlas_mlir.compression.compress import compress
    from dlas_mlir.compression.quantize import Quantize

    compress(spec, [Quantize(calibration="random", count=IMAGES, seed=SEED)]).save(path)


def _write_golden(case: Case, weights: Path, path: Path) -> None:
    """The float model's inputs and outputs, and as `limits` how far from them integers may be."""
    import torch

    from dlas_mlir.compiler.frontend import torch_source
    from dlas_mlir.measure.check import relative_error

    with np.load(case.golden) as arrays:
        golden = {key: arrays[key] for key in arrays.files}
    inputs = [torch.from_numpy(golden[key]) for key in sorted(golden) if key.startswith("input_")]
    load = torch_source.from_factory if ":" in case.spec else torch_source.from_zoo
    with torch.no_grad():
        output = load(case.spec, None, weights).run(*inputs).numpy()
    want = golden["output_0"]
    golden["limits"] = np.array([_LATITUDE * relative_error(output, want) + _code(want)])
    np.savez(path, **golden)  # pyright: ignore[reportArgumentType]


def _code(output: np.ndarray) -> float:
    """A step of 8 bits over the range of `output`, as a part of its largest value. Others write the result itself in
    8 bits, PyTorch in float32: half a step, or one where calibration has seen twice the range."""
    return float((output.max(initial=0) - output.min(initial=0)) / 255 / np.abs(output).max())


def _onnx(source: Path, path: Path) -> None:
    """ONNX Runtime's static quantization: u8 activations, s8 weights for each channel, as QDQ."""
    import onnxruntime.quantization as quantization  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization.shape_inference import quant_pre_process  # pyright: ignore[reportMissingImports]

    folded = path.with_suffix(".folded.onnx")
    quant_pre_process(str(source), str(folded))
    quantization.quantize_static(
        str(folded),
        str(path),
        cast("Any", _Images(str(source))),  # a duck: importing its base here would need the package
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


class _Images:
    """The calibration images that our checkpoint has seen, as ONNX Runtime asks for them."""

    def __init__(self, model: str) -> None:
        import onnxruntime  # pyright: ignore[reportMissingImports]
        import torch

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise DlasError(f"the model has {len(inputs)} inputs; calibration gives it one")
        generator = torch.Generator().manual_seed(SEED)
        images = torch.randn((IMAGES, *inputs[0].shape[1:]), generator=generator).numpy()
        self._left: Iterator[dict[str, Any]] = ({inputs[0].name: images[i : i + 1]} for i in range(IMAGES))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)
