"""`import_model`: from whatever names a model to linalg on tensors in the cache, golden outputs beside it."""

from __future__ import annotations

import json
import shutil
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

_WITHOUT_TORCH = (".onnx", ".mlir", ".mlirbc")
_FILE_KINDS = (".pt2", *_WITHOUT_TORCH)
# What decides the imported module: a change here makes the cached ones stale.
_IMPORTING = (
    "torch_source.py",
    "torch_import.py",
    "exported_file.py",
    "int8.py",
    "quantizer.py",
    "rounding.py",
    "mlir_import.py",
    "work.py",
    "onnx_import.py",
    "input_spec.py",
)
# Written last: an entry without it is not complete.
_FACTS = "import.json"
_PACKAGES = ("torch", "torch-mlir", "torchao", "iree-base-compiler", "onnx")


@dataclass(frozen=True)
class Imported:
    """A model as the compiler takes it.

    `path` is bytecode of linalg on tensors with a function `main`; `key` is the hash of its content. `macs`
    are multiply-accumulates of one call. `golden` is an .npz with input_0.. and PyTorch's output_0..
    (bfloat16 is stored as float32), `element`, the coarsest type that PyTorch computed in, such as "float32", and of a
    quantized model `limit`, the relative error that rounding alone can make; or
    None where there is no PyTorch model to ask. `nonzeros` are those of the `parameters`; `effective_macs` are the
    MACs of weights that are not zero, by the element type that they can be done in (`f32`, `bf16`, `i8`).
    """

    name: str
    key: str
    path: Path
    macs: int
    parameters: int
    golden: Path | None
    nonzeros: int = 0
    effective_macs: dict[str, int] = field(default_factory=dict)


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
    factory whose module has no `example_inputs`, and change a zoo model's. `weights` is a state_dict file
    for the zoo or a factory.

    The cache sees a change of the zoo, of the Python files of a factory's package, and of `weights`; data
    that a factory reads by itself it does not see. Raises DlasError for all that a user can mend.
    """
    request = _request(spec, inputs, Path(weights) if weights is not None else None)
    directory = cache.entry("import", _key(request))
    found = _cached(directory)
    if found is not None:
        return found
    try:
        return _produce(request, directory)
    except BaseException:
        if not (directory / _FACTS).exists():
            shutil.rmtree(directory, ignore_errors=True)
        raise


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
        if inputs is not None:
            raise DlasError(f"--input goes with a model of the zoo or a factory; {spec} has its own inputs")
    return Request(kind, spec, parsed, weights)


def _key(request: Request) -> str:
    if request.kind == "zoo":
        sources = models.lookup(request.spec).source_files()
    elif request.kind == "factory":
        sources = [find_module_file(split_factory(request.spec)[0])]
    else:
        sources = [Path(request.spec)]
    sources += [Path(__file__).with_name(name) for name in _IMPORTING]
    return cache.digest(
        request.kind,
        request.name,
        [str(item) for item in request.inputs or ()],
        [cache.file_digest(path) for path in sources],
        cache.file_digest(request.weights) if request.weights else None,
        cache.versions(*_PACKAGES),
    )


def _cached(directory: Path) -> Imported | None:
    try:
        facts = json.loads((directory / _FACTS).read_text())
        path = directory / facts["module"]
        golden = directory / facts["golden"] if facts["golden"] else None
        digests = {path: facts["key"], **{Path(source): digest for source, digest in facts["sources"].items()}}
        if golden is not None:
            digests[golden] = facts["golden_sha256"]
        complete = all(cache.file_digest(file) == digest for file, digest in digests.items())
    except (OSError, ValueError, KeyError, DlasError):
        return None
    if not complete:
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
    )


def _produce(request: Request, directory: Path) -> Imported:
    from . import mlir_import, work

    path, golden = directory / "module.mlirbc", directory / "golden.npz"
    source = None if request.kind in _WITHOUT_TORCH else _trace(request, golden)
    counted: list[work.Work] = []

    def write(out: Path) -> None:
        if source is None:
            mlir_import.write_linalg(Path(request.spec), out)
        else:
            source.write_linalg(out)
        module = mlir_import.read_module(out)
        mlir_import.check_main(module, request.name)
        counted.append(work.count(module))

    cache.write_atomically(path, write)
    facts = {
        "name": request.name,
        "key": cache.file_digest(path),
        "module": path.name,
        "golden_sha256": cache.file_digest(golden) if source is not None else None,
        "golden": golden.name if source is not None else None,
        "macs": counted[0].macs,
        "effective_macs": counted[0].effective,
        "parameters": source.parameters if source is not None else counted[0].elements,
        "nonzeros": source.nonzeros if source is not None else counted[0].nonzeros,
        "sources": {str(file): cache.file_digest(file) for file in source.files} if source is not None else {},
    }
    cache.write_atomically(directory / _FACTS, json.dumps(facts, indent=1))
    done = _cached(directory)
    if done is None:
        raise DlasError(f"the cache entry {directory} changed while it was written; run the command again")
    return done


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
        cache.write_atomically(golden, source.write_golden)
    return source
