"""The steps of a point, from training to measuring: what each depends on makes its key."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dlas_mlir import compression, datasets, models
from dlas_mlir.compiler.cache import digest as content_digest
from dlas_mlir.compiler.cache import file_digest, versions
from dlas_mlir.compiler.keys import own_sources
from dlas_mlir.runtime.devices import cpu_features, cpu_model
from dlas_mlir.study.applicable import Applicable
from dlas_mlir.study.artifacts import name_of
from dlas_mlir.study.axes import HALF, NO_DATASET, SEARCHED
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.values import Point, Step, digest

_TOLERANCE = {short: name for name, short in HALF.items()}


@dataclass(frozen=True)
class Salts:
    """What else results depend on: versions of what is installed, hashes of our sources, by group of steps."""

    weights: str
    importing: str
    code: str
    runtime: str
    here: str

    @staticmethod
    def of_this_installation() -> Salts:
        """Those of this process."""
        return Salts(
            weights=content_digest(_sources(compression, datasets, models), versions("torch", "torchao")),
            importing=content_digest(_sources(models), versions("torch", "torch-mlir", "iree-base-compiler")),
            code=content_digest(own_sources(), versions("iree-base-compiler")),
            runtime=content_digest(versions("iree-base-runtime")),
            here=content_digest(cpu_model(), cpu_features()),
        )


def _sources(*packages: Any) -> list[str]:
    files = sorted(file for package in packages for file in Path(package.__path__[0]).rglob("*.py"))
    return [file_digest(file) for file in files]


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps of one point, each before those that need it; `measure` is timed in a block, the others are work.

    `own` are those of the point itself, by kind; others are of models that its schedules come from. `key` names all
    that its results depend on: with another one they are out of date.
    """

    work: tuple[Step, ...]
    own: Mapping[str, Step]
    measure: Step
    key: str


