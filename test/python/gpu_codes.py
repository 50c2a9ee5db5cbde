"""Quantized networks through the passes of a GPU: are the codes those of a CPU, of each kernel and the whole network?

Tests ask that of a small network; of one of the zoo, and of threads on a Vulkan device, which may be the CPU:

    PYTHONPATH=test/python python -m gpu_codes resnet18-cifar --presets cuda-sm80/int8-auto
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from gpu_cases import kernel
from gpu_regions import regions
from gpu_simulator import run
from iree.compiler import ir
from quantized_net import RANDOM
from torch import Tensor, nn
from workload_reference import evaluate, random_tensors

from dlas_mlir import models
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend import torch_import, torch_lowering, torch_source
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.step import Step
from dlas_mlir.ir import build
from dlas_mlir.passes.clean.set_target import SetTargetPass
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

CPU = "x86-64-avx2/int8-spatial-pack"
# What is lowered and laid out already, as kernels of a CPU.
KERNELS = "dlas-form-dispatches,dlas-attach-schedules,dlas-lower-dispatches,dlas-legalize-linalg"


def imported(model: nn.Module, inputs: tuple[Tensor, ...], folder: Path, steps: Sequence[Step]) -> Path:
    """A network after `steps`, the last of which quantizes it, as linalg on tensors."""
    done = compress_module(model.eval(), inputs, list(steps))
    program = torch_source.trace(done.model, inputs, "net")
    notes = torch_import.write_torch(program, folder / "torch.mlirbc", "net")
    torch_lowering.lower(folder / "torch.mlirbc", folder / "net.mlirbc", "net", notes)
    return folder / "net.mlirbc"


def compiled_and_run(
    path: Path, image: np.ndarray, preset: str, device: str = "local", pipeline: str = ""
) -> tuple[Artifact, np.ndarray]:
    """What a preset, or its target with other passes, makes of the network in `path`, and its result."""
    loaded = load_preset(preset)
    loaded = dataclasses.replace(loaded, pipeline=pipeline or loaded.pipeline)
    artifact = compile_imported(Imported("net", file_digest(path), path, 0, 0, None), loaded)
    session = Session(artifact.vmfb, resolve(device))
    (found,) = session(image)
    session.close()
    return artifact, found


def after_passes(path: Path, preset: str, out: Path) -> dict[Workload, AnySchedule]:
    """The kernels behind the passes of a preset; `out` gets the module with what they compute as plain operations."""
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = ir.Module.parse(path.read_bytes())
        found: dict[Workload, AnySchedule] = {}
        for op, _, workload, schedule in regions(module, preset):
            found[workload] = schedule
            dissolve(op)
        assert not any(op.name == "flow.dispatch.region" for op in build.operations(module))
        SetTargetPass.for_target(load_preset(CPU).target).run(module)
        with out.open("wb") as file:
            module.operation.write_bytecode(file)
    return found


def products_of(found: dict[Workload, AnySchedule]) -> dict[Workload, GpuSchedule]:
    """The kernels on matrix instructions."""
    return {workload: one for workload, one in found.items() if isinstance(one, GpuSchedule)}


def differing(workload: Workload, schedule: AnySchedule) -> int:
    """How many results of a kernel of codes are others in the simulator than in NumPy."""
    tensors = random_tensors(workload)
    with ir.Context():
        results = run(kernel(workload, schedule), tensors)
    pairs = zip(results, evaluate(workload, tensors), strict=True)
    return sum(int((got != want.astype(got.dtype)).sum()) for got, want in pairs)


def main() -> int:
    """Compare a network of the zoo; 1 where codes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--presets", nargs="+", default=["cuda-sm80/int8-auto", "cuda-sm90/int8-auto"])
    parser.add_argument("--vulkan", default="vulkan-ada/int8-auto", help="a preset that runs here; empty: none")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLAS_CACHE"] = f"{folder}/cache"
        inputs = (torch.randn(models.lookup(options.model).input_shape, generator=torch.Generator().manual_seed(1)),)
        image = inputs[0].numpy()
        path = imported(models.build(options.model), inputs, Path(folder), [RANDOM])
        _, wanted = compiled_and_run(path, image, CPU)
        for preset in options.presets:
            plain = Path(folder) / "plain.mlirbc"
            found = after_passes(path, preset, plain)
            for workload, one in products_of(found).items():
                count = differing(workload, one)
                wrong += bool(count)
                sizes = "x".join(str(extent) for extent in workload.extents.values())
                print(preset, one.instruction, sizes, f"{count} differ" if count else "the same", flush=True)
            _, ours = compiled_and_run(plain, image, CPU, pipeline=KERNELS)
            same = np.array_equal(ours, wanted)
            wrong += not same
            counts = f"{len(products_of(found))} products, {len(found) - len(products_of(found))} kernels of threads"
            print(preset, counts, "the network: the same" if same else "the network: other codes", flush=True)
        if options.vulkan:
            artifact, ours = compiled_and_run(path, image, options.vulkan, "vulkan")
            same = np.array_equal(ours, wanted)
            wrong += not same
            said = "the same" if same else "other codes"
            print(options.vulkan, f"{len(artifact.dispatches)} dispatches on a device: {said}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
