"""The arguments of commands, each written once: what is called alike is alike everywhere."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dlas_mlir.process import LIMIT

MODEL = "a zoo name, package.module:factory, or a file (.pt2, .onnx, .mlir, .json of a workload)"
_COMPILED = "a zoo name, package.module:factory, a file, or a .vmfb of dlas compile -o"


def positive_int(text: str) -> int:
    """An argument that is a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found `{text}`")
    return value


def positive_float(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found `{text}`")
    return value


def duration(text: str) -> float:
    """An argument that is a time above 0, in seconds: 90, 90s, 10m or 1.5h."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a time above 0 such as 90s, 10m or 1h, found `{text}`")
    return value


def add_model(parser: argparse.ArgumentParser, *, compiled: bool = False) -> None:
    """MODEL; with `compiled` it may be an artifact."""
    parser.add_argument("model", metavar="MODEL", help=_COMPILED if compiled else MODEL)


def add_models(parser: argparse.ArgumentParser) -> None:
    """One MODEL or several, which may be artifacts."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help=_COMPILED)


def add_preset(parser: argparse.ArgumentParser) -> None:
    """--preset."""
    parser.add_argument("--preset", default="host/auto", metavar="TARGET/RECIPE", help="default: %(default)s")


def add_presets(parser: argparse.ArgumentParser) -> None:
    """--preset with one or several."""
    parser.add_argument("--preset", nargs="+", default=["host/auto"], metavar="TARGET/RECIPE", dest="presets")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """--threads, which an artifact is scheduled for and run on."""
    parser.add_argument(
        "--threads", type=positive_int, default=1, metavar="N", help="that kernels are shared out to, default: 1"
    )


def add_torch_threads(parser: argparse.ArgumentParser) -> None:
    """--threads of PyTorch."""
    parser.add_argument("--threads", type=positive_int, metavar="N", help="PyTorch's threads (default: all cores)")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """--weights."""
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a state_dict: .safetensors, or torch's")


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """--weights and --input, which say what the model is."""
    add_weights(parser)
    parser.add_argument(
        "--input",
        action="append",
        metavar="SHAPE",
        help="the shape of an input, such as 1x3x224x224xf32 (once for each input)",
    )


def add_batch(parser: argparse.ArgumentParser) -> None:
    """--batch."""
    parser.add_argument(
        "--batch",
        type=positive_int,
        metavar="N",
        help="instead of the first dimension of a model's inputs: a zoo name's, a factory's, an open one of ONNX",
    )


def add_study(parser: argparse.ArgumentParser, name: str = "folder", metavar: str = "DIR") -> None:
    """The folder of a study."""
    parser.add_argument(name, type=Path, metavar=metavar, help="the folder of a study, such as study-quick")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is printed, and more, as JSON")


def add_store(parser: argparse.ArgumentParser) -> None:
    """--store."""
    parser.add_argument("--store", type=Path, metavar="FILE", help="add a record of each to a store, see dlas records")


def add_db(parser: argparse.ArgumentParser) -> None:
    """--db."""
    parser.add_argument(
        "--db",
        type=Path,
        metavar="FILE",
        help="of tuned schedules, see dlas tune (default: $DLAS_DB, else the user's own)",
    )


def use_db(args: argparse.Namespace) -> None:
    """Have presets `..:tuned` take their schedules from --db, here and in the processes that compile."""
    if args.db is not None:
        os.environ["DLAS_DB"] = str(args.db.absolute())


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """--dataset and --data, which say where images come from."""
    from dlas_mlir.datasets import DEFAULT, NAMES

    what = f"default: what the weights were trained on, else {DEFAULT}"
    parser.add_argument("--dataset", choices=NAMES, help=what)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the files of cifar10 or imagenet are")


def dataset(args: argparse.Namespace) -> str:
    """--dataset; without it what the checkpoint of --weights says that it was trained on. Raises DlasError."""
    from dlas_mlir.datasets import DEFAULT, NAMES
    from dlas_mlir.models.metadata import read_metadata

    if args.dataset is not None:
        return args.dataset
    weights = getattr(args, "weights", None)
    said = read_metadata(weights) if weights is not None else {}
    origin = said.get("made_from")
    trained_on = (origin if isinstance(origin, dict) else said).get("dataset")
    return trained_on if trained_on in NAMES else DEFAULT


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """--timeout, the limit of each piece of native work."""
    parser.add_argument(
        "--timeout",
        type=positive_float,
        default=LIMIT,
        metavar="S",
        help="seconds after which importing, the passes, iree-compile, and each answer of a loaded model are stopped "
        "(default: %(default)g, each)",
    )
