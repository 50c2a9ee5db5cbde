"""Reading an ONNX file: the model, the files that it refers to, its inputs with fixed shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto, ValueInfoProto
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from dlas_mlir.compiler.frontend.input_spec import InputSpec
from dlas_mlir.compiler.frontend.onnx.graph import all_graphs, all_nodes, element_name
from dlas_mlir.errors import DlasError

# The element types of inputs that have a notation.
_ELEMENTS: dict[int, str] = {
    TensorProto.FLOAT: "f32",
    TensorProto.FLOAT16: "f16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.DOUBLE: "f64",
    TensorProto.INT64: "i64",
    TensorProto.INT32: "i32",
    TensorProto.INT16: "i16",
    TensorProto.INT8: "i8",
    TensorProto.UINT8: "ui8",
    TensorProto.BOOL: "i1",
}
# The bytes of those that weights are of; what is left may be of 4 bits.
_BYTES: dict[int, float] = {
    TensorProto.FLOAT: 4.0,
    TensorProto.FLOAT16: 2.0,
    TensorProto.BFLOAT16: 2.0,
    TensorProto.INT8: 1.0,
    TensorProto.UINT8: 1.0,
}
# What a protobuf message can hold.
_LARGEST = (1 << 31) - 1


def read(path: Path) -> tuple[ModelProto, list[str]]:
    """The model in `path`, whole, and the files with tensors that it names, relative to its folder.

    Raises DlasError when one of them cannot be read or is damaged.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise DlasError(f"{path} is larger than 2 GB, as no ONNX file can be: save its tensors as external data")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    except DecodeError as error:
        raise DlasError(f"{path} is no ONNX file: {error} (it may be truncated)") from None
    if not model.graph.node and not model.graph.output:
        raise DlasError(f"{path} is no ONNX file: it has no graph (it may be truncated)")
    files = sorted({ExternalDataInfo(tensor).location for tensor in _tensors(model) if uses_external_data(tensor)})
    for tensor in _tensors(model):
        if uses_external_data(tensor) and _bytes(tensor) > _LARGEST:
            raise DlasError(f"{path}: '{tensor.name}' is larger than 2 GB, which is not supported: split it")
    if files:
        try:
            load_external_data_for_model(model, str(path.absolute().parent))
        except Exception as error:  # the checker's own, OSError and ValueError
            raise DlasError(f"cannot read the data of {path}, in {', '.join(files)}: {error}") from None
    name_nodes(model)
    return model, files


