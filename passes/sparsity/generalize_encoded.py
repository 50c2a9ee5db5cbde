"""dlas-generalize-encoded: layers with encoded weights as linalg.generics that upstream's sparsifier takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.ir import affine, build, sparsity
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.opt.base import Pass
from dlas_mlir.passes.sparsity._layers import weight_layers

# What the loops over the dimensions of weights are called, where they are not called like these.
_LOOPS = {"f": "k", "h": "r", "w": "s"}


@dataclass(frozen=True)
class GeneralizeEncodedPass(Pass):
    """Rewrite layers with encoded weights as linalg.generics in the order of dimensions and loops that the sparsifier
    of upstream MLIR compiles, so that a file can be taken to `mlir-opt --sparsifier`.

    The sparsifier turns blocks back into dimensions right only where the blocked dimension of the tensor is its last
    one and the other dimensions stand in the order of the levels, and where the loops have that order too. So the
    weights are transposed into it. The levels, what is stored and what is computed stay the same. (A dimension with a
    single block it cannot do at all.) CSR needs none of it: `linalg-generalize-named-ops` is enough.

    Before:
    ```mlir
    #bsr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k floordiv 4 : dense, c : compressed, ...) }>
    %s = "sparse_tensor.convert"(%w) : (tensor<8x4x3x3xf32>) -> tensor<8x4x3x3xf32, #bsr>
    %0 = linalg.conv_2d_nchw_fchw ins(%x, %s) outs(%zeros)
    ```
    After:
    ```mlir
    #bsr = #sparse_tensor.encoding<{ map = (c, r, s, k) -> (k floordiv 4 : dense, c : compressed, ...) }>
    %t = linalg.transpose ins(%w) permutation = [1, 2, 3, 0] : tensor<4x3x3x8xf32>
    %s = "sparse_tensor.convert"(%t) : (tensor<4x3x3x8xf32>) -> tensor<4x3x3x8xf32, #bsr>
    %0 = linalg.generic {...} ins(%x, %s) outs(%zeros)
    ```
    """

    name: ClassVar[str] = "dlas-generalize-encoded"

    def run(self, module: ir.Module) -> None:
        for layer in weight_layers(module).values():
            if (encoding := layer.shape.encoding) is not None:
                with ir.InsertionPoint(layer.op), layer.op.location:
                    _generalize(layer, encoding)
        build.erase_dead(module)


def _generalize(layer: Convolution, encoding: sparsity.Encoding) -> None:
    form = layer.weights_form
    levels = [expr for expr, _ in encoding.levels(form)]
    plain = [level for level in levels if len(level) == 1]
    wanted = "".join([*plain, *(letter for letter in form if letter not in plain)])
    weights = layer.weights
    if wanted != form:
        weights = build.transpose(weights, [form.index(letter) for letter in wanted])
    encoded = sparsity.encode(weights, encoding, wanted)
    # The loops: those of the weights in their order, and before them the ones that only run over the output.
    outer = ["n", *(place for place in ("oh", "ow") if "h" in form)]
    loops = {name: affine.dim(i) for i, name in enumerate([*outer, *wanted])}
    kinds = ["reduction" if name in ("c", "h", "w") else "parallel" for name in loops]
    data, _, out = layer.forms
    generic = build.generic(
        [layer.input, encoded],
        layer.initial,
        [
            [_window(layer, loops, letter) for letter in data],
            [loops[letter] for letter in wanted],
            [loops.get("o" + letter, loops.get(letter)) for letter in out],
        ],
        kinds,
        build.multiply_accumulate,
        [_LOOPS.get(name, name) for name in loops],
    )
    layer.op.results[0].replace_all_uses_with(generic.results[0])
    layer.op.erase()


def _window(layer: Convolution, loops: dict[str, ir.AffineExpr], letter: str) -> ir.AffineExpr:
    """The index of the input's dimension `letter`."""
    if letter not in "hw" or "o" + letter not in loops:
        return loops[letter]
    place = "hw".index(letter)
    return loops["o" + letter] * layer.shape.strides[place] + loops[letter] * layer.shape.dilations[place]
