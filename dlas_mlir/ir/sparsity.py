"""Sparsity encodings of weights: which weights are zero together, as upstream's `#sparse_tensor.encoding`.

The weights of a layer stay a dense constant. A `sparse_tensor.convert` behind it gives them the encoded type, and is
the weights operand of the convolution or matrix product. The module is valid upstream MLIR: its sparsifier can compile
it. Here the sparse primitives read the encoding and store the non-zeros themselves; a dense primitive takes the dense
constant and leaves the encoding behind.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from iree.compiler import ir

from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build
from dlas_mlir.opt.base import PassError

CONVERT = "sparse_tensor.convert"
_DIALECT = b"sparse_tensor"
# The attribute of an encoded layer: its share of zeros; of zero blocks, where it is encoded in blocks.
SHARE = "dlas.sparsity"
_NAMES = {"g": "g", "f": "k", "c": "c", "h": "r", "w": "s"}


@dataclass(frozen=True)
class Encoding:
    """How the zeros of a layer's weights lie.

    A matrix is meant with a row for each output channel and a column for each (input channel, row, column) of the
    kernel, in this order. `csr`: any weight may be zero, rows are stored compressed. `bsr`: `block` output channels in
    succession (within a group) are zero together, in a column. `nm`: of `m` input channels in succession at most `n`
    are not zero, at each place of the kernel.
    """

    format: str
    block: int = 1
    n: int = 0
    m: int = 0

    def describe(self) -> str:
        """`csr`, `bsr 4x1` or `nm 2:4`."""
        if self.format == "csr":
            return "csr"
        return f"bsr {self.block}x1" if self.format == "bsr" else f"nm {self.n}:{self.m}"

    @staticmethod
    def parse(text: str) -> Encoding:
        """What `describe` gave. Raises DlasError."""
        if text == "csr":
            return Encoding("csr")
        if found := re.fullmatch(r"bsr ([1-9]\d*)x1", text):
            return Encoding("bsr", block=int(found[1]))
        if found := re.fullmatch(r"nm ([1-9]\d*):([1-9]\d*)", text):
            return Encoding("nm", n=int(found[1]), m=int(found[2]))
        raise DlasError(f"`{text}` is no encoding: expected csr, bsr 4x1 or nm 2:4")

    def levels(self, form: str) -> list[tuple[str, str]]:
        """The storage levels, outermost first, of weights whose dimensions are `form` (letters as in
        dlas_mlir.ir.conv): an expression of dimension letters, and the level's type."""
        rows = [x for x in "gf" if x in form]
        columns = [x for x in "chw" if x in form]
        if self.format == "nm":
            inner = [x for x in "hw" if x in form]
            dense = [(x, "dense") for x in [*rows, *inner]]
            structured = f"structured[{self.n}, {self.m}]"
            return [*dense, (f"c floordiv {self.m}", "dense"), (f"c mod {self.m}", structured)]
        if self.format == "csr":
            return [*((x, "dense") for x in rows), *_column(columns)]
        *outer, last = rows
        blocks = [(f"{last} floordiv {self.block}", "dense")]
        # One compressed level for each dimension: the sparsifier has no blocks behind levels of coordinates.
        stored = [(x, "compressed") for x in columns]
        return [*((x, "dense") for x in outer), *blocks, *stored, (f"{last} mod {self.block}", "dense")]

    def attribute(self, form: str) -> ir.Attribute:
        """The `#sparse_tensor.encoding` for weights whose dimensions are `form`."""
        dims = ", ".join(_NAMES[x] for x in form)
        levels = ", ".join(f"{_renamed(expr)} : {kind}" for expr, kind in self.levels(form))
        return ir.Attribute.parse(f"#sparse_tensor.encoding<{{ map = ({dims}) -> ({levels}) }}>")


def _column(dims: list[str]) -> list[tuple[str, str]]:
    """The levels that store where in a row a weight is: one position, and a coordinate in each dimension."""
    if len(dims) == 1:
        return [(dims[0], "compressed")]
    middle = [(x, "singleton(nonunique)") for x in dims[1:-1]]
    return [(dims[0], "compressed(nonunique)"), *middle, (dims[-1], "singleton")]


def _renamed(expr: str) -> str:
    return _NAMES[expr[0]] + expr[1:]


def share_of(op: ir.Operation) -> float | None:
    """The share of zeros that stands on a layer; None where nobody has counted."""
    attr = op.attributes.get(SHARE, None)
    return attr.value if isinstance(attr, ir.FloatAttr) else None


