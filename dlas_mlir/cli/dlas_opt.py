"""dlas-opt: thin first version."""

from __future__ import annotations

import argparse
import sys

from iree.compiler import ir

from dlas_mlir.errors import DlasError
from dlas_mlir.ir.pipeline import parse_pipeline


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--pass-pipeline", default="")
    parser.add_argument("-o", default="-")
    args = parser.parse_args()
    try:
        with ir.Context() as context:
            pipeline = parse_pipeline(args.pass_pipeline)
            module = ir.Module.parseFile(args.file) if args.file != "-" else ir.Module.parse(sys.stdin.read())
            pipeline.run(module)
            print(module)
    except (DlasError, ir.MLIRError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
