"""Put the tables of runs together as docs/results.md.

python -m benchmarks.results results/end-to-end.md results/grouped.md results/int8.md results/sparse.md
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks.common import ROOT
from dlas_mlir.compiler.cache import write_atomically
from dlas_mlir.errors import DlasError

INTRODUCTION = """# Results

What the scripts of [benchmarks/](../benchmarks/README.md) wrote, one after the other, put together by
`python -m benchmarks.results`. Every output was compared with PyTorch's before it was timed.
"""


def page(files: list[Path]) -> str:
    """All of `files` under one title. Raises DlasError for one that cannot be read."""
    parts = [INTRODUCTION]
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise DlasError(f"cannot read {file}: {error.strerror or error}") from None
        # The title of a file is a section here.
        parts.append(re.sub(r"^#", "##", text, flags=re.MULTILINE).strip() + "\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.md", help="what the other scripts wrote")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results.md", help="default: %(default)s")
    options = parser.parse_args()
    try:
        write_atomically(options.output, page(options.files))
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
