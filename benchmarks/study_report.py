"""What a report of a large study takes: `python -m benchmarks.study_report --points 100000 -o FILE`."""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.planted_study import Machine, study
from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.findings import find
from dlas_mlir.study.report import html_report, markdown_report
from dlas_mlir.study.results import Level, Results

_MODELS = ("resnet18", "resnet50", "mobilenetv1", "mobilenetv2", "vgg16", "efficientnetb0", "densenet161")
_OF_ONE = 4 * 2 * 3 * 4 * 2 * len(_MODELS)  # points for each level of compression on a device
_DEVICES = ("xeon", "board", "phone")


def made_up(points: int, devices: int = 3) -> Results:
    """A grid of about so many points, of which the times follow simple laws, with noise."""
    levels = max(2, round(points / _OF_ONE / devices))
    compression = ["none", *(f"prune-{round(99 * (i + 1) / levels)}" for i in range(levels - 1))]
    axes: dict[str, list[Level]] = {
        "model": list(_MODELS),
        "compression": list(dict.fromkeys(compression)),
        "primitive": ["auto", "direct", "gemm", "spatial-pack"],
        "format": ["dense", "sparse"],
        "schedule": ["naive", "rule", "tuned"],
        "element": ["f32", "f16", "bf16", "int8"],
        "threads": [1, 2],
        "device": list(_DEVICES[:devices]),
    }
    return study(axes, _milliseconds, machine=Machine(), metrics=_metrics, accuracy=_accuracy, rounds=6)


def _amount(point: Mapping[str, Level]) -> float:
    return int(str(point["compression"]).partition("-")[2] or 0) / 100


def _milliseconds(point: Mapping[str, Level]) -> float:
    primitive = {"auto": 0.97, "direct": 1.3, "gemm": 1.1, "spatial-pack": 1.0}[str(point["primitive"])]
    schedule = {"naive": 2.0, "rule": 1.0, "tuned": 0.9}[str(point["schedule"])]
    element = {"f32": 1.0, "f16": 0.9, "bf16": 0.7, "int8": 0.5}[str(point["element"])]
    device = {"xeon": 1.0, "board": 8.0, "phone": 4.0}[str(point["device"])]
    sparse = 2.2 - 2 * _amount(point) if point["format"] == "sparse" else 1.0
    model = 2.0 + _MODELS.index(str(point["model"]))
    return model * primitive * schedule * element * device * sparse / math.sqrt(int(point["threads"]))


def _metrics(point: Mapping[str, Level]) -> Mapping[str, float]:
    number = 1 + _MODELS.index(str(point["model"]))
    width = {"f32": 4, "f16": 2, "bf16": 2, "int8": 1}[str(point["element"])]
    left = 1 - _amount(point)
    kept = left if point["format"] == "sparse" else 1.0
    return {
        "parameters": 3e6 * number,
        "weight_bytes": 3e6 * number * width * kept,
        "macs": 2e8 * number,
        "effective_macs": 2e8 * number * left,
    }


def _accuracy(point: Mapping[str, Level]) -> float:
    return 0.98 - 0.01 * _MODELS.index(str(point["model"])) - 0.2 * _amount(point) ** 5


def main() -> None:
    """Print seconds, megabytes of memory and of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("-o", "--output", type=Path, default=Path("study.html"))
    args = parser.parse_args()
    results = made_up(args.points, args.devices)
    start, used = time.perf_counter(), time.process_time()
    analysis = Analysis(results)
    findings = find(analysis)
    found = time.perf_counter()
    page = html_report(analysis, findings)
    made = time.perf_counter()
    text = markdown_report(analysis, findings)
    end = time.perf_counter()
    args.output.write_text(page, encoding="utf-8")
    args.output.with_suffix(".md").write_text(text, encoding="utf-8")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(results):,} points, {len(results.turns):,} turns")
    print(f"findings {found - start:.1f} s, HTML {made - found:.1f} s, Markdown {end - made:.1f} s")
    print(
        f"{time.process_time() - used:.1f} s of CPU, {memory:,.0f} MB of memory, HTML {len(page.encode()) / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
