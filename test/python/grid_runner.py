"""Compile many cases as one module through a preset's pipeline, run it, and compare with PyTorch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from convolution_modules import Case, Cases
from torch import nn
from traced import write_linalg

from dlas_mlir.codegen.target import AnyTarget, Target
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.opt.pipeline import Pipeline, PythonPass, parse_pipeline
from dlas_mlir.passes import primitives
from dlas_mlir.passes.clean.set_target import SetTargetPass
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

# The choice behind a name of the grid: `nchw` and `nhwgc` are other layouts of `direct`.
_CHOICES = {layout: f"direct{{layout={layout}}}" for layout in ("nchw", "nhwgc")}
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Figures:
    """The figures of a CPU target; code is made for this machine's CPU whatever they say."""

    lanes: int
    registers: int
    int8_dot: str = ""
    bf16_dot: str = ""

    def target(self, threads: int, **more: int) -> AnyTarget:
        figures = {"vector_bits": self.lanes * 32, "vector_registers": self.registers, "threads": threads}
        dots = {"int8_dot": self.int8_dot, "bf16_dot": self.bf16_dot}
        return Target.from_figures({"kind": "cpu", "name": f"lanes-{self.lanes}", **figures, **dots, **more})


def preset_for(
    cases: Sequence[Case],
    figures: Figures,
    folder: Path,
    threads: int = 1,
    name: Callable[[Case], str] = lambda case: "conv",
) -> Preset:
    """The `auto` recipe, but each case's own convolution is done by the primitive that the case names. `name` is that
    of the layer in its case."""
    choices = write_choices(cases, folder, name)
    # So little that images are split in tiles.
    small = {"l2_bytes": 16 * 1024} if any(case.primitive == "sparse-spatial-pack" for case in cases) else {}
    target = figures.target(threads, **small)
    options: dict[str, dict[str, Any]] = {
        "dlas-set-target": dataclasses.asdict(SetTargetPass.for_target(target)),
        "dlas-select-primitive": {"choices": str(choices)},
    }
    preset = load_preset("x86-64-avx512/auto", threads=threads)
    flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
    return dataclasses.replace(
        preset,
        name="grid",
        target=target,
        pipeline=with_options(preset.pipeline, options),
        iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"),
    )


def gpu_preset_for(cases: Sequence[Case], preset: str, folder: Path) -> Preset:
    """A preset of a GPU, where each case's own convolution is done by the primitive that the case names."""
    found = load_preset(preset)
    choices = {"dlas-select-primitive": {"choices": str(write_choices(cases, folder))}}
    return dataclasses.replace(found, name="grid", pipeline=with_options(found.pipeline, choices))


def write_choices(cases: Sequence[Case], folder: Path, name: Callable[[Case], str] = lambda case: "conv") -> Path:
    """A file of choices: the primitive of each case for the layer `name` in it."""
    choices = folder / "choices.json"
    names = {f"cases.{i}.{name(case)}": _CHOICES.get(case.primitive, case.primitive) for i, case in enumerate(cases)}
    choices.write_text(json.dumps(names))
    return choices


def with_options(text: str, options: dict[str, dict[str, Any]]) -> str:
    """The pipeline `text` with other values for options of its passes."""
    elements = []
    for element in parse_pipeline(text).elements:
        if isinstance(element, PythonPass) and element.instance.name in options:
            element = PythonPass(dataclasses.replace(element.instance, **options[element.instance.name]))
        elements.append(element)
    return str(Pipeline(tuple(elements)))


@dataclass(frozen=True)
class Result:
    """What compiling and running gave: the worst relative error of each case, and what was compiled."""

    errors: list[float]
    artifact: Artifact


def check_choices(artifact: Artifact, folder: Path) -> None:
    """Each layer of the file of choices became a kernel of the primitive that was asked for, with its options."""
    taken = {
        layer["layer"]: primitives.primitive_class(layer["primitive"])(**layer.get("options", {}))
        for layer in artifact.layers
    }
    for name, text in json.loads((folder / "choices.json").read_text()).items():
        assert primitives.parse(text).is_met_by(taken[name]), f"{name}: {taken[name]}, not {text}"


def run_cases(cases: Sequence[Case], figures: Figures, folder: Path, threads: int = 1) -> Result:
    """Compile `cases` as one module in `folder`, run it, and compare with PyTorch in double precision."""
    return run_preset(cases, preset_for(cases, figures, folder, threads), folder, threads=threads)


def run_preset(cases: Sequence[Case], preset: Preset, folder: Path, device: str = "local", threads: int = 1) -> Result:
    """The same for a preset, on a device that its code runs on."""
    module = Cases(tuple(cases)).eval()
    artifact = compiled(module, module.example_inputs, preset, folder)
    session = Session(artifact.vmfb, resolve(device, threads))
    outputs = session(*[tensor.numpy() for tensor in module.example_inputs])
    session.close()
    with torch.no_grad():
        wanted = module.double()(*[tensor.double() for tensor in module.example_inputs])
    return Result([_error(a, b.numpy()) for a, b in zip(outputs, wanted, strict=True)], artifact)


def compiled(module: nn.Module, inputs: tuple[torch.Tensor, ...], preset: Preset, folder: Path) -> Artifact:
    """The module by way of the importer, in `folder`."""
    path = folder / "module.mlirbc"
    write_linalg(module, inputs, path, "grid")
    return compile_imported(Imported("grid", file_digest(path), path, 0, 0, None), preset)


def _error(ours: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite for a NaN or another shape."""
    if ours.shape != wanted.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())
