"""The steps that make something: weights, imported models, schedules, artifacts. They need PyTorch and compilers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dlas_mlir.benchmark.speedup import expected
from dlas_mlir.compiler import cache, tuned
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.compiler.driver import Clock, compile_imported
from dlas_mlir.compiler.frontend.importer import Imported, import_model
from dlas_mlir.compiler.network import Cut, network_of
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.compiler.presets.here import gpu_of
from dlas_mlir.errors import DlasError
from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.axes import HALF, NO_DATASET
from dlas_mlir.study.entry import Say, StepError
from dlas_mlir.study.images import write_images

Request = Mapping[str, Any]


def train(request: Request, say: Say) -> dict[str, Any]:
    """A model of the zoo, trained; an attempt that was interrupted goes on after its last epoch."""
    from dlas_mlir import datasets
    from dlas_mlir.compression.train import RECIPES, Report, fastest_precision, part_file, recipe_of
    from dlas_mlir.compression.train import train as fit

    wanted = request["parameters"]
    _torch_threads(wanted)
    dataset = datasets.load(wanted["dataset"], wanted["folder"])
    given = {key: wanted[key] for key in ("epochs", "lr", "batch") if wanted[key] is not None}
    settings = replace(RECIPES[recipe_of(dataset.name)], **given, seed=wanted["seed"], precision=fastest_precision())
    output = _part_folder(request) / "weights.safetensors"
    report = Report(epoch=lambda epoch: say(f"epoch {epoch.number} of {epoch.of}: test {epoch.accuracy.top1:.2%}"))
    resume = part_file(output).exists()
    accuracy = fit(wanted["model"], dataset, settings, output, resume=resume, report=report)
    return {"weights": _kept(request, output), "accuracy": accuracy.top1, "images": accuracy.n}


def compress(request: Request, say: Say) -> dict[str, Any]:
    """A checkpoint by the steps of a recipe."""
    from dlas_mlir import datasets
    from dlas_mlir.compression import compress as compression
    from dlas_mlir.compression.fine_tuning import FineTuner
    from dlas_mlir.compression.recipe import parse_recipe
    from dlas_mlir.compression.step import StepError as Unfit

    wanted = request["parameters"]
    _torch_threads(wanted)
    steps = parse_recipe({"step": wanted["steps"]})
    output = _part_folder(request) / "weights.safetensors"
    images = datasets.load(wanted["dataset"], wanted["folder"]) if wanted["dataset"] != NO_DATASET else None
    tuner = None
    if images is not None and any(step.epochs_needed for step in steps):
        tuner = FineTuner(wanted["model"], images, output, request["key"][:16], say)
    try:
        done = compression.compress(
            wanted["model"],
            steps,
            inputs=(wanted["input"],) if wanted["input"] else None,
            weights=_weights(request),
            tune=tuner,
            calibration=images.calibration if images is not None else None,
            progress=say,
        )
    except Unfit as error:
        raise StepError("not-applicable", str(error)) from None
    done.save(output)
    if tuner is not None:
        tuner.remove_states()
    costs = {name: _figures(asdict(cost)) for name, cost in (("before", done.before), ("after", done.after))}
    return {"weights": _kept(request, output), **costs}


def _figures(cost: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cost.items() if key != "layers"}


def imported(request: Request, say: Say) -> dict[str, Any]:
    """A model in linalg on tensors, in the cache of this machine; or a dataset's test images."""
    if "dataset" in request["parameters"]:
        return _images(request)
    found = _imported(request, request["parameters"], _weights(request), say)
    weights = request["inputs"].get("weights", {}).get("weights") or request["parameters"]["weights"]
    before = request["inputs"].get("weights", {}).get("before", {}).get("macs")
    dense = before * (request["parameters"]["batch"] or 1) if before else found.macs
    facts = {"macs": found.macs, "dense_macs": dense, "parameters": found.parameters}
    # What those that follow need to have it again, wherever they run.
    return {"model": dict(request["parameters"]), "weights": weights, **facts}


