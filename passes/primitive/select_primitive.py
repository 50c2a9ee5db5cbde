"""dlas-select-primitive: write on each convolution which primitive is to do it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import build, conv, sparsity
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import Pass, PassError, option, remark, warning
from dlas_mlir.passes.primitives import PRIMITIVE, Primitive, chosen, marked_with, parse, write


@dataclass(frozen=True)
class SelectPrimitivePass(Pass):
    """Choose the primitive of every convolution and linear layer, and write it, with its options, as the attributes
    `dlas.primitive` and `dlas.options`.

    A primitive is written as its name, with options in braces where they are not to be decided: `spatial-pack`,
    `spatial-pack{block=8}`. A layer with the attribute keeps it, so choices can be made by hand. Else the file
    `choices` (a JSON object from layer name to primitive) decides, and then the first of `primitive` that applies. A
    choice that does not apply is an error that names the layer and the reason; with `fallback` it is a remark and the
    first of `fallback` that applies is taken. A choice for a layer that is not there is a warning; a choice of the file
    or an option that is not taken is a remark.

    A sparse primitive applies to weights with a sparsity encoding. In `primitive` and `fallback` a primitive is passed
    over where another of the two lists applies and is estimated to be faster (a dense one where the layer's
    `dlas.sparsity` is below the target's break-even point for the encoding), unless `break-even` is false.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw ins(%x, %w) outs(%zeros) loc("layer1.0.conv1")
    ```
    After:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.layer = "layer1.0.conv1", dlas.options = {block = 16},
        dlas.primitive = "spatial-pack"} ins(%x, %w) outs(%zeros)
    ```
    """

    name: ClassVar[str] = "dlas-select-primitive"

    primitive: tuple[str, ...] = option((), "primitives in order of preference")
    choices: str = option("", "JSON file with the primitive of each layer, by its name")
    fallback: tuple[str, ...] = option((), "primitives for layers that the choice does not apply to")
    break_even: bool = option(True, "pass over what is estimated to be slower, such as sparse with few zeros")

    def run(self, module: ir.Module) -> None:
        selection = _Selection(
            Target.of(module),
            self._parsed(self.primitive, module),
            self._parsed(self.fallback, module),
            self._read_choices(module),
            self.break_even,
        )
        layers = set()
        for op in build.operations(module):
            convolution = conv.view(op)
            if convolution is not None:
                layers.add(conv.layer_name(op))
                selection.select(convolution)
            elif conv.is_layer(op):
                self._leave(op)
        if unknown := [layer for layer in selection.choices if layer not in layers]:
            warning(module.operation, f"choices {self.choices}: there is no layer {', '.join(map(repr, unknown))}")

    def reads(self) -> tuple[str, ...]:
        return (self.choices,) if self.choices else ()

    def _parsed(self, texts: Sequence[str], module: ir.Module) -> tuple[Primitive, ...]:
        try:
            return tuple(map(parse, texts))
        except ValueError as error:
            raise PassError(str(error), module.operation) from None

    def _read_choices(self, module: ir.Module) -> dict[str, Primitive]:
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
        return dict(zip(choices, self._parsed(list(choices.values()), module), strict=True))

    def _leave(self, op: ir.Operation) -> None:
        """A layer that no primitive knows is iree-compile's."""
        reason = f"layer '{conv.layer_name(op)}': no primitive does {conv.why_no_view(op)}"
        if marked_with(op) is not None:
            raise PassError(reason, op)
        if self.primitive:
            remark(op, f"{reason}; it is left to iree-compile")


@dataclass(frozen=True)
class _Selection:
    """What is to be chosen from. With `weigh`, what is estimated to be slower than another is passed over."""

    target: Target
    wanted: tuple[Primitive, ...]
    fallback: tuple[Primitive, ...]
    choices: dict[str, Primitive]
    weigh: bool

    def select(self, convolution: conv.Convolution) -> None:
        op, layer, shape = convolution.op, conv.layer_name(convolution.op), convolution.shape
        sparsity.check_share(op)
        wanted, weigh = self.wanted, self.weigh
        if PRIMITIVE in op.attributes:
            wanted, weigh = (chosen(op),), False
            choice = self.choices.get(layer)
            if choice is not None and not choice.is_met_by(wanted[0]):
                remark(op, f"layer '{layer}' is marked with '{wanted[0]}': the choice '{choice}' is not taken")
        elif layer in self.choices:
            wanted, weigh = (self.choices[layer],), False
        if not wanted:
            return
        found, reasons = self._first(wanted, shape, weigh)
        if found is None:
            complaint = f"layer '{layer}' ({shape.describe()}): {'; '.join(reasons)}"
            found, more = self._first(self.fallback, shape, self.weigh)
            if found is None:
                raise PassError("; ".join([complaint, *more]), op)
            remark(op, f"{complaint}; '{found[0].name}' is taken instead")
        taken, asked = found
        write(op, taken, asked)

    def _first(
        self, candidates: Sequence[Primitive], shape: ConvShape, weigh: bool
    ) -> tuple[tuple[Primitive, Primitive] | None, list[str]]:
        """The first of `candidates` that applies (and, if `weigh`, is not slower than another), with its options and as
        it was asked for; or why none does."""
        reasons = []
        for candidate in candidates:
            taken = candidate.applies(shape, self.target)
            reason = taken if isinstance(taken, str) else self._slower(taken, shape) if weigh else ""
            if not reason:
                assert isinstance(taken, Primitive)
                return (taken, candidate), []
            reasons.append(f"'{candidate}' does not apply: {reason}")
        return None, reasons

    def _slower(self, candidate: Primitive, shape: ConvShape) -> str:
        """Why another primitive that may be chosen is better; empty where none is known to be."""
        own = candidate.estimate(shape, self.target)
        if own is None:
            return ""
        for rival in (*self.wanted, *self.fallback):
            other = rival.applies(shape, self.target)
            estimate = None if isinstance(other, str) else other.estimate(shape, self.target)
            if estimate is not None and estimate.work < own.work:
                return f"'{rival}' is estimated to be faster" + (f" ({own.why})" if own.why else "")
        return ""
