"""Making the bundle: artifacts compiled without the device, the outputs that are right, this script and the runtime."""

from __future__ import annotations

import argparse
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
from benchmarks.gpu.layer_kernels import compiled_module, imported, make_candidates, make_layer, preset_of, save, spec
from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.models.registry import registry

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
                for artifact in facts.get("candidates", [facts]):
                    _pack(files / artifact["vmfb"])
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
    for model in _zoo(options.zoo):
        for element in (element for element in cases.ZOO_ELEMENTS if element in options.elements):
            case = _case("zoo", f"{model}_n1", element)
            yield case | {"id": f"{case['id']}-zoo"}
    for layer in cases.products(options.batches) if options.candidates else ():
        for element in options.candidates_of:
            case = _case("candidates", layer.name, element)
            yield case | {"id": f"{case['id']}-candidates", "count": options.candidates}
    yield from _models(options)


def _models(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Networks; with `--apart` in float16 also those of which each kernel is a launch of its own."""
    for element in (element for element in options.elements if element in cases.MODEL_ELEMENTS):
        for model in options.models:
            if element != "int8" or model in cases.INT8_MODELS:
                for batch in options.batches:
                    case = _case("models", f"{model}_n{batch}", element)
                    yield case
                    if options.apart and element == "f16":
                        yield case | {"part": "apart", "id": f"{case['id']}-apart"}


def _zoo(names: Sequence[str] | None) -> list[str]:
    """Networks of the zoo by name: all of them, where none is named."""
    if names is None:
        return []
    return list(names) or [model.name for model in registry()]


def _case(part: str, name: str, element: str) -> dict[str, Any]:
    return {"part": part, "case": name, "element": element, "id": f"{name}-{element}"}


def _make_grid(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """A module of several convolutions; PyTorch's outputs are shared by all types."""
    network = import_model(spec(one["case"]))
    made = _without_weights(one, network, target, files, *networks.grid_part(one["case"]))
    golden = files / f"{one['case']}.npz"
    assert network.golden is not None
    with np.load(network.golden) as arrays:
        save(golden, {key: arrays[key] for key in arrays.files if key.startswith("output_")})
    return made | {"golden": golden.name}


def _make_model(one: dict[str, Any], target: str, files: Path) -> dict[str, Any]:
    """A network, and PyTorch's outputs for seeded images."""
    network = imported(one["case"], one["element"], files)
    name, _, batch = one["case"].rpartition("_n")
    made = _without_weights(one, network, target, files, networks.folded(name), [networks.images(name, 1)])
    # Codes have results of their own; those in other types are compared with float32.
    golden = files / (f"{one['id']}.golden.npz" if one["element"] == "int8" else f"{one['case']}.npz")
    assert network.golden is not None
    with np.load(network.golden) as arrays:
        np.savez_compressed(golden, output_0=arrays["output_0"])
    return made | {"golden": golden.name, "batch": int(batch), "macs": network.macs}


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
    made = compiled_module(imported.name, imported.path, preset_of(one, target), vmfb, archive)
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
        save(raw, left)
    return {"recipes": recipes, "raw": raw.name if left else "", "raw_bytes": sum(one.nbytes for one in left.values())}


def _content(entry: Any) -> bytes:
    from iree.runtime import parameter_index_entry_as_numpy_flat_ndarray

    return parameter_index_entry_as_numpy_flat_ndarray(entry).tobytes()


_MAKERS = {
    "grid": _make_grid,
    "layers": make_layer,
    "sparse": make_layer,
    "candidates": make_candidates,
    "models": _make_model,
    "apart": _make_model,
    "zoo": _make_model,
}


def copy_code(folder: Path) -> None:
    """This script and what it needs of the package, and how to start it."""
    for name in ("benchmarks", "dlas_mlir"):
        shutil.rmtree(folder / name, ignore_errors=True)
    hidden = shutil.ignore_patterns("__pycache__", "build.py", "layer_kernels.py")
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
