"""Primitives: ways to compute a convolution or linear layer, each one object.

A primitive is a frozen dataclass whose fields are its options. `applies` says of a layer's algebra whether and with
what options it does it, `estimate` what that costs, `lower` builds it. What is chosen stands in the IR, as
`dlas.primitive` and `dlas.options`, before anything is lowered; dlas-select-primitive writes it and dlas-lower-NAME
obeys, and both ask the same object.

A primitive of this project is a file `passes/primitive/lower_NAME.py`; one of another package is an entry point in the
group `dlas_mlir.primitives`: its name is the primitive's, its value the class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.read_workload import ROUNDED
from dlas_mlir.codegen.target import CpuTarget, GpuTarget, Target
from dlas_mlir.codegen.workload import element_bits
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import attributes, build, conv
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import Pass, PassError, remark
from dlas_mlir.opt.options import print_pass, specs_of
from dlas_mlir.opt.pipeline import instance
from dlas_mlir.opt.pipeline_text import PassNode, PipelineError, Source, parse_text
from dlas_mlir.opt.registry import all_pass_names, pass_class

# What stands on a layer, and on the operation that does it once it is lowered: its name, the primitive with its
# options, the algebra.
LAYER, PRIMITIVE, OPTIONS, SHAPE = "dlas.layer", "dlas.primitive", "dlas.options", "dlas.shape"
# On the module: the layers that have become kernels.
LAYERS = "dlas.layers"
# Why primitives do not apply.
NOT_SPATIAL = "a linear layer has no spatial dimensions"
NO_BLOCK = "the target has no CPU vectors and no block is given"
_PREFIX = "dlas-lower-"


@dataclass(frozen=True)
class Estimate:
    """What a layer is expected to cost: `work` is in multiply-adds of a dense kernel on the target, so that of a dense
    primitive is the layer's own; `why` says in words what it comes from."""

    work: float
    why: str = ""


@dataclass(frozen=True)
class Primitive:
    """Base of all primitives; a subclass sets `name`, has `applies` and `lower`, and shows the IR before and after in
    its docstring, which is that of the pass dlas-lower-NAME."""

    name: ClassVar[str] = ""

    def applies(self, shape: ConvShape, target: Target) -> Primitive | str:
        """The primitive with the options that `shape` would be lowered with on `target` (what is left open is
        decided), or why it does not apply."""
        raise NotImplementedError

    @classmethod
    def variants(cls, target: Target) -> tuple[Primitive, ...]:
        """With which options a choice by measurement tries it: those that are decided, others that may be faster."""
        return (cls(),)

    def estimate(self, shape: ConvShape, target: Target) -> Estimate | None:
        """What `shape`, to which it applies, costs; None where nobody can tell."""
        return Estimate(shape.macs)

    def lower(self, convolution: conv.Convolution, target: Target) -> ir.Value:
        """Build the primitive, as `applies` has returned it, at the insertion point; returns [N, K, OH, OW]. The root
        of what is built is marked with `mark`."""
        raise NotImplementedError

    def layout_of_images(self) -> str:
        """The layout in which this primitive, as `applies` has returned it, reads and writes images, as a name: where
        two that follow each other have different ones, a copy stands between."""
        block = getattr(self, "block", 0)
        return f"nchw{block}c" if block else "nchw"

    def is_met_by(self, other: Primitive) -> bool:
        """Whether `other` is the same primitive, with the options that this one says."""
        given = {spec.field: getattr(self, spec.field) for spec in specs_of(type(self))}
        said = {spec.field for spec in specs_of(type(self)) if given[spec.field] != spec.default}
        return type(other) is type(self) and all(given[field] == getattr(other, field) for field in said)

    def __str__(self) -> str:
        """`spatial-pack{block=8}`: the name, and the options that differ from their defaults."""
        return print_pass(self)

    @classmethod
    def as_pass(cls) -> type[LowerPrimitivePass]:
        """The pass dlas-lower-NAME."""
        members = {
            "name": f"{_PREFIX}{cls.name}",
            "primitive": cls,
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
        }
        return type(f"Lower{cls.__name__}Pass", (LowerPrimitivePass,), members)


