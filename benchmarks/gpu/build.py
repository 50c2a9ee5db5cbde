"""Making the bundle: artifacts compiled without the device, the outputs that are right, this script and the runtime."""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu import cases, networks, weights
from benchmarks.gpu.cases import Layer
from dlas_mlir import process
from dlas_mlir.codegen import backends
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

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = "benchmarks.gpu.networks"
# What travels of the package: no compiler, no command.
_CODE = ("errors.py", "process", "runtime", "measure", "models")
# And of other packages.
CARRIED = ("iree-base-runtime", "ml_dtypes")
_LIMIT = 64 << 20
# Of the outputs of a layer, those that are compared.
_SAMPLED = 4096
_PARAMETER = re.compile(r"__constant_tensor_((?:\d+x)+)(\w+?)(?:_\d+)?$")

Say = Callable[[str], None]


def build(folder: Path, options: argparse.Namespace, say: Say) -> int:
    """Write the bundle; the number of cases that could not be made. What is there already is kept: it goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "files"
    files.mkdir(exist_ok=True)
    manifest: dict[str, Any] = {"target": options.target, "device": "", "cases": []}
    failed = 0
    for one in wanted(options):
        record = files / f"{one['id']}.json"
        if not record.is_file():
            say(one["id"])
            try:
                facts = _MAKERS[one["part"]](one, options.target, files)
                _pack(files / facts["vmfb"])
            except DlasError as error:
                facts = {"error": str(error).splitlines()[0]}
                say(f"  {facts['error'][:300]}")
            record.write_text(json.dumps(one | facts))
        found = cases.read_json(record)
        failed += "error" in found
        manifest["cases"].append(found)
    manifest["device"] = load_preset(f"{options.target}/auto").device
    (folder / "manifest.json").write_text(json.dumps(manifest))
    copy_code(folder)
    if options.python:
        _fetch_runtime(folder, options.python, say)
    _tell_size(folder, say)
    return failed


def _pack(vmfb: Path) -> None:
    """Compress an artifact: the text of kernels takes a sixth."""
    vmfb.with_name(f"{vmfb.name}.gz").write_bytes(gzip.compress(vmfb.read_bytes(), mtime=0))
    vmfb.unlink()


def wanted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The cases in the order in which they are measured."""
    for number in range(networks.grid_modules() if options.grid is None else options.grid):
        for element in options.elements:
            if element != "int8":
                yield _case("grid", f"grid_{number}", element)
    named = None if options.layers is None else map(Layer.of, options.layers)
    for layer in cases.layers(options.batches) if named is None else named:
        for element in options.elements:
            if element in layer.recipes:
                yield _case("sparse" if layer.zeros else "layers", layer.name, element)
    for element in options.elements:
        if element in cases.MODEL_ELEMENTS:
            for model in options.models:
                if element != "int8" or model in cases.INT8_MODELS:
                    for batch in options.batches:
                        yield _case("models", f"{model}_n{batch}", element)


def _case(part: str, name: str, element: str) -> dict[str, Any]:
    return {"part": part, "case": name, "element": element, "id": f"{name}-{element}"}


