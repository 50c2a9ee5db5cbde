"""`import_model`: from whatever names a model to linalg on tensors in the cache, golden outputs beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlas_mlir import models
from dlas_mlir.errors import DlasError

from . import cache
from .factory import find_module_file, split_factory
from .input_spec import InputSpec, parse_input

if TYPE_CHECKING:
    from .torch_source import TorchSource

_MLIR = (".mlir", ".mlirbc")
_FILE_KINDS = (".pt2", ".onnx", *_MLIR)
# The files of this package that do not decide what is imported; a change of any other makes the cached ones stale.
_LATER = frozenset(
    {
        "artifact.py",
        "dispatches.py",
        "driver.py",
        "elf.py",
        "host.py",
        "peak.py",
        "pipeline_process.py",
        "preset_file.py",
        "presets.py",
    }
)
_FACTS = "import.json"
_PACKAGES = ("torch", "torch-mlir", "torchao", "iree-base-compiler", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Imported:
    """A model as the compiler takes it.

    `path` is bytecode of linalg on tensors with a function `main`; `key` is the hash of its content. `macs`
    are multiply-accumulates of one call. `golden` is an .npz with input_0.., the output_0.. that PyTorch or an ONNX
    runtime gives for them (bfloat16 is stored as float32), `element`, the coarsest type that was computed in, such as
    "float32", `reference`, who computed if not PyTorch, and of a quantized model `limit`, the relative error that
    rounding alone can make; it is None where nobody can be asked, and `unchecked` says why. `nonzeros` are those of the
    `parameters`; `effective_macs` are the MACs of weights that are not zero, by the element type that they can be done
    in (`f32`, `bf16`, `i8`).
    """

    name: str
    key: str
    path: Path
    macs: int
    parameters: int
    golden: Path | None
    nonzeros: int = 0
    effective_macs: dict[str, int] = field(default_factory=dict)
    unchecked: str = ""


@dataclass(frozen=True)
class Request:
    """What to import: a zoo name, a factory `package.module:function` or a file, decided by `kind`."""

    kind: str  # zoo, factory, or a file's suffix
    spec: str
    inputs: tuple[InputSpec, ...] | None
    weights: Path | None

    @property
    def name(self) -> str:
        """What reports call the model."""
        return Path(self.spec).stem if self.kind.startswith(".") else self.spec


def import_model(spec: str, *, inputs: tuple[str, ...] | None = None, weights: str | Path | None = None) -> Imported:
    """Import a model, or find it in the cache (without importing torch, in milliseconds).

    `spec` is a name of the zoo, `package.module:factory` (a callable without arguments that returns an
    nn.Module), or a .pt2, .onnx, .mlir or .mlirbc file. `inputs`, such as ("1x3x224x224xf32",), are for a
    factory whose module has no `example_inputs` and for an .onnx file whose shapes are not fixed, and change a zoo
    model's. `weights` is a state_dict file for the zoo or a factory.

    The cache sees a change of the zoo, of the files that a file refers to, of the Python files that a factory's
    module imported (installed packages by their folder alone), and of `weights`; data that a factory reads by itself
    it does not see. Raises DlasError for all that a user can mend.
    """
    request = _request(spec, inputs, Path(weights) if weights is not None else None)
    directory = cache.entry("import", _key(request))
    return _cached(request, directory) or _produce(request, directory)


def _request(spec: str, inputs: tuple[str, ...] | None, weights: Path | None) -> Request:
    parsed = tuple(map(parse_input, inputs)) if inputs is not None else None
    kind = "zoo"
    if models.find(spec) is None:
        if Path(spec).suffix in _FILE_KINDS:
            kind = Path(spec).suffix
        elif ":" in spec:
            kind = "factory"
        else:
            models.lookup(spec)  # raises, and knows the nearest names
    if kind.startswith("."):
        if weights is not None:
            raise DlasError(f"--weights goes with a model of the zoo or a factory; {spec} has its own weights")
        if inputs is not None and kind != ".onnx":
            raise DlasError(f"--input goes with a model of the zoo, a factory or ONNX; {spec} has its own inputs")
    return Request(kind, spec, parsed, weights)


def _key(request: Request) -> str:
    place: list[str] = []
    if request.kind == "zoo":
        sources = models.lookup(request.spec).source_files()
    elif request.kind == "factory":
        sources = [find_module_file(split_factory(request.spec)[0])]
        # The same file elsewhere, or with another path, imports other files.
        place = [str(sources[0]), os.environ.get("PYTHONPATH", "")]
    else:
        sources = [Path(request.spec)]
    sources += sorted(file for file in Path(__file__).parent.glob("*.py") if file.name not in _LATER)
    return cache.digest(
        request.kind,
        request.name,
        place,
        [str(item) for item in request.inputs or ()],
        [cache.file_digest(path) for path in sources],
        cache.file_digest(request.weights) if request.weights else None,
        cache.versions(*_PACKAGES),
    )


def _cached(request: Request, directory: Path) -> Imported | None:
    """What stands in the entry `directory`, if it is whole and made from the files that are there now."""
    facts = cache.read_record(directory / _FACTS)
    if facts is None:
        return None
    path = directory / facts["module"]
    golden = directory / facts["golden"] if facts["golden"] else None
    expected = {path: facts["key"]}
    expected |= {_base(request) / source: digest for source, digest in facts["sources"].items()}
    if golden is not None:
        expected[golden] = facts["golden_sha256"]
    try:
        if any(cache.file_digest(file) != digest for file, digest in expected.items()):
            return None
    except DlasError:
        return None
    return Imported(
        name=facts["name"],
        key=facts["key"],
        path=path,
        macs=facts["macs"],
        parameters=facts["parameters"],
        golden=golden,
        nonzeros=facts["nonzeros"],
        effective_macs=facts["effective_macs"],
        unchecked=facts["unchecked"],
    )


def _base(request: Request) -> Path:
    """What relative names of sources are relative to: one file may stand in several places, with its data beside it."""
    return Path(request.spec).absolute().parent


@dataclass(frozen=True)
class _Made:
    """What an importer knows beside the module that it wrote.

    `files` are those that the model was made from beside the one that was named, relative to it or absolute.
    `unchecked` says why no golden outputs were written. Without `parameters`, the module's constants are counted.
    """

    files: tuple[str, ...] = ()
    unchecked: str = ""
    parameters: int | None = None
    nonzeros: int | None = None


def _produce(request: Request, directory: Path) -> Imported:
    """Import into a workspace, move what was made into the entry, and write down what it is."""
    from . import mlir_import, work

    with cache.workspace() as folder:
        module, golden = folder / "module.mlirbc", folder / "golden.npz"
        made = _make(request, module, golden)
        imported = mlir_import.read_module(module)
        mlir_import.check_main(imported, request.name)
        counted = work.count(imported)
        sources = {name: cache.file_digest(_base(request) / name) for name in made.files}
        path, key = cache.publish(module, directory)
        expected, golden_key = (None, None) if made.unchecked else cache.publish(golden, directory)
    facts = {
        "name": request.name,
        "key": key,
        "module": path.name,
        "golden_sha256": golden_key,
        "golden": expected.name if expected else None,
        "unchecked": made.unchecked,
        "macs": counted.macs,
        "effective_macs": counted.effective,
        "parameters": counted.elements if made.parameters is None else made.parameters,
        "nonzeros": counted.nonzeros if made.nonzeros is None else made.nonzeros,
        "sources": sources,
    }
    cache.write_record(directory / _FACTS, facts)
    done = _cached(request, directory)
    if done is None or _key(request) != directory.name:
        raise DlasError(f"{request.spec} changed while it was imported; run the command again")
    return done


def _make(request: Request, module: Path, golden: Path) -> _Made:
    """Write `module`, and `golden` if there is somebody to ask."""
    if request.kind in _MLIR:
        from . import mlir_import

        mlir_import.write_linalg(Path(request.spec), module)
        return _Made(unchecked="an MLIR file has no model behind it that could be asked")
    if request.kind == ".onnx":
        from . import onnx_source

        files = onnx_source.write_linalg(Path(request.spec), module, request.inputs)
        return _Made(tuple(files), onnx_source.write_golden(Path(request.spec), golden, request.inputs))
    source = _trace(request, golden)
    source.write_linalg(module)
    return _Made(tuple(map(str, source.files)), "", source.parameters, source.nonzeros)


def _trace(request: Request, golden: Path) -> TorchSource:
    """Trace the model, and write its golden outputs."""
    from . import torch_source

    with torch_source.one_thread():
        if request.kind == "zoo":
            source = torch_source.from_zoo(request.spec, request.inputs, request.weights)
        elif request.kind == "factory":
            source = torch_source.from_factory(request.spec, request.inputs, request.weights)
        else:
            source = torch_source.from_exported_file(Path(request.spec))
        source.write_golden(golden)
    return source
