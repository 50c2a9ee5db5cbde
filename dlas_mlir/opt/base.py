"""The pass base class: a pass is a frozen dataclass whose fields are its options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from iree.compiler import ir

from dlas_mlir.opt import diagnostics


class PassError(Exception):
    """A pass cannot go on. `op` is the operation to point at; its location leads the message."""

    def __init__(self, message: str, op: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.op = op


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
) -> Any:
    """A pass option: a dataclass field of type bool, int, float, str, tuple[str, ...] or tuple[int, ...].

    In pipeline text it is written `dlas-pass{option-name=value}`, with dashes for underscores and commas
    between the elements of a tuple.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Pass:
    """Base of all passes. A subclass sets `name`, has `run`, and shows the IR before and after in its doc.

    The first paragraph of the docstring is the summary in `dlas-opt --list-passes`.
    """

    name: ClassVar[str] = ""

    def run(self, module: ir.Module) -> None:
        """Rewrite `module` in place. Raises PassError; the module is then valid, but half rewritten."""
        raise NotImplementedError

    @classmethod
    def hint(cls, option: str) -> str:
        """What to write instead of an option that the pass has not, or nothing: the end of a message."""
        return ""

    def reads(self) -> tuple[str, ...]:
        """The files that it reads beside the module: a cached artifact is stale once one of them has changed."""
        return ()


def remark(op: Any, message: str) -> None:
    """Emit a remark at `op`: something the user wants to know although nothing is wrong."""
    diagnostics.report("remark", op, message)


def warning(op: Any, message: str) -> None:
    """Emit a warning at `op`: probably not what the user wants, but the result is right."""
    diagnostics.report("warning", op, message)