def _images(request: Request) -> dict[str, Any]:
    from dlas_mlir import datasets

    wanted = request["parameters"]
    dataset = datasets.load(wanted["dataset"], wanted["folder"])
    split = dataset.test if wanted["images"] is None else dataset.test.subset(min(wanted["images"], len(dataset.test)))
    with cache.workspace() as folder:
        write_images(folder / "images.npz", split)
        sha256 = Artifacts(request["artifacts"]).put(folder / "images.npz")
    return {"file": sha256, "count": len(split), "classes": len(dataset.classes), "dataset": dataset.name}


def lower(request: Request, say: Say) -> dict[str, Any]:
    """All passes up to the choice of schedules, which points share; in the cache of this machine."""
    wanted = request["parameters"]
    with _as_compile_error():
        source = _again(request, say)
        preset = load_preset(wanted["preset"], threads=wanted["threads"])
        network = network_of(source, preset, Clock(say), request["limit"])
    return {"kernels": len(network.kernels)}


def tune(request: Request, say: Say) -> dict[str, Any]:
    """Search for schedules, or carry them over from other models; the ones that won, and the data base."""
    from dlas_mlir.tuning.task import Settings
    from dlas_mlir.tuning.transfer import Transfer
    from dlas_mlir.tuning.tune import tune as search

    wanted = request["parameters"]
    gpu = gpu_of(load_preset(wanted["preset"], threads=wanted["threads"]), wanted["preset"])
    if gpu is not None and gpu.software:
        raise StepError("not-applicable", f"{gpu} is a CPU: nothing is timed there, so no schedules are searched for")
    artifacts = Artifacts(request["artifacts"])
    db = _part_folder(request) / "schedules.db"
    sources = tuple(
        str(artifacts.get(result["db"])) for name, result in request["inputs"].items() if name.startswith("source ")
    )
    settings = Settings(
        trials=wanted["trials"],
        budget=wanted["budget"],
        rounds=wanted["rounds"],
        resume=True,
        timeout=request["limit"],
    )
    source = request["inputs"]["import"]
    report = search(
        source["model"]["model"],
        wanted["preset"],
        threads=wanted["threads"],
        settings=settings,
        db=db,
        inputs=_shapes(source["model"]),
        weights=artifacts.get(source["weights"]) if source["weights"] else None,
        transfer=Transfer(sources=sources, pool=True) if wanted.get("transfer") else None,
        say=say,
        batch=source["model"]["batch"],
    )
    with _database(db):
        preset = load_preset(f"{wanted['preset']}:tuned", threads=wanted["threads"])
        network = network_of(_again(request, say), preset, Clock(say), request["limit"])
        chosen = tuned.written(tuned.choose(network, preset, say))
    facts = {"ratio": report.ratio, "low": report.low, "high": report.high, "builds": report.builds}
    return {"schedules": artifacts.put(chosen), "db": artifacts.put(db), "won": _won(report), **facts}


def _won(report: Any) -> int:
    return sum(kernel.schedule is not None for kernel in report.kernels)


def compiled(request: Request, say: Say) -> dict[str, Any]:
    """An artifact, and what is known of it."""
    wanted = request["parameters"]
    artifacts = Artifacts(request["artifacts"])
    with _as_compile_error():
        source = _again(request, say)
        preset = load_preset(wanted["preset"], threads=wanted["threads"])
        if "tune" in request["inputs"]:
            preset = _with_schedules(preset, artifacts.get(request["inputs"]["tune"]["schedules"]))
        artifact = compile_imported(source, preset, clock=Clock(say), timeout=request["limit"])
    facts = artifact.facts()
    return {
        "vmfb": artifacts.put(artifact.vmfb),
        "golden": artifacts.put(artifact.golden) if artifact.golden else None,
        "unchecked": artifact.unchecked,
        "driver": artifact.driver,
        "compile_seconds": sum(artifact.seconds.get(name, 0.0) for name in ("passes", "compile")),
        "expected_speedup": _expected(artifact, preset, request["inputs"]["import"]["dense_macs"]),
        **{key: facts[key] for key in _FACTS},
        "effective_macs": sum(artifact.effective_macs.values()),
    }


