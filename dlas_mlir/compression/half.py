"""float16 and bfloat16: weights and activations of a whole model, or of all but named layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.compression.step import Context, Step, check_choice
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.layer_names import matching
from dlas_mlir.models import architecture


@dataclass(frozen=True)
class Half(Step):
    """Make weights and activations `float16` or `bfloat16`; layers that patterns of `keep` match stay in float32.

    Batch norms behind a convolution are folded into it first, in float32; the others stay in float32. The model's
    inputs and outputs stay as they are. It is the last step of a recipe.
    """

    kind: ClassVar[str] = "half"

    element: str = "float16"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("element", self.element, tuple(architecture.HALF_TYPES))

    def apply(self, model: nn.Module, context: Context) -> None:
        layers = weight_layers(model)
        kept = {name for pattern in self.keep for name in matching(pattern, layers, "keep")}
        folded = fold_batch_norms(model, context)
        _check_fits(model, kept, architecture.HALF_TYPES[self.element])
        keep = [name for name in layers if name in kept]
        architecture.to_half(model, self.element, keep)
        context.architecture.setdefault("folded", {}).update(folded)
        context.architecture["half"] = {"element": self.element, "keep": keep}
        context.progress(f"half: {len(layers) - len(keep)} layers in {self.element}, {len(keep)} in float32")


def fold_batch_norms(model: nn.Module, context: Context) -> dict[str, str]:
    """Fold each batch norm that alone follows a convolution into its weights and bias: the names of these pairs.

    The model is in eval mode. Raises DlasError when torch.export cannot trace it.
    """
    from dlas_mlir.compiler.frontend.torch_import import export

    pairs = dict(_pairs(export(model, context.example_inputs, "the model")))
    for norm_name, name in pairs.items():
        convolution: Any = model.get_submodule(name)
        norm: Any = model.get_submodule(norm_name)
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
            isinstance(convolution, nn.modules.conv._ConvTransposeNd),
        )
        architecture.remove_folded(model, name, norm_name)
        convolution.weight, convolution.bias = weight, bias
    return pairs


def _pairs(program: ExportedProgram) -> Iterator[tuple[str, str]]:
    """Batch norm and convolution, where the one alone reads the other; a layer that runs twice is left."""
    parameters = program.graph_signature.inputs_to_parameters
    for norm in program.graph.nodes:
        if norm.op != "call_function" or "batch_norm" not in str(norm.target):
            continue
        convolution = norm.args[0]
        if not isinstance(convolution, fx.Node) or "conv" not in str(convolution.target) or len(convolution.users) > 1:
            continue
        weights = [node.args[1] for node in (norm, convolution)]
        names = [parameters.get(node.name, "") for node in weights if isinstance(node, fx.Node)]
        once = all(len(node.users) == 1 for node in weights if isinstance(node, fx.Node))
        if len(names) == 2 and all(name.endswith(".weight") for name in names) and once:
            yield names[0].removesuffix(".weight"), names[1].removesuffix(".weight")


def _check_fits(model: nn.Module, kept: set[str], half: torch.dtype) -> None:
    largest = torch.finfo(half).max
    for name, parameter in model.named_parameters():
        layer = name.rpartition(".")[0]
        if layer not in kept and parameter.is_floating_point() and not bool((parameter.abs() <= largest).all()):
            raise DlasError(f"{name}: values are not numbers within {half}'s range of {largest:g}; keep the layer")
