"""Models in 8-bit integers: torchao's PT2E quantization, with the ranges of activations given or observed.

A quantized model is a float model and the quantization of its activations, so that one small file holds both and the
integers are made of them wherever the model is built.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from dlas_mlir.compiler.frontend import batch_norms
from dlas_mlir.compiler.frontend._torchao import FixedQParamsObserver, constant_fold, convert_pt2e, prepare_pt2e
from dlas_mlir.compiler.frontend.batch_norms import own_parameter, parameter
from dlas_mlir.compiler.frontend.quantizer import ACTIVATIONS, Int8Quantizer, pads_maximum
from dlas_mlir.compiler.frontend.torch_import import export
from dlas_mlir.compiler.layers import layer_name
from dlas_mlir.errors import DlasError

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

    @contextmanager
    def calibrating(self, check: Callable[[str, Tensor], None]) -> Iterator[fx.GraphModule]:
        """The module to run for calibration; `check` is given the layer and the value before each observation."""
        handles = [
            observer.register_forward_pre_hook(partial(_observed, check, self.layer_of(name)))
            for name, observer in self.activations().items()
        ]
        found = list(_observers(self.module))
        for node, observer in found:
            if pads_maximum(node.all_input_nodes[0]):
                setattr(self.module, str(node.target), _Finite(observer))
        try:
            yield self.module
        finally:
            for handle in handles:
                handle.remove()
            for node, observer in found:
                setattr(self.module, str(node.target), observer)

    def layer_of(self, name: str) -> str:
        """The layer that computes a value of that name."""
        return next(layer_name(node) for node in self.module.graph.nodes if node.name == name)


def _observed(check: Callable[[str, Tensor], None], layer: str, observer: nn.Module, inputs: tuple[Tensor]) -> None:
    check(layer, inputs[0])


class _Finite(nn.Module):
    """Lets an observer see only the finite part of a value: what pads for a maximum needs no code of its own."""

    def __init__(self, observer: nn.Module) -> None:
        super().__init__()
        self.observer = observer

    def forward(self, value: Tensor) -> Tensor:
        inside = value[value != -torch.inf]
        self.observer(torch.where(value == -torch.inf, inside.amin(), value) if inside.numel() else value)
        return value


def prepare(model: nn.Module, inputs: tuple[Tensor, ...], name: str, *, observer: str, keep: Sequence[str]) -> Prepared:
    """Trace `model`, fold its batch norms, and put observers in. The model itself stays as it is.

    `keep` names layers that stay in float. Raises DlasError when it cannot be traced.
    """
    kept = frozenset(keep)
    quantizer = Int8Quantizer(observer, kept.__contains__, layer_name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export(copy.deepcopy(model), inputs, name).run_decompositions({})
        module: Any = program.module(check_guards=False)
        constant_fold(module)
        _own_parameters(module)
        batch_norms.fold(module)
        batch_norms.hide(module.graph)
        module = prepare_pt2e(module, quantizer)
    _check_constants(module)
    return Prepared(module, quantizer.left)


def _own_parameters(module: fx.GraphModule) -> None:
    """Give each convolution weights and bias of its own, also where one runs several times."""
    taken: set[str] = set()
    for node in list(module.graph.nodes):
        if node.op != "call_function" or "conv" not in str(node.target):
            continue
        for place, value in enumerate(node.args[1:3], 1):
            if not isinstance(value, fx.Node) or value.op != "get_attr":
                continue
            own = value
            if str(value.target) in taken or not isinstance(parameter(module, value), nn.Parameter):
                own = own_parameter(module, value, node, parameter(module, value))
                node.update_arg(place, own)
            taken.add(str(own.target))
    module.graph.eliminate_dead_code()
    module.recompile()


def _check_constants(module: fx.GraphModule) -> None:
    """Raises DlasError, naming the layer, for constants of which no codes can be made.

    Those that are not quantized may be infinite, as masks are.
    """
    for node in module.graph.nodes:
        value = parameter(module, node) if node.op == "get_attr" else None
        if not isinstance(value, Tensor) or not value.is_floating_point() or not node.users:
            continue
        observed = [user for user in node.users if str(user.target).startswith("activation_post_process")]
        user = next(iter(observed[0].users)) if observed and observed[0].users else next(iter(node.users))
        if bool(value.isnan().any()) or (observed and not bool(value.isfinite().all())):
            raise DlasError(f"{layer_name(user)}: its constant {node.target} has values that are no finite numbers")


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
        if observer in fixed:
            setattr(module, str(node.target), fixed[observer])
        else:
            observer(parameter(module, value))
    # For as long as there are batch norms convert_pt2e looks for those of quantization-aware training, for a minute.
    batch_norms.hide(module.graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = convert_pt2e(module)
    batch_norms.show(converted.graph)
    converted.recompile()
    return converted


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
            layer.register_buffer(name, parameter(module, value))
            if len(value.users) == 1:
                delattr(module, str(value.target))
            value.target = f"{layer_name(node)}.{name}"


def _observers(module: fx.GraphModule) -> Iterator[tuple[fx.Node, Any]]:
    for node in module.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith("activation_post_process"):
            yield node, module.get_submodule(str(node.target))
