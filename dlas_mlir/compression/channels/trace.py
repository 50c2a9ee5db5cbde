"""Walking a traced model: which channels of its parameters and buffers depend on one another, and which must stay."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from operator import getitem
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree

from dlas_mlir.compiler.frontend.torch_import import export
from dlas_mlir.compression.channels import rules
from dlas_mlir.compression.channels.call import Call
from dlas_mlir.compression.channels.labels import Dims, Labels
from dlas_mlir.models.sizes import owner_of, shared_names, sizes_of

# Their tensors hold several things in one, and their code knows the sizes.
_RIGID = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class Value:
    """An operation, its name with that of its layer, and what its results consist of: along each dimension the classes,
    or how many there are where none can be removed."""

    operation: str
    where: str
    results: list[tuple[int | np.ndarray, ...]]


@dataclass(frozen=True)
class Channels:
    """What depends on what. A channel is a class of indices: `classes` has one for each index of a dimension of a
    parameter or buffer (of the first of its names), `norms` for each channel of a norm without parameters.

    `stay` maps the classes that cannot go to the reason; removing those of `changed` changes what the others come to.
    """

    classes: Mapping[tuple[str, int], np.ndarray]
    norms: Mapping[str, tuple[np.ndarray | None, ...]]
    stay: Mapping[int, str]
    changed: frozenset[int]
    values: list[Value]


def trace(model: nn.Module, inputs: tuple[Tensor, ...], kept: Mapping[str, str]) -> Channels:
    """Trace `model`, which is in eval mode, and follow its channels.

    `kept` maps parameters, by name, whose output channels stay to the reason. Raises DlasError when the model cannot be
    traced.
    """
    walk = _Walk(model, _exported(model, inputs))
    walk.run()
    for name, reason in kept.items():
        walk.labels.pin(walk.tensors[walk.first[name]][output_dim(model, name)], reason)
    return walk.channels()


def _exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export(model, inputs, "the model").run_decompositions({})


def values_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[str, list[tuple[int, ...]]]]:
    """The name and the shapes of the results of each operation that `trace` sees. Raises DlasError."""
    return [
        (call.operation, call.result())
        for node in _exported(model, inputs).graph.nodes
        if node.op == "call_function"
        for call in [Call(node, Labels(), {})]
    ]


def output_dim(model: nn.Module, name: str) -> int:
    """Which dimension of a layer's weight its output channels are."""
    owner, _ = owner_of(model, name)
    return 1 if isinstance(owner, nn.Embedding) or getattr(owner, "transposed", False) else 0


class _Walk:
    def __init__(self, model: nn.Module, program: ExportedProgram) -> None:
        self.model, self.program = model, program
        self.labels = Labels()
        groups = shared_names(model)
        self.first = {name: names[0] for names in groups for name in names}
        self.tensors: dict[str, Dims] = {names[0]: self._tensor(names) for names in groups}
        self.norms: dict[str, Dims] = {}
        self.known: dict[fx.Node, Any] = {}

    def _tensor(self, names: list[str]) -> Dims:
        """New labels for each dimension of a parameter or buffer; those of what cannot change stay."""
        owner, name = owner_of(self.model, names[0])
        dims = tuple(self.labels.fresh(size) for size in getattr(owner, name).shape)
        reason = next(filter(None, (self._why_rigid(each) for each in names)), None)
        for dim in dims if reason else ():
            self.labels.pin(dim, str(reason))
        return dims

    def _why_rigid(self, path: str) -> str | None:
        owner, name = owner_of(self.model, path)
        parent = self.model.get_submodule(path.rpartition(".")[0].rpartition(".")[0])
        for module in (owner, parent):
            if isinstance(module, _RIGID):
                return f"a {type(module).__name__} knows its sizes"
        if type(owner).__module__.startswith("torch.nn.modules.") and sizes_of(owner) is None:
            return f"a {type(owner).__name__} knows its sizes"
        if name in owner._non_persistent_buffers_set:
            return f"{path} is a buffer that no checkpoint holds"
        return None

    def run(self) -> None:
        signature = self.program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        names |= signature.inputs_to_lifted_tensor_constants  # buffers that no checkpoint holds are among these
        users = set(signature.user_outputs)
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                path = names.get(node.name)
                if path is not None and path in self.first:
                    self.known[node] = self.tensors[self.first[path]]
            elif node.op == "call_function":
                self.known[node] = self._call(node)
            elif node.op == "output":
                for value in pytree.tree_leaves(node.args):
                    if isinstance(value, fx.Node):
                        own = value.name in users
                        self._pin(
                            value, "the model gives them as a result" if own else "a buffer that is updated keeps them"
                        )

    def _pin(self, value: fx.Node, reason: str) -> None:
        dims = self.known.get(value)
        for dim in dims if isinstance(dims, tuple) else ():
            self.labels.pin(dim, reason)

    def _call(self, node: fx.Node) -> Any:
        if node.target is getitem:
            source, place = node.args
            found = self.known.get(source)  # pyright: ignore[reportArgumentType]
            return found[place] if isinstance(found, list) and place < len(found) else ()  # pyright: ignore
        call = Call(node, self.labels, self.known)
        self._norm(call)
        return rules.apply(call)

    def _norm(self, call: Call) -> None:
        """Remember the channels of a norm that has no tensors to tell them by."""
        stack = node_stack(call.node)
        if not stack or not call.node.all_input_nodes:
            return
        layer = self.model.get_submodule(stack)
        dims = call.dims(call.first())
        if (
            sizes_of(layer) is None
            or list(layer.parameters())
            or isinstance(getattr(layer, "running_mean", None), Tensor)
        ):
            return
        shape = sizes_of(layer) or {}
        taken = dims[-len(shape["shape"]) :] if "shape" in shape else dims[1:2] if isinstance(layer, _NormBase) else ()
        taken = taken or dims[1:2]
        before = self.norms.setdefault(stack, taken)
        for old, new in zip(before, taken, strict=False):
            call.tie(old, new)

    def channels(self) -> Channels:
        classes = self.labels.resolve()
        stay = self.labels.reasons(classes)
        changed = frozenset(int(each) for dim in self.labels.changed for each in classes[dim])
        tensors = {
            (name, place): classes[dim]
            for name, dims in self.tensors.items()
            for place, dim in enumerate(dims)
            if dim is not None
        }
        norms = {
            name: tuple(None if dim is None else classes[dim] for dim in dims) for name, dims in self.norms.items()
        }
        values = [self._value(node, classes) for node in self.known if node.op == "call_function"]
        return Channels(tensors, norms, stay, changed, values)

    def _value(self, node: fx.Node, classes: np.ndarray) -> Value:
        """What the results of an operation consist of."""
        call = Call(node, self.labels, self.known)
        known = self.known[node]
        results = []
        for place, shape in enumerate(call.result()):
            dims = known[place] if isinstance(known, list) and place < len(known) else known
            dims = dims if isinstance(dims, tuple) and len(dims) == len(shape) else (None,) * len(shape)
            results.append(tuple(size if dim is None else classes[dim] for dim, size in zip(dims, shape, strict=True)))
        return Value(call.operation, call.where, results)


def node_stack(node: fx.Node) -> str:
    """The path of the module that a node comes from."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]).partition("@")[0] if stack else ""  # @1: called a second time
