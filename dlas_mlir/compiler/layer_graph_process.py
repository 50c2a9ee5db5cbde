"""Lists the layers of a network, what may do each, and what ties them together; for a process of its own."""

from __future__ import annotations

from typing import Any

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build, conv
from dlas_mlir.ir.constants import is_constant
from dlas_mlir.opt.base import PassError
from dlas_mlir.opt.pipeline import PassFailure, parse_pipeline
from dlas_mlir.passes.primitives import PRIMITIVE, Primitive, chosen, marked_with, variants

# What hands the layout of its operands on to its result, see dlas-propagate-layouts.
_HANDS_ON = (
    "linalg.generic",
    "linalg.pooling_nchw_max",
    "linalg.pooling_nchw_sum",
    "tensor.concat",
    "tensor.pad",
)


def run(source: str, before: str, select: str) -> dict[str, Any]:
    """The layers of the file `source` after the passes `before`, in order, as values; `select` chooses for those
    that are not chosen for otherwise. Raises DlasError."""
    with ir.Context() as context:
        context.allow_unregistered_dialects = True
        said: list[str] = []
        context.attach_diagnostic_handler(lambda info: said.append(str(info.message)) or True)
        try:
            module = ir.Module.parseFile(source, context)
            parse_pipeline(before, context).run(module)
            layers, groups = _Graph(module).layers()
            parse_pipeline(select, context).run(module)
            marked = {conv.layer_name(op): chosen(op) for op in build.operations(module) if marked_with(op)}
            rule = {name: (str(primitive), primitive.layout_of_images()) for name, primitive in marked.items()}
        except PassFailure as failure:
            raise DlasError(str(failure) if failure.diagnostics else "\n".join(said)) from None
        except (ir.MLIRError, PassError) as error:
            raise DlasError("\n".join([*said, str(error)])) from None
    found = [{**layer, "rule": rule[layer["name"]]} for layer in layers if layer["name"] in rule]
    return {"layers": found, "groups": groups}


class _Graph:
    """The values of a network in groups: all that has one layout, for each operation between hands it on."""

    def __init__(self, module: ir.Module) -> None:
        self._target = Target.of(module)
        self._variants = variants(self._target)
        self._operations = build.operations(module)
        self._parents: dict[Any, Any] = {}

    def layers(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Each layer with its groups, and the group of every other operation's name."""
        for op in self._operations:
            if op.name in _HANDS_ON and len(op.results) == 1:
                for operand in op.operands:
                    if _is_image(operand) and not is_constant(operand) and _is_computed(operand):
                        self._join(operand, op.results[0])
        numbers: dict[Any, int] = {}

        def group(value: ir.Value) -> int:
            return numbers.setdefault(self._root(_key(value)), len(numbers))

        found, names = [], {}
        for op in self._operations:
            view = conv.view(op)
            if view is not None:
                shape = view.shape
                size_in = shape.batch * shape.in_channels * shape.in_size[0] * shape.in_size[1]
                found.append(
                    {
                        "name": conv.layer_name(op),
                        "shape": shape.describe(),
                        "candidates": self._those_of(view),
                        "input": group(op.operands[0]),
                        "output": group(op.results[0]),
                        "sizes": [size_in, shape.batch * shape.out_channels * shape.out_size[0] * shape.out_size[1]],
                    }
                )
            elif op.name in _HANDS_ON and len(op.results) == 1 and _is_image(op.results[0]):
                names.setdefault(conv.layer_name(op), group(op.results[0]))
        return found, names

    def _those_of(self, view: conv.Convolution) -> list[tuple[str, str, str]]:
        """The primitives that do a layer: as they are asked for, with the options that they then have, and the layout
        of each."""
        wanted = [chosen(view.op)] if PRIMITIVE in view.op.attributes else self._variants
        found = []
        for variant in wanted:
            taken = variant.applies(view.shape, self._target)
            if isinstance(taken, Primitive):
                found.append((str(variant), str(taken), taken.layout_of_images()))
        return found

    def _join(self, one: ir.Value, other: ir.Value) -> None:
        self._parents[self._root(_key(one))] = self._root(_key(other))

    def _root(self, key: Any) -> Any:
        while key in self._parents and self._parents[key] != key:
            key = self._parents[key]
        return key


def _key(value: ir.Value) -> Any:
    """A key for a value: its operation and which result it is, or which argument."""
    owner = build.defining(value)
    if owner is None:
        return ("argument", ir.BlockArgument(value).arg_number)
    return (build.identity(owner), ir.OpResult(value).result_number)


def _is_image(value: ir.Value) -> bool:
    return isinstance(value.type, ir.RankedTensorType) and ir.RankedTensorType(value.type).rank >= 4


def _is_computed(value: ir.Value) -> bool:
    owner = build.defining(value)
    return owner is None or owner.name not in ("tensor.empty", "linalg.fill", "linalg.broadcast")
