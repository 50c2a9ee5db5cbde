"""Artifacts of the bundle that are one kernel each: a layer as the rule schedules it, and by other schedules."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import cases, networks
from benchmarks.gpu.cases import Layer
from dlas_mlir import process
from dlas_mlir.codegen import backends
from dlas_mlir.codegen.gpu import rule as gpu_rule
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.workload_file import write_file
from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.compiler.frontend.workload_import import compile_by_itself, write_linalg
from dlas_mlir.compiler.job import Job
from dlas_mlir.compiler.network import network_of
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.compression.compress import compress
from dlas_mlir.compression.quantize import Quantize
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

# Of the outputs of a layer, those that are compared.
_SAMPLED = 4096
NETWORKS = "benchmarks.gpu.networks"


def make_layer(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """The kernel of a layer alone: its operands are arguments, laid out as it takes them."""
    layer, preset = _of(one, target)
    workload, schedule = _kernel(layer, preset, one["element"], files)
    made = _compiled_kernel(one["id"], workload, schedule, preset, files)
    single = workload
    if layer.batch > 1:
        single, _ = _kernel(dataclasses.replace(layer, batch=1), preset, one["element"], files)
    expected = files / f"{one['id']}.npz"
    save(expected, _expected(layer, single, files))
    return made | {"golden": expected.name, "batch": layer.batch, "macs": layer.macs, "schedule": schedule}


def make_candidates(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """The same by `count` other schedules, the rule's first: they are timed, and what they compute is not compared."""
    layer, preset = _of(one, target)
    workload, chosen = _kernel(layer, preset, one["element"], files)
    found = []
    for number, schedule in enumerate(_candidates(workload, chosen, preset, one["count"])):
        made = _compiled_kernel(f"{one['id']}-{number}", workload, schedule.to_value(), preset, files)
        cycles = gpu_rule.cost(workload, schedule, preset.target) if isinstance(preset.target, GpuTarget) else 0
        found.append({"vmfb": made["vmfb"], "schedule": schedule.to_value(), "cycles": round(cycles)})
    return {"candidates": found, "macs": layer.macs}


def _of(one: dict[str, Any], target: str) -> tuple[Layer, Preset]:
    layer = Layer.of(one["case"])
    return layer, load_preset(f"{target}/{layer.recipes[one['element']]}")


def _candidates(workload: Workload, chosen: dict[str, Any], preset: Preset, count: int) -> list[GpuSchedule]:
    """The rule's schedule, then the cheapest, by the rule's estimate, of each instruction's kind, tile, split and halo.
    Raises DlasError where no instruction for matrices does the layer."""
    target = preset.target
    rules = backends.read_schedule(chosen, workload, target)
    if not isinstance(rules, GpuSchedule) or not isinstance(target, GpuTarget):
        raise DlasError(f"{preset.name} has no kernel with instructions for matrices for this layer")
    cheapest: dict[Any, tuple[float, GpuSchedule]] = {}
    for one in gpu_rule.regular(workload, target):
        kind, cost = (one.unit.kind, one.tile, one.split, one.halo), gpu_rule.cost(workload, one, target)
        if kind not in cheapest or cost < cheapest[kind][0]:
            cheapest[kind] = cost, one
    others = [one for _, one in sorted(cheapest.values(), key=lambda known: known[0]) if one != rules]
    return [rules, *others][:count]


def _compiled_kernel(
    name: str, workload: Workload, schedule: dict[str, Any], preset: Preset, files: Path
) -> dict[str, Any]:
    file, module = files / f"{name}.workload.json", files / f"{name}.mlirbc"
    write_file(file, workload, backends.read_schedule(schedule, workload, preset.target))
    write_linalg(file, module)
    # A region with a schedule: the passes for networks in other types have nothing to do, and some would say so.
    plain = load_preset(f"{preset.name.partition('/')[0]}/auto")
    made = compiled_module(name, module, plain, files / f"{name}.vmfb")
    module.unlink()
    file.unlink()
    return made


