"""Whole models: our recipes, stock IREE and other runtimes, in turn, on 1 and 2 threads.

python -m benchmarks.end_to_end --models resnet18 mobilenet_v2 --threads 1 2 --output results/end-to-end
"""

from __future__ import annotations

import sys

from benchmarks import common

MODELS = ["resnet18"]
PRESETS = ["host/auto", "host/spatial-pack", "host/gemm", "host/direct", "host/stock"]
NOTES = (
    "Batch 1, fp32. Median ± half the interquartile range of one call from Python, in ms. Runtimes take turns "
    "in processes of their own, pinned to as many CPUs as there are threads; outputs are checked against "
    "PyTorch's before anything is timed."
)


def main() -> int:
    parser = common.parser(__doc__ or "", "results/end-to-end", PRESETS)
    parser.add_argument("--models", nargs="+", default=MODELS, help="zoo names or package.module:factory")
    options = parser.parse_args()
    return common.run(
        "End to end",
        NOTES,
        lambda finish, options: common.end_to_end(options.models, options, finish),
        options,
    )


if __name__ == "__main__":
    sys.exit(main())
