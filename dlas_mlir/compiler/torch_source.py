"""What PyTorch knows of a model to import: the exported program, the inputs, and the outputs to expect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from dlas_mlir import models
from dlas_mlir.errors import DlasError
from dlas_mlir.models.architecture import quantization_of
from dlas_mlir.models.count import count_parameters
from dlas_mlir.models.fill import SEED, load_weights
from dlas_mlir.process import entering

from . import rounding, torch_import
from .exported_file import load_exported
from .factory import call_factory, source_files, split_factory
from .input_spec import InputSpec, spec_of


@dataclass(frozen=True)
class TorchSource:
    """A traced model. `nonzeros` are those of its `parameters`, `files` the user's Python files it was made from."""

    name: str
    program: ExportedProgram
    run: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    parameters: int
    nonzeros: int = 0
    files: tuple[Path, ...] = ()

    def write_linalg(self, path: Path) -> None:
        """Write bytecode of linalg on tensors."""
        torch_import.write_linalg(self.program, path, self.name)

    def write_golden(self, path: Path) -> None:
        """Run the model in PyTorch, and write inputs and outputs as an .npz file."""
        entering("PyTorch's own run of the model")
        with torch.no_grad():
            try:
                outputs = pytree.tree_leaves(self.run(*[tensor.clone() for tensor in self.inputs]))
            except Exception as error:  # whatever the model raises
                raise DlasError(f"{self.name} fails in PyTorch: {torch_import.first_line(error)}") from None
        if not all(isinstance(output, Tensor) for output in outputs):
            raise DlasError(f"{self.name} returns something that is no tensor; wrap it so that it returns tensors")
        arrays = {f"input_{index}": _to_numpy(tensor) for index, tensor in enumerate(self.inputs)}
        arrays |= {f"output_{index}": _to_numpy(tensor) for index, tensor in enumerate(outputs)}
        # What the outputs can be held to, which their own type does not tell.
        element = _coarsest(self.program)
        arrays["element"] = np.array(str(element).removeprefix("torch."))
        if element == torch.int8:
            arrays["limit"] = np.array(rounding.limit(self.run, self.inputs, outputs))
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread: its small operations spin for seconds where other work holds a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def from_zoo(name: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None) -> TorchSource:
    """A model of the zoo, with the zoo's input unless another is given."""
    model = models.build(name, weights)
    specs = inputs or (InputSpec(models.lookup(name).input_shape, "f32"),)
    return _from_module(model, _random(specs), name)


def from_factory(spec: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None) -> TorchSource:
    """The module that a factory returns, with its example inputs or random ones of the shapes `inputs`."""
    model, values = load_factory(spec, inputs, weights)
    return _from_module(model, values, spec, tuple(source_files(split_factory(spec)[0])))


def load_factory(
    spec: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module that a factory returns, in eval mode, called with PyTorch's generator seeded; and inputs for it.

    Raises DlasError when the factory fails, the weights do not fit or nothing says what the inputs are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = call_factory(spec)
    if not isinstance(model, nn.Module):
        raise DlasError(f"{spec}() returned a {type(model).__name__}; it must return an nn.Module")
    model.eval()
    if weights is not None:
        load_weights(model, weights)
    return model, _random(inputs) if inputs is not None else _example_inputs(model, spec)


def from_exported_file(path: Path, title: str | None = None) -> TorchSource:
    """An ExportedProgram, with the example inputs in the file if there are, else random ones. `title` is what messages
    call it instead of its path."""
    program = load_exported(path)
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    users = [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    inputs = tuple(pytree.tree_leaves(program.example_inputs or ()))
    if len(inputs) != len(users) or not all(isinstance(value, Tensor) for value in inputs):
        inputs = _random(tuple(spec_of(placeholders[name].meta["val"]) for name in users))
        # torch.export itself goes wrong later where the file has none.
        program.example_inputs = pytree.tree_unflatten(inputs, _in_spec(program))
    parameters = sum(value.numel() for value in program.parameters())
    nonzeros = _nonzeros(program.parameters())
    return TorchSource(title or str(path), program, _calls_with(program), inputs, parameters, nonzeros)


def _nonzeros(parameters: Iterator[nn.Parameter]) -> int:
    return sum(int(value.count_nonzero()) for value in parameters)


def _calls_with(program: ExportedProgram) -> Callable[..., Any]:
    module = program.module(check_guards=False)
    in_spec = _in_spec(program)

    def run(*inputs: Tensor) -> Any:
        arguments, keywords = pytree.tree_unflatten(inputs, in_spec)
        return module(*arguments, **keywords)

    return run


def _in_spec(program: ExportedProgram) -> pytree.TreeSpec:
    spec = program.call_spec.in_spec
    if spec is None:
        raise DlasError("the program does not say how it is called; export it again")
    return spec


def trace(model: nn.Module, inputs: tuple[Tensor, ...], name: str) -> ExportedProgram:
    """The model as torch.export gives it, in integers if it is a quantized one. Raises DlasError."""
    quantization = quantization_of(model)
    if quantization is None:
        return torch_import.export(model, inputs, name)
    from .int8 import program_of  # torchao takes seconds to import

    return program_of(model, quantization, inputs, name)


def _from_module(model: nn.Module, inputs: tuple[Tensor, ...], name: str, files: tuple[Path, ...] = ()) -> TorchSource:
    program = trace(model, inputs, name)
    run = model if quantization_of(model) is None else _calls_with(program)
    return TorchSource(name, program, run, inputs, count_parameters(model), _nonzeros(model.parameters()), files)


def _example_inputs(model: nn.Module, spec: str) -> tuple[Tensor, ...]:
    values = getattr(model, "example_inputs", None)
    if not isinstance(values, tuple) or not all(isinstance(value, Tensor) for value in values):
        raise DlasError(
            f"{spec}() returned a module without inputs: set its `example_inputs` to a tuple of tensors, "
            "or give --input 1x3x224x224xf32"
        )
    for value in values:
        spec_of(value)
    return values


def _random(specs: tuple[InputSpec, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(SEED)
    return tuple(spec.random(generator) for spec in specs)


def _coarsest(program: ExportedProgram) -> torch.dtype:
    """The floating-point type with the fewest digits that anything is computed in, int8 for a quantized program."""
    if any("quantized_decomposed" in str(node.target) for node in program.graph.nodes):
        return torch.int8
    values = [node.meta.get("val") for node in program.graph.nodes]
    found = {value.dtype for value in values if isinstance(value, Tensor) and value.is_floating_point()}
    return max(found, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float64)


def _to_numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
