"""What a study varies: one axis for each choice over the layers of DLAS, and what is measured of a point."""

from __future__ import annotations

from dataclasses import dataclass

from dlas_mlir import datasets

Level = str | int

# Datasets that mean: speed alone, with seeded weights.
NO_DATASET = "none"
NO_COMPRESSION = "none"
# Files that a level of the axis model may name; of ONNX alone the batch may be open.
ONNX = ".onnx"
FILES = (".pt2", ONNX, ".mlir", ".mlirbc")
# Element types of the axis by their names in PyTorch and NumPy, where these differ.
HALF = {"float16": "f16", "bfloat16": "bf16"}
# Levels of the axis schedule whose schedules are found by measuring.
SEARCHED = ("tuned", "transferred")
LAYERS = {
    1: "Datasets & Problem Spaces",
    2: "Models & Neural Architectures",
    3: "Model Optimizations",
    4: "Algorithms & Data Formats",
    5: "Systems Software",
    6: "Hardware",
}


@dataclass(frozen=True)
class Axis:
    """One axis: the layer of DLAS that it belongs to, the level that it has where a spec does not name it (None: a
    spec has to), and what levels there can be (`choices`; empty: names, or whole numbers from 1 where `number`)."""

    name: str
    layer: int
    default: Level | None
    choices: tuple[str, ...] = ()
    number: bool = False


AXES = (
    Axis("dataset", 1, datasets.DEFAULT),
    Axis("model", 2, None),
    Axis("compression", 3, NO_COMPRESSION),
    Axis("primitive", 4, "auto"),
    Axis("format", 4, "dense", ("dense", "sparse")),
    Axis("schedule", 5, "rule", ("naive", "rule", *SEARCHED)),
    Axis("element", 3, "f32", ("f32", "f16", "bf16", "int8")),
    Axis("threads", 5, 1, number=True),
    Axis("batch", 5, 1, number=True),
    Axis("device", 6, "host"),
)
NAMES = tuple(axis.name for axis in AXES)
AXIS = {axis.name: axis for axis in AXES}

# What is known of a point that was measured, and what it means.
METRICS = {
    "median_ms": "milliseconds of a call: the median over rounds of each round's median",
    "low_ms": "lower end of its 95 % interval",
    "high_ms": "upper end of its 95 % interval",
    "accuracy": "share of the test images whose class is right, 0 to 1",
    "correct": "test images whose class is right",
    "images": "test images",
    "accuracy_loss": "accuracy of the uncompressed model in f32 minus its own",
    "weight_bytes": "bytes of the constants in the artifact",
    "parameters": "weights of the model",
    "macs": "multiply-accumulates of a call, zeros included",
    "effective_macs": "multiply-accumulates of weights that are not zero",
    "expected_speedup": "what the arithmetic lets expect over the uncompressed model in f32",
    "compile_seconds": "seconds that the passes and iree-compile took",
}
