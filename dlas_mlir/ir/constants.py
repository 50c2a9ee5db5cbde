"""Constants of a module as numpy arrays, and back.

Weights are `dense_resource` attributes, whose bytes the bindings do not hand out. They are read from the resource
section of the module's own bytecode (https://mlir.llvm.org/docs/BytecodeFormat/) and remembered by key.
"""

from __future__ import annotations

import io
import math
import re
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import build
from dlas_mlir.opt.base import PassError

_DTYPES = {
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "i1": np.bool_,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "ui8": np.uint8,
    "index": np.int64,
}
_RESOURCE_SECTION, _RESOURCE_OFFSET_SECTION, _STRING_SECTION = 5, 6, 0
_LARGEST_DENSE_BF16 = 1024
_counter = iter(range(1 << 62))
# Arrays by (context, resource key), alive as long as a blob or somebody holds them.
_known: weakref.WeakValueDictionary[tuple[int, str], np.ndarray] = weakref.WeakValueDictionary()


def dtype_of(kind: ir.Type) -> np.dtype:
    """The numpy type of an element type. Raises KeyError for one that numpy lacks."""
    return np.dtype(_DTYPES[str(kind)])


def is_constant(value: ir.Value) -> bool:
    """Whether `value` is the result of an arith.constant."""
    owner = value.owner
    return not isinstance(owner, ir.Block) and owner.operation.name == "arith.constant"


def are_made_of_constants(values: Iterable[ir.Value]) -> bool:
    """Whether all of `values` are computed of constants and indices alone: iree-compile may compute them itself."""
    pending, seen = list(values), set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if isinstance(value.owner, ir.Block):
            if not _is_of_a_body(value.owner):
                return False
        else:
            pending += build.read_by(value.owner.operation)
    return True


def _is_of_a_body(block: ir.Block) -> bool:
    """Whether the arguments of `block` are elements of what an operation reads, and not what a function is given."""
    return block.owner.operation.name not in ("func.func", "util.func")