def _make_grid(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """A module of several convolutions; PyTorch's outputs are shared by all types."""
    imported = import_model(_spec(one["case"]))
    made = _without_weights(one, imported, target, files, *networks.grid_part(one["case"]))
    golden = files / f"{one['case']}.npz"
    assert imported.golden is not None
    with np.load(imported.golden) as arrays:
        _save(golden, {key: arrays[key] for key in arrays.files if key.startswith("output_")})
    return made | {"golden": golden.name}


def _make_model(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """A network, and PyTorch's outputs for seeded images."""
    imported = _imported(one["case"], one["element"], files)
    name, _, batch = one["case"].rpartition("_n")
    made = _without_weights(one, imported, target, files, networks.folded(name), [networks.images(name, 1)])
    # Codes have results of their own; those in other types are compared with float32.
    golden = files / (f"{one['id']}.golden.npz" if one["element"] == "int8" else f"{one['case']}.npz")
    assert imported.golden is not None
    with np.load(imported.golden) as arrays:
        np.savez_compressed(golden, output_0=arrays["output_0"])
    return made | {"golden": golden.name, "batch": int(batch), "macs": imported.macs}


def _without_weights(
    one: dict[str, Any],
    imported: Imported,
    target: str,
    files: Path,
    module: nn.Module,
    example: Sequence[torch.Tensor],
) -> dict[str, Any]:
    """The artifact of `imported`, and recipes for its weights: those that `fill` gives `module`."""
    vmfb = files / f"{one['id']}.vmfb"
    archive = vmfb.with_suffix(".irpa")
    made = _compiled_module(imported.name, imported.path, _preset(one, target), vmfb, archive)
    scales = networks.fill(module, *example)
    layers = [
        {"name": key, "shape": list(part.weight.shape), "scale": scales[key], "bias": part.bias is not None}
        for key, part in networks.weighted(module)
    ]
    carried = _recipes(archive, weights.seeded(layers), files / f"{one['id']}.npz")
    archive.unlink()
    return made | {"weights": layers, **carried}


def _recipes(archive: Path, model: dict[str, np.ndarray], raw: Path) -> dict[str, Any]:
    """A recipe for each parameter in `archive`; those without one are written to the file `raw`."""
    from iree.runtime import ParameterIndex

    index = ParameterIndex()
    index.load(str(archive))
    recipes: dict[str, Any] = {}
    left: dict[str, np.ndarray] = {}
    for name, entry in index.items():
        content, found = _content(entry), _PARAMETER.match(name)
        how = None
        if found:
            shape = tuple(int(size) for size in found[1].split("x")[:-1])
            how = weights.recipe(content, shape, found[2], model)
        if how is None:
            left[name] = np.frombuffer(content, np.uint8)
        else:
            recipes[name] = how
    if left:
        _save(raw, left)
    return {"recipes": recipes, "raw": raw.name if left else "", "raw_bytes": sum(one.nbytes for one in left.values())}


def _save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with file.open("wb") as opened:
        np.savez_compressed(opened, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


def _content(entry: Any) -> bytes:
    from iree.runtime import parameter_index_entry_as_numpy_flat_ndarray

    return parameter_index_entry_as_numpy_flat_ndarray(entry).tobytes()


def _make_layer(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """The kernel of a layer alone: its operands are arguments, laid out as it takes them."""
    layer = Layer.of(one["case"])
    preset = load_preset(f"{target}/{layer.recipes[one['element']]}")
    workload, schedule = _kernel(layer, preset, one["element"], files)
    file = files / f"{one['id']}.workload.json"
    write_file(file, workload, backends.read_schedule(schedule, workload, preset.target))
    module = files / f"{one['id']}.mlirbc"
    write_linalg(file, module)
    vmfb = files / f"{one['id']}.vmfb"
    # A region with a schedule: the passes for networks in other types have nothing to do, and some would say so.
    made = _compiled_module(one["id"], module, load_preset(f"{target}/auto"), vmfb)
    module.unlink()
    single = workload
    if layer.batch > 1:
        single, _ = _kernel(dataclasses.replace(layer, batch=1), preset, one["element"], files)
    expected = files / f"{one['id']}.npz"
    _save(expected, _expected(layer, single, files))
    file.unlink()
    return made | {"golden": expected.name, "batch": layer.batch, "macs": layer.macs, "schedule": schedule}


def _kernel(layer: Layer, preset: Preset, element: str, files: Path) -> tuple[Workload, dict[str, Any]]:
    # What follows the layer is not to be in one launch with it.
    alone = dataclasses.replace(preset, pipeline=preset.pipeline.replace("dlas-chain-dispatches,", ""))
    network = network_of(_imported(layer.name, element, files), alone)
    layers = [kernel for kernel in network.kernels if kernel.layer == networks.MEASURED]
    if not layers:
        raise DlasError(f"{preset.name} has no kernel of its own for {layer.name}")
    chosen = max(layers, key=lambda kernel: kernel.workload.macs)
    if bool(layer.zeros) != (chosen.workload.sparsity is not None):
        raise DlasError(f"{preset.name} makes {layer.name} by {chosen.primitive}")
    return chosen.workload, chosen.rule


def _imported(name: str, element: str, files: Path) -> Imported:
    """A network, quantized if its type is that of codes."""
    spec = _spec(name)
    if element != "int8":
        return import_model(spec)
    checkpoint = files / f"{name}.safetensors"
    compress(spec, [Quantize(calibration="random", count=4, seed=cases.SEED)]).save(checkpoint)
    try:
        return import_model(spec, weights=checkpoint)
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


def _spec(name: str) -> str:
    """The factory of a network."""
    return f"{NETWORKS}:{name.replace('-', '_')}"


def _preset(one: dict[str, Any], target: str) -> Preset:
    return load_preset(f"{target}/{cases.RECIPES[one['element']]}")


def _compiled_module(
    name: str, source: Path, preset: Preset, vmfb: Path, archive: Path | None = None
) -> dict[str, Any]:
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


_MAKERS = {"grid": _make_grid, "layers": _make_layer, "sparse": _make_layer, "models": _make_model}


def copy_code(folder: Path) -> None:
    """This script and what it needs of the package, and how to start it."""
    for name in ("benchmarks", "dlas_mlir"):
        shutil.rmtree(folder / name, ignore_errors=True)
    hidden = shutil.ignore_patterns("__pycache__", "build.py")
    shutil.copytree(ROOT / "benchmarks" / "gpu", folder / "benchmarks" / "gpu", ignore=hidden)
    (folder / "benchmarks" / "__init__.py").write_text("")
    (folder / "dlas_mlir").mkdir()
    (folder / "dlas_mlir" / "__init__.py").write_text("")
    for name in _CODE:
        source, target = ROOT / "dlas_mlir" / name, folder / "dlas_mlir" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=hidden)
        else:
            shutil.copyfile(source, target)
    shutil.copyfile(ROOT / "benchmarks" / "gpu" / "run.sh", folder / "run.sh")


def _fetch_runtime(folder: Path, python: str, say: Say) -> None:
    """The wheels of IREE's runtime, and of what it needs beside NumPy, for another machine's Python."""
    wheels = folder / "wheels"
    if all(any(wheels.glob(f"{name.replace('-', '_')}-*.whl")) for name in CARRIED):
        return
    say(f"the runtime for Python {python}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", python]
    for platform in ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"):
        command += ["--platform", platform]
    command += ["-d", str(wheels), *(f"{name}=={version(name)}" for name in CARRIED)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DlasError(f"pip cannot fetch IREE's runtime for Python {python}: {done.stderr.strip()[-300:]}")


def _tell_size(folder: Path, say: Say) -> None:
    by_kind: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            kind = "wheels" if path.suffix == ".whl" else path.suffix.lstrip(".")
            by_kind[kind] = by_kind.get(kind, 0) + path.stat().st_size
    total = sum(by_kind.values())
    parts = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in sorted(by_kind.items(), key=lambda x: -x[1]))
    over = f"; MORE than {_LIMIT >> 20} MiB" if total > _LIMIT else ""
    say(f"{folder}: {total / 2**20:.1f} MiB{over} ({parts} MB)")
