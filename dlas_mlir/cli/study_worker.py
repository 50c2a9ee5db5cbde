"""`dlas study worker` and `dlas study scheduler`: devices of other machines, and where they meet a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dlas_mlir.study.address import Address
    from dlas_mlir.study.executor import Executor
    from dlas_mlir.study.executors import Remote

_LISTEN = "tcp://127.0.0.1:8786"
_START_SECONDS = 60.0


def add_parsers(commands: Any) -> None:
    """Add both to `dlas study`."""
    worker: argparse.ArgumentParser = commands.add_parser(
        "worker",
        help="offer devices of this machine to a study",
        description="Offer devices of this machine to the studies of a scheduler, until Ctrl-C. It waits for a "
        "scheduler that is not there, and comes back to one that was. pip install 'dlas-mlir[runner]' is all it needs.",
    )
    worker.add_argument("--scheduler", required=True, metavar="URL", help="tls://HOST:PORT, or tcp://127.0.0.1:PORT")
    worker.add_argument(
        "--device", required=True, nargs="+", metavar="NAME", help="what [devices.NAME] of a study calls it"
    )
    worker.add_argument("--port", type=_port, default=0, help="where it listens for the scheduler (any that is free)")
    worker.add_argument(
        "--patience",
        type=arguments.duration,
        metavar="TIME",
        help="how long a scheduler is waited for, such as 90s or 10m (ever)",
    )
    add_tls(worker)
    worker.set_defaults(act=run_worker)
    scheduler: argparse.ArgumentParser = commands.add_parser(
        "scheduler",
        help="where studies and workers meet",
        description="Listen for studies (`dlas study run --scheduler`) and workers, until Ctrl-C. It keeps nothing: a "
        "study goes on when it is started again at the same address.",
    )
    scheduler.add_argument("--listen", default=_LISTEN, metavar="URL", help="default: %(default)s")
    add_tls(scheduler)
    scheduler.set_defaults(act=run_scheduler)


def add_run_options(run: argparse.ArgumentParser) -> None:
    """What `dlas study run` takes for devices that are offered by workers."""
    cluster = run.add_mutually_exclusive_group()
    cluster.add_argument("--scheduler", metavar="URL", help="where workers offer devices: tls://HOST:PORT")
    cluster.add_argument(
        "--workers",
        type=arguments.positive_int,
        metavar="N",
        help="start a scheduler and N workers here, which offer all devices of kind `worker`",
    )
    add_tls(run)
    run.add_argument(
        "--wait", type=arguments.duration, default=10.0, metavar="TIME", help="for workers at the start (10s)"
    )
    run.add_argument(
        "--patience",
        type=arguments.duration,
        default=600.0,
        metavar="TIME",
        help="how long a scheduler or a device that is lost is waited for (10m)",
    )


def remote_of(args: argparse.Namespace) -> Remote | None:
    """What makes the executor of devices that workers offer; None where neither option was given. Raises DlasError."""
    if args.workers is None and args.scheduler is None:
        if args.tls is not None:
            raise DlasError("--tls goes with --scheduler or --workers, and there is neither")
        return None
    options = {"grace": args.wait, "patience": args.patience}
    if args.workers is not None:
        from dlas_mlir.study.address import own_address

        own = own_address(args.tls)  # certificates that are missing are told before anything is planned
        return lambda devices, say: _own(own, devices, say, args.workers, options)
    address = scheduler_of(args)

    def found(devices: Collection[str], say: Callable[[str], None]) -> Executor:
        from dlas_mlir.study.distributed import Distributed

        return Distributed(address, devices, say, **options)

    return found


def _own(
    address: Address, devices: Collection[str], say: Callable[[str], None], workers: int, options: Any
) -> Executor:
    from dlas_mlir.study.cluster import OwnCluster
    from dlas_mlir.study.distributed import Distributed

    cluster = OwnCluster(tuple(devices), workers, address.tls)
    # They are ours, and on their way.
    return Distributed(cluster.address, devices, say, cluster=cluster, **{**options, "grace": _START_SECONDS})


def add_tls(parser: argparse.ArgumentParser) -> None:
    """The option that names certificates."""
    parser.add_argument(
        "--tls", type=Path, metavar="FOLDER", help="of ca.pem, cert.pem and key.pem; needed with tls:// addresses"
    )


def scheduler_of(args: argparse.Namespace) -> Address:
    """What --scheduler and --tls say. Raises DlasError."""
    from dlas_mlir.study.address import parse_address

    return parse_address(args.scheduler, args.tls)


def run_worker(args: argparse.Namespace) -> int:
    """Work until a signal. Raises DlasError."""
    from dlas_mlir.process import is_supervised
    from dlas_mlir.study.worker import Settings, serve

    is_supervised()  # then it ends with the run that has started it
    for name in args.device:
        if not name or any(character.isspace() for character in name):
            raise DlasError(f"--device {name!r}: a name has no spaces")
    if len(set(args.device)) < len(args.device):
        raise DlasError("--device: a name is there twice")
    serve(Settings(scheduler_of(args), tuple(args.device), args.port, args.patience), _say)
    return 0


def run_scheduler(args: argparse.Namespace) -> int:
    """Listen until a signal. Raises DlasError."""
    from dlas_mlir.process import is_supervised
    from dlas_mlir.study.address import parse_address
    from dlas_mlir.study.scheduler import serve

    is_supervised()
    serve(parse_address(args.listen, args.tls), _say)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, found `{text}`")
    return int(text)
