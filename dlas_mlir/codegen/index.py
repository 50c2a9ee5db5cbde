"""Index expressions over named loops as text, `oh*2 + r` or `c - 4*(c // 4)`, without an MLIR context."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from dlas_mlir.ir.strides import Floor, Form


def print_form(form: Form, loops: Sequence[str]) -> str:
    """`form`, whose dimension i is the loop `loops[i]`, as text. Equal forms give equal text."""
    parts = sorted((_sort_key(term), _print_term(term, factor, loops)) for term, factor in form.terms)
    text = " + ".join(part for _, part in parts).replace("+ -", "- ")
    if not text:
        return str(form.constant)
    return text if not form.constant else f"{text} {'-' if form.constant < 0 else '+'} {abs(form.constant)}"


def _sort_key(term: int | Floor) -> tuple:
    if isinstance(term, Floor):
        return (1, term.divisor, sorted((_sort_key(inner), factor) for inner, factor in term.form.terms))
    return (0, term, [])


def _print_term(term: int | Floor, factor: int, loops: Sequence[str]) -> str:
    text = f"({print_form(term.form, loops)}) // {term.divisor}" if isinstance(term, Floor) else loops[term]
    if factor == 1:
        return text
    text = f"({text})" if isinstance(term, Floor) else text
    return f"-{text}" if factor == -1 else f"{text}*{factor}"


@lru_cache(maxsize=4096)
def parse_form(text: str, loops: tuple[str, ...]) -> Form:
    """The form that `text` says. Raises ValueError naming what is wrong in it: an unknown loop, another operator."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError):
        raise ValueError(f"`{text}` is no expression of loops") from None
    return _form(tree, text, loops)


def _form(tree: ast.expr, text: str, loops: tuple[str, ...]) -> Form:
    match tree:
        case ast.Name(id=name):
            if name not in loops:
                raise ValueError(f"`{text}`: there is no loop `{name}`; there are {', '.join(loops)}")
            return Form(0, frozenset({(loops.index(name), 1)}))
        case ast.Constant(value=int(value)):
            return Form(value)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _form(inner, text, loops).times(-1)
        case ast.BinOp(left=left, op=operator, right=right):
            return _binary(_form(left, text, loops), operator, _form(right, text, loops), text)
    raise ValueError(f"`{text}`: only loops, whole numbers, +, -, * and // make an index")


def _binary(left: Form, operator: ast.operator, right: Form, text: str) -> Form:
    match operator:
        case ast.Add():
            return left.plus(right)
        case ast.Sub():
            return left.plus(right.times(-1))
        case ast.Mult() if not right.terms:
            return left.times(right.constant)
        case ast.Mult() if not left.terms:
            return right.times(left.constant)
        case ast.FloorDiv() if not right.terms and right.constant > 0:
            return left.floordiv(right.constant)
    raise ValueError(f"`{text}`: only loops, whole numbers, +, -, * and // make an index")
