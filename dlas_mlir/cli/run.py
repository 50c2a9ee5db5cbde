"""`dlas run`: a compiled model on one input, compared with PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.console import check_machine, check_writable, compiled, progress
from dlas_mlir.errors import DlasError


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "run",
        help="run a model and compare it with PyTorch",
        description="Run a model. Without --input FILE.npy it is given the example input and its outputs are "
        "compared with PyTorch's; the exit code is 1 when they differ.",
    )
    arguments.add_model(parser, compiled=True)
    arguments.add_preset(parser)
    arguments.add_threads(parser)
    arguments.add_db(parser)
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="FILE.npy|SHAPE",
        help="an input array, or the shape of one such as 1x3x224x224xf32 (once for each input)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.npz", help="write the outputs: output_0, ...")
    arguments.add_weights(parser)
    arguments.add_timeout(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run once and print the outputs' shapes and the comparison. Raises DlasError."""
    import numpy as np

    arguments.use_db(args)
    from dlas_mlir import api
    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.measure.check import check
    from dlas_mlir.runtime.worker import golden_limits, load_golden, sorted_keys

    if args.output:
        check_writable(args.output)
    files = [Path(text) for text in args.input if text.endswith(".npy")]
    shapes = tuple(text for text in args.input if not text.endswith(".npy"))
    arrays = [_read(path) for path in files]
    check_machine(args.preset, args.threads, args.model)
    with progress() as show:
        artifact = compiled(args, shapes or None, show)
        show(f"run {artifact.model}")
        outputs = api.run(artifact, *arrays, threads=args.threads, timeout=args.timeout)
    if args.output:
        named: dict[str, Any] = {f"output_{i}": array for i, array in enumerate(outputs)}
        write_atomically(args.output, lambda path: _save(path, named))
    for i, array in enumerate(outputs):
        values = np.array2string(array.ravel()[:4], precision=4, separator=", ")
        print(f"output_{i}: {'x'.join(map(str, array.shape))} {array.dtype} {values}")
    if arrays:
        return 0
    if artifact.golden is None:
        print(f"not checked: {artifact.unchecked}")
        return 0
    golden = load_golden(str(artifact.golden))
    expected = [golden[key] for key in sorted_keys(golden, "output_")]
    limits = golden_limits(golden)
    if artifact.element:
        limits["element"] = artifact.element
    result = check(outputs, expected, **limits)
    if not result.verified:
        raise DlasError(f"{artifact.model} for {artifact.preset}: {result.reason}")
    print(f"equal to {limits.get('reference', 'PyTorch')}: max relative error {result.max_rel_error:.1e}")
    return 0


def _read(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DlasError(f"cannot read {path} as a .npy array: {error}") from None


def _save(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    # A file object: given a name, numpy adds a suffix of its own.
    with path.open("wb") as file:
        np.savez(file, **arrays)