def _expected(artifact: Artifact, preset: Preset, dense_macs: int) -> float | None:
    """What the arithmetic lets expect over the uncompressed model in f32."""
    effective = artifact.effective_macs
    if preset.element:
        effective = {HALF[preset.element]: sum(effective.values())}
    return expected(effective, dense_macs, preset.target)


_FACTS = ("macs", "parameters", "nonzeros", "weight_bytes", "primitives", "versions", "flags")


def _with_schedules(preset: Preset, records: Path) -> Preset:
    cut = Cut.of(preset.pipeline)
    assert cut is not None  # the plan has asked for schedules of recipes that have some
    # Under a name that tells the content, as the compiler's own.
    with cache.workspace() as folder:
        copy = folder / "schedules.jsonl"
        cache.write_atomically(copy, records.read_bytes())
        file, _ = cache.publish(copy, cache.entry("schedules", cache.file_digest(records)))
    return replace(preset, pipeline=cut.with_schedules(file))


def _again(request: Request, say: Say) -> Imported:
    """The imported model of a step that another has imported: in the cache, or made here."""
    source = request["inputs"]["import"]
    weights = Artifacts(request["artifacts"]).get(source["weights"]) if source["weights"] else None
    return _imported(request, source["model"], weights, say)


def _imported(request: Request, wanted: Request, weights: Path | None, say: Say) -> Imported:
    say(f"import {wanted['model']}")
    try:
        return import_model(
            wanted["model"],
            inputs=_shapes(wanted),
            batch=wanted["batch"],
            weights=weights,
            timeout=request["limit"],
        )
    except DlasError as error:
        raise StepError(_late(error) or "failed", str(error)) from None


def _shapes(wanted: Request) -> tuple[str, ...] | None:
    return (wanted["input"],) if wanted["input"] else None


def _weights(request: Request) -> Path | None:
    """The checkpoint that a step starts from: that of the step before, or a file that the specification names."""
    name = request["inputs"].get("weights", {}).get("weights") or request["parameters"].get("weights")
    if name is None:
        return None
    return Artifacts(request["artifacts"]).get(name)


def _part_folder(request: Request) -> Path:
    """Where a step keeps what another attempt on this machine can go on from."""
    folder = cache.entry("study", request["key"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlasError(f"cannot make {folder}: {error.strerror}") from None
    return folder


def _kept(request: Request, output: Path) -> str:
    """Hand a file over to the study's artifacts."""
    sha256 = Artifacts(request["artifacts"]).put(output)
    output.unlink()
    return sha256


def _torch_threads(wanted: Request) -> None:
    import torch

    torch.set_num_threads(wanted["threads"])


@contextmanager
def _as_compile_error() -> Iterator[None]:
    try:
        yield
    except StepError:
        raise
    except DlasError as error:
        raise StepError(_late(error) or "compile-error", str(error)) from None


def _late(error: DlasError) -> str | None:
    return "timeout" if "was stopped: it took more" in str(error) else None


@contextmanager
def _database(db: Path) -> Iterator[None]:
    """Have presets with `:tuned` take their schedules from `db`."""
    before = os.environ.get("DLAS_DB")
    os.environ["DLAS_DB"] = str(db)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DLAS_DB"]
        else:
            os.environ["DLAS_DB"] = before


RUN: dict[str, Callable[[Request, Say], dict[str, Any]]] = {
    "train": train,
    "compress": compress,
    "import": imported,
    "lower": lower,
    "tune": tune,
    "compile": compiled,
}