def _bytes(tensor: TensorProto) -> float:
    """The least that its elements can take."""
    return math.prod(tensor.dims) * _BYTES.get(tensor.data_type, 0.5)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors in a model, those in attributes and nested graphs too."""
    graphs = list(all_graphs(model.graph))
    nodes = list(all_nodes(model.graph.node))
    for function in model.functions:
        nodes += all_nodes(function.node)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
            graphs += [attribute.g] if attribute.type == AttributeProto.GRAPH else []
            graphs += attribute.graphs
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def name_nodes(model: ModelProto) -> None:
    """Give nodes without a name one that finds them: their operation and number."""
    for index, node in enumerate(all_nodes(model.graph.node)):
        node.name = node.name or f"{node.op_type}_{index}"


def fix_inputs(model: ModelProto, inputs: tuple[InputSpec, ...] | None, batch: int | None, name: str) -> None:
    """Give the inputs of `model` the shapes `inputs`, in their order, or the size `batch` to first dimensions that are
    open; without, they must have fixed shapes already.

    Initializers that are listed as inputs, as old files do, are constants afterwards. Raises DlasError.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    free = [info for info in model.graph.input if info.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(free)
    free = list(model.graph.input)
    for info in free:
        if not info.type.HasField("tensor_type"):
            raise DlasError(f"{name}: input '{info.name}' is no tensor, but a {info.type.WhichOneof('value')}")
    if batch is not None:
        _fix_batch(free, batch, name)
    if inputs is None:
        for info in free:
            if not _is_fixed(info):
                raise DlasError(
                    f"{name}: input '{info.name}' is {_written(info)}: its shape must be fixed: "
                    f"give {' '.join(f'--input {_example(each)}' for each in free)}{_or_batch(free)}"
                )
    else:
        if len(inputs) != len(free):
            wanted = ", ".join(f"'{info.name}' {_written(info)}" for info in free) or "none"
            raise DlasError(f"{name}: {len(inputs)} inputs are given; it has {len(free)}: {wanted}")
        for info, spec in zip(free, inputs, strict=True):
            _fix(info, spec, name)
    if inputs is not None or batch is not None:
        for info in model.graph.output:  # found anew from the inputs
            info.type.tensor_type.ClearField("shape")


def _or_batch(inputs: list[ValueInfoProto]) -> str:
    """What can be said instead of shapes where nothing but batches is open."""
    rest = [dim for info in inputs for dim in list(info.type.tensor_type.shape.dim)[1:]]
    known = all(info.type.tensor_type.HasField("shape") for info in inputs)
    return " (or --batch 1)" if known and all(map(_is_size, rest)) else ""


def _fix_batch(inputs: list[ValueInfoProto], batch: int, name: str) -> None:
    """Give first dimensions that are open the size `batch`."""
    first = [info.type.tensor_type.shape.dim[0] for info in inputs if info.type.tensor_type.shape.dim]
    opened = [dim for dim in first if not _is_size(dim)]
    for dim in opened:
        dim.dim_value = batch
    if not opened and not any(dim.dim_value == batch for dim in first):
        listed = ", ".join(f"'{info.name}' {_written(info)}" for info in inputs) or "none"
        raise DlasError(
            f"{name}: its batch is fixed, and cannot be {batch}: the inputs are {listed}; export the model with a "
            "first dimension that is dynamic"
        )


def _is_fixed(info: ValueInfoProto) -> bool:
    kind = info.type.tensor_type
    return kind.HasField("shape") and all(map(_is_size, kind.shape.dim))


def _is_size(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return dim.HasField("dim_value") and dim.dim_value > 0


def _fix(info: ValueInfoProto, spec: InputSpec, name: str) -> None:
    kind = info.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    fits = not kind.HasField("shape") or (
        len(sizes) == len(spec.shape)
        and all(size in (None, 0, -1, given) for size, given in zip(sizes, spec.shape, strict=True))
    )
    if not fits or _ELEMENTS.get(kind.elem_type) != spec.element:
        raise DlasError(f"{name}: input '{info.name}' is {_written(info)}, and cannot be {spec}")
    kind.shape.CopyFrom(onnx.TensorShapeProto())
    for size in spec.shape:
        kind.shape.dim.add().dim_value = size


def _element(info: ValueInfoProto) -> str:
    kind = info.type.tensor_type.elem_type
    return _ELEMENTS.get(kind, element_name(kind).lower())


def _sizes(info: ValueInfoProto) -> list[str]:
    dims = info.type.tensor_type.shape.dim
    return [str(dim.dim_value) if _is_size(dim) else dim.dim_param for dim in dims]


def _written(info: ValueInfoProto) -> str:
    """The type of an input as messages write it, with the names of sizes that are not fixed."""
    if not info.type.tensor_type.HasField("shape"):
        return f"of unknown rank, {_element(info)}"
    return "x".join([*(size or "?" for size in _sizes(info)), _element(info)])


def _example(info: ValueInfoProto) -> str:
    """What `--input` could be: 1 for a batch that is open, a place to fill in for all else that is."""
    if not info.type.tensor_type.HasField("shape"):
        return f"SHAPEx{_element(info)}"
    sizes = [size if size.isdigit() else ("1" if not index else "N") for index, size in enumerate(_sizes(info))]
    return "x".join([*sizes, _element(info)])


def specs(model: ModelProto, name: str) -> tuple[InputSpec, ...]:
    """The inputs of `model`, whose shapes are fixed. Raises DlasError for an element type that has no notation."""
    found = []
    for info in model.graph.input:
        kind = info.type.tensor_type
        if kind.elem_type not in _ELEMENTS:
            raise DlasError(f"{name}: input '{info.name}' is of the type {_element(info)}, which cannot be passed")
        found.append(InputSpec(tuple(dim.dim_value for dim in kind.shape.dim), _ELEMENTS[kind.elem_type]))
    return tuple(found)
