"""An exported program as torch-mlir takes it: of known types and fixed shapes, tensors in and tensors out, no state.

What cannot become so is refused here, with operation, layer and line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from dlas_mlir.compiler.frontend import small_integers
from dlas_mlir.compiler.frontend.decompositions import table
from dlas_mlir.compiler.layers import describe, source_line
from dlas_mlir.errors import DlasError

_aten = torch.ops.aten
_TYPES = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
_ASSERTIONS = (_aten._assert_tensor_metadata.default, _aten._assert_scalar.default, _aten._assert_async.msg)
# What only moves the elements of a tensor, and is done at once where that is a parameter.
_MOVES: dict[Any, Callable[..., Tensor]] = {
    operation: operation
    for operation in (
        _aten.permute.default,
        _aten.transpose.int,
        _aten.flip.default,
        _aten.view.default,
        _aten.reshape.default,
        _aten.select.int,
        _aten.slice.Tensor,
        _aten.clone.default,
    )
}


@dataclass(frozen=True)
class Prepared:
    """A program whose placeholders are the inputs and the state, and whose results are the outputs, tensors all.

    `unsigned_inputs` and `unsigned_outputs` are the positions of those in uint8. `names` are the parameters' by the
    id of the tensor, those of moved ones too. `remarks` are what the user should know. `results` make the outputs.
    """

    program: ExportedProgram
    unsigned_inputs: tuple[int, ...]
    unsigned_outputs: tuple[int, ...]
    names: dict[int, str]
    remarks: tuple[str, ...]

    @property
    def results(self) -> tuple[fx.Node, ...]:
        values = _output(self.program).args[0]
        assert isinstance(values, tuple | list)
        return tuple(value for value in values if isinstance(value, fx.Node))


def prepare(program: ExportedProgram, name: str) -> Prepared:
    """`program`, which stays as it is, ready to be imported. Raises DlasError for what cannot be compiled."""
    check(program, name)
    remarks = [*_narrowed(program, name)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = program.run_decompositions(table())
        except Exception as error:  # whatever a decomposition raises
            where = _at_work(program, str(error))
            raise DlasError(f"torch.export cannot decompose {where or name}: {first_line(error)}") from None
    remarks += _left_out(program, name)  # only now does the signature tell
    _keep_results(program)
    _keep_tensor_inputs(program)
    for node in list(program.graph.nodes):
        if node.target in _ASSERTIONS:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    _check_random(program, name)
    _check_masks(program, name)
    for graph in _graphs(program):
        small_integers.widen(graph)
    names = _bind_state(program)
    _move_weights(program.graph, names)
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    return Prepared(program, _unsigned(inputs), _unsigned(_output(program).args[0]), names, tuple(remarks))


def check(program: ExportedProgram, name: str) -> None:
    """Raise DlasError for types and shapes that cannot be compiled: complex, quantized, float64, dynamic ones."""
    for key, value in program.state_dict.items():
        if value.dtype == torch.float64 and value.numel() > 1:
            raise DlasError(f"{name}: `{key}` {_IS_DOUBLE}: call .float() on the model")
    users = _user_inputs(program)
    for node in _nodes(program):
        for value in _tensors(node.meta.get("val")):
            problem = _problem(value)
            if problem:
                index = users.get(node.name)
                where = f"input {index}" if index is not None else describe(node)
                raise DlasError(f"{name}: {where} {problem}")
            if value.dtype == torch.float64 and node.name in users:
                raise DlasError(f"{name}: input {users[node.name]} {_IS_DOUBLE}: call .float() on it and on the model")
    for node in _nodes(program):
        if node.target is _aten.view.dtype and any(map(_is_double, (node, *_referred(node.args)))):
            raise DlasError(f"{name}: {describe(node)} takes the bits of a number that {_IS_DOUBLE}")
    for index, value in enumerate(_results(program)):
        if isinstance(value, fx.Node) and any(val.dtype == torch.float64 for val in _tensors(value.meta.get("val"))):
            raise DlasError(f"{name}: output {index} {_IS_DOUBLE}: return it as .float() {source_line(value)}".rstrip())


def _check_random(program: ExportedProgram, name: str) -> None:
    for node in _nodes(program):
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise DlasError(
                f"{name}: {describe(node)} draws random numbers, and what is compiled would draw others than PyTorch: "
                "let the model take them as an input"
            )


def _check_masks(program: ExportedProgram, name: str) -> None:
    """Raise DlasError for places to write to whose number depends on values; the decompositions know the others."""
    for node in _nodes(program):
        if node.target not in (_aten.index_put.default, _aten._index_put_impl.default):
            continue
        if any(index.meta["val"].dtype == torch.bool for index in _referred(node.args[1])):
            raise DlasError(
                f"{name}: {describe(node)} writes where several masks, or masks and numbers, say so, which is not "
                "supported: join them to one mask"
            )


def _referred(arguments: Any) -> list[fx.Node]:
    return [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, fx.Node)]


def check_results(program: ExportedProgram, outputs: Sequence[Tensor], name: str) -> None:
    """Raise DlasError where torch.export takes an output for another shape or type than PyTorch has returned."""
    for index, (node, output) in enumerate(zip(_results(program), outputs, strict=False)):
        traced = node.meta["val"] if isinstance(node, fx.Node) else output
        if (traced.shape, traced.dtype) != (output.shape, output.dtype):
            raise DlasError(
                f"{name}: output {index}, of {describe(node)}, is {_shown(traced)} for torch.export, where PyTorch "
                f"returns {_shown(output)}: replace the operation"
            )


def _shown(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


_IS_DOUBLE = "is float64, and iree-compile makes everything float32"


def _problem(value: Tensor) -> str | None:
    if any(not isinstance(size, int) for size in value.shape):
        return (
            "has a size that is not fixed, or depends on values: only fixed shapes can be compiled "
            "(export the model without dynamic shapes; replace the operation)"
        )
    if value.dtype.is_complex:
        return "is complex, which is not supported; compute with the real and the imaginary part"
    if value.is_quantized:
        return "is a quantized tensor of PyTorch's eager mode, which is not supported; quantize with torchao's pt2e"
    if value.dtype not in _TYPES and value.dtype != torch.float64:
        supported = ", ".join(str(dtype).removeprefix("torch.") for dtype in _TYPES)
        return f"is {str(value.dtype).removeprefix('torch.')}, which is not supported; use {supported}"
    return None


def _at_work(program: ExportedProgram, message: str) -> str | None:
    """The operation that an exception of PyTorch's says it came from, described."""
    at = re.search(r"While executing %(\w+)", message)
    node = next((node for node in program.graph.nodes if at and node.name == at.group(1)), None)
    return describe(node) if node is not None else None


