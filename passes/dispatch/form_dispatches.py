"""dlas-form-dispatches: put each convolution, pooling or reduction with its epilogue in one dispatch region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass, option
from dlas_mlir.passes.dispatch._groups import READ, WRITE, Groups, has_sparse_readers
from dlas_mlir.passes.dispatch._regions import form, sort_topologically


@dataclass(frozen=True)
class FormDispatchesPass(Pass):
    """Group operations into flow.dispatch.region: a linalg.generic with a reduction, or else the first element-wise
    one, is the root; the element-wise operations on its result (bias, batch-norm, residual, activation) and the
    padding of the results join it, with the slices and fills that they read.

    An operation joins only if nothing that it reads depends on the group from outside (a squeeze-and-excite gate
    waits for its mean), and as long as the region reads and makes no more tensors than a dispatch can be given. A value
    of the group that is read outside is a result of the region.

    With `padding=read` no region writes padding: what reads a padded tensor gets the padding in its region, and reads
    zeros where there is nothing. Only sparse contractions, which know of places and not of rows, get it written: by the
    sparse contraction before, or by a copy.

    Before:
    ```mlir
    %1 = linalg.generic ins(%x, %w) outs(%zeros) { multiply-accumulate }
    %2 = linalg.generic ins(%1, %bias) { arith.addf }
    %3 = tensor.pad %2
    ```
    After:
    ```mlir
    %3 = flow.dispatch.region -> (tensor<...>) {
      %0 = linalg.fill
      %1 = linalg.generic ins(%x, %w) outs(%0) { multiply-accumulate }
      %2 = linalg.generic ins(%1, %bias) { arith.addf }
      %4 = tensor.pad %2
      flow.return %4
    }
    ```
    """

    name: ClassVar[str] = "dlas-form-dispatches"
    bindings: int = option(32, "how many tensors a region may read and make; IREE's command buffers know 32", minimum=2)
    padding: str = option(
        WRITE, "who has padding: the region that computes what is padded, or those that read it", choices=(WRITE, READ)
    )

    def run(self, module: ir.Module) -> None:
        for block in build.functions(module):
            if self.padding == WRITE:
                _copy_lone_padding(block, lambda padding: not _is_computed(padding.source))
            self._form(block, self.padding)
            if self.padding == READ and _copy_lone_padding(block, lambda padding: has_sparse_readers(padding.op)):
                self._form(block, WRITE)
        build.erase_dead(module)

    def _form(self, block: ir.Block, padding: str) -> None:
        groups = Groups(block, self.bindings, padding)
        for group in groups.find():
            form(group, groups.order, padding)
        sort_topologically(block)


def _copy_lone_padding(block: ir.Block, wanted: Callable[[Padding], bool]) -> bool:
    """Padding that is `wanted` of what no kernel computes (a network's input) becomes a copy that is padded. Returns
    whether there is any."""
    found = False
    for op in list(block.operations):
        op = op.operation
        padding = Padding.of(op)
        if padding is None or padding.cuts or not wanted(padding):
            continue
        source = op.operands[0]
        if not ir.RankedTensorType(source.type).has_static_shape:
            continue
        found = True
        with ir.InsertionPoint(op), op.location:
            shape = ir.RankedTensorType(source.type).shape
            identity = [affine.dim(i) for i in range(len(shape))]
            copy = build.generic(
                [source],
                build.empty(shape, build.element_type(source)),
                [identity, identity],
                ["parallel"] * len(shape),
                lambda value, _: value,
            )
            op.operands[0] = copy.results[0]
    return found


def _is_computed(value: ir.Value) -> bool:
    maker = build.defining(value)
    return maker is not None and maker.name == "linalg.generic"
