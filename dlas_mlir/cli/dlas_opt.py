"""dlas-opt: passes over MLIR files, with mlir-opt's flags."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dlas_mlir.cli.entry import guarded
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.cli.opt_flags import CommandLine

_REPRODUCER = "mlir-pass-pipeline-crash-reproducer"


def main(arguments: list[str] | None = None) -> int:
    """Run dlas-opt. Returns the exit code; what is wrong is on standard error."""
    return guarded("dlas-opt", lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    from dlas_mlir.cli import opt_flags
    from dlas_mlir.process import is_supervised

    line = opt_flags.read(sys.argv[1:] if arguments is None else arguments)
    if text := _information(line):
        print(text)
        return 0
    if arguments is None and not is_supervised():
        return _supervise(line)
    # The compiler's libraries take 0.2 s to load: not for --help.
    from dlas_mlir.cli.opt_run import OptRun

    return OptRun(line).run()


def _information(line: CommandLine) -> str:
    """The text of --help and its like, or nothing. Raises DlasError for an unknown format."""
    if line.on("help"):
        from dlas_mlir.cli import opt_flags
        from dlas_mlir.opt import registry

        families: dict[str, list[str]] = {}
        for entry in registry.all_entries():
            families.setdefault(entry.family, []).append(entry.name)
        return opt_flags.help_text(families)
    if line.on("version"):
        from dlas_mlir.cli.entry import versions

        return versions()
    if (form := line.value("list-passes")) is not None:
        from dlas_mlir.opt import catalogue

        if form == "json":
            return json.dumps(catalogue.as_data(), indent=2)
        if form in ("text", "markdown"):
            return catalogue.as_text() if form == "text" else catalogue.as_markdown()
        raise DlasError(f"--list-passes: expected text, markdown or json, found `{form}`")
    if line.on("show-dialects"):
        from dlas_mlir.opt import native

        return "\n".join(native.dialects())
    return ""


def _supervise(line: CommandLine) -> int:
    """Run it in a process of its own: a crash in native code ends only that one, and can be told."""
    from dlas_mlir.cli.entry import supervised

    def hint() -> str:
        path = line.value(_REPRODUCER)
        if path is None:
            return f"\nnote: --{_REPRODUCER}=FILE writes a file that shows it again"
        if not (pending := Path(path + ".pending")).exists():
            return ""
        pending.replace(path)
        return f"\nnote: to see it again: dlas-opt --run-reproducer {path}"

    return supervised(__spec__.name, sys.argv[1:], "the passes crashed", hint)


if __name__ == "__main__":
    sys.exit(main())