def _left_out(program: ExportedProgram, name: str) -> Iterator[str]:
    signature = program.graph_signature
    buffers = sorted(set(signature.buffers_to_mutate.values()))
    if buffers:
        listed = ", ".join(f"`{buffer}`" for buffer in buffers)
        yield f"{name}: remark: forward updates {listed}; what is compiled starts from the same values at each call"
    written = sorted(set(signature.user_inputs_to_mutate.values()))
    if written:
        users = _user_inputs(program)
        listed = ", ".join(f"input {users[node]}" for node in written)
        yield f"{name}: remark: forward writes to {listed}; what is compiled leaves it alone, and returns the results"


def _narrowed(program: ExportedProgram, name: str) -> Iterator[str]:
    double = next((node for node in _nodes(program) if node.op == "call_function" and _is_double(node)), None)
    if double is not None:
        yield f"{name}: remark: {describe(double)} computes in float64; what is compiled does so in float32"


def _is_double(node: fx.Node) -> bool:
    return any(value.dtype == torch.float64 and value.numel() > 1 for value in _tensors(node.meta.get("val")))


def _graphs(program: ExportedProgram) -> Iterator[fx.Graph]:
    """The program's and those of what it refers to: loops, branches, blocks of other modes."""
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            yield module.graph


def _nodes(program: ExportedProgram) -> Iterator[fx.Node]:
    for graph in _graphs(program):
        yield from graph.nodes


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _user_inputs(program: ExportedProgram) -> dict[str, int]:
    """The position of each tensor among the inputs, by its node's name."""
    specs = program.graph_signature.input_specs
    users = [spec.arg for spec in specs if spec.kind == InputKind.USER_INPUT]
    tensors = [argument.name for argument in users if isinstance(argument, TensorArgument)]
    return {name: index for index, name in enumerate(tensors)}


