"""The commands that do by hand what a study did for a point."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.axes import NO_DATASET
from dlas_mlir.study.chain import Chain
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.rows import PointRow
from dlas_mlir.study.run import artifacts_of
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.spec_file import spec_of_store
from dlas_mlir.study.store import StudyStore


def commands(store: StudyStore, row: PointRow, folder: Path) -> list[str]:
    """Lines for a shell: how its weights are made, then how it is compiled, checked, timed and evaluated. Nothing for a
    point that is not measured."""
    spec = spec_of_store(store)
    plan = Plan.empty(spec)
    plan.add([row.point])
    if row.id in plan.verdicts:
        return [f"# {plan.verdicts[row.id].state}: {plan.verdicts[row.id].reason}"]
    chain = plan.chain(row.id)
    results = {step.key: step.result for step in store.steps(step.key for step in chain.work) if step.result}
    artifacts = Artifacts(artifacts_of(spec, folder))
    return list(_lines(plan, row, chain, results, artifacts))


def _lines(
    plan: Plan, row: PointRow, chain: Chain, results: Mapping[str, Mapping[str, Any]], artifacts: Artifacts
) -> Iterator[str]:
    point, spec = row.point, plan.spec
    weights = None
    source = spec.models.get(point.model)
    if source is not None and source.weights is not None:
        weights = str(source.weights)
    for kind in ("train", "compress"):
        step = chain.own.get(kind)
        if step is None:
            continue
        output = f"{row.id}-{kind}.safetensors"
        yield from _train(step.parameters, output) if kind == "train" else _compress(step.parameters, weights, output)
        weights = output
        if (kept := results.get(step.key, {}).get("weights")) is not None:
            yield f"# or what the study has made: {output} is {artifacts.place(kept)}"
    preset = plan.applicable.preset_name(point)
    more = ["--weights", weights] if weights else []
    threads = ["--threads", str(point.threads)]
    if (tune := chain.own.get("tune")) is not None:
        yield from _tune(point.model, tune.parameters, more, results.get(tune.key), artifacts)
        more += ["--db", f"{row.id}.db"] if results.get(tune.key) is None else ["--db", "tuned.db"]
    batch = ["--batch", str(point.batch)] if point.batch > 1 else []
    shape = ["--input", source.input] if source is not None and source.input else []
    yield _shell("dlas", "bench", point.model, "--preset", preset, *threads, *more, *batch, *shape)
    if point.dataset != NO_DATASET and point.batch == 1 and tune is None:
        yield _shell("dlas", "evaluate", point.model, "--preset", preset, *more, *_data(spec, point.dataset), *threads)


def _train(wanted: Mapping[str, Any], output: str) -> Iterator[str]:
    options = [
        word
        for name in ("epochs", "lr", "batch")
        if wanted[name] is not None
        for word in (f"--{name}", str(wanted[name]))
    ]
    seed = ["--seed", str(wanted["seed"]), "--threads", str(wanted["threads"])]
    yield _shell("dlas", "train", wanted["model"], *_given(wanted), *options, *seed, "-o", output)


def _compress(wanted: Mapping[str, Any], weights: str | None, output: str) -> Iterator[str]:
    recipe = output.replace(".safetensors", ".toml")
    lines = [
        line for step in wanted["steps"] for line in ("[[step]]", *(f"{k} = {json.dumps(v)}" for k, v in step.items()))
    ]
    yield _shell("printf", "%s\\n", *lines) + f" > {recipe}"
    given = ["--weights", weights] if weights else []
    data = _given(wanted) if wanted["dataset"] != NO_DATASET else []
    threads = ["--threads", str(wanted["threads"])]
    yield _shell("dlas", "compress", wanted["model"], *given, *data, *threads, "--recipe", recipe, "-o", output)


def _tune(
    model: str, wanted: Mapping[str, Any], more: list[str], result: Mapping[str, Any] | None, artifacts: Artifacts
) -> Iterator[str]:
    budget = ["--budget", f"{wanted['budget']:g}s"] if wanted["budget"] else []
    search = ["--preset", wanted["preset"], "--threads", str(wanted["threads"]), "--trials", str(wanted["trials"])]
    if result is not None:
        yield "# the schedules that the study has found; a search of one's own may find others"
        yield _shell("cp", str(artifacts.place(result["db"])), "tuned.db")
        return
    yield _shell("dlas", "tune", model, *search, *budget, *more)


def _data(spec: Spec, dataset: str) -> list[str]:
    folder = spec.datasets.get(dataset)
    return _given({"dataset": dataset, "folder": str(folder) if folder else None})


def _given(wanted: Mapping[str, Any]) -> list[str]:
    folder = ["--data", wanted["folder"]] if wanted["folder"] else []
    return ["--dataset", wanted["dataset"], *folder]


def _shell(*words: object) -> str:
    return shlex.join(map(str, words))