class Chains:
    """Makes the chains of a study's points; what points share is made once."""

    def __init__(self, spec: Spec, applicable: Applicable, salts: Salts | None = None) -> None:
        self.spec = spec
        self.applicable = applicable
        self.salts = salts or Salts.of_this_installation()
        self._weights = cache(self._weights_steps)
        self._imports = cache(self._import_step)
        self._lowers = cache(self._lower_step)
        self._tunes = cache(self._tune_steps)
        self._files = cache(_content_of)
        self._names = cache(name_of)
        self._images = cache(self._images_step)

    def of(self, point: Point) -> Chain:
        """The chain of a point that makes sense."""
        weights = self._weights(point.dataset, point.model, point.compression, point.element)
        imported = self._imports(point.dataset, point.model, point.compression, point.element, point.batch)
        # Only a search needs the kernels without their schedules.
        searched = point.schedule in SEARCHED
        lowered = self._lowers(replace(point, schedule="rule")) if searched else None
        tuned = self._tunes(point) if searched else ()
        compiled = self._compile_step(point, imported, tuned)
        verified = Step(
            "verify",
            {"device": point.device, "threads": point.threads, "element": _TOLERANCE.get(point.element, "")},
            {"compile": compiled.key},
            self.salts.runtime,
            point.model,
        )
        accurate = self._accuracy_steps(point, compiled, verified)
        measure = self._measure_step(point, compiled, verified)
        lower = (lowered,) if lowered else ()
        own = (*weights, imported, *lower, *tuned[-1:], compiled, verified, *accurate[1:])
        work = (*weights, imported, *lower, *tuned, compiled, verified, *accurate)
        key = digest([measure.key, *(step.key for step in accurate[1:])])[:32]
        return Chain(work, {step.kind: step for step in own}, measure, key)

    def _weights_steps(self, dataset: str, model: str, compression: str, element: str) -> tuple[Step, ...]:
        """Training and compression, as far as they are needed."""
        spec, found = self.spec, []
        source = spec.models.get(model)
        given = self._given(model)
        inputs: dict[str, str] = {}
        if given is None and dataset != NO_DATASET and models.find(model) is not None:
            settings = {
                "epochs": spec.training.epochs,
                "lr": spec.training.lr,
                "batch": spec.training.batch,
                "threads": spec.training.threads or 1,
                "seed": spec.seed,
            }
            train = Step("train", {"model": model, **self._data(dataset), **settings}, {}, self.salts.weights, model)
            found.append(train)
            inputs = {"weights": train.key}
        if steps := self._recipe_steps(dataset, compression, element):
            parameters: dict[str, Any] = {"model": model, "steps": steps, **self._data(dataset), "weights": given}
            parameters |= {"threads": spec.training.threads or 1, "input": source.input if source else None}
            found.append(Step("compress", {**parameters, **self._files(model)}, inputs, self.salts.weights, model))
        return tuple(found)

    def _recipe_steps(self, dataset: str, compression: str, element: str) -> list[dict[str, Any]]:
        """The tables of a recipe, with integers at their end where that is the element type."""
        recipe = self.applicable.recipe(compression)
        steps = [dict(step) for step in recipe.steps]
        if dataset == NO_DATASET:  # nothing to train on
            steps = [
                {key: value for key, value in step.items() if key != "epochs"}
                for step in steps
                if step["kind"] != "fine-tune"
            ]
        if element == "int8" and not recipe.element:
            steps.append({"kind": "int8", **({"calibration": "random"} if dataset == NO_DATASET else {})})
        return steps

    def _given(self, model: str) -> str | None:
        """The name among the artifacts of the weights that the specification gives a model."""
        source = self.spec.models.get(model)
        return self._names(source.weights) if source and source.weights else None

    def _data(self, dataset: str) -> dict[str, Any]:
        folder = self.spec.datasets.get(dataset)
        return {"dataset": dataset, "folder": str(folder) if folder else None}

    def _import_step(self, dataset: str, model: str, compression: str, element: str, batch: int) -> Step:
        before = self._weights(dataset, model, compression, element)
        source = self.spec.models.get(model)
        parameters = {
            "model": model,
            "batch": batch if batch > 1 else None,
            "input": source.input if source else None,
            "weights": None if before else self._given(model),
        }
        inputs = {"weights": before[-1].key} if before else {}
        return Step("import", {**parameters, **self._files(model)}, inputs, self.salts.importing, model)

    def _lower_step(self, point: Point) -> Step:
        """The passes up to schedules; `point` is that with the rule's."""
        name = self.applicable.preset_name(point)
        imported = self._imports(point.dataset, point.model, point.compression, point.element, point.batch)
        parameters = {"preset": name, "threads": point.threads}
        return Step("lower", parameters, {"import": imported.key}, self._code(point), point.model)

    def _tune_steps(self, point: Point) -> tuple[Step, ...]:
        """The search for a point's schedules, behind those that it is transferred from."""
        lowered = self._lowers(replace(point, schedule="rule"))
        tuning = self.spec.tuning
        rule = self.applicable.preset_name(replace(point, schedule="rule"))
        parameters = {
            "preset": rule,
            "threads": point.threads,
            "device": point.device,
            "trials": tuning.trials,
            "budget": tuning.budget,
            "rounds": tuning.rounds,
        }
        imported = self._imports(point.dataset, point.model, point.compression, point.element, point.batch)
        inputs = {"import": imported.key, "lower": lowered.key}
        if point.schedule == "tuned":
            return (Step("tune", parameters, inputs, self._code(point), point.model),)
        sources: list[Step] = []
        for model in map(str, self.spec.axes["model"]):
            other = replace(point, model=model, schedule="tuned")
            if model != point.model and self.applicable.reason(other) is None:
                sources += [step for step in self._source_steps(other) if step not in sources]
        for step in sources:
            if step.kind == "tune":
                inputs[f"source {step.subject}"] = step.key
        transferred = Step("tune", parameters | {"transfer": True}, inputs, self._code(point), point.model)
        return (*sources, transferred)

    def _source_steps(self, point: Point) -> list[Step]:
        """All that the search of another model needs."""
        weights = self._weights(point.dataset, point.model, point.compression, point.element)
        imported = self._imports(point.dataset, point.model, point.compression, point.element, point.batch)
        lowered = self._lowers(replace(point, schedule="rule"))
        return [*weights, imported, lowered, *self._tunes(point)]

    def _compile_step(self, point: Point, imported: Step, tuned: tuple[Step, ...]) -> Step:
        parameters = {"preset": self.applicable.preset_name(point), "threads": point.threads}
        inputs = {"import": imported.key}
        if tuned:
            inputs["tune"] = tuned[-1].key
        return Step("compile", parameters, inputs, self._code(point), point.model)

    def _accuracy_steps(self, point: Point, compiled: Step, verified: Step) -> tuple[Step, ...]:
        """The test images, and the accuracy of the artifact on them."""
        if point.dataset == NO_DATASET:
            return ()
        images = self._images(point.dataset)
        parameters = {"device": point.device, "threads": point.threads, "batch": point.batch}
        inputs = {"compile": compiled.key, "verify": verified.key, "images": images.key}
        return (images, Step("accuracy", parameters, inputs, self.salts.runtime, point.model))

    def _images_step(self, dataset: str) -> Step:
        parameters = {**self._data(dataset), "images": self.spec.measurement.images}
        return Step("import", parameters, {}, self.salts.weights, dataset)

    def _measure_step(self, point: Point, compiled: Step, verified: Step) -> Step:
        parameters = {"device": point.device, "threads": point.threads, **self.spec.measurement.protocol}
        inputs = {"compile": compiled.key, "verify": verified.key}
        return Step("measure", parameters, inputs, self.salts.runtime, point.model)

    def _code(self, point: Point) -> str:
        """`host` means this machine, and not another."""
        at_home = self.spec.devices[point.device].target == "host"
        return self.salts.code + self.salts.here if at_home else self.salts.code


def _content_of(model: str) -> Mapping[str, Any]:
    """The hash of a file that a model's name means, so far as it can be found."""
    file = Path(model)
    if ":" in model:
        module = model.partition(":")[0].replace(".", "/")
        places = [Path(folder or ".") / f"{module}.py" for folder in ("", *sys.path)]
        file = next((place for place in places if place.is_file()), file)
    return {"content": file_digest(file)} if file.is_file() else {}
