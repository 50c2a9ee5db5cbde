"""float16 and bfloat16: weights and activations of a whole model, or of all but named layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from dlas_mlir.compiler.frontend.batch_norms import over_outputs, scale_and_shift
from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.compression.step import Context, Step, check_choice
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.layer_names import matching
from dlas_mlir.models import architecture
from dlas_mlir.models.results import results_of


@dataclass(frozen=True)
class Half(Step):
    """Make weights and activations `float16` or `bfloat16`; layers that patterns of `keep` match stay in float32.

    Batch norms behind a convolution are folded into it first, in float32; the others stay in float32. The model's
    inputs and outputs stay as they are, and a layer converts what it is given. It is the last step of a recipe.
    """

    kind: ClassVar[str] = "half"

    element: str = "float16"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("element", self.element, tuple(architecture.HALF_TYPES))

    def apply(self, model: nn.Module, context: Context) -> None:
        layers = weight_layers(model)
        if not any(parameter.dtype == torch.float32 for parameter in _halved(model)):
            raise DlasError(f"the model has no parameters in float32 that could be {self.element}")
        kept = {name for pattern in self.keep for name in matching(pattern, layers, "keep")}
        folded = fold_batch_norms(model, context)
        _check_fits(model, kept, architecture.HALF_TYPES[self.element])
        keep = [name for name in layers if name in kept]
        architecture.to_half(model, self.element, keep)
        _check_runs(model, self.element, context)
        context.architecture.setdefault("folded", {}).update(folded)
        context.architecture["half"] = {"element": self.element, "keep": keep}
        context.progress(f"half: {len(layers) - len(keep)} layers in {self.element}, {len(keep)} in float32")


def fold_batch_norms(model: nn.Module, context: Context) -> dict[str, str]:
    """Fold each batch norm that alone follows a convolution into its weights and bias: the names of these pairs.

    The model is in eval mode. Raises DlasError when torch.export cannot trace it.
    """
    from dlas_mlir.compiler.frontend.torch_import import export

    pairs = {}
    for norm_name, name in _pairs(export(model, context.example_inputs, "the model")):
        layer, norm = model.get_submodule(name), model.get_submodule(norm_name)
        if isinstance(layer, _ConvNd) and isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            weight, bias = _fused(layer, norm)
            architecture.remove_folded(model, name, norm_name)
            layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
            pairs[norm_name] = name
    return pairs


@torch.no_grad()
def _fused(layer: _ConvNd, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Weights and bias of a convolution with the batch norm behind it."""
    scale, shift = scale_and_shift(norm.weight, norm.bias, norm.running_mean, norm.running_var, eps=norm.eps)
    groups = layer.groups if isinstance(layer, _ConvTransposeNd) else None
    start = 0 if layer.bias is None else layer.bias
    return layer.weight * over_outputs(layer.weight, scale, transposed_groups=groups), start * scale + shift


def _pairs(program: ExportedProgram) -> Iterator[tuple[str, str]]:
    """Batch norm and convolution, where the one alone reads the other; a layer that runs twice is left."""
    parameters = program.graph_signature.inputs_to_parameters
    for norm in program.graph.nodes:
        if norm.op != "call_function" or "batch_norm" not in str(norm.target):
            continue
        convolution = norm.args[0]
        if not isinstance(convolution, fx.Node) or "conv" not in str(convolution.target) or len(convolution.users) > 1:
            continue
        weights = [weight for node in (norm, convolution) if isinstance(weight := node.args[1], fx.Node)]
        names = [parameters.get(node.name, "") for node in weights]
        once = all(len(node.users) == 1 for node in weights)
        if len(names) != 2 or not all(name.endswith(".weight") for name in names) or not once:
            continue
        found = names[0].removesuffix(".weight"), names[1].removesuffix(".weight")
        # Functions on a layer's weights do not read the bias that it gets. Channels are the second dimension, but of
        # what has no batch.
        called = (_caller(norm), _caller(convolution)) == found
        if called and convolution.meta["val"].dim() == weights[1].meta["val"].dim():
            yield found


def _halved(model: nn.Module) -> Iterator[Tensor]:
    """The parameters that change their type: all but those of batch norms."""
    for module in model.modules():
        if not isinstance(module, _BatchNorm):
            yield from module.parameters(recurse=False)


def _check_runs(model: nn.Module, element: str, context: Context) -> None:
    try:
        results_of(model, context.example_inputs)
    except Exception as error:  # whatever PyTorch's kernels raise for a type that they do not know
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DlasError(f"PyTorch does not run the model in {element}: {reason}") from None


def _caller(node: fx.Node) -> str:
    """The path of the module in whose `forward` a node is computed."""
    path, _ = [("", None), *node.meta.get("nn_module_stack", {}).values()][-1]
    return path


def _check_fits(model: nn.Module, kept: set[str], half: torch.dtype) -> None:
    largest = torch.finfo(half).max
    for name, parameter in model.named_parameters():
        layer = name.rpartition(".")[0]
        if layer not in kept and parameter.is_floating_point() and not bool((parameter.abs() <= largest).all()):
            raise DlasError(f"{name}: values are not numbers within {half}'s range of {largest:g}; keep the layer")
