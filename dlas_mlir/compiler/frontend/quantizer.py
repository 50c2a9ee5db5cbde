"""Which values of a traced network become 8-bit integers: the annotations that torchao's PT2E quantization asks for.

A convolution or linear layer, with the residual addition and the activation that follow, is one integer kernel: its
inputs are quantized, what flows inside it is not. What only moves values (max pooling, concatenation, reshaping,
padding) has the quantization of its input. What is computed of parameters alone is a constant, and is quantized only
where it is a weight or is joined with activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import getitem
from typing import Any

import torch
from torch import fx

from dlas_mlir.compiler.frontend import batch_norms
from dlas_mlir.compiler.frontend._torchao import (
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

# Activations are u8 with a zero point, one scale a tensor: what the dot-product instructions of CPUs take. The keys
# are what a recipe calls the observers.
_U8 = {"dtype": torch.uint8, "quant_min": 0, "quant_max": 255, "qscheme": torch.per_tensor_affine}
ACTIVATIONS = {
    "histogram": QuantizationSpec(observer_or_fake_quant_ctr=HistogramObserver, **_U8),
    "minmax": QuantizationSpec(observer_or_fake_quant_ctr=MinMaxObserver, **_U8),
}
# Weights are s8, one scale an output channel. -128 has no counterpart and is left out.
_WEIGHTS = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    observer_or_fake_quant_ctr=PerChannelMinMaxObserver,
)

_WEIGHTED = {"conv2d", "linear"}
_BINARY = {"add", "mul"}
_NORM = "_native_batch_norm_legit_no_training"
_UNARY = {"relu", "relu6", "hardtanh", "clamp", "hardswish", "silu", "sigmoid", "hardsigmoid", "tanh", "leaky_relu"}
_UNARY |= {"elu", "gelu", "mish", "softplus", _NORM}
_POOLS = {"avg_pool2d", "adaptive_avg_pool2d", "mean"}
_MOVES = {"max_pool2d", "view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "cat", "pad"}
_MOVES |= {"constant_pad_nd", "slice", "select", "clone", "upsample_nearest2d"}
_PADS = {"pad", "constant_pad_nd"}


class Int8Quantizer(Quantizer):
    """Annotates a graph of ATen operations without in-place ones (`run_decompositions({})`).

    `keep` says by its name which layer stays in float, `name` gives a node its layer's. Afterwards `left` has the
    name, operation and reason of all that stays in float.
    """

    def __init__(self, observer: str, keep: Callable[[str], bool], name: Callable[[fx.Node], str]) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[observer]
        self._keep = keep
        self._name = name
        self._constants: set[fx.Node] = set()
        # Kernels whose result is not rounded yet, so that the next operation can be a part of them.
        self._open: dict[fx.Node, str] = {}
        self._wanted: set[fx.Node] = set()
        self.left: list[tuple[str, str, str]] = []

    def transform_for_annotation(self, model: fx.GraphModule) -> fx.GraphModule:
        """torchao has folded what it would: the batch norms that are left are seen again."""
        batch_norms.show(model.graph)
        return model

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Put an annotation on each node that reads quantized values."""
        self._constants = _constants(model)
        computed = [node for node in model.graph.nodes if node.op == "call_function" and node.target is not getitem]
        # What nobody reads are assertions.
        nodes = [node for node in computed if node not in self._constants and node.users]
        float_nodes = {node: reason for node in nodes if (reason := self._why_float(node))}
        for node in reversed(nodes):
            users = [user for user in _results(node) if user not in float_nodes and user.op == "call_function"]
            if any(not _moves(user) or user in self._wanted for user in users):
                self._wanted.add(node)
        for node in nodes:
            if node in float_nodes:
                self._leave(node, float_nodes[node])
            else:
                self._annotate(node)
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Any annotation that `annotate` makes is valid."""

    def _why_float(self, node: fx.Node) -> str | None:
        kind = _kind(node)
        if kind not in _WEIGHTED | _BINARY | _UNARY | _POOLS | _MOVES:
            return "it has no integer form"
        value = node.meta.get("val")
        value = value[0] if isinstance(value, tuple | list) else value
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
            return "it does not compute in float32"
        read = [self._dtype(each) for each in node.all_input_nodes if each not in self._constants]
        if any(dtype is not torch.float32 for dtype in read):
            return "it reads other types than float32"
        if kind in _PADS and not _moves(node) and not math.isfinite(_filler(node)):
            return "it pads with a number that is not finite"
        if kind in _WEIGHTED and self._keep(self._name(node)):
            return "the recipe keeps it"
        if kind in _WEIGHTED and not (isinstance(node.args[1], fx.Node) and node.args[1].op == "get_attr"):
            return "its weights are computed"
        return None

    def _dtype(self, node: fx.Node) -> torch.dtype | None:
        value = node.meta.get("val")
        return value.dtype if isinstance(value, torch.Tensor) else torch.float32

    def _leave(self, node: fx.Node, reason: str) -> None:
        self.left.append((self._name(node), _kind(node), reason))

    def _annotate(self, node: fx.Node) -> None:
        kind = _kind(node)
        inputs = [value for value in node.all_input_nodes if value not in self._constants]
        if kind in _WEIGHTED:
            (weight,) = node.args[1:2]
            assert isinstance(weight, fx.Node)
            self._set(node, {inputs[0]: self._activation, weight: _WEIGHTS})
            self._open[node] = kind
        elif kind in _BINARY and len(inputs) == 2:
            fused = self._fused_operand(node, inputs) if kind == "add" else None
            self._set(node, {value: self._activation for value in inputs if value is not fused})
            self._open[node] = kind
        elif _moves(node):
            self._share(node, inputs)
        else:
            if not self._continues(inputs[0]):
                self._set(node, {inputs[0]: self._activation})
            self._open[node] = kind

    def _continues(self, value: fx.Node) -> bool:
        """Whether an operation on `value` is the last step of the kernel that makes it."""
        producer = _producer(value)
        return producer in self._open and len(_results(producer)) == 1

    def _fused_operand(self, node: fx.Node, inputs: Iterable[fx.Node]) -> fx.Node | None:
        """The convolution that an addition is a part of: the later one of two, the residual one is quantized."""
        layers = [value for value in inputs if self._open.get(value) in _WEIGHTED and len(_results(value)) == 1]
        same = [layer for layer in layers if _shape(layer) == _shape(node)]
        return max(same, default=None)

    def _share(self, node: fx.Node, inputs: list[fx.Node]) -> None:
        if node not in self._wanted:
            return
        # Constants that are joined with activations need codes of the same numbers.
        joined = [value for value in node.all_input_nodes if value in inputs or _kind(node) == "cat"]
        first = (inputs[0], node)
        shared = SharedQuantizationSpec(first)
        self._set(node, {value: self._activation if value is inputs[0] else shared for value in joined}, shared)

    def _set(self, node: fx.Node, inputs: dict[fx.Node, Any], output: SharedQuantizationSpec | None = None) -> None:
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map=inputs, output_qspec=output, _annotated=True
        )


def _kind(node: fx.Node) -> str:
    """The operation without namespace and overload: `conv2d`."""
    target = node.target
    return target._schema.name.partition("::")[2] if isinstance(target, torch._ops.OpOverload) else str(target)


def _constants(model: fx.GraphModule) -> set[fx.Node]:
    """What depends on no input: parameters and buffers, and what is made of numbers alone."""
    found: set[fx.Node] = set()
    for node in model.graph.nodes:
        if node.op == "get_attr" or (node.op == "call_function" and found.issuperset(node.all_input_nodes)):
            found.add(node)
    return found


def _moves(node: fx.Node) -> bool:
    """Whether a node only moves values, so that its result is made of its input's codes."""
    # Zero is a number of every range.
    return _kind(node) in _MOVES and (_kind(node) not in _PADS or _filler(node) == 0 or pads_maximum(node))