@dataclass(frozen=True)
class LowerPrimitivePass(Pass):
    """Base of the passes that lower the layers marked with one primitive, with the options that stand there."""

    primitive: ClassVar[type[Primitive]]

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        # Lowering one may erase others that are no convolutions (the collapse of groups behind it).
        marked = [op for op in build.operations(module) if marked_with(op) == self.primitive.name]
        for convolution in [found for op in marked if (found := conv.view(op)) is not None]:
            op = convolution.op
            asked = chosen(op)
            found = asked.applies(convolution.shape, target)
            if isinstance(found, str):
                raise PassError(f"'{asked}' cannot do {convolution.shape.describe()}: {found}", op)
            write(op, found, asked)
            with ir.InsertionPoint(op), op.location:
                convolution.replace(found.lower(convolution, target))
        build.erase_dead(module)

    @classmethod
    def hint(cls, option: str) -> str:
        if option not in {spec.name for spec in specs_of(cls.primitive)}:
            return ""
        name = cls.primitive.name
        return (
            f": it is an option of the primitive, which is chosen as dlas-select-primitive{{primitive={name}"
            f"{{{option}=...}}}}, or in the IR by {OPTIONS} = {{{option.replace('-', '_')} = ...}}"
        )


def names() -> list[str]:
    """The names of all primitives, those of other packages last."""
    found = [name.removeprefix(_PREFIX) for name in all_pass_names() if name.startswith(_PREFIX)]
    return [name for name in found if issubclass(pass_class(_PREFIX + name), LowerPrimitivePass)]


def variants(target: Target) -> list[Primitive]:
    """All primitives, each with every option that a choice by measurement tries."""
    return [variant for name in names() for variant in primitive_class(name).variants(target)]


def primitive_class(name: str) -> type[Primitive]:
    """The class of the primitive `name`. Raises ValueError that lists them when there is none."""
    if name not in names():
        raise ValueError(f"there is no primitive '{name}'; there are {', '.join(names())}")
    lowering = pass_class(_PREFIX + name)
    assert issubclass(lowering, LowerPrimitivePass)
    return lowering.primitive


def parse(text: str) -> Primitive:
    """The primitive written as `NAME` or `NAME{option=value ...}`. Raises ValueError that says what is wrong."""
    source = Source(text, "primitive")
    try:
        nodes = parse_text(source)
        if len(nodes) != 1 or not isinstance(nodes[0], PassNode):
            raise ValueError(f"`{text}` is no primitive with options, such as spatial-pack{{block=8}}")
        return instance(primitive_class(nodes[0].name), nodes[0], source)
    except PipelineError as error:
        raise ValueError(f"primitive `{text}`: {error.message}") from None


def marked_with(op: ir.Operation) -> str | None:
    """The name of the primitive that `op` is marked with."""
    return attributes.text(op, PRIMITIVE) if PRIMITIVE in op.attributes else None


def chosen(op: ir.Operation) -> Primitive:
    """The primitive that `op` is marked with, with its options. Raises PassError for a name, an option or a value that
    there is not."""
    try:
        cls = primitive_class(attributes.text(op, PRIMITIVE))
        return cls(**_options(op, cls))
    except ValueError as error:
        raise PassError(str(error), op) from None


def _options(op: ir.Operation, cls: type[Primitive]) -> dict[str, Any]:
    """The fields of `cls` that `dlas.options` sets. Raises ValueError."""
    if OPTIONS not in op.attributes:
        return {}
    values = attributes.plain(op, OPTIONS)
    specs = {spec.field: spec for spec in specs_of(cls)}
    for key, value in values.items():
        if key not in specs:
            known = f"it has {', '.join(specs)}" if specs else "it has none"
            raise ValueError(f"`{OPTIONS}`: '{cls.name}' has no option `{key}`; {known}")
        if type(value) is not specs[key].element:
            raise ValueError(f"`{OPTIONS}`: `{key}`: expected {specs[key].type_text}, found {value}")
        try:
            specs[key].check(value)
        except ValueError as error:
            raise ValueError(f"`{OPTIONS}`: `{key}`: {error}") from None
    return dict(values)


