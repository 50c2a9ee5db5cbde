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
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree as pytree

from dlas_mlir import models
from dlas_mlir.compiler.frontend import rounding, torch_import, torch_lowering
from dlas_mlir.compiler.frontend.arguments import Arguments, copies, example_arguments
from dlas_mlir.compiler.frontend.exported_file import load_exported
from dlas_mlir.compiler.frontend.factory import call_factory, source_files, split_factory
from dlas_mlir.compiler.frontend.input_spec import InputSpec, spec_of
from dlas_mlir.compiler.frontend.program import check as check_program
from dlas_mlir.compiler.frontend.program import check_results, first_line
from dlas_mlir.errors import DlasError
from dlas_mlir.models.architecture import quantization_of
from dlas_mlir.models.count import count_parameters
from dlas_mlir.models.fill import SEED, load_weights
from dlas_mlir.process import entering


@dataclass(frozen=True)
class TorchSource:
    """A traced model. `nonzeros` are those of its `parameters`, `files` the user's Python files it was made from.

    `run` is the model in PyTorch as a function of the `inputs`. It may change its `buffers`, which are put back then.
    """

    name: str
    program: ExportedProgram
    run: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    parameters: int
    nonzeros: int = 0
    files: tuple[Path, ...] = ()
    buffers: tuple[Tensor, ...] = ()

    def write_linalg(self, path: Path) -> None:
        """Write bytecode of linalg on tensors, and what it is lowered from beside it. Raises DlasError."""
        source = path.with_name("torch.mlirbc")
        torch_lowering.lower(source, path, self.name, self.write_torch(source))

    def write_torch(self, path: Path) -> torch_lowering.Notes:
        """Write bytecode of the torch dialect; what is returned goes with it to `torch_lowering.lower`."""
        return torch_import.write_torch(self.program, path, self.name)

    def write_golden(self, path: Path) -> None:
        """Run the model in PyTorch, and write inputs and outputs as an .npz file."""
        entering("PyTorch's own run of the model")
        outputs = self._outputs()
        arrays = {f"input_{index}": _to_numpy(tensor) for index, tensor in enumerate(self.inputs)}
        arrays |= {f"output_{index}": _to_numpy(tensor) for index, tensor in enumerate(outputs)}
        # What the outputs can be held to, which their own type does not tell.
        arrays["element"] = np.array(str(_coarsest(self.program)).removeprefix("torch."))
        if _is_quantized(self.program):
            with self._buffers_kept():
                arrays["limits"] = np.array(rounding.limits(self.run, self.inputs, outputs))
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def _outputs(self) -> list[Tensor]:
        """What PyTorch returns: the tensors of it, as the compiled function does."""
        with torch.no_grad(), self._buffers_kept():
            try:
                returned = pytree.tree_leaves(self.run(*copies(self.inputs)))
            except Exception as error:  # whatever the model raises
                raise DlasError(f"{self.name} fails in PyTorch: {first_line(error)}") from None
            outputs = [value.clone() for value in returned if isinstance(value, Tensor)]
        if not outputs:
            raise DlasError(f"{self.name} returns no tensor: there is nothing to compile")
        check_results(self.program, outputs, self.name)
        return outputs

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        before = copies(self.buffers)
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in zip(self.buffers, before, strict=True):
                    buffer.copy_(value)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread: its small operations spin for seconds where other work holds a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def from_zoo(
    name: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None, batch: int | None = None
) -> TorchSource:
    """A model of the zoo, with the zoo's input unless another, or another batch of it, is given."""
    model = models.build(name, weights)
    first, *rest = models.lookup(name).input_shape
    specs = inputs or (InputSpec((batch or first, *rest), "f32"),)
    return _from_module(model, Arguments.of(_random(specs)), name)


def from_factory(
    spec: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None, batch: int | None = None
) -> TorchSource:
    """The module that a factory returns, with its example inputs (`batch` of them, if that is given) or random ones of
    the shapes `inputs`."""
    model, arguments = _load(spec, inputs, weights)
    if batch is not None:
        arguments = arguments.batched(batch, spec)
    return _from_module(model, arguments, spec, tuple(source_files(split_factory(spec)[0])))


