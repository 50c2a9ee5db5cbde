"""What dlas-opt does once its command line is read: check the pipeline, then read, run and write."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from iree.compiler import ir

from dlas_mlir.cli import expected, opt_flags
from dlas_mlir.cli.opt_flags import CommandLine
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import sparsity
from dlas_mlir.opt import native, registry, reproducer
from dlas_mlir.opt.diagnostics import Diagnostic, from_mlir, render, reporting_to, with_file
from dlas_mlir.opt.options import closest
from dlas_mlir.opt.pipeline import PassFailure, Pipeline, Printing, RunConfig, Source, parse_pipeline
from dlas_mlir.opt.truncated import check_text

_BYTECODE = b"ML\xefR"
# What MLIR calls text that does not come from a file.
_UNNAMED = "-"


@dataclass(frozen=True)
class Part:
    """One part of the input: `data` is None for a whole file, `text` is empty if nothing needs it."""

    data: bytes | str | None
    text: str


class Listener:
    """Takes every diagnostic: prints it at once, or keeps it to be compared with what was expected."""

    def __init__(self, name: str, keep: bool) -> None:
        self.name = name
        self.kept: list[Diagnostic] | None = [] if keep else None
        self.sources: dict[str, str] = {}
        self.errors = 0

    def __call__(self, diagnostic: Diagnostic) -> None:
        diagnostic = with_file(diagnostic, _UNNAMED, self.name)
        if self.kept is not None:
            self.kept.append(diagnostic)
            return
        self.errors += diagnostic.severity == "error"
        print(render(diagnostic, self.sources), file=sys.stderr)

    def from_mlir(self, info: Any) -> bool:
        """The handler that MLIR calls."""
        # MLIR warns about the block that tells us the pipeline.
        if "mlir_reproducer" not in info.message:
            self(from_mlir(info))
        return True


class OptRun:
    """One run of dlas-opt, for one command line."""

    def __init__(self, line: CommandLine) -> None:
        self.line = line
        self.name = "<stdin>" if line.file == "-" else line.file
        self.splitting = line.value("split-input-file") is not None
        self.verifying = line.on("verify-diagnostics")
        self.listener = Listener(self.name, self.verifying)
        self.config = _run_config(line)

    def run(self) -> int:
        """Returns the exit code. Raises DlasError and OSError for what has no place in the input."""
        line = self.line
        with ir.Context() as context, reporting_to(self.listener):
            context.allow_unregistered_dialects = line.on("allow-unregistered-dialect")
            # Otherwise a diagnostic of a pass that does not fail is lost.
            context.emit_error_diagnostics = True
            context.attach_diagnostic_handler(self.listener.from_mlir)
            if line.on("mlir-disable-threading"):
                context.enable_multithreading(False)
            pipeline = self.pipeline()
            if line.on("dump-pass-pipeline"):
                print(pipeline, file=sys.stderr)
            good = True
            modules = []
            for part in self.parts():
                module, fine = self.process(part, pipeline)
                good = good and fine
                if module is not None:
                    modules.append(module)
            if good or line.value("o") is None:
                self.write(modules)
        return 0 if good else 1

    def pipeline(self) -> Pipeline:
        """The passes asked for, checked. Raises DlasError."""
        line = self.line
        given = [flag for flag in ("pass-pipeline", "preset", "run-reproducer") if line.value(flag) is not None]
        ways = [f"--{flag}" for flag in given] + ([f"--{line.passes[0][0]}"] if line.passes else [])
        if len(ways) > 1:
            raise DlasError(f"{' and '.join(ways)} cannot be given together: each says which passes run")
        pipeline = self._chosen_pipeline()
        for name in self.config.printing.before | self.config.printing.after:
            if name not in pipeline.pass_names():
                hint = closest(name, pipeline.pass_names())
                raise DlasError(f"there is no `{name}` in the pipeline to print the IR around{hint}")
        return pipeline

    def _chosen_pipeline(self) -> Pipeline:
        line = self.line
        if (text := line.value("pass-pipeline")) is not None:
            return parse_pipeline(text)
        if (preset := line.value("preset")) is not None:
            from dlas_mlir.compiler.presets import load_preset

            return parse_pipeline(Source(load_preset(preset).pipeline, preset))
        if line.on("run-reproducer"):
            if line.file == "-":
                raise DlasError("--run-reproducer needs a file")
            recipe = reproducer.read(Path(line.file))
            self.config = dataclasses.replace(self.config, verify_each=recipe.verify_each)
            if not recipe.threading:
                ir.Context.current.enable_multithreading(False)
            return parse_pipeline(Source(recipe.pipeline, self.name))
        pipeline = Pipeline()
        for name, options in line.passes:
            if not registry.find(name) and native.complaint(name, None):
                known = [*opt_flags.FLAGS, *registry.all_pass_names(), *native.known_passes()]
                raise DlasError(f"`--{name}` is neither a flag nor a pass{closest(name, known)}")
            pipeline += parse_pipeline(Source(f"{name}{{{options}}}" if options else name, f"--{name}"))
        return pipeline

    def parts(self) -> Iterator[Part]:
        """The input. Text is read only if something needs it. Raises OSError, DlasError for other data."""
        line = self.line
        if line.file == "-":
            if sys.stdin.isatty():
                print("(reading standard input: end it with ctrl-d, interrupt with ctrl-c)", file=sys.stderr)
            data = sys.stdin.buffer.read()
        else:
            with Path(line.file).open("rb") as file:
                is_bytecode = file.read(4) == _BYTECODE
                if is_bytecode or not (self.splitting or self.verifying):
                    # MLIR maps the file itself: 100 MB of weights need not pass through here.
                    yield Part(None, "")
                    return
                file.seek(0)
                data = file.read()
        if data.startswith(_BYTECODE):
            yield Part(data, "")
            return
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise DlasError(f"{self.name}: neither bytecode nor UTF-8 text (byte {error.start})") from None
        self.listener.sources[self.name] = text
        if not self.splitting:
            whole = text if line.file == "-" else None
            yield Part(whole, text)
            return
        marker = re.escape(line.value("split-input-file") or "")
        start = 0
        for end in [*re.finditer(rf"^{marker}[ \t]*\r?\n?$", text, re.MULTILINE), None]:
            stop = end.start() if end else len(text)
            # Empty lines in front keep the line numbers.
            part = "\n" * text.count("\n", 0, start) + text[start:stop]
            yield Part(part, part)
            start = end.end() if end else stop

    def process(self, part: Part, pipeline: Pipeline) -> tuple[ir.Module | None, bool]:
        """The module that comes of one part, None when it failed, and whether all went as it should."""
        self.listener.errors = 0
        module = self.parse(part)
        if module is not None:
            module = self.transform(module, pipeline)
        if self.listener.kept is None:
            return module, module is not None
        problems = expected.check(part.text, self.name, self.listener.kept)
        self.listener.kept.clear()
        for problem in problems:
            print(render(problem, self.listener.sources), file=sys.stderr)
        return module, not problems

    def parse(self, part: Part) -> ir.Module | None:
        """The module in `part`, or None when it has been told what is wrong with it."""
        try:
            source = Path(self.line.file) if part.data is None else part.data
            if sparsity.names_dialect(source):
                ir.Context.current.allow_unregistered_dialects = True
            if part.data is None:
                check_text(Path(self.line.file))
                return ir.Module.parseFile(self.line.file)
            return ir.Module.parse(part.data)
        except ir.MLIRError as error:
            if not self.listener.errors and self.listener.kept is None:
                raise DlasError(f"{self.name}: {error}") from None
            return None

    def transform(self, module: ir.Module, pipeline: Pipeline) -> ir.Module | None:
        """`module` after the passes, or None when one failed and said why."""
        path = self.line.value("mlir-pass-pipeline-crash-reproducer")
        # Nothing can be written any more once native code has crashed, so it is written before.
        pending = Path(path + ".pending") if path else None
        if pending:
            threading = not self.line.on("mlir-disable-threading")
            verify_each = self.config.verify_each
            reproducer.write(pending, module, str(pipeline), threading=threading, verify_each=verify_each)
        try:
            pipeline.run(module, self.config)
        except PassFailure:
            if not self.listener.errors and self.listener.kept is None:
                print(f"error: {self.name}: a pass failed without a word", file=sys.stderr)
            if path and pending:
                pending.replace(path)
                print(f"note: to see it again: dlas-opt --run-reproducer {path}", file=sys.stderr)
            return None
        finally:
            if pending:
                pending.unlink(missing_ok=True)
        return module

    def write(self, modules: list[ir.Module]) -> None:
        """Write the results: a file whole or not at all. Raises DlasError and OSError."""
        target = self.line.value("o")
        if target in (None, "-"):
            self.write_to(sys.stdout.buffer, modules)
            sys.stdout.buffer.flush()
        elif Path(target).exists() and not Path(target).is_file():
            # A device or a pipe cannot be renamed over.
            try:
                with Path(target).open("wb") as file:
                    self.write_to(file, modules)
            except OSError as error:
                raise DlasError(f"cannot write {target}: {error.strerror}") from None
        else:
            from dlas_mlir.compiler.cache import write_atomically

            def write(temporary: Path) -> None:
                with temporary.open("wb") as file:
                    self.write_to(file, modules)

            write_atomically(Path(target), write)

    def write_to(self, file: BinaryIO, modules: list[ir.Module]) -> None:
        """Write the modules to `file`."""
        line = self.line
        for index, module in enumerate(modules):
            if line.on("emit-bytecode"):
                module.operation.write_bytecode(file)
                continue
            if index:
                file.write(f"{line.value('output-split-marker') or '// -----'}\n".encode())
            module.operation.print(
                file=file,
                binary=True,
                large_elements_limit=line.number("mlir-elide-elementsattrs-if-larger"),
                large_resource_limit=line.number("mlir-elide-resource-strings-if-larger"),
                enable_debug_info=line.on("mlir-print-debuginfo"),
                print_generic_op_form=line.on("mlir-print-op-generic"),
                use_local_scope=line.on("mlir-print-local-scope"),
            )


def _run_config(line: CommandLine) -> RunConfig:
    printing = Printing(
        before=line.listed("mlir-print-ir-before"),
        after=line.listed("mlir-print-ir-after"),
        before_all=line.on("mlir-print-ir-before-all"),
        after_all=line.on("mlir-print-ir-after-all"),
        after_change=line.on("mlir-print-ir-after-change"),
        after_failure=line.on("mlir-print-ir-after-failure"),
        module_scope=line.on("mlir-print-ir-module-scope"),
        tree_dir=line.value("mlir-print-ir-tree-dir"),
        elements_limit=line.number("mlir-elide-elementsattrs-if-larger"),
        resource_limit=line.number("mlir-elide-resource-strings-if-larger"),
        debug_info=line.on("mlir-print-debuginfo"),
        generic=line.on("mlir-print-op-generic"),
    )
    return RunConfig(
        verify_each=line.on("verify-each", default=True),
        timing=line.on("mlir-timing"),
        statistics=line.on("mlir-pass-statistics"),
        printing=printing,
    )
