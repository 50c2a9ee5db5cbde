"""dlas-opt's command line, read as LLVM reads it: one or two dashes, `--flag=value` or `--flag value`.

argparse does not serve: every pass is a flag too, and their order counts.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from enum import Enum, auto

from dlas_mlir.errors import DlasError


class Takes(Enum):
    """What a flag takes: on or off, a value, or a value that may be left out."""

    SWITCH = auto()
    VALUE = auto()
    MAYBE = auto()


@dataclass(frozen=True)
class Flag:
    """One flag; `metavar` names its value in the help, `default` is what stands for a value left out."""

    name: str
    help: str
    takes: Takes = Takes.SWITCH
    metavar: str = ""
    default: str = ""

    def usage(self) -> str:
        """The flag as the help shows it."""
        dashes = "-" if len(self.name) == 1 else "--"
        if self.takes is Takes.VALUE:
            return f"{dashes}{self.name}{' ' if len(self.name) == 1 else '='}<{self.metavar}>"
        return f"{dashes}{self.name}" + (f"[=<{self.metavar}>]" if self.takes is Takes.MAYBE else "")


def _value(name: str, metavar: str, text: str) -> Flag:
    return Flag(name, text, Takes.VALUE, metavar)


GROUPS: dict[str, tuple[Flag, ...]] = {
    "What to run": (
        _value("pass-pipeline", "pipeline", "passes as text, builtin.module(a{option=1},func.func(b))"),
        _value("preset", "target/recipe", "the passes of a preset, such as host/auto"),
        Flag("run-reproducer", "the passes written in the input file by a crash reproducer"),
        Flag("verify-each", "verify the IR after each pass (on; =false turns it off)"),
        Flag("mlir-disable-threading", "run native passes on one thread"),
    ),
    "Input and output": (
        _value("o", "file", "write to this file instead of standard output"),
        Flag("emit-bytecode", "write bytecode instead of text"),
        Flag("split-input-file", "treat the parts of the input one by one", Takes.MAYBE, "marker", "// -----"),
        _value("output-split-marker", "marker", "what separates the parts in the output (// -----)"),
        Flag("allow-unregistered-dialect", "accept operations of unknown dialects"),
        Flag("verify-diagnostics", "check the diagnostics against expected-error@+N {{...}} comments"),
        Flag("mlir-print-debuginfo", "print locations"),
        Flag("mlir-print-local-scope", "print without aliases, each operation complete in itself"),
        Flag("mlir-print-op-generic", "print operations in the generic form"),
        _value("mlir-elide-elementsattrs-if-larger", "n", "print `...` for constants of more elements"),
        _value("mlir-elide-resource-strings-if-larger", "n", "leave out resources of more characters"),
    ),
    "Looking inside": (
        Flag("dump-pass-pipeline", "print the pipeline to standard error before it runs"),
        _value("mlir-print-ir-before", "pass,...", "print the IR before these passes"),
        _value("mlir-print-ir-after", "pass,...", "print the IR after these passes"),
        Flag("mlir-print-ir-before-all", "print the IR before each pass"),
        Flag("mlir-print-ir-after-all", "print the IR after each pass"),
        Flag("mlir-print-ir-after-change", "print the IR after each pass that changed it"),
        Flag("mlir-print-ir-after-failure", "print the IR after a pass that failed"),
        Flag("mlir-print-ir-module-scope", "print the whole module, also for passes on functions"),
        _value("mlir-print-ir-tree-dir", "directory", "print the IR after each pass to files in here"),
        Flag("mlir-timing", "print the time that each pass took"),
        Flag("mlir-pass-statistics", "print the statistics of the passes"),
        _value("mlir-pass-pipeline-crash-reproducer", "file", "on failure, write the input and the passes"),
    ),
    "Information": (
        Flag("help", "print this text"),
        Flag("version", "print versions"),
        Flag("list-passes", "list the dlas passes: text, markdown or json", Takes.MAYBE, "format", "text"),
        Flag("show-dialects", "list the dialects"),
    ),
}
FLAGS = {flag.name: flag for flags in GROUPS.values() for flag in flags}


@dataclass
class CommandLine:
    """What was given: values by flag, the passes in order as (name, options), the input file."""

    values: dict[str, list[str]] = field(default_factory=dict)
    passes: list[tuple[str, str]] = field(default_factory=list)
    file: str = "-"

    def on(self, name: str, default: bool = False) -> bool:
        """Whether the switch `name` is on. Raises DlasError when its value is neither true nor false."""
        text = self.value(name)
        if text is None:
            return default
        if text not in ("", "true", "false", "1", "0"):
            raise DlasError(f"--{name}: expected true or false, found `{text}`")
        return text in ("", "true", "1")

    def value(self, name: str) -> str | None:
        """The value of flag `name`, the last one when it was given twice."""
        assert name in FLAGS
        return self.values[name][-1] if name in self.values else None

    def number(self, name: str) -> int | None:
        """The value of flag `name` as a number. Raises DlasError when it is none."""
        text = self.value(name)
        if text is not None and not text.isdecimal():
            raise DlasError(f"--{name}: expected a whole number, found `{text}`")
        return None if text is None else int(text)

    def listed(self, name: str) -> frozenset[str]:
        """All the words given to flag `name`."""
        return frozenset(word for text in self.values.get(name, ()) for word in text.split(",") if word)


def read(arguments: list[str]) -> CommandLine:
    """The command line. Raises DlasError for a missing value and for a second input file."""
    line = CommandLine()
    files: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            files += rest
        elif argument == "-" or not argument.startswith("-"):
            files.append(argument)
        else:
            name, equals, value = argument.lstrip("-").partition("=")
            name = "help" if name == "h" else name
            flag = FLAGS.get(name)
            if flag is None:
                line.passes.append((name, value))
                continue
            if not equals and flag.takes is Takes.VALUE:
                given = next(rest, None)
                if given is None:
                    raise DlasError(f"{argument} needs a value: {flag.usage()}")
                value = given
            line.values.setdefault(name, []).append(value if equals or value else flag.default)
    if len(files) > 1:
        raise DlasError(f"expected one input file, found {len(files)}: {', '.join(files)}")
    line.file = files[0] if files else "-"
    if any("\ud800" <= character <= "\udfff" for character in line.file):
        raise DlasError(f"{line.file}: the name is not UTF-8; rename the file")
    return line


def help_text(passes: dict[str, list[str]]) -> str:
    """The text of `--help`; `passes` are names by family."""
    lines = [
        "usage: dlas-opt [flags] [--<pass>[=<option>=<value> ...]]... [file]",
        "",
        "Runs passes over an MLIR file (or standard input) and prints the result, as mlir-opt does.",
    ]
    for title, flags in GROUPS.items():
        lines += ["", f"{title}:"]
        for flag in flags:
            usage = flag.usage()
            gap = "\n" + " " * 32 if len(usage) > 28 else " " * (30 - len(usage))
            lines.append(f"  {usage}{gap}{flag.help}")
    lines += ["", "Passes (each is a flag; what they do: --list-passes; all of MLIR's and IREE's work too):"]
    for family, names in passes.items():
        text = " ".join(f"--{name}" for name in names)
        lines += textwrap.wrap(
            text, 104, initial_indent=f"  {family:<12}", subsequent_indent=" " * 14, break_on_hyphens=False
        )
    return "\n".join(lines)
