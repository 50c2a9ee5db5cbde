"""What the commands share around themselves: however one ends, it is an exit code, and one message on stderr."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

from dlas_mlir.errors import DlasError

# What a command says of what it is made of.
# Of the extra `compiler`: a device that only measures has none of it.
_COMPILER = ("iree", "mlxtend", "safetensors", "sklearn", "torch", "torch_mlir", "torchao")
_PARTS = ("dlas-mlir", "iree-base-compiler", "iree-base-runtime", "torch-mlir", "torch")


def guarded(name: str, body: Callable[[], int]) -> int:
    """The exit code of `body`: 1 for an error, 130 after Ctrl-C, 128 + n when told to end by signal n."""
    _repair_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Told to stop, it goes as after Ctrl-C: its children ended, its temporary files removed.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        code = body()
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except SystemExit as stop:
        # argparse's: of --help, whose reader may have gone too, and of errors that have been told.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            pass
        except OSError as error:
            _tell(f"error: {error.strerror}")
            return 1
        return stop.code if isinstance(stop.code, int) else 1
    except DlasError as error:
        # Errors in a pipeline's text know how to show the place.
        report = getattr(error, "report", None)
        _tell(report() if report else f"error: {error}")
    except BrokenPipeError:
        pass  # whoever read our output has seen enough
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"error: {where}{error.strerror or error}")
    except MemoryError as error:
        _tell(f"error: out of memory{f': {error}' if str(error) else ''}")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if os.environ.get("DLAS_TRACEBACK"):
            traceback.print_exc()
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _COMPILER:
            _tell(f"error: {error.name} is not installed, which this needs: pip install 'dlas-mlir[compiler]'")
        else:
            _tell(f"error: {name} broke: {type(error).__name__}: {error} (a bug; DLAS_TRACEBACK=1 shows where)")
    finally:
        _give_up_output()
    return 1


def supervised(module: str, arguments: Sequence[str], what: str, hint: Callable[[], str] = lambda: "") -> int:
    """The exit code of `module`'s command line in a process of its own; a crash there is told, with `hint`."""
    from dlas_mlir.process import supervise

    return supervise(module, arguments, lambda name: _tell(f"error: {what} with {name}{hint()}"))


def versions() -> str:
    """The versions of what is installed, a line each, without importing any of it."""
    from importlib import metadata

    lines = []
    for name in _PARTS:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def _tell(message: str) -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()  # what was printed before stands before
    with suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)


def _repair_streams() -> None:
    """Have all three, where some are closed, and able to print any name of a file."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            # The bytes of a name that is no UTF-8 come out as they are.
            unicode = stream.encoding.lower().replace("-", "") == "utf8"
            reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _give_up_output() -> None:
    """What cannot be written is not tried again when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
