"""Grouped convolutions (GSPC): time over the number of groups, G = 1, 2, 4 ... N, for layers and for models.

python -m benchmarks.grouped --threads 1 --output results/grouped
"""

from __future__ import annotations

import sys
from itertools import pairwise

from benchmarks import common
from benchmarks.report import Extra
from benchmarks.workload import is_layer, parse_layer

# (channels, spatial size) of the 3x3 convolutions, those of ResNet34.
SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))
MODELS = [f"resnet34-g{groups}" for groups in (2, 4, 8, 16, "n")] + [
    f"wrn-40-2-g{groups}" for groups in (1, 2, 4, 8, 16, "n")
]
PRESETS = ["host/auto", "host/stock"]


def grouped_layers(channels: int, size: int) -> list[str]:
    """The 3x3 convolution of `channels` to `channels` with 1, 2, 4 ... `channels` groups."""
    counts = [2**power for power in range(channels.bit_length()) if channels % 2**power == 0]
    return [f"conv -c {channels} -H {size} -W {size} -k {channels} -y 3 -x 3 -p 1 -q 1 -g {count}" for count in counts]


def _family(spec: str) -> str:
    """What all numbers of groups have in common."""
    if is_layer(spec):
        layer = parse_layer(spec)
        return f"3x3 {layer.channels} @{layer.height}"
    return spec.rpartition("-g")[0]


def by_groups(records: list[dict]) -> Extra:
    """How each runtime's time falls from the fewest groups to the most, per family of workloads.

    `worst_step` is the largest ratio of a time to the one before it: above 1, more groups took longer.
    """
    series: dict[tuple[int, str, str], list[float]] = {}
    for record in records:
        if "median_ms" in record:
            key = (record["threads"], _family(record["spec"]), record["runtime"])
            series.setdefault(key, []).append(record["median_ms"])
    rows = [
        {
            "threads": threads,
            "family": family,
            "runtime": runtime,
            "median_ms": times,
            "fall": times[0] / times[-1],
            "worst_step": max(after / before for before, after in pairwise(times)),
        }
        for (threads, family, runtime), times in series.items()
        if len(times) > 1
    ]
    lines = [
        "## Time over the number of groups",
        "| family | threads | runtime | fall | worst step |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['family']} | {r['threads']} | {r['runtime']} | {r['fall']:.1f}x | {r['worst_step']:.2f} |" for r in rows
    ]
    return Extra({"by_groups": rows}, f"{lines[0]}\n\n" + "\n".join(lines[1:]))


def main() -> int:
    parser = common.parser(__doc__ or "", "results/grouped", PRESETS, turn=0.1)
    parser.add_argument("--models", nargs="*", default=MODELS, help="models after the layers")
    options = parser.parse_args()
    specs = [line for shape in SHAPES for line in grouped_layers(*shape)] + options.models
    return common.run("Grouped convolutions", specs, options, net=True, extra=by_groups)


if __name__ == "__main__":
    sys.exit(main())
