"""`Workload`: what one kernel computes, as a value that no live IR belongs to.

A workload is read from a dispatch region (dlas_mlir/codegen/read_workload.py) and can be made one again
(write_workload.py). It is frozen, hashable, and has one canonical form in JSON. Weights are not part of it: of sparse
ones there is a summary.

Three keys name it, each the SHA-256 of a part:
- `exact` of all of it: the same kernel.
- `anchor` of the loops and of the root (the contraction or whatever else is computed first) with its accesses and
  types: the same work, whatever is done to the result.
- `family` of the root's loops by name and kind, its body, types and instruction, and which loops each operand is
  indexed by: no extents, strides or kernel sizes. Schedules of one family can be fitted to one another.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec

from dlas_mlir.codegen.index import parse_form
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.strides import Form

VERSION = 1
# On a kernel: the exact key of the workload that it does.
ATTRIBUTE = "dlas.workload"


def element_bits(element: str) -> int:
    """The bits of an element type such as `f32` or `i1`, in whole bytes."""
    digits = "".join(char for char in element if char.isdigit())
    return max(8, int(digits or 64))


class Loop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One loop of the root, over `extent` iterations."""

    name: str
    extent: int
    kind: Literal["parallel", "reduction"]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor that the kernel reads or updates: its shape and the MLIR type of its elements."""

    shape: tuple[int, ...]
    element: str


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="access"):
    """An operand read from tensor number `tensor`, of which the operation sees `shape` from `offsets` on. `index` has
    an expression over the loops for each dimension, `zeros` how many elements at either end of each are known to be
    zero (none given: nothing is known). Beyond the ends of the tensor `outside` is read, an MLIR attribute with its
    type (none given: nothing there is). `rounded` is the type that elements may be rounded to before they are
    multiplied (none given: they may not)."""

    tensor: int
    index: tuple[str, ...]
    shape: tuple[int, ...]
    offsets: tuple[int, ...]
    zeros: tuple[tuple[int, int], ...] = ()
    outside: str = ""
    rounded: str = ""


class Computed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="stage"):
    """An operand that stage number `stage` has computed, element by element."""

    stage: int


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="constant"):
    """An operand that is `value`, an MLIR attribute with its type, everywhere."""

    value: str


Operand = Access | Computed | Constant


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operation of a body: `operands` are `in0`, `in1` ... (the inputs), `init` (the last argument), `%0`, `%1` ...
    (earlier steps) or attributes with their type. `attributes` is MLIR's text of them, `type` that of the result."""

    op: str
    operands: tuple[str, ...]
    type: str
    attributes: str = ""


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One linalg.generic: its inputs (None: not used), what it starts from, its body and the instruction that does its
    innermost loop, if one does, with how many elements of the last step are filler that may be infinite."""

    inputs: tuple[Operand | None, ...]
    input_elements: tuple[str, ...]
    initial: Operand | None
    element: str
    body: tuple[Step, ...]
    yields: str
    dot: str | None = None
    dot_filler: int = 0


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One result of the kernel: what `stage` computes, padded by `low` and `high` with `pad`, and inserted `at` a place
    of a tensor of `shape` (of tensor number `into`, which is updated; None: of one that is left unwritten else)."""

    stage: int
    low: tuple[int, ...]
    high: tuple[int, ...]
    pad: str | None
    shape: tuple[int, ...]
    at: tuple[int, ...]
    into: int | None = None


