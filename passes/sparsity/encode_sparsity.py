"""dlas-encode-sparsity: write on weights with many zeros how the zeros lie, as a sparsity encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.ir import sparsity
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.opt.base import Pass, PassError, option, remark
from dlas_mlir.passes.sparsity._layers import float_weights, selected, weight_layers
from dlas_mlir.passes.sparsity._structure import is_n_of_m, refusal, zero_share

# Blocks that `auto` looks for, and how many more weights than the non-zeros they may store: a block kernel is that much
# faster for a weight, but a layer without blocks would store nearly all of its weights.
_BLOCKS, _LARGEST_FILL = (8, 4, 2), 1.1


@dataclass(frozen=True)
class EncodeSparsityPass(Pass):
    """Put a `#sparse_tensor.encoding` on the constant weights of the layers that have enough zeros.

    The weights stay a dense constant, which a `sparse_tensor.convert` gives the encoded type; the layer that reads it
    gains the attribute `dlas.sparsity`, the share of zeros (of zero blocks). Sparse primitives lower such layers;
    dense primitives leave the encoding behind. `csr` takes any zeros. `bsr` takes blocks of output channels that are
    zero together, `nm` at most n of m input channels that are not zero. `auto` takes the largest block of 8, 4 or 2
    that stores few zeros, else CSR.

    Layers below `threshold` stay dense, and so do depthwise convolutions unless `depthwise` is set: an output channel
    has but R*S weights, so that the zeros save less than finding the others costs. A layer whose weights are encoded
    is left as it is, and one whose weights are integers, with a remark if it has so many zeros. Run it behind
    dlas-fold-batch-norm, which changes weights, and before dlas-select-primitive.

    Before:
    ```mlir
    %w = arith.constant dense_resource<w> : tensor<64x64x3x3xf32>
    %0 = linalg.conv_2d_nchw_fchw ins(%x, %w) outs(%zeros)
    ```
    After `dlas-encode-sparsity{format=csr}`:
    ```mlir
    #csr = #sparse_tensor.encoding<{ map = (k, c, r, s) ->
        (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
    %w = arith.constant dense_resource<w> : tensor<64x64x3x3xf32>
    %s = "sparse_tensor.convert"(%w) : (tensor<64x64x3x3xf32>) -> tensor<64x64x3x3xf32, #csr>
    %0 = linalg.conv_2d_nchw_fchw {dlas.sparsity = 0.9} ins(%x, %s) outs(%zeros)
    ```
    """

    name: ClassVar[str] = "dlas-encode-sparsity"

    format: str = option("auto", "how the zeros lie", choices=("auto", "csr", "bsr", "nm"))
    block: int = option(4, "bsr: output channels in a block", minimum=2)
    n: int = option(2, "nm: input channels of m that are not zero", minimum=1)
    m: int = option(4, "nm: input channels in succession", minimum=2)
    threshold: float = option(0.7, "share of zeros, or of zero blocks, from which on", minimum=0, maximum=1)
    depthwise: bool = option(False, "encode depthwise convolutions too")
    exclude: tuple[str, ...] = option((), "patterns of the names of layers that stay dense")
    verbose: bool = option(False, "say of each layer what becomes of it, and why")

    def run(self, module: ir.Module) -> None:
        if self.format == "nm" and self.n >= self.m:
            raise PassError(f"{self.n}:{self.m} is no N:M structure: N is below M", module.operation)
        constants = Constants(module.operation)
        skip = () if self.depthwise else ("depthwise",)
        for name, layer in selected(weight_layers(module), skip, self.exclude, module).items():
            if layer.shape.encoding is not None:
                continue
            weights = float_weights(layer, constants)
            if weights is not None:
                self._encode(name, layer, weights)
            elif constants.read(layer.weights) is not None:
                self._leave_codes(name, layer, zero_share(layer.constant_oihw(constants)))

    def _leave_codes(self, name: str, layer: Convolution, share: float) -> None:
        if share >= self.threshold:
            what = f"{share:.1%} of its weights are zero, and there are no sparse kernels of {layer.shape.weights}"
            remark(layer.op, f"layer '{name}' stays dense: {what}")

    def _encode(self, name: str, layer: Convolution, weights: np.ndarray) -> None:
        encoding = self._encoding(layer, weights)
        plain = zero_share(weights)
        reason = refusal(layer, encoding)
        if reason and plain >= self.threshold:
            raise PassError(
                f"layer '{name}' cannot be {encoding.describe()}: {reason}; leave it out with exclude", layer.op
            )
        share = plain if reason else zero_share(weights, encoding.block)
        if encoding.format == "nm":
            worth = not reason and is_n_of_m(weights, encoding.n, encoding.m)
        else:
            worth = share >= self.threshold
        if self.verbose:
            what = f"is {encoding.describe()}" if worth else f"stays dense, not {encoding.describe()}"
            unit = f"{encoding.block}x1 blocks" if encoding.block > 1 else "weights"
            remark(layer.op, f"layer '{name}' {what}: {share:.1%} of its {unit} are zero")
        if worth:
            _put(layer, encoding, share)

    def _encoding(self, layer: Convolution, weights: np.ndarray) -> Encoding:
        match self.format:
            case "csr":
                return Encoding("csr")
            case "bsr":
                return Encoding("bsr", block=self.block)
            case "nm":
                return Encoding("nm", n=self.n, m=self.m)
        nonzero = np.count_nonzero(weights)
        for block in _BLOCKS:
            encoding = Encoding("bsr", block=block)
            if refusal(layer, encoding) is None:
                stored = (1 - zero_share(weights, block)) * weights.size
                if nonzero < weights.size and stored <= _LARGEST_FILL * nonzero:
                    return encoding
        return Encoding("csr")


def _put(layer: Convolution, encoding: Encoding, share: float) -> None:
    op = layer.op
    with ir.InsertionPoint(op), op.location:
        op.operands[1] = sparsity.encode(layer.weights, encoding, layer.weights_form)
        op.attributes[sparsity.SHARE] = ir.FloatAttr.get(ir.F64Type.get(), round(share, 4))
