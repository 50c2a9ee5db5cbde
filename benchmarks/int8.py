"""Whole models in 8-bit integers: our recipes and fp32, ONNX Runtime and OpenVINO, in turn, on one thread.

python -m benchmarks.int8 --models resnet18 resnet50 --output results/int8

`=int8` behind a runtime gives it the quantized model; the others run the float one. ONNX Runtime quantizes the ONNX
file (QDQ), which OpenVINO reads too; ours and theirs are calibrated on the same images.
"""

from __future__ import annotations

import sys

from benchmarks import common, report
from benchmarks.stats import geomean

MODELS = [
    "resnet18",
    "resnet50",
    "mobilenetv2",
    "resnet18-cifar",
    "mobilenetv1-cifar",
    "mobilenetv2-cifar",
    "vgg16-cifar",
]
RECIPES = ("auto", "int8-direct", "int8-gemm", "int8-spatial-pack")
FP32 = "host/auto"
RUNTIMES = [FP32, *(f"host/{recipe}=int8" for recipe in RECIPES), "onnxruntime=int8", "openvino=int8"]
NOTES = (
    "Batch 1, random weights, calibrated on 16 random images. Median ± half the interquartile range of one call from "
    "Python, in ms. Runtimes take turns in processes of their own, pinned to as many CPUs as there are threads. Before "
    "anything is timed our outputs are checked against PyTorch's of the same integers, those of the others against the "
    "float model's; ~ marks times that other processes disturbed. In brackets: percent of the fp32 FMA peak."
)


def speedups(records: list[dict]) -> report.Extra:
    """How many times faster each runtime is than our fp32, per model and in geometric mean."""
    timed = [record for record in records if "median_ms" in record]
    fp32 = {(r["spec"], r["threads"]): r["median_ms"] for r in timed if r["runtime"] == FP32}
    for record in timed:
        if base := fp32.get((record["spec"], record["threads"])):
            record["over_fp32"] = base / record["median_ms"]
    lines = []
    for runtime in dict.fromkeys(r["runtime"] for r in timed if r["runtime"] != FP32):
        found = {r["spec"]: r["over_fp32"] for r in timed if r["runtime"] == runtime and "over_fp32" in r}
        each = ", ".join(f"{spec} {value:.2f}" for spec, value in found.items())
        lines.append(f"- {runtime}: {geomean(found.values()) or 0:.2f} ({each})")
    section = "\n".join(["## Times faster than our fp32, 1 thread, geometric mean", "", *lines])
    return report.Extra(section=section if lines else "")


def main() -> int:
    parser = common.parser(__doc__ or "", "results/int8", RUNTIMES, turn=0.3, others=(), threads=(1,))
    parser.add_argument("--models", nargs="+", default=MODELS, help="zoo names")
    options = parser.parse_args()
    return common.run("Integers", options.models, options, net=False, quantize=True, notes=NOTES, extra=speedups)


if __name__ == "__main__":
    sys.exit(main())
