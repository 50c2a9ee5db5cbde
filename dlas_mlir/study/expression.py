"""Expressions over axes and metrics: exclusions, filters and limits.

The grammar is a part of Python's: names of columns, comparisons (chained too), `and`, `or`, `not`, `in`, numbers,
strings, tuples of them, and `like(NAME, "pattern*")`, which matches as a shell does. Nothing else is evaluated.
"""

from __future__ import annotations

import ast
import fnmatch
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.opt.options import closest

_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_ALLOWED = 'names, numbers, "text", == != < <= > >=, in (..), and, or, not, like(NAME, "pattern*")'


class ExpressionError(DlasError):
    """What is wrong in an expression, and at which column."""


@dataclass(frozen=True)
class Expression:
    """An expression that was read: `test` says whether it holds. `names` are the columns that it looks at."""

    text: str
    names: frozenset[str]
    _code: Any = field(repr=False, compare=False)

    def test(self, columns: Mapping[str, Any]) -> bool:
        """Whether it holds for these columns; not where one that decides is missing or no number."""
        try:
            return bool(eval(self._code, {"__builtins__": {}, "like": _like}, columns))
        except (NameError, KeyError, TypeError):
            return False


def parse(text: str, levels: Mapping[str, Iterable[Any] | None]) -> Expression:
    """Read `text`. `levels` are the columns that there are, with the levels of those that have a few (None: any
    number). Raises ExpressionError."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        offset = getattr(error, "offset", None)
        where = "" if offset is None else f", column {offset or len(text.rstrip())}"  # 0: at the end
        raise ExpressionError(
            f"`{text}`{where}: {getattr(error, 'msg', None) or error}; allowed are {_ALLOWED}"
        ) from None
    reader = _Reader(text, {name: None if found is None else tuple(found) for name, found in levels.items()})
    reader.condition(tree.body)
    return Expression(text, frozenset(reader.names), compile(tree, "<expression>", "eval"))


def holds(expression: Expression | None, columns: Mapping[str, Any]) -> bool:
    """Whether it holds; no expression always does."""
    return expression is None or expression.test(columns)


def _like(value: Any, pattern: str) -> bool:
    return fnmatch.fnmatchcase(str(value), pattern)


class _Reader:
    """Walks the tree; whatever it does not know is an error."""

    def __init__(self, text: str, levels: Mapping[str, tuple[Any, ...] | None]) -> None:
        self.text = text
        self.levels = levels
        self.names: set[str] = set()

    def condition(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self.condition(value)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand)
        elif isinstance(node, ast.Compare):
            self._comparison(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif not (isinstance(node, ast.Constant) and isinstance(node.value, bool)):
            raise self._error(node, f"this is no condition; allowed are {_ALLOWED}")

    def _comparison(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
            if not isinstance(operator, _COMPARISONS):
                raise self._error(right, f"this comparison is not known; allowed are {_ALLOWED}")
            member = isinstance(operator, ast.In | ast.NotIn)
            values = self._values(right, group=member)
            found = self._values(left)
            if member and not isinstance(right, ast.Tuple | ast.List | ast.Set):
                raise self._error(right, "`in` goes with several values in brackets, as in ('a', 'b')")
            for name, others in ((self._name(left), values), (self._name(right), found)):
                if name is not None:
                    for other in others:
                        self._fits(name, other, ordered=isinstance(operator, _ORDERED))

    def _call(self, node: ast.Call) -> None:
        good = isinstance(node.func, ast.Name) and node.func.id == "like" and len(node.args) == 2 and not node.keywords
        if not good or self._name(node.args[0]) is None or not isinstance(_constant(node.args[1]), str):
            raise self._error(node, 'the only call is like(NAME, "pattern*")')
        self._values(node.args[0])

    def _values(self, node: ast.expr, *, group: bool = False) -> list[ast.expr]:
        if group and isinstance(node, ast.Tuple | ast.List | ast.Set):
            return [value for each in node.elts for value in self._values(each)]
        if isinstance(node, ast.Name):
            if node.id not in self.levels:
                known = ", ".join(self.levels)
                raise self._error(node, f"there is no `{node.id}`{closest(node.id, self.levels)}; there are {known}")
            self.names.add(node.id)
            return []
        value = _constant(node)
        if isinstance(value, str | int | float) and not (isinstance(value, float) and math.isnan(value)):
            return [node]
        raise self._error(node, f"expected a name, a number or a text; allowed are {_ALLOWED}")

    def _name(self, node: ast.expr) -> str | None:
        return node.id if isinstance(node, ast.Name) else None

    def _fits(self, name: str, node: ast.expr, *, ordered: bool) -> None:
        """A level that an axis has not is a slip of the pen: the expression would never hold."""
        known, value = self.levels[name], _constant(node)
        if known is None:
            if isinstance(value, str):
                raise self._error(node, f"`{name}` is a number, and {value!r} is none")
            return
        numbers = all(isinstance(level, int) for level in known)
        if numbers != isinstance(value, int | float):
            raise self._error(node, f"`{name}` is a {'number' if numbers else 'text'}, and {value!r} is none")
        if ordered and not numbers:
            raise self._error(node, f"`{name}` is a text: it can be compared by ==, != and in")
        if not ordered and value not in known:
            listed = ", ".join(map(str, known))
            raise self._error(
                node, f"{value!r} is no level of `{name}`{closest(str(value), map(str, known))}; it has {listed}"
            )

    def _error(self, node: ast.expr, message: str) -> ExpressionError:
        return ExpressionError(f"`{self.text}`, column {node.col_offset + 1}: {message}")


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        return -value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return node.value if isinstance(node, ast.Constant) and not isinstance(node.value, bool) else None