def _output(program: ExportedProgram) -> fx.Node:
    return next(iter(reversed(program.graph.nodes)))


def _results(program: ExportedProgram) -> list[Any]:
    """What the model returns: neither updates of buffers and inputs, nor None and numbers."""
    specs = program.graph_signature.output_specs
    values = _output(program).args[0]
    assert isinstance(values, tuple | list)
    return [
        value
        for spec, value in zip(specs, values, strict=True)
        if spec.kind == OutputKind.USER_OUTPUT and not isinstance(spec.arg, ConstantArgument)
    ]


def _keep_results(program: ExportedProgram) -> None:
    output, kept = _output(program), []
    for value in _results(program):
        if value.op == "placeholder":  # the state becomes constants, and those no results
            with program.graph.inserting_before(output):
                copy = program.graph.call_function(_aten.clone.default, (value,))
            copy.meta = dict(value.meta)
            value = copy
        kept.append(value)
    output.args = (tuple(kept),)


def _keep_tensor_inputs(program: ExportedProgram) -> None:
    specs = program.graph_signature.input_specs
    constants = {spec.arg.name: spec.arg.value for spec in specs if isinstance(spec.arg, ConstantArgument)}
    for node in list(program.graph.nodes):
        if node.op == "placeholder" and node.name in constants:
            node.replace_all_uses_with(constants[node.name])
            program.graph.erase_node(node)


def _bind_state(program: ExportedProgram) -> dict[int, str]:
    """Put parameters, buffers and constants in the place of their placeholders; their names, by id."""
    names: dict[int, str] = {}
    targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if spec.target is not None}
    for node in list(program.graph.nodes):
        target = targets.get(node.name) if node.op == "placeholder" else None
        if target is None:
            continue
        value = program.state_dict[target] if target in program.state_dict else program.constants[target]
        names.setdefault(id(value), target)
        node.replace_all_uses_with(value)
        program.graph.erase_node(node)
    _refer_in_lists(program.graph_module)
    return names


def _refer_in_lists(module: fx.GraphModule) -> None:
    """Let lists of tensors refer to constants by name, which torch-mlir's importer takes there, but not as tensors."""
    for node in list(module.graph.nodes):
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        for place, argument in enumerate(node.args):
            if isinstance(argument, list | tuple) and any(isinstance(value, Tensor) for value in argument):
                listed = [_reference(module, node, value) if isinstance(value, Tensor) else value for value in argument]
                node.update_arg(place, listed)


def _reference(module: fx.GraphModule, user: fx.Node, value: Tensor) -> fx.Node:
    """A node before `user` that reads a constant by name."""
    name = f"_listed_{id(value)}"
    if isinstance(value, nn.Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)
    with module.graph.inserting_before(user):
        return module.graph.get_attr(name)


def _move_weights(graph: fx.Graph, names: dict[int, str]) -> None:
    """Let the weights of convolutions be constants where they are parameters that were only moved."""
    for node in list(graph.nodes):
        if node.target is not _aten.convolution.default or not isinstance(node.args[1], fx.Node):
            continue
        moved = _moved(node.args[1])
        if moved is None:
            continue
        value, source = moved
        if id(source) in names:
            names[id(value)] = names[id(source)]
        node.args = (node.args[0], value, *node.args[2:])
    graph.eliminate_dead_code()


@torch.no_grad()
def _moved(node: Any) -> tuple[Tensor, Tensor] | None:
    """What `node` is, and the parameter that it was: None where it is no moved parameter."""
    if isinstance(node, Tensor):
        return node, node
    move = _MOVES.get(node.target) if isinstance(node, fx.Node) else None
    found = _moved(node.args[0]) if move is not None else None
    if move is None or found is None:
        return None
    value, source = found
    return move(value, *node.args[1:], **node.kwargs).contiguous(), source


def _unsigned(nodes: Any) -> tuple[int, ...]:
    return tuple(index for index, node in enumerate(nodes) if node.meta["val"].dtype == torch.uint8)


def first_line(error: Exception) -> str:
    """What an exception of PyTorch's says, without the pages that follow."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
