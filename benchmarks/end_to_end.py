"""Whole models: our recipes, stock IREE and other runtimes, in turn, on 1 and 2 threads.

python -m benchmarks.end_to_end --models resnet18 mobilenetv2 --threads 1 2 --output results/end-to-end
"""

from __future__ import annotations

import sys

from benchmarks import common

MODELS = [
    "resnet18-cifar",
    "mobilenetv1-cifar",
    "mobilenetv2-cifar",
    "vgg16-cifar",
    "resnet18",
    "resnet50",
    "mobilenetv1",
    "mobilenetv2",
    "efficientnetb0",
    "densenet161",
]
PRESETS = ["host/auto", "host/spatial-pack", "host/gemm", "host/direct", "host/stock"]


def main() -> int:
    parser = common.parser(__doc__ or "", "results/end-to-end", PRESETS, turn=0.3)
    parser.add_argument("--models", nargs="+", default=MODELS, help="zoo names or package.module:factory")
    options = parser.parse_args()
    return common.run("End to end", options.models, options, net=False)


if __name__ == "__main__":
    sys.exit(main())