def write(op: ir.Operation, primitive: Primitive, asked: Primitive | None = None) -> None:
    """Write the choice on a layer, and all its options. Where `asked` has wanted another value of an option, say so."""
    layer = conv.layer_name(op)
    if asked is not None and not asked.is_met_by(primitive):
        remark(op, f"layer '{layer}': '{asked}' does not fit; '{primitive}' is taken instead")
    op.attributes[LAYER] = ir.StringAttr.get(layer)
    op.attributes[PRIMITIVE] = ir.StringAttr.get(primitive.name)
    if OPTIONS in op.attributes:
        del op.attributes[OPTIONS]
    if values := dataclasses.asdict(primitive):
        op.attributes[OPTIONS] = attributes.from_plain(values)


def mark(op: ir.Operation | ir.OpView, convolution: conv.Convolution) -> None:
    """Carry the layer's name, primitive, options and algebra over to the operation that now does it."""
    marks, given = op.operation.attributes, convolution.op.attributes
    marks[LAYER] = ir.StringAttr.get(conv.layer_name(convolution.op))
    for key in (PRIMITIVE, OPTIONS, ROUNDED):
        if key in given:
            marks[key] = given[key]
    marks[SHAPE] = attributes.from_plain(convolution.shape.to_plain())


@dataclass(frozen=True)
class Layer:
    """A layer as reports and records list it. `options` are those of the primitive."""

    name: str
    primitive: str
    options: Mapping[str, Any]
    shape: ConvShape

    def to_plain(self) -> dict[str, Any]:
        """An entry of `dlas.layers`, with the multiply-accumulates of one run."""
        given = {"options": dict(self.options)} if self.options else {}
        shape = {"macs": self.shape.macs, "shape": self.shape.to_plain()}
        return {"layer": self.name, "primitive": self.primitive, **given, **shape}


def layer_of(op: ir.Operation) -> Layer | None:
    """The layer that a lowered operation does; None where it is marked as none. Raises PassError for marks that are
    missing or wrong."""
    if PRIMITIVE not in op.attributes:
        return None
    name, primitive = (attributes.text(op, key) for key in (LAYER, PRIMITIVE))
    try:
        shape = ConvShape.from_plain(attributes.plain(op, SHAPE))
        options = attributes.plain(op, OPTIONS) if OPTIONS in op.attributes else {}
    except DlasError as error:
        raise PassError(f"`{SHAPE}`: {error}", op) from None
    return Layer(name, primitive, options, shape)


def check_lowered(op: ir.Operation) -> None:
    """Raise PassError where `op` is a layer that is still to be lowered."""
    name = marked_with(op)
    if name is not None and op.name != "linalg.generic":
        layer = attributes.text(op, LAYER) if LAYER in op.attributes else conv.layer_name(op)
        raise PassError(
            f"layer '{layer}' is marked with the primitive '{name}', and nothing has lowered it: {_PREFIX}{name} "
            "belongs in the pipeline before this pass",
            op,
        )


def block_of(given: int, target: Target) -> int | None:
    """Channels in a block: as many as are `given`, else the lanes of a CPU's vectors, None for a GPU."""
    return given or (target.lanes() if isinstance(target, CpuTarget) else None)


def packed_block(given: int, shape: ConvShape, target: Target) -> int:
    """Channels in a block of a packed layout: as many as are `given`, else the lanes of a CPU's vectors, or what a
    thread of a GPU loads at once."""
    if (block := block_of(given, target)) is not None:
        return block
    assert isinstance(target, GpuTarget)
    return min(target.lanes, target.load_bytes * 8 // element_bits(shape.element))


def initial(convolution: conv.Convolution, shape: list[int], laid_out: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """The initial accumulator as a tensor of `shape`: a fill where all its elements are one constant, else what
    `laid_out` makes of it as [N, K, OH, OW]."""
    uniform = convolution.uniform_initial()
    if uniform is not None:
        return build.fill(arith.constant(convolution.accumulator, uniform), shape)
    return laid_out(convolution.initial_nchw())
