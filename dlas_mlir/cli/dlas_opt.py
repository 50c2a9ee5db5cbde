"""dlas-opt: passes over MLIR files, with mlir-opt's flags."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from dlas_mlir.cli import opt_flags
from dlas_mlir.cli.opt_flags import CommandLine
from dlas_mlir.errors import DlasError

_REPRODUCER = "mlir-pass-pipeline-crash-reproducer"
_SUPERVISED = "DLAS_OPT_SUPERVISED"


def main(arguments: list[str] | None = None) -> int:
    """Run dlas-opt. Returns the exit code; what is wrong is on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = _main(arguments)
        sys.stdout.flush()  # here, where a reader that is gone can still be dealt with
        return code
    except DlasError as error:
        report = getattr(error, "report", None)
        print(report() if report else f"error: {error}", file=sys.stderr)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("DLAS_TRACEBACK"):
            traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        print(f"error: dlas-opt broke: {message} (a bug; DLAS_TRACEBACK=1 shows where)", file=sys.stderr)
    return 1


def _main(arguments: list[str]) -> int:
    line = opt_flags.read(arguments)
    if text := _information(line):
        print(text)
        return 0
    if (reproducer := line.value(_REPRODUCER)) and _SUPERVISED not in os.environ:
        return _supervise(arguments, reproducer)
    # The compiler's libraries take 0.2 s to load: not for --help.
    from dlas_mlir.cli.opt_run import OptRun

    return OptRun(line).run()


def _information(line: CommandLine) -> str:
    """The text of --help and its like, or nothing. Raises DlasError for an unknown format."""
    if line.on("help"):
        from dlas_mlir.ir import registry

        families: dict[str, list[str]] = {}
        for entry in registry.all_entries():
            families.setdefault(entry.family, []).append(entry.name)
        return opt_flags.help_text(families)
    if line.on("version"):
        from importlib.metadata import version

        names = ("dlas-mlir", "iree-base-compiler", "torch-mlir")
        return "\n".join(f"{name} {version(name)}" for name in names)
    if (form := line.value("list-passes")) is not None:
        from dlas_mlir.ir import catalogue

        if form == "json":
            return json.dumps(catalogue.as_data(), indent=2)
        if form in ("text", "markdown"):
            return catalogue.as_text() if form == "text" else catalogue.as_markdown()
        raise DlasError(f"--list-passes: expected text, markdown or json, found `{form}`")
    if line.on("show-dialects"):
        from dlas_mlir.ir import native

        return "\n".join(native.dialects())
    return ""


def _supervise(arguments: list[str], reproducer: str) -> int:
    """Run dlas-opt in a process of its own: a crash in native code ends only that one, and can be told."""
    command = [sys.executable, "-m", "dlas_mlir.cli.dlas_opt", *arguments]
    code = subprocess.run(command, env={**os.environ, _SUPERVISED: "1"}, check=False).returncode
    if code >= 0:
        return code
    pending = Path(reproducer + ".pending")
    print(f"error: the passes crashed with {signal.Signals(-code).name}", file=sys.stderr)
    if pending.exists():
        pending.replace(reproducer)
        print(f"note: to see it again: dlas-opt --run-reproducer {reproducer}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