def check_share(op: ir.Operation) -> None:
    """Raise PassError where what stands on a layer as its share of zeros is none."""
    share = share_of(op)
    if SHARE in op.attributes and (share is None or not 0 <= share <= 1):
        raise PassError(f"`{SHARE}` is the share of zeros, a number from 0 to 1; found {op.attributes[SHARE]}", op)


def encode(weights: ir.Value, encoding: Encoding, form: str) -> ir.Value:
    """`weights` (dimensions `form`) with the encoding: a sparse_tensor.convert at the insertion point."""
    kind = ir.RankedTensorType(weights.type)
    # IREE's context lacks the dialect: its attributes and operations are kept, not checked.
    weights.context.allow_unregistered_dialects = True
    encoded = ir.RankedTensorType.get(kind.shape, kind.element_type, encoding.attribute(form))
    return ir.Operation.create(CONVERT, results=[encoded], operands=[weights]).result


def names_dialect(source: Path | bytes | str) -> bool:
    """Whether MLIR, text or bytecode, names the dialect of the encodings: a context that lacks it must then allow
    dialects that are not registered. A path is that of a file. Raises OSError when it cannot be read."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            if not source.is_file() or not file.read(1):
                return False  # a pipe, or nothing, cannot be mapped
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(_DIALECT) >= 0
    return (_DIALECT in source) if isinstance(source, bytes) else (_DIALECT.decode() in source)


def dense(value: ir.Value) -> ir.Value:
    """The dense tensor behind a conversion; `value` itself where there is none."""
    owner = value.owner
    if not isinstance(owner, ir.Block) and owner.operation.name == CONVERT:
        return owner.operation.operands[0]
    return value


def drop_encodings(module: ir.Module) -> None:
    """Give every layer that is still encoded its dense weights: iree-compile does not know encodings."""
    for op in build.operations(module):
        if op.name == CONVERT and op.operands[0].type != op.results[0].type:
            op.results[0].replace_all_uses_with(op.operands[0])
            op.erase()


def known_encoding(value: ir.Value, form: str) -> Encoding | None:
    """The encoding in the type of weights whose dimensions are `form`; None for dense ones, and for an encoding that is
    not of the three formats, or stores the dimensions in another order."""
    attr = _encoding(value)
    levels = _parse_levels(str(attr), form) if attr is not None else None
    return next((candidate for candidate in _candidates(levels) if candidate.levels(form) == levels), None)


def encoding_of(value: ir.Value, form: str) -> Encoding | None:
    """The same; but raises PassError for an encoding that is not known."""
    attr, found = _encoding(value), known_encoding(value, form)
    if found is not None or attr is None:
        return found
    known = ", ".join(str(each.attribute(form)) for each in (Encoding("csr"), Encoding("bsr", 4)))
    raise PassError(f"the encoding {attr} is none that dlas passes know, such as {known}", value.owner)


def _encoding(value: ir.Value) -> ir.Attribute | None:
    """The sparsity encoding in the type of `value`, of whatever format."""
    attr = ir.RankedTensorType(value.type).encoding
    return attr if attr is not None and str(attr).startswith("#sparse_tensor.encoding<") else None


def _parse_levels(text: str, form: str) -> list[tuple[str, str]] | None:
    """The levels of an encoding in the letters of `form`, None where it has other fields than a plain map."""
    found = re.fullmatch(r"#sparse_tensor\.encoding<\{\s*map\s*=\s*\(([^)]*)\)\s*->\s*\((.*)\)\s*\}>", text, re.DOTALL)
    if found is None:
        return None
    names = [name.strip() for name in found[1].split(",")]
    if len(names) != len(form):
        return None
    letters = dict(zip(names, form, strict=True))
    levels = []
    for part in re.split(r",(?![^\[(]*[\])])", found[2]):
        expr, _, kind = part.partition(":")
        words = expr.split()
        if not words or words[0] not in letters:
            return None
        kind = re.sub(r"\s*,\s*", ", ", "".join(kind.split()))
        levels.append((" ".join([letters[words[0]], *words[1:]]), kind))
    return levels


def _candidates(levels: list[tuple[str, str]] | None) -> list[Encoding]:
    """The encodings that levels could be of, by their numbers."""
    found = [Encoding("csr")]
    for expr, kind in levels or ():
        if structured := re.fullmatch(r"structured\[(\d+), (\d+)\]", kind):
            found.append(Encoding("nm", n=int(structured[1]), m=int(structured[2])))
        elif (block := re.search(r"floordiv (\d+)$", expr)) and int(block[1]) > 0:
            found.append(Encoding("bsr", block=int(block[1])))
    return found