def pads_maximum(node: fx.Node) -> bool:
    """Whether a node pads for maximum pooling alone, with what is never the maximum; as a code it is the least."""
    lowest = _kind(node) in _PADS and _filler(node) == -math.inf
    return lowest and all(_kind(reader).startswith("max_pool") for reader in _readers(node))


def _readers(node: fx.Node) -> list[fx.Node]:
    """Who reads a node's result, observed or not."""
    found = []
    for reader in _results(node):
        found += _readers(reader) if reader.op == "call_module" else [reader]
    return found


def _filler(node: fx.Node) -> float:
    """What a padding pads with; 0 for one that repeats what is there."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    constant = given.get("mode", "constant") == "constant"
    return float(given.get("value") or 0) if constant else 0.0  # type: ignore[arg-type]


def _producer(value: fx.Node) -> fx.Node:
    """The operation that makes a value: the batch norm, where `value` takes it out of its results."""
    return value.args[0] if value.target is getitem else value  # pyright: ignore[reportReturnType]


def _results(node: fx.Node) -> list[fx.Node]:
    """Who reads a node's result; the first result of several is what a batch norm gives."""
    return [reader for user in node.users for reader in (user.users if user.target is getitem else (user,))]


def _shape(node: fx.Node) -> torch.Size:
    return node.meta["val"].shape
