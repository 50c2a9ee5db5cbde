"""What is timed: a zoo model, `package.module:factory`, or one layer described in one line."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import quantized
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    import torch

SEED = 0
# The variant of a runtime that is given the model in integers.
INT8 = "int8"
LAYER_KINDS = ("conv", "linear")


@dataclass(frozen=True)
class Layer:
    """A convolution with bias; a linear layer is one with spatial extent 1 and `linear` set. `zeros` percent of the
    weights are zero, together with those of `block` output channels."""

    batch: int
    channels: int
    filters: int
    height: int = 1
    width: int = 1
    kernel_h: int = 1
    kernel_w: int = 1
    pad_h: int = 0
    pad_w: int = 0
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    linear: bool = False
    zeros: int = 0
    block: int = 1

    def __str__(self) -> str:
        sparse = f" {self.block}x1 {self.zeros} %" if self.zeros else ""
        if self.linear:
            return f"linear {self.channels}-{self.filters}" + (f" n{self.batch}" if self.batch > 1 else "") + sparse
        height, width = self.height, self.width
        parts = [
            f"{self.kernel_h}x{self.kernel_w} {self.channels}-{self.filters}",
            f"@{height}" if height == width else f"@{height}x{width}",
        ]
        if self.stride_h > 1 or self.stride_w > 1:
            parts.append(f"s{self.stride_h}")
        if self.dilation_h > 1 or self.dilation_w > 1:
            parts.append(f"d{self.dilation_h}")
        if self.groups > 1:
            parts.append("dw" if self.groups == self.channels == self.filters else f"G{self.groups}")
        if self.batch > 1:
            parts.append(f"n{self.batch}")
        return " ".join(parts) + sparse


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise DlasError(message)


def _layer_parser() -> argparse.ArgumentParser:
    """The letters are those of MIOpenDriver and of IREE's BOO driver; their other flags are ignored."""
    parser = _Parser(prog="layer", add_help=False, allow_abbrev=False)
    for letters, field, default in (
        (("-n",), "batch", 1),
        (("-c",), "channels", None),
        (("-k",), "filters", None),
        (("-H",), "height", 1),
        (("-W",), "width", 1),
        (("-y",), "kernel_h", 1),
        (("-x",), "kernel_w", 1),
        (("-p",), "pad_h", 0),
        (("-q",), "pad_w", 0),
        (("-u",), "stride_h", 1),
        (("-v",), "stride_w", 1),
        (("-l",), "dilation_h", 1),
        (("-j",), "dilation_w", 1),
        (("-g",), "groups", 1),
        (("--zeros",), "zeros", 0),
        (("--block",), "block", 1),
    ):
        parser.add_argument(*letters, dest=field, type=int, default=default, required=default is None)
    return parser


def parse_layer(line: str) -> Layer:
    """`conv -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1` or `linear -c 2048 -k 1000`; raises DlasError."""
    kind, *words = shlex.split(line)
    if kind not in LAYER_KINDS:
        raise DlasError(f"`{line}`: a layer starts with one of {', '.join(LAYER_KINDS)}, not `{kind}`")
    try:
        values, _ignored = _layer_parser().parse_known_args(words)
    except DlasError as error:
        raise DlasError(f"`{line}`: {error}") from None
    layer = Layer(**vars(values), linear=kind == "linear")
    zero_allowed = {"pad_h", "pad_w", "linear", "zeros"}
    for field, value in asdict(layer).items():
        if field not in zero_allowed and value < 1:
            raise DlasError(f"`{line}`: {field} is {value}, it must be at least 1")
    if not 0 <= layer.zeros <= 100:
        raise DlasError(f"`{line}`: zeros is {layer.zeros}, a percentage is wanted")
    if layer.filters // layer.groups % layer.block:
        raise DlasError(f"`{line}`: blocks of {layer.block} do not divide the output channels of a group")
    if layer.channels % layer.groups or layer.filters % layer.groups:
        raise DlasError(f"`{line}`: {layer.groups} groups do not divide {layer.channels} and {layer.filters} channels")
    return layer


