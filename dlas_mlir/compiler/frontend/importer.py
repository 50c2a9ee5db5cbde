"""`import_model`: from whatever names a model to linalg on tensors in the cache, golden outputs beside it."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir import models, process
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.frontend.factory import find_module_file, split_factory
from dlas_mlir.compiler.frontend.input_spec import InputSpec, parse_input
from dlas_mlir.compiler.frontend.onnx import check as onnx_check
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.compiler.frontend.torch_source import TorchSource

ONNX = ".onnx"
MLIR = (".mlir", ".mlirbc")
WORKLOAD = ".json"
# What an import leaves in its folder.
MODULE, GOLDEN = "module.mlirbc", "golden.npz"
# What a model of the caller's is handed over as, in the torch dialect.
TORCH = "torch.mlirbc"
_FILE_KINDS = (".pt2", ONNX, WORKLOAD, *MLIR)
_IMPORT = "dlas_mlir.compiler.frontend.import_process"
_WORKLOAD = "dlas_mlir.compiler.frontend.workload_import"
_LOWERING = "dlas_mlir.compiler.frontend.torch_lowering"
# What takes seconds to load.
_TORCH = "dlas_mlir.compiler.frontend.torch_source"
# The files beside this package that decide what is imported, as all of it does; a change makes cached imports stale.
_BESIDE = ("layers.py", "work.py")
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
    batch: int | None = None

    @property
    def name(self) -> str:
        """What reports call the model."""
        return Path(self.spec).stem if self.kind.startswith(".") else self.spec


def import_model(
    spec: str,
    *,
    inputs: tuple[str, ...] | None = None,
    batch: int | None = None,
    weights: str | Path | None = None,
    timeout: float | None = process.LIMIT,
) -> Imported:
    """Import a model, or find it in the cache (without importing torch, in milliseconds).

    `spec` is a name of the zoo, `package.module:factory` (a callable without arguments that returns an nn.Module), a
    .pt2, .onnx, .mlir or .mlirbc file, or a .json file that dlas-dump-workloads wrote. `inputs`, such as
    ("1x3x224x224xf32",), are for a factory whose module has no `example_inputs` and for an .onnx file whose shapes are
    not fixed, and change a zoo model's. `batch` replaces the first dimension of the inputs that a model has by itself:
    of a zoo model's, of a factory's `example_inputs`, of those that an .onnx file leaves open. `weights` is a
    state_dict file for the zoo or a factory.

    The import is done in a process of its own, where it may take `timeout` seconds (None: any time).
    The cache sees a change of the zoo, of the files that a file refers to, of the Python files that a factory's
    module imported (installed packages by their folder alone), and of `weights`; data that a factory reads by itself
    it does not see. Raises DlasError for all that a user can mend.
    """
    request = request_for(spec, inputs, Path(weights) if weights is not None else None, batch)
    directory = cache.entry("import", _key(request))
    return _cached(request, directory) or _produce(request, inputs, directory, timeout)


def check_name(spec: str) -> None:
    """Raise DlasError for a name that MLIR cannot be told."""
    if any("\ud800" <= character <= "\udfff" for character in spec):
        raise DlasError(f"{spec}: the name is not UTF-8; rename the file")


def request_for(
    spec: str, inputs: tuple[str, ...] | None = None, weights: Path | None = None, batch: int | None = None
) -> Request:
    """What `import_model` is asked for. Raises DlasError for what cannot be."""
    check_name(spec)
    if batch is not None:
        check_batch(batch, inputs)
    parsed = tuple(map(parse_input, inputs)) if inputs is not None else None
    kind = "zoo"
    if models.find(spec) is None:
        if Path(spec).suffix in _FILE_KINDS:
            kind = Path(spec).suffix
        elif ":" in spec:
            kind = "factory"
        elif Path(spec).suffix == ".py":
            raise DlasError(f"{spec}: name the function that returns the model, as in {Path(spec).stem}:FUNCTION")
        else:
            models.lookup(spec)  # raises, and knows the nearest names
    if kind.startswith("."):
        if weights is not None:
            raise DlasError(f"--weights goes with a model of the zoo or a factory; {spec} has its own weights")
        if inputs is not None and kind != ONNX:
            raise DlasError(f"--input goes with a model of the zoo, a factory or ONNX; {spec} has its own inputs")
        if batch is not None and kind != ONNX:
            raise DlasError(
                f"--batch goes with a model of the zoo, a factory or ONNX; the shapes in {spec} are fixed: "
                "write the file with another batch"
            )
    return Request(kind, spec, parsed, weights, batch)


def check_batch(batch: int, inputs: tuple[str, ...] | None) -> None:
    """Raise DlasError for a batch that no model can have, or that the shapes of the inputs say already."""
    if batch < 1:
        raise DlasError(f"--batch: expected at least 1, found {batch}")
    if inputs is not None:
        raise DlasError("--batch and --input both say what the inputs are: give the whole shapes with --input alone")


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
    package = Path(__file__).parent
    sources += [*sorted(package.rglob("*.py")), *(package.parent / name for name in _BESIDE)]
    return cache.digest(
        request.kind,
        request.name,
        place,
        [str(item) for item in request.inputs or ()],
        request.batch,
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


def _produce(request: Request, inputs: tuple[str, ...] | None, directory: Path, timeout: float | None) -> Imported:
    """Import into a workspace, move what was made into the entry, and write down what it is."""
    with cache.workspace() as folder:
        arguments = {
            "spec": request.spec,
            "inputs": inputs,
            "batch": request.batch,
            "weights": str(request.weights) if request.weights else None,
            "folder": str(folder),
        }
        made = _imported(request, arguments, timeout)
        made["unchecked"] = _golden(request, inputs, folder / GOLDEN)
        _publish(request.name, folder, directory, made)
    done = _cached(request, directory)
    if done is None or _key(request) != directory.name:
        raise DlasError(f"{request.spec} changed while it was imported; run the command again")
    return done


def import_source(source: TorchSource, *, timeout: float | None = process.LIMIT) -> Imported:
    """Import a model that the caller holds: PyTorch runs in this process, torch-mlir in one of its own.

    It is lowered each time, and the entry is found by what came out. Raises DlasError.
    """
    from dlas_mlir.compiler.frontend.torch_source import one_thread

    with cache.workspace() as folder:
        with one_thread(), process.limited(f"tracing {source.name}", timeout):
            source.write_golden(folder / GOLDEN)
            notes = source.write_torch(folder / TORCH)
        arguments = {"name": source.name, "folder": str(folder), "notes": vars(notes)}
        what = f"the import of {source.name}"
        try:
            made = process.call(f"{_IMPORT}:lower", arguments, what=what, timeout=timeout, preload=[_IMPORT, _LOWERING])
        except process.Died as died:
            raise _death(source.name, died, ["torch-mlir-opt", str(cache.keep(folder / TORCH))]) from None
        made |= {"parameters": source.parameters, "nonzeros": source.nonzeros}
        digests = [cache.file_digest(folder / name) for name in (MODULE, GOLDEN)]
        directory = cache.entry("import", cache.digest("source", source.name, digests))
        _publish(source.name, folder, directory, made)
    done = _cached(Request("source", source.name, None, None), directory)
    if done is None:
        raise DlasError(f"the cache entry {directory} changed while it was written; run the command again")
    return done


def _golden(request: Request, inputs: tuple[str, ...] | None, golden: Path) -> str:
    """Write golden outputs, where the import has not; returns why there are none, or nothing."""
    if request.kind in MLIR:
        return "an MLIR file has no model behind it that could be asked"
    if request.kind == WORKLOAD:
        return _ask_stock(request, golden)
    if request.kind == ONNX:
        return onnx_check.write_golden(Path(request.spec), golden, inputs, request.batch)
    return ""


def _ask_stock(request: Request, golden: Path) -> str:
    """The same for a workload: what iree-compile by itself makes of it."""
    arguments = {"spec": request.spec, "output": str(golden)}
    try:
        process.call(f"{_WORKLOAD}:answer", arguments, what="asking for the right answer", preload=[_WORKLOAD])
    except (process.Died, DlasError) as error:
        golden.unlink(missing_ok=True)  # half written, perhaps
        return str(error).splitlines()[0]
    return ""


def _publish(name: str, folder: Path, directory: Path, made: dict[str, Any]) -> None:
    """Move what an import left in `folder` into the entry `directory`, and write down what it is."""
    path, key = cache.publish(folder / MODULE, directory)
    has_golden = (folder / GOLDEN).exists()
    golden, golden_key = cache.publish(folder / GOLDEN, directory) if has_golden else (None, None)
    facts = {
        "name": name,
        "key": key,
        "module": path.name,
        "golden_sha256": golden_key,
        "golden": golden.name if golden else None,
        "unchecked": "",
        **made,
    }
    cache.write_record(directory / _FACTS, facts)


def _imported(request: Request, arguments: dict[str, Any], timeout: float | None) -> dict[str, Any]:
    """What `import_process.run` returns. Raises its DlasError, and one that says how to see a crash again."""
    preload = [_IMPORT] if request.kind in (ONNX, WORKLOAD, *MLIR) else [_TORCH, _IMPORT]
    what = f"the import of {request.spec}"
    try:
        return process.call(f"{_IMPORT}:run", arguments, what=what, timeout=timeout, preload=preload)
    except process.Died as died:
        raise _death(request.spec, died, ["python", "-m", _IMPORT, json.dumps({**arguments, "folder": "."})]) from None


def _death(name: str, died: process.Died, again: list[str]) -> DlasError:
    """How an import died, with a command that shows it again: that for its last step if it has one, else `again`."""
    if died.keep is not None and died.keep.exists():
        kept = str(cache.keep(died.keep))
        again = [kept if word == str(died.keep) else word for word in died.again]
    title = "" if name in died.what else f"{name}: "
    return DlasError(f"{title}{died}\nreproduce with: {shlex.join(again)}")