class Sparsity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of sparse weights: `nonzeros` blocks of `block` output channels are kept."""

    block: Annotated[int, msgspec.Meta(ge=1)]
    nonzeros: Annotated[int, msgspec.Meta(ge=0)]


class Producer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tensor number `tensor` is, where no other kernel computes it: the result of `workload`."""

    tensor: int
    workload: Workload


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The loops of the root, the tensors, the stages (the root first) and the results. `out` names the loop of each
    dimension of the result, None where a dimension is one element. With a `producer` there are two roots: what it
    computes is read by this one, and has tensors of its own."""

    loops: tuple[Loop, ...]
    out: tuple[str | None, ...]
    tensors: tuple[Tensor, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[Output, ...]
    sparsity: Sparsity | None = None
    version: int = VERSION
    producer: Producer | None = None

    @property
    def root(self) -> Stage:
        """The stage that all loops belong to."""
        return self.stages[0]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the loops."""
        return tuple(loop.name for loop in self.loops)

    @cached_property
    def extents(self) -> dict[str, int]:
        """The extent of each loop."""
        return {loop.name: loop.extent for loop in self.loops}

    @cached_property
    def reductions(self) -> tuple[str, ...]:
        """The loops that are summed over."""
        return tuple(loop.name for loop in self.loops if loop.kind == "reduction")

    @cached_property
    def parallel(self) -> tuple[str, ...]:
        """The loops of the result in the order of its dimensions, then the other parallel ones."""
        out = [name for name in self.out if name is not None]
        rest = [loop.name for loop in self.loops if loop.kind == "parallel" and loop.name not in out]
        return (*out, *rest)

    def forms(self, access: Access) -> tuple[Form, ...]:
        """The index of an access as exact forms, whose dimension i is loop i."""
        return tuple(parse_form(text, self.names) for text in access.index)

    def loops_of(self, access: Access) -> frozenset[str]:
        """The loops that an access is indexed by."""
        return frozenset(self.names[dim] for form in self.forms(access) for dim in form.dims())

    @cached_property
    def macs(self) -> int:
        """Iterations of all loops: the multiply-accumulates of a contraction, zeros included."""
        own = math.prod(loop.extent for loop in self.loops)
        return own + (self.producer.workload.macs if self.producer else 0)

    @cached_property
    def exact(self) -> str:
        """The key of the same kernel."""
        return _digest(self._plain())

    @cached_property
    def anchor(self) -> str:
        """The key of the same work at the root."""
        root = self.root
        used = [item.tensor for item in root.inputs if isinstance(item, Access)]
        tensors = [msgspec.to_builtins(self.tensors[i]) for i in dict.fromkeys(used)]
        parts = [self.loops, self.out, root, self.sparsity, self.version]
        made = [self.producer.workload.anchor] if self.producer else []
        return _digest([*map(msgspec.to_builtins, parts), tensors, *made])

    @cached_property
    def family(self) -> str:
        """The key of what schedules can be fitted from."""
        root = self.root
        operands = [
            sorted(self.loops_of(item)) if isinstance(item, Access) else type(item).__name__ for item in root.inputs
        ]
        block = self.sparsity.block if self.sparsity else None
        loops = [(loop.name, loop.kind) for loop in self.loops]
        body = [msgspec.to_builtins(step) for step in root.body]
        made = [self.producer.workload.family] if self.producer else []
        return _digest([loops, self.out, operands, root.input_elements, root.element, body, root.dot, block, *made])

    def to_json(self) -> str:
        """The canonical form: keys sorted, no blanks."""
        return _canonical(self._plain())

    def _plain(self) -> dict[str, Any]:
        """All of it as Python values; a producer only where there is one."""
        found = msgspec.to_builtins(self)
        made = found.pop("producer")
        if self.producer is not None:
            found["producer"] = {**made, "workload": self.producer.workload._plain()}
        return found

    @staticmethod
    def from_json(text: str | bytes, where: str = "workload") -> Workload:
        """The workload that `to_json` wrote. Raises DlasError that names `where` and the key that is wrong."""
        try:
            raw = msgspec.json.decode(text)
            version = raw.get("version") if isinstance(raw, dict) else None
            if version != VERSION:
                raise DlasError(f"{where}: this is version {version} of a workload; this program reads {VERSION}")
            found = msgspec.convert(raw, Workload)
            found.check()
        except msgspec.MsgspecError as error:
            raise DlasError(f"{where}: {error}") from None
        except ValueError as error:
            raise DlasError(f"{where}: {error}") from None
        return found

    def check(self) -> None:
        """Raise ValueError for a workload that does not hold together: a tensor, stage or loop that there is not."""
        if len(set(self.names)) != len(self.names):
            raise ValueError("two loops have one name")
        if not self.stages or not self.outputs:
            raise ValueError("a workload has a stage and a result at least")
        for loop in self.loops:
            if loop.extent < 1 or not loop.name.isidentifier():
                raise ValueError(f"loop `{loop.name}` of extent {loop.extent}")
        for number, stage in enumerate(self.stages):
            for item in (*stage.inputs, stage.initial):
                self._check_operand(item, number)
        for output in self.outputs:
            if output.stage >= len(self.stages) or (output.into or 0) >= max(1, len(self.tensors)):
                raise ValueError(f"a result of stage {output.stage} into tensor {output.into}")
        if self.producer is not None:
            self._check_producer(self.producer)

    def _check_producer(self, producer: Producer) -> None:
        made = producer.workload
        made.check()
        if made.producer is not None or len(made.outputs) != 1:
            raise ValueError("a producer has one result and no producer itself")
        if not 0 <= producer.tensor < len(self.tensors):
            raise ValueError(f"there is no tensor {producer.tensor}")
        kind, result = self.tensors[producer.tensor], made.outputs[0]
        if (kind.shape, kind.element) != (result.shape, made.stages[result.stage].element):
            raise ValueError(f"tensor {producer.tensor} is not what its producer computes")

    def _check_operand(self, item: Operand | None, number: int) -> None:
        if isinstance(item, Computed) and item.stage >= number:
            raise ValueError(f"stage {number} reads stage {item.stage}, which is not computed before it")
        if isinstance(item, Access):
            if not 0 <= item.tensor < len(self.tensors):
                raise ValueError(f"there is no tensor {item.tensor}")
            rank = len(self.tensors[item.tensor].shape)
            if {len(item.index), len(item.shape), len(item.offsets)} != {rank}:
                raise ValueError(f"an access of tensor {item.tensor} has not {rank} dimensions")
            if item.zeros and (why := zeros_problem(item.zeros, item.shape)) is not None:
                raise ValueError(f"an access of tensor {item.tensor}: {why}")
            self.forms(item)


def zeros_problem(zeros: tuple[tuple[int, int], ...], shape: tuple[int, ...]) -> str | None:
    """Why `zeros` cannot be what is known to be zero at the ends of a tensor of `shape`, or None."""
    if len(zeros) != len(shape):
        return f"zeros at the ends of {len(zeros)} dimensions; there are {len(shape)}"
    for (low, high), size in zip(zeros, shape, strict=True):
        if min(low, high) < 0 or low + high > size:
            return f"{low} and {high} zeros at the ends of a dimension of {size}"
    return None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()