def read_commands(path: Path) -> list[str]:
    """The layer lines of a commands file; empty lines and `#` comments are skipped. Raises DlasError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DlasError(f"{path}: cannot be read: {error}") from None
    commands = []
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        try:
            parse_layer(text)
        except DlasError as error:
            raise DlasError(f"{path}:{number}: {error}") from None
        commands.append(text)
    return commands


def is_layer(spec: str) -> bool:
    return spec.split(maxsplit=1)[0] in LAYER_KINDS


def display_name(spec: str) -> str:
    return str(parse_layer(spec)) if is_layer(spec) else spec


def build_layer(layer: Layer) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    import torch

    if layer.linear:
        return torch.nn.Linear(layer.channels, layer.filters), (torch.randn(layer.batch, layer.channels),)
    module = torch.nn.Conv2d(
        layer.channels,
        layer.filters,
        (layer.kernel_h, layer.kernel_w),
        stride=(layer.stride_h, layer.stride_w),
        padding=(layer.pad_h, layer.pad_w),
        dilation=(layer.dilation_h, layer.dilation_w),
        groups=layer.groups,
    )
    return module, (torch.randn(layer.batch, layer.channels, layer.height, layer.width),)


def prune(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], zeros: int, block: int, skip: tuple[str, ...] = ()
) -> None:
    """Set `zeros` percent of the weights of each layer to zero, the smallest, together with those of `block` output
    channels. Raises DlasError."""
    from dlas_mlir.compression.compress import compress_module
    from dlas_mlir.compression.pruning import Prune

    structure = "unstructured" if block == 1 else f"{block}x1"
    compress_module(module, inputs, [Prune(zeros / 100, structure, scope="layer", skip=skip)])


def build(spec: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The module in eval mode and its inputs, the same in every process. Raises DlasError."""
    import torch

    torch.manual_seed(SEED)
    if is_layer(spec):
        layer = parse_layer(spec)
        module, inputs = build_layer(layer)
        if layer.zeros:
            prune(module, inputs, layer.zeros, layer.block)
    elif ":" in spec:
        module, inputs = _from_factory(spec)
    else:
        from dlas_mlir import models

        module = models.build(spec)
        inputs = (torch.randn(models.lookup(spec).input_shape),)
    return module.eval(), inputs


def _from_factory(spec: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    module_name, _, factory = spec.partition(":")
    try:
        module = getattr(importlib.import_module(module_name), factory)()
    except (ImportError, AttributeError) as error:
        raise DlasError(f"`{spec}`: {error}") from None
    return module, module.example_inputs


@dataclass(frozen=True)
class Case:
    """A workload ready for every runtime.

    `golden` is an .npz of input_0.. and eager PyTorch's output_0..; `source` is what our importer takes, the
    spec itself or, for a layer, an ExportedProgram file. The `int8_` fields are of the same model in integers.
    """

    spec: str
    name: str
    macs: int
    golden: str
    source: str
    onnx: str = ""
    onnx_error: str = ""
    int8_weights: str = ""
    int8_golden: str = ""
    int8_onnx: str = ""
    int8_error: str = ""

    def onnx_file(self, variant: str = "") -> str:
        """The model as ONNX, `int8` or as it is. Raises DlasError when there is none, or no such variant."""
        if variant not in ("", INT8):
            raise DlasError(f"unknown variant `{variant}`: the only one is `{INT8}`")
        path, error = (self.int8_onnx, self.int8_error) if variant else (self.onnx, self.onnx_error)
        if not path:
            raise DlasError(f"no ONNX file: {error}")
        return path

    def golden_file(self, variant: str = "") -> str:
        """What the outputs of the model from `onnx_file` are compared with."""
        return self.int8_golden if variant else self.golden


def prepare(spec: str, directory: Path) -> Case:
    """Run `spec` once in eager PyTorch and export it, into `directory`. Raises DlasError."""
    import numpy as np
    import torch

    from dlas_mlir.models.count import run_and_count_macs

    module, inputs = build(spec)
    directory.mkdir(parents=True, exist_ok=True)
    result, macs = run_and_count_macs(module, inputs)
    outputs = [result] if isinstance(result, torch.Tensor) else list(result)
    golden = directory / "golden.npz"
    arrays = {f"input_{i}": tensor.numpy() for i, tensor in enumerate(inputs)}
    arrays |= {f"output_{i}": tensor.numpy() for i, tensor in enumerate(outputs)}
    np.savez(golden, **arrays)  # type: ignore[arg-type]
    path = directory / "model.onnx"
    error = _export_onnx(module, inputs, path)
    source = spec
    if is_layer(spec):
        source = str(directory / "layer.pt2")
        torch.export.save(torch.export.export(module, inputs), source)
    return Case(spec, display_name(spec), macs, str(golden), source, "" if error else str(path), error)


def _export_onnx(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], path: Path) -> str:
    """What went wrong, or nothing: a model without an ONNX form can still run elsewhere."""
    import torch

    try:
        torch.onnx.export(module, inputs, str(path), dynamo=True, verbose=False, optimize=True)
    except ImportError as error:
        return f"exporting needs the extra `peers` (make peers): {error}"
    except Exception as error:  # the exporter's own kinds are private
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def main() -> None:
    """`[--quantize] DIRECTORY SPEC...`: prepare each; print a line of JSON for each, a Case or `spec` and `error`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quantize", action="store_true")
    parser.add_argument("directory", type=Path)
    parser.add_argument("specs", nargs="*")
    options = parser.parse_args()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # exporters print
    for number, spec in enumerate(options.specs):
        directory = options.directory / str(number)
        try:
            case = prepare(spec, directory)
            answer = asdict(case) | (quantized.prepare(case, directory) if options.quantize else {})
        except Exception as error:  # whatever an exporter raises is the result for this workload
            text = str(error) if isinstance(error, DlasError) else f"{type(error).__name__}: {error}"
            answer = {"spec": spec, "error": text}
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
