"""Pruned layers and models: the sparse primitives against our dense form of the same weights, in turn.

python -m benchmarks.sparse --threads 1 --output results/sparse
python -m benchmarks.sparse --zeros 90 --blocks 1 4 --models resnet18

Single weights (1x1: CSR) and blocks of output channels are zero, the same share in each layer; in models the first and
the last layer stay dense. `host/spatial-pack` is what `host/auto` does with dense weights.
"""

from __future__ import annotations

import re
import sys
from itertools import pairwise

from benchmarks import common
from benchmarks.report import Extra
from benchmarks.workload import parse_layer

LAYERS = (
    "conv -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1",
    "conv -c 128 -H 28 -W 28 -k 128 -y 3 -x 3 -p 1 -q 1",
    "conv -c 256 -H 14 -W 14 -k 256 -y 3 -x 3 -p 1 -q 1",
    "conv -c 512 -H 7 -W 7 -k 512 -y 3 -x 3 -p 1 -q 1",
    "conv -c 128 -H 28 -W 28 -k 256 -y 3 -x 3 -p 1 -q 1 -u 2 -v 2",
    "conv -c 256 -H 56 -W 56 -k 64",
    "conv -c 1024 -H 14 -W 14 -k 256",
)
MODELS = ("resnet18", "resnet50", "vgg16-cifar")
DENSE = "host/spatial-pack"
RUNTIMES = [DENSE, "host/sparse-direct", "host/sparse-gemm", "host/sparse-spatial-pack"]


def layer_specs(layers: list[str], blocks: list[int], zeros: list[int]) -> list[str]:
    """Each layer with each structure and share of zeros."""
    return [f"{line} --block {block} --zeros {share}" for line in layers for block in blocks for share in zeros]


def model_specs(models: list[str], blocks: list[int], zeros: list[int]) -> list[str]:
    """The factories of each model with each structure and share of zeros."""
    names = [model.replace("-", "_") for model in models]
    return [f"benchmarks.pruned:{name}_{block}x1_{share}" for name in names for block in blocks for share in zeros]


def _point(spec: str) -> tuple[str, int, int]:
    """What is pruned, the block, and the percentage of zeros."""
    if found := re.fullmatch(r"benchmarks\.pruned:(\w+)_(\d+)x1_(\d+)", spec):
        return found[1].replace("_", "-"), int(found[2]), int(found[3])
    layer = parse_layer(spec)
    return str(layer).removesuffix(f" {layer.block}x1 {layer.zeros} %"), layer.block, layer.zeros


def break_even(points: dict[int, float]) -> float | None:
    """The percentage of zeros from which on the speed-up is at least 1, between two that were measured; the lowest
    measured one where it is so everywhere, None where it is so nowhere."""
    shares = sorted(points)
    if points[shares[0]] >= 1:
        return shares[0]
    for before, after in pairwise(shares):
        if points[before] < 1 <= points[after]:
            return before + (after - before) * (1 - points[before]) / (points[after] - points[before])
    return None


def by_sparsity(records: list[dict]) -> Extra:
    """The speed-up over the dense form for each share of zeros, and where it begins to be one."""
    timed = [record for record in records if "median_ms" in record]
    dense = {(r["spec"], r["threads"]): r["median_ms"] for r in timed if r["runtime"] == DENSE}
    series: dict[tuple[int, str, int, str], dict[int, float]] = {}
    for record in timed:
        base = dense.get((record["spec"], record["threads"]))
        if base is not None and record["runtime"] != DENSE:
            what, block, zeros = _point(record["spec"])
            key = (record["threads"], what, block, record["runtime"])
            series.setdefault(key, {})[zeros] = base / record["median_ms"]
    shares = sorted({zeros for points in series.values() for zeros in points})
    rows = [
        {"threads": t, "what": what, "block": block, "runtime": runtime, "speedup": points, "from": break_even(points)}
        for (t, what, block, runtime), points in series.items()
    ]
    lines = [
        "## Times faster than dense",
        "",
        "| what | threads | blocks | runtime | " + " | ".join(f"{share} %" for share in shares) + " | from |",
        "|---|---|---|---|" + "---|" * (len(shares) + 1),
    ]
    for row in rows:
        cells = [f"{row['speedup'][share]:.2f}" if share in row["speedup"] else "" for share in shares]
        least = "" if row["from"] is None else f"{row['from']:.0f} %"
        first = f"| {row['what']} | {row['threads']} | {row['block']}x1 | {row['runtime']} | "
        lines.append(first + " | ".join([*cells, least]) + " |")
    return Extra({"by_sparsity": rows}, "\n".join(lines))


def main() -> int:
    parser = common.parser(__doc__ or "", "results/sparse", RUNTIMES, turn=0.1, others=())
    parser.add_argument("--layers", nargs="*", default=list(LAYERS), help="layers, one string each")
    parser.add_argument("--models", nargs="*", default=list(MODELS), help="zoo names, after the layers")
    parser.add_argument("--blocks", nargs="+", type=int, default=[1, 2, 4, 8], help="output channels in a block")
    parser.add_argument("--zeros", nargs="+", type=int, default=[30, 50, 70, 75, 80, 90, 95], help="percent")
    options = parser.parse_args()
    specs = layer_specs(options.layers, options.blocks, options.zeros)
    specs += model_specs(options.models, options.blocks, options.zeros)
    return common.run("Sparse weights", specs, options, net=True, extra=by_sparsity)


if __name__ == "__main__":
    sys.exit(main())