def _kernel(layer: Layer, preset: Preset, element: str, files: Path) -> tuple[Workload, dict[str, Any]]:
    # What follows the layer is not to be in one launch with it.
    alone = apart(preset)
    network = network_of(imported(layer.name, element, files), alone)
    layers = [kernel for kernel in network.kernels if kernel.layer == networks.MEASURED]
    if not layers:
        raise DlasError(f"{preset.name} has no kernel of its own for {layer.name}")
    chosen = max(layers, key=lambda kernel: kernel.workload.macs)
    if bool(layer.zeros) != (chosen.workload.sparsity is not None):
        raise DlasError(f"{preset.name} makes {layer.name} by {chosen.primitive}")
    return chosen.workload, chosen.rule


def imported(name: str, element: str, files: Path) -> Imported:
    """A network, quantized if its type is that of codes."""
    factory = spec(name)
    if element != "int8":
        return import_model(factory)
    checkpoint = files / f"{name}.safetensors"
    compress(factory, [Quantize(calibration="random", count=4, seed=cases.SEED)]).save(checkpoint)
    try:
        return import_model(factory, weights=checkpoint)
    finally:
        checkpoint.unlink()


def _expected(layer: Layer, single: Workload, files: Path) -> dict[str, np.ndarray]:
    """What iree-compile's own code for CPUs gives for some images of the batch: some values, by their places."""
    file, vmfb = files / "plain.json", files / "plain.vmfb"
    write_file(file, single)
    compile_by_itself(file, vmfb)
    session = Session(vmfb, resolve("local"))
    types = session.inputs
    images = sorted({0, layer.batch // 2, layer.batch - 1})
    first, *rest = [cases.argument((layer.batch, *types[0].shape[1:]), types[0].dtype, 0)] + [
        cases.argument(kind.shape, kind.dtype, number) for number, kind in enumerate(types) if number
    ]
    outputs = [np.asarray(session(first[image : image + 1], *rest)[0]) for image in images]
    session.close()
    file.unlink()
    vmfb.unlink()
    size = outputs[0].size
    places = np.sort(np.random.default_rng(cases.SEED).choice(size, min(size, _SAMPLED), replace=False))
    values = np.stack([output.reshape(-1)[places].astype(np.float32) for output in outputs])
    return {"images": np.array(images), "places": places, "values": values}


def spec(name: str) -> str:
    """The factory of a network."""
    return f"{NETWORKS}:{name.replace('-', '_')}"


def preset_of(one: dict[str, Any], target: str) -> Preset:
    """The preset that a case is compiled with."""
    preset = load_preset(f"{target}/{cases.RECIPES[one['element']]}")
    return apart(preset) if one["part"] == "apart" else preset


def apart(preset: Preset) -> Preset:
    """A preset whose kernels are launches of their own each."""
    return dataclasses.replace(preset, pipeline=preset.pipeline.replace("dlas-chain-dispatches,", ""))


def compiled_module(name: str, source: Path, preset: Preset, vmfb: Path, archive: Path | None = None) -> dict[str, Any]:
    pipeline, flags = preset.pipeline, preset.iree_flags
    if archive is not None:
        pipeline = f"{pipeline.removesuffix(')')},iree-flow-outline-constants)"
        flags += (f"--iree-parameter-export=model={archive}", "--iree-parameter-export-minimum-size=1024")
    job = Job(f"{name} for {preset.name}", source, pipeline, flags, process.LIMIT)
    module = vmfb.with_suffix(".module.mlirbc")
    report = job.run_pipeline(module, None)
    dispatches = job.iree_compile(module, vmfb)
    module.unlink()
    return {"vmfb": vmfb.name, "dispatches": dispatches, "layers": _known(report["layers"])}


def _known(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("layer", "primitive", "macs", "schedule")
    return [{key: layer.get(key) for key in kept} for layer in layers]


def save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with file.open("wb") as opened:
        np.savez_compressed(opened, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
