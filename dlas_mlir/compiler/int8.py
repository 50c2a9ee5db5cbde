"""Models in 8-bit integers: torchao's PT2E quantization, with the ranges of activations given or observed.

A quantized model is a float model and the quantization of its activations, so that one small file holds both and the
integers are made of them wherever the model is built.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from dlas_mlir.errors import DlasError

from ._torchao import FixedQParamsObserver, convert_pt2e, prepare_pt2e
from .layers import layer_name
from .quantizer import ACTIVATIONS, Int8Quantizer
from .torch_import import export

_NORM = torch.ops.aten._native_batch_norm_legit_no_training.default
OBSERVERS = tuple(ACTIVATIONS)


@dataclass
class Prepared:
    """A traced model with an observer at each value that becomes integers.

    `left` has (layer, operation, reason) of what stays in float.
    """

    module: fx.GraphModule
    left: list[tuple[str, str, str]]

    def activations(self) -> dict[str, Any]:
        """The observers of activations, by the names of the values that they observe first."""
        found: dict[str, Any] = {}
        for node, observer in _observers(self.module):
            value = node.args[0]
            assert isinstance(value, fx.Node)
            if value.op != "get_attr" and observer not in found.values():
                found[value.name] = observer
        return found

    def layer_of(self, name: str) -> str:
        """The layer that computes a value of that name."""
        return next(layer_name(node) for node in self.module.graph.nodes if node.name == name)


def prepare(model: nn.Module, inputs: tuple[Tensor, ...], name: str, *, observer: str, keep: Sequence[str]) -> Prepared:
    """Trace `model`, fold its batch norms, and put observers in. The model itself stays as it is.

    `keep` names layers that stay in float. Raises DlasError when it cannot be traced.
    """
    kept = frozenset(keep)
    quantizer = Int8Quantizer(observer, kept.__contains__, layer_name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export(copy.deepcopy(model), inputs, name).run_decompositions({})
        module = prepare_pt2e(program.module(check_guards=False), quantizer)
    return Prepared(module, quantizer.left)


def parameters(prepared: Prepared) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each activation, after calibration."""
    found = {}
    for name, observer in prepared.activations().items():
        scale, zero_point = observer.calculate_qparams()
        found[name] = (float(scale), int(zero_point))
    return found


def convert(prepared: Prepared, activations: Mapping[str, Sequence[float]]) -> fx.GraphModule:
    """The model with integer weights, and the given scales and zero points of activations."""
    observers = prepared.activations()
    if set(observers) != set(activations):
        wrong = min(set(observers) ^ set(activations))
        raise DlasError(f"the stored quantization is not this model's: {wrong} is only in one of them")
    fixed: dict[nn.Module, nn.Module] = {}
    for name, observer in observers.items():
        scale, zero_point = activations[name]
        fixed[observer] = FixedQParamsObserver(float(scale), int(zero_point), torch.uint8, quant_min=0, quant_max=255)
    module = prepared.module
    for node, observer in list(_observers(module)):
        value = node.args[0]
        assert isinstance(value, fx.Node)
        if value.op == "get_attr":
            observer(_attribute(module, str(value.target)))
        else:
            setattr(module, str(node.target), fixed[observer])
    # For as long as there are batch norms convert_pt2e looks for those of quantization-aware training, for a minute.
    for node in module.graph.nodes:
        if node.target is _NORM:
            node.target = _norm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = convert_pt2e(module)
    for node in converted.graph.nodes:
        if node.target is _norm:
            node.target = _NORM
    converted.recompile()
    return converted


def _norm(*arguments: Any) -> Any:
    """A batch norm that is not behind a convolution, under a name that says nothing to torchao."""
    return _NORM(*arguments)


def program_of(
    model: nn.Module, quantization: Mapping[str, Any], inputs: tuple[Tensor, ...], name: str
) -> ExportedProgram:
    """The quantized model, traced for `inputs`. `quantization` is what a checkpoint stores under `int8`.

    Raises DlasError when it is not of this model.
    """
    prepared = prepare(model, inputs, name, observer="minmax", keep=quantization["keep"])
    module = convert(prepared, quantization["activations"])
    for node in module.graph.nodes:
        if "quantize_per" in str(node.target):
            _name_after_layer(node)
        if "dequantize_per_channel" in str(node.target):
            _name_constants(module, node)
    module.recompile()
    return export(module, inputs, name)


def _name_after_layer(node: fx.Node) -> None:
    """Let a conversion count as a part of the layer that makes a value, or, for inputs and weights, takes it."""
    near = node.args[0]
    while isinstance(near, fx.Node) and "quantize_per" in str(near.target):
        near = near.args[0]
    if not isinstance(near, fx.Node) or "nn_module_stack" not in near.meta:
        near = next(iter(node.users))
        while "quantize_per" in str(near.target):
            near = next(iter(near.users))
    node.meta["nn_module_stack"] = near.meta["nn_module_stack"]


def _name_constants(module: fx.GraphModule, node: fx.Node) -> None:
    """Name weights, scales and zero points in integers after their layer: they have these names in the IR."""
    try:
        layer = module.get_submodule(layer_name(node))
    except AttributeError:  # a function that is called in a container: the names that torchao made are as good
        return
    for value, name in zip(node.args, ("weight_int8", "weight_scale", "weight_zero_point"), strict=False):
        if isinstance(value, fx.Node) and value.op == "get_attr" and not hasattr(layer, name):
            layer.register_buffer(name, _attribute(module, str(value.target)))
            if len(value.users) == 1:
                delattr(module, str(value.target))
            value.target = f"{layer_name(node)}.{name}"


def _observers(module: fx.GraphModule) -> Iterator[tuple[fx.Node, Any]]:
    for node in module.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith("activation_post_process"):
            yield node, module.get_submodule(str(node.target))


def _attribute(module: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)
