"""dlas-select-primitive: write on each convolution which primitive is to do it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import attributes, build, conv, sparsity
from dlas_mlir.opt.base import Pass, PassError, option, remark, warning
from dlas_mlir.opt.registry import all_pass_names, pass_class
from dlas_mlir.passes.primitive._lower import LAYER, PRIMITIVE, LowerPrimitivePass, marked_with

_PREFIX = "dlas-lower-"


def primitives() -> list[str]:
    """The names of all primitives: those that have a pass to lower them."""
    names = [name[len(_PREFIX) :] for name in all_pass_names() if name.startswith(_PREFIX)]
    return [name for name in names if issubclass(pass_class(_PREFIX + name), LowerPrimitivePass)]


@dataclass(frozen=True)
class SelectPrimitivePass(Pass):
    """Choose the primitive of every convolution and linear layer, and write it as the attribute `dlas.primitive`.

    A layer with that attribute keeps it, so choices can be made by hand. Else the file `choices` (a JSON object from
    layer name to primitive) decides, and then the first of `primitive` that applies. A choice that does not apply is
    an error that names the layer and the reason; with `fallback` it is a remark and the first of `fallback` that
    applies is taken. A choice for a layer that is not there is a warning.

    A sparse primitive applies to weights with a sparsity encoding. In `primitive` and `fallback` it is passed over
    where the layer's `dlas.sparsity` is below the target's break-even point for that encoding, unless `break-even` is
    false.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw ins(%x, %w) outs(%zeros) loc("layer1.0.conv1")
    ```
    After:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.layer = "layer1.0.conv1", dlas.primitive = "spatial-pack"}
        ins(%x, %w) outs(%zeros)
    ```
    """

    name: ClassVar[str] = "dlas-select-primitive"

    primitive: tuple[str, ...] = option((), "primitives in order of preference")
    choices: str = option("", "JSON file with the primitive of each layer, by its name")
    fallback: tuple[str, ...] = option((), "primitives for layers that the choice does not apply to")
    break_even: bool = option(True, "leave layers with few zeros to dense primitives")

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        choices = self._read_choices(module)
        for name in (*self.primitive, *self.fallback, *choices.values()):
            if name not in primitives():
                raise PassError(
                    f"there is no primitive '{name}'; there are {', '.join(primitives())}", module.operation
                )
        layers = set()
        for op in build.operations(module):
            convolution = conv.view(op)
            if convolution is not None:
                layers.add(conv.layer_name(op))
                self._select(convolution, target, choices)
            elif conv.is_layer(op):
                self._leave(op)
        if unknown := [layer for layer in choices if layer not in layers]:
            warning(module.operation, f"choices {self.choices}: there is no layer {', '.join(map(repr, unknown))}")

    def reads(self) -> tuple[str, ...]:
        return (self.choices,) if self.choices else ()

    def _read_choices(self, module: ir.Module) -> dict[str, str]:
        if not self.choices:
            return {}
        try:
            choices = json.loads(Path(self.choices).read_text())
        except (OSError, ValueError) as error:
            raise PassError(f"choices {self.choices}: {error}", module.operation) from None
        if not isinstance(choices, dict) or not all(isinstance(value, str) for value in choices.values()):
            raise PassError(
                f"choices {self.choices}: an object from layer names to primitives is wanted", module.operation
            )
        return choices

    def _leave(self, op: ir.Operation) -> None:
        """A layer that no primitive knows is iree-compile's."""
        reason = f"layer '{conv.layer_name(op)}': no primitive does {conv.why_no_view(op)}"
        if marked_with(op) is not None:
            raise PassError(reason, op)
        if self.primitive:
            remark(op, f"{reason}; it is left to iree-compile")

    def _select(self, convolution: conv.Convolution, target: Target, choices: dict[str, str]) -> None:
        op, layer = convolution.op, conv.layer_name(convolution.op)
        wanted, asked_for = self.primitive, False
        if PRIMITIVE in op.attributes:
            wanted, asked_for = (attributes.text(op, PRIMITIVE),), True
            if wanted[0] not in primitives():
                raise PassError(f"there is no primitive '{wanted[0]}'; there are {', '.join(primitives())}", op)
        elif layer in choices:
            wanted, asked_for = (choices[layer],), True
        if not wanted:
            return
        weigh = self.break_even and not asked_for
        chosen, reasons = _first(wanted, convolution, target, weigh)
        if chosen is None:
            complaint = f"layer '{layer}' ({convolution.describe()}): {'; '.join(reasons)}"
            chosen, more = _first(self.fallback, convolution, target, self.break_even)
            if chosen is None:
                raise PassError("; ".join([complaint, *more]), op)
            remark(op, f"{complaint}; '{chosen}' is taken instead")
        op.attributes[PRIMITIVE] = ir.StringAttr.get(chosen)
        op.attributes[LAYER] = ir.StringAttr.get(layer)


def _first(
    names: tuple[str, ...], convolution: conv.Convolution, target: Target, weigh: bool
) -> tuple[str | None, list[str]]:
    """The first primitive that applies (and, if `weigh`, pays off), or why none does."""
    reasons = []
    for name in names:
        lowering = pass_class(_PREFIX + name)()
        assert isinstance(lowering, LowerPrimitivePass)
        reason = lowering.why_not(convolution, target)
        if reason is None and weigh and lowering.sparse:
            reason = _too_dense(convolution, target)
        if reason is None:
            return name, []
        reasons.append(f"'{name}' does not apply: {reason}")
    return None, reasons


def _too_dense(convolution: conv.Convolution, target: Target) -> str | None:
    """Why an encoded layer is better done by a dense primitive; None where it is not, or its zeros are not counted."""
    encoding, marks = convolution.encoding, convolution.op.attributes
    if encoding is None or sparsity.SHARE not in marks or not isinstance(target, CpuTarget):
        return None
    attr, least = marks[sparsity.SHARE], target.break_even(encoding.block)
    if not isinstance(attr, ir.FloatAttr):
        raise PassError(f"`{sparsity.SHARE}` is the share of zeros, a number from 0 to 1; found {attr}", convolution.op)
    if (share := attr.value) >= least:
        return None
    return f"with {share:.0%} zeros it is slower than a dense primitive ({encoding.describe()} from {least:.0%} on)"
