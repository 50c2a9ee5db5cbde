"""Which layer each dispatch comes from: read from the IR that iree-compile prints on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dlas_mlir.codegen import workload

# Printed after equal dispatches are merged, when their names are final; the weights are left out.
PRINT_FLAGS = (
    "--mlir-print-ir-after=iree-flow-deduplicate-executables",
    "--mlir-print-debuginfo",
    "--mlir-elide-resource-strings-if-larger=4",
    "--mlir-elide-elementsattrs-if-larger=4",
)

_DUMP = "// -----// IR Dump After"
_SYMBOL = re.compile(r"^ {0,2}(?:util\.func|func\.func|util\.initializer|flow\.executable)\b(?:[^@(]*@([\w$.]+))?")
_DISPATCH = re.compile(r"flow\.dispatch .*?@[\w$.]+::@([\w$.]+)")
_KEY = re.compile(rf'{re.escape(workload.ATTRIBUTE)} = "([0-9a-f]+)"')
# The last lines of a dump: locations, and the resources that are not left out.
_END = re.compile(r"^(?:#loc\d* = loc\(.*\)|#-\})$", re.MULTILINE)
_ALIAS = re.compile(r"^(#loc\d*) = loc\((.*)\)$", re.MULTILINE)
# Layers are name locations; one after `at` is the caller's, a string before a colon is a file's.
_NAME = re.compile(r'(?<!at )(?:"([^"]+)"(?!:\d)|(#loc\d*))')


def split_dump(stderr: str) -> tuple[str, str]:
    """What iree-compile printed on stderr: the IR dump of the module, and the rest.

    The dumps before it are of the functions that compute constants. A dump ends with the locations that it names; what
    comes after them are messages of later stages.
    """
    plain, *dumps = stderr.split(_DUMP)
    ends = [max((match.end() for match in _END.finditer(dump)), default=len(dump)) for dump in dumps]
    messages = [dump[end:].lstrip("\n") for dump, end in zip(dumps, ends, strict=True)]
    return (dumps[-1] if dumps else ""), "".join([plain, *messages])


def parse_dispatches(dump: str, function: str = "main") -> list[dict[str, str]]:
    """The dispatches of `function` in program order: `name` of the code, the `layer` it comes from and the key of the
    `workload` whose kernel it is (each may be empty)."""
    aliases = dict(_ALIAS.findall(dump))
    found: list[dict[str, str]] = []
    inside = False
    for line in dump.splitlines():
        if symbol := _SYMBOL.match(line):
            # Where results are passed in as storage, what is called is a shell around `_main`.
            inside = (symbol.group(1) or "").split("$")[0] in (function, f"_{function}")
        if inside and (dispatch := _DISPATCH.search(line)):
            layer = next(_names(line.rpartition(" loc(")[2], aliases), "")
            key = _KEY.search(line)
            found.append({"name": dispatch.group(1), "layer": layer, "workload": key.group(1) if key else ""})
    return found


def _names(location: str, aliases: dict[str, str]) -> Iterator[str]:
    """The names in a printed location, in order."""
    for name, alias in _NAME.findall(location):
        if name:
            yield name
        else:
            yield from _names(aliases.get(alias, ""), aliases)