@dataclass
class Constants:
    """Reads the constants of the module that `op` is in. The first time a resource is read, the module's bytecode is
    written once."""

    op: ir.Operation

    def read(self, value: ir.Value) -> np.ndarray | None:
        """The tensor constant `value` as an array (not to be written to); None if it is no tensor constant, or of an
        element type that numpy does not have."""
        if not is_constant(value) or not isinstance(value.type, ir.RankedTensorType):
            return None
        if str(ir.RankedTensorType(value.type).element_type) not in _DTYPES:
            return None
        attr = value.owner.operation.attributes["value"]
        kind = ir.RankedTensorType(value.type)
        if not isinstance(attr, ir.DenseElementsAttr):
            flat = self._resource(_resource_key(attr), value.owner).view(dtype_of(kind.element_type))
            # Truth values may be stored as bits.
            return flat.reshape(kind.shape) if flat.size == np.prod(kind.shape) else None
        if attr.is_splat:
            scalar = attr.get_splat_value()
            return np.full(kind.shape, scalar.value, dtype_of(kind.element_type))  # type: ignore[attr-defined]
        if isinstance(kind.element_type, ir.BF16Type):
            return _from_text(str(attr)).reshape(kind.shape)
        return np.array(attr)

    def check(self, attr: ir.Attribute, owner: ir.Operation) -> None:
        """Raise PassError unless the data of the resource `attr` are there, all of them and no more."""
        kind = ir.RankedTensorType(attr.type)
        element = str(kind.element_type)
        if element not in _DTYPES or not kind.has_static_shape:
            return
        count, found = math.prod(kind.shape), self._resource(_resource_key(attr), owner).nbytes
        # Truth values may be stored as bits.
        sizes = {count * dtype_of(kind.element_type).itemsize, *((-(-count // 8),) if element == "i1" else ())}
        if found not in sizes:
            raise PassError(
                f"resource '{_resource_key(attr)}' has {found} bytes of data, and {kind} needs {max(sizes)}", owner
            )

    def _resource(self, key: str, owner: ir.Operation) -> np.ndarray:
        context = id(self.op.context)
        if (context, key) not in _known:
            self._loaded = dict(_resources(_root(self.op)))
            for name, array in self._loaded.items():
                _known.setdefault((context, name), array)
        try:
            return _known[(context, key)].reshape(-1).view(np.uint8)
        except KeyError:
            raise PassError(f"the data of resource '{key}' is not in the file (was it elided?)", owner) from None


def check_resources(module: ir.Module) -> None:
    """Raise PassError, at the operation, for a `dense_resource` whose data are not in the module, or of another size.

    MLIR's verifier does not look at them, and what is compiled would read past their end.
    """
    constants = Constants(module.operation)
    found: list[tuple[ir.Attribute, ir.Operation]] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        for named in op.attributes:
            attr = _as_resource(op.attributes[named] if isinstance(named, str) else named.attr)
            if attr is not None:
                found.append((attr, op))
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    for attr, op in found:
        constants.check(attr, op)


def constant(array: np.ndarray, hint: str = "dlas") -> ir.Value:
    """A constant tensor at the current insertion point: dense for splats and small ones, else a resource."""
    array = np.asarray(array, order="C")  # ascontiguousarray makes rank 0 rank 1
    element = {np.dtype(dtype): name for name, dtype in _DTYPES.items() if name != "index"}[array.dtype]
    kind = ir.RankedTensorType.get(array.shape, ir.Type.parse(element))
    # iree-compile may pull a small constant into a dispatch, and there cannot widen a resource of bf16.
    small = array.size <= (_LARGEST_DENSE_BF16 if element == "bf16" else 16)
    if element == "i1" or small or (array == array.flat[0]).all():
        attr = ir.DenseElementsAttr.get(array, type=kind.element_type, shape=array.shape)
        return arith.constant(kind, attr)
    attr = ir.DenseResourceElementsAttr.get_from_buffer(array, f"{hint}_{next(_counter)}", kind)
    _known[(id(kind.context), _resource_key(attr))] = array
    return arith.constant(kind, attr)


def _from_text(attr: str) -> np.ndarray:
    """The bf16 elements, flat, of a dense attribute as it prints: the bindings do not hand them out."""
    body = attr[len("dense<") : attr.rindex("> :")]
    if body.startswith('"0x'):
        return np.frombuffer(bytes.fromhex(body[3:-1]), ml_dtypes.bfloat16)
    words = re.findall(r"[^\s\[\],]+", body)
    found = [
        np.array(int(word, 16), np.uint16).view(ml_dtypes.bfloat16) if word.startswith("0x") else float(word)
        for word in words
    ]
    return np.array(found, ml_dtypes.bfloat16)


def _as_resource(attr: ir.Attribute) -> ir.DenseResourceElementsAttr | None:
    if type(attr) is not ir.Attribute:
        return None  # the bindings know all kinds but this one by themselves
    try:
        return ir.DenseResourceElementsAttr(attr)
    except ValueError:
        return None


def _resource_key(attr: ir.Attribute) -> str:
    text = str(attr)
    return text[text.index("<") + 1 : text.rindex("> :")].strip('"')


def _root(op: ir.Operation) -> ir.Operation:
    while op.parent is not None:
        op = op.parent.operation
    return op


def _resources(module: ir.Operation) -> list[tuple[str, np.ndarray]]:
    """Every blob of the module: its key and its bytes."""
    buffer = io.BytesIO()
    module.write_bytecode(buffer)
    reader = _Bytecode(buffer.getbuffer())
    sections = reader.sections()
    strings = _strings(sections[_STRING_SECTION])
    if _RESOURCE_SECTION not in sections:
        return []
    return list(_blobs(sections[_RESOURCE_SECTION], sections[_RESOURCE_OFFSET_SECTION], strings))


class _Bytecode:
    """A cursor over bytecode. Alignment is relative to the start of the file, `origin` bytes before the data."""

    def __init__(self, data: memoryview, origin: int = 0) -> None:
        self.data, self.position, self.origin = data, 0, origin

    def byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def varint(self) -> int:
        """A PrefixVarInt: the number of trailing zero bits of the first byte counts the bytes that follow."""
        first = self.byte()
        if first & 1:
            return first >> 1
        if first == 0:
            self.position += 8
            return int.from_bytes(self.data[self.position - 8 : self.position], "little")
        extra = (first & -first).bit_length() - 1
        rest = int.from_bytes(self.data[self.position : self.position + extra], "little")
        self.position += extra
        return (rest << (7 - extra)) | (first >> (extra + 1))

    def align(self, alignment: int) -> None:
        self.position += -(self.origin + self.position) % alignment

    def take(self, size: int) -> _Bytecode:
        self.position += size
        part = self.data[self.position - size : self.position]
        return _Bytecode(part, self.origin + self.position - size)

    def sections(self) -> dict[int, _Bytecode]:
        if bytes(self.data[:4]) != b"ML\xefR":
            raise ValueError("not MLIR bytecode")
        self.position = 4
        self.varint()
        while self.byte():
            pass
        found = {}
        while self.position < len(self.data):
            kind = self.byte()
            size = self.varint()
            if kind & 0x80:
                self.align(self.varint())
            found[kind & 0x7F] = self.take(size)
        return found


def _strings(section: _Bytecode) -> list[str]:
    """The string table: sizes (with the closing zero) in reverse order, then the text."""
    sizes = [section.varint() for _ in range(section.varint())][::-1]
    texts = []
    for size in sizes:
        texts.append(bytes(section.take(size).data[:-1]).decode())
    return texts


def _blobs(resources: _Bytecode, offsets: _Bytecode, strings: list[str]):
    groups = offsets.varint()
    # External groups and dialect groups have the same form: key, count, and per resource key, size, kind.
    seen = 0
    while offsets.position < len(offsets.data):
        offsets.varint()
        for _ in range(offsets.varint()):
            key, size, kind = strings[offsets.varint()], offsets.varint(), offsets.byte()
            entry = resources.take(size)
            if kind == 0 and size:  # one without data is only named
                alignment, length = entry.varint(), entry.varint()
                entry.align(alignment)
                yield key, np.frombuffer(entry.take(length).data, np.uint8)
        seen += 1
    if seen < groups:
        raise ValueError("truncated resource section")