def load_factory(
    spec: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module that a factory returns, in eval mode, called with PyTorch's generator seeded; and inputs for it.

    Raises DlasError when the factory fails, the weights do not fit or nothing says what the inputs are.
    """
    model, arguments = _load(spec, inputs, weights)
    return model, arguments.tensors


def _load(spec: str, inputs: tuple[InputSpec, ...] | None, weights: Path | None) -> tuple[nn.Module, Arguments]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = call_factory(spec)
    if not isinstance(model, nn.Module):
        raise DlasError(f"{spec}() returned a {type(model).__name__}; it must return an nn.Module")
    model.eval()
    if weights is not None:
        load_weights(model, weights)
    return model, _arguments(model, inputs, f"the module that {spec}() returned")


def from_module(
    model: nn.Module, example_inputs: Any, inputs: tuple[InputSpec, ...] | None, batch: int | None = None
) -> TorchSource:
    """A module of the caller's, which must be in eval mode; named by its class.

    Its inputs are `example_inputs`, random ones of the shapes `inputs`, or the module's own, `batch` of them if that is
    given. Raises DlasError.
    """
    name = type(model).__name__
    if example_inputs is not None:
        arguments = example_arguments(example_inputs, f"the {name}")
    else:
        arguments = _arguments(model, inputs, f"the {name}")
    return _from_module(model, arguments if batch is None else arguments.batched(batch, f"the {name}"), name)


def _arguments(model: nn.Module, inputs: tuple[InputSpec, ...] | None, owner: str) -> Arguments:
    if inputs is not None:
        return Arguments.of(_random(inputs))
    return example_arguments(getattr(model, "example_inputs", None), owner)


def from_exported_file(path: Path) -> TorchSource:
    """An ExportedProgram in a file. Raises DlasError when it cannot be read."""
    return from_program(load_exported(path), str(path))


def from_program(program: ExportedProgram, name: str) -> TorchSource:
    """An ExportedProgram, with its example inputs if it has them, else random ones."""
    check_program(program, name)
    in_spec = _in_spec(program)
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    users = [spec.arg for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    leaves = pytree.tree_leaves(program.example_inputs or ())
    if len(leaves) != len(users):
        generator = torch.Generator().manual_seed(SEED)
        leaves = [
            argument.value
            if isinstance(argument, ConstantArgument)
            else spec_of(placeholders[argument.name].meta["val"]).random(generator)
            for argument in users
        ]
        # torch.export itself goes wrong later where the program has none.
        program.example_inputs = pytree.tree_unflatten(leaves, in_spec)
    arguments = Arguments(tuple(leaves), in_spec)
    module = program.module(check_guards=False)
    buffers = tuple(module.buffers())
    nonzeros = _nonzeros(program.parameters())
    parameters = sum(value.numel() for value in program.parameters())
    return TorchSource(name, program, arguments.caller(module), arguments.tensors, parameters, nonzeros, (), buffers)


def _nonzeros(parameters: Iterator[nn.Parameter]) -> int:
    return sum(int(_plain(value).count_nonzero()) for value in parameters)


def _plain(value: Tensor) -> Tensor:
    """The numbers that a parameter stands for, which torchao's tensors hold in another form."""
    return value if type(value) in (Tensor, nn.Parameter) else value.dequantize()


def _in_spec(program: ExportedProgram) -> pytree.TreeSpec:
    spec = program.call_spec.in_spec
    if spec is None:
        raise DlasError("the program does not say how it is called; export it again")
    return spec


def trace(model: nn.Module, inputs: tuple[Any, ...], name: str) -> ExportedProgram:
    """The model as torch.export gives it, in integers if it is a quantized one. Raises DlasError."""
    quantization = quantization_of(model)
    _check_layers(model, name)
    if quantization is None:
        return torch_import.export(model, inputs, name)
    from dlas_mlir.compiler.frontend.int8 import program_of  # torchao takes seconds to import

    return program_of(model, quantization, inputs, name)


def _check_layers(model: nn.Module, name: str) -> None:
    """Raise DlasError for layers that torch.export says nothing useful of."""
    for path, layer in model.named_modules():
        if type(layer).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")):
            raise DlasError(
                f"{name}: layer `{path}` is a {type(layer).__name__} of PyTorch's eager-mode quantization, which is "
                "not supported: quantize the float model with `dlas compress`, or with torchao's pt2e"
            )


def _from_module(model: nn.Module, arguments: Arguments, name: str, files: tuple[Path, ...] = ()) -> TorchSource:
    program = trace(model, arguments.positional, name)
    check_program(program, name)
    run = model if quantization_of(model) is None else program.module(check_guards=False)
    nonzeros = _nonzeros(model.parameters())
    buffers = tuple(run.buffers())
    parameters = count_parameters(model)
    return TorchSource(name, program, arguments.caller(run), arguments.tensors, parameters, nonzeros, files, buffers)


def _random(specs: tuple[InputSpec, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(SEED)
    return tuple(spec.random(generator) for spec in specs)


def _coarsest(program: ExportedProgram) -> torch.dtype:
    """The floating-point type with the fewest digits that anything is computed in."""
    values = [node.meta.get("val") for node in program.graph.nodes]
    found = {value.dtype for value in values if isinstance(value, Tensor) and value.is_floating_point()}
    return max(found, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float64)


def _is_quantized(program: ExportedProgram) -> bool:
    return any("quantized_decomposed" in str(node.target) for node in program.graph.nodes)


def _to_numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
