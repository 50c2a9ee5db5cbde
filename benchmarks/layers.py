"""Single layers: our recipes, stock IREE and other runtimes, in turn, as percent of the measured peak.

python -m benchmarks.layers --threads 1 --output results/layers
python -m benchmarks.layers --commands-file mine.txt --runtimes host/auto openvino
python -m benchmarks.layers --layer "conv -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1"
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import common
from benchmarks.workload import parse_layer, read_commands
from dlas_mlir.errors import DlasError

COMMANDS = Path(__file__).with_name("layers.txt")
PRESETS = ["host/auto", "host/gemm", "host/direct", "host/stock"]


def main() -> int:
    parser = common.parser(__doc__ or "", "results/layers", PRESETS, turn=0.1)
    parser.add_argument("--commands-file", type=Path, default=COMMANDS, help="layers, one a line")
    parser.add_argument("--layer", action="append", help="one such line, instead of the file (repeatable)")
    options = parser.parse_args()
    try:
        for line in options.layer or []:
            parse_layer(line)
        specs = options.layer or read_commands(options.commands_file)
    except DlasError as error:
        parser.error(str(error))
    return common.run("Layers", specs, options, net=True)


if __name__ == "__main__":
    sys.exit(main())
