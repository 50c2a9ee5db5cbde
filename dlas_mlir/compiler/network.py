"""A network whose kernels are known and have no schedules yet: what tuning, and compiling with its results, start from.

A preset's pipeline is cut at dlas-attach-schedules. What comes before it is run once and kept in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir import process
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.job import Clock, Job
from dlas_mlir.compiler.keys import DISTRIBUTIONS, own_sources
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.pipeline import Pipeline, PythonPass, parse_pipeline
from dlas_mlir.passes.schedule.attach_schedules import TUNED, AttachSchedulesPass

_RECORD = "network.json"
_PROCESS = "dlas_mlir.compiler.network_process"


@dataclass(frozen=True)
class Kernel:
    """One kernel of a network: its workload, the rule's schedule, and which layer it does by which primitive (empty
    for what is no layer). Several kernels may have one workload."""

    workload: Workload
    rule: dict[str, Any]
    layer: str
    primitive: str


@dataclass(frozen=True)
class Cut:
    """A pipeline before and behind dlas-attach-schedules."""

    before: Pipeline
    attach: AttachSchedulesPass
    behind: Pipeline

    @staticmethod
    def of(pipeline: str) -> Cut | None:
        """The cut of a pipeline's text; None where it attaches no schedules."""
        elements = parse_pipeline(pipeline).elements
        for place, element in enumerate(elements):
            if isinstance(element, PythonPass) and isinstance(element.instance, AttachSchedulesPass):
                return Cut(Pipeline(elements[:place]), element.instance, Pipeline(elements[place + 1 :]))
        return None

    @property
    def is_open(self) -> bool:
        """Whether it asks for tuned schedules, and says not which."""
        return self.attach.schedule == TUNED and not self.attach.records

    def with_schedules(self, records: Path) -> str:
        """The pipeline's text with the schedules in the file `records`, and the rule's for other kernels."""
        return str(self.before + _attaching(records) + self.behind)


@dataclass(frozen=True)
class Network:
    """`module` is bytecode with a region for each of `kernels`, in order; `imported_layers` are those of the model.
    `key` is the hash of all that it was made from."""

    key: str
    module: Path
    behind: Pipeline
    kernels: tuple[Kernel, ...]
    imported_layers: int

    def pipeline(self, records: Path) -> str:
        """The passes that are left, with the schedules in the file `records`, and the rule's for other kernels."""
        return str(_attaching(records) + self.behind)


def _attaching(records: Path) -> Pipeline:
    return Pipeline((PythonPass(AttachSchedulesPass(schedule=TUNED, records=str(records))),))


def network_of(
    imported: Imported, preset: Preset, clock: Clock | None = None, timeout: float | None = process.LIMIT
) -> Network:
    """The kernels of a model for a preset. Raises DlasError for a preset that makes none, and what passes raise."""
    cut = Cut.of(preset.pipeline)
    if cut is None:
        raise DlasError(f"{preset.name} makes no kernels of its own, so there are no schedules to choose")
    clock = clock or Clock(lambda _: None)
    key = cache.digest([imported.key, imported.name], str(cut.before), cache.versions(*DISTRIBUTIONS), own_sources())
    folder = cache.entry("network", key)
    facts = cache.read_record(folder / _RECORD)
    if facts is None or not (folder / facts["file"]).is_file():
        with cache.workspace() as scratch, clock.stage(f"passes {imported.name} for {preset.name}", "passes"):
            facts = _made(Job.of(imported, preset, timeout), str(cut.before), scratch / "network.mlirbc", folder)
        cache.write_record(folder / _RECORD, facts)
    kernels = tuple(
        Kernel(Workload.from_json(one["workload"]), one["rule"], one["layer"], one["primitive"])
        for one in facts["kernels"]
    )
    return Network(key, folder / facts["file"], cut.behind, kernels, facts["imported_layers"])


def _made(job: Job, pipeline: str, module: Path, folder: Path) -> dict[str, Any]:
    request = {"source": str(job.source), "pipeline": pipeline, "bytecode": str(module)}
    try:
        report = process.call(
            f"{_PROCESS}:run", request, what="the pass pipeline", timeout=job.timeout, preload=[_PROCESS]
        )
    except DlasError as error:
        raise DlasError(f"{job.title}: {error}") from None
    file, _ = cache.publish(module, folder)
    return {"file": file.name, **report}
