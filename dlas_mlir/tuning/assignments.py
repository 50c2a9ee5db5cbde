"""Builds of a network with assignments of primitives to its layers, checked before they are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np

from dlas_mlir.compiler import choices
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.job import Job
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import tolerance_of
from dlas_mlir.measure.gate import working
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device
from dlas_mlir.tuning.expected import write_expected
from dlas_mlir.tuning.layer_costs import Primitives

RULE = "the recipe's rule"
# The recipe's own, one primitive wherever it applies, or several.
Kind = Literal["rule", "single", "mixed"]


@dataclass(frozen=True)
class Build:
    """A compiled network with the primitive of each layer, and what it dispatches (name, layer)."""

    name: str
    kind: Kind
    primitives: Primitives
    vmfb: Path
    dispatches: Sequence[Mapping[str, str]]


@dataclass
class Builder:
    """Makes builds of a model in `folder`, each stage within `timeout` seconds. The first is the recipe's own: it says
    what the inputs are, how long a call takes, and, of a model without outputs of its own, what is right."""

    imported: Imported
    preset: Preset
    device: Device
    folder: Path
    timeout: float | None
    say: Callable[[str], None] = lambda _: None
    builds: list[Build] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    count: int = 0
    call_s: float = 0.0
    inputs: Sequence[np.ndarray] = ()
    expected: Path | None = None

    def __post_init__(self) -> None:
        self._split, self._counting = choices.Split.of(self.preset), Lock()
        self.expected = self.imported.golden

    def rule(self, primitives: Primitives) -> Build:
        """The recipe's own, which is the first to be built. Raises DlasError."""
        found = self._made(RULE, "rule", primitives)
        if isinstance(found, DlasError):
            raise DlasError(f"{self.imported.name} for {self.preset.name}: {found}")
        self.builds.append(found)
        return found

    def build_all(self, wanted: Mapping[str, Primitives], kind: Kind, jobs: int) -> list[Build]:
        """Compile and check, `jobs` at a time, what is not there yet; `failures` says of what is left out why."""

        def one(name: str) -> Build | DlasError:
            return self._made(name, kind, wanted[name])

        known = [build.primitives for build in self.builds]
        names = [name for name, primitives in wanted.items() if primitives not in known]
        with ThreadPool(jobs) as pool:
            made = pool.map(one, names, chunksize=1)
        self.failures |= {name: str(one) for name, one in zip(names, made, strict=True) if isinstance(one, DlasError)}
        found = [one for one in made if isinstance(one, Build)]
        self.builds += found
        return found

    def _made(self, name: str, kind: Kind, primitives: Primitives) -> Build | DlasError:
        with self._counting:
            self.count += 1
            stem = self.folder / str(self.count)
        module, vmfb = stem.with_suffix(".mlirbc"), stem.with_suffix(".vmfb")
        # The recipe's own are what it does without a file.
        pipeline = self.preset.pipeline
        if kind != "rule":
            pipeline = self._split.with_choices(choices.written(primitives))
        title = f"{self.imported.name} for {self.preset.name} with {name}"
        job = Job(title, self.imported.path, pipeline, self.preset.iree_flags, self.timeout)
        self.say(f"compile {self.imported.name} with {name}")
        try:
            with working():
                job.run_pipeline(module, None)
                dispatches = job.iree_compile(module, vmfb)
                self._check(vmfb, kind)
        except DlasError as error:
            return error
        finally:
            module.unlink(missing_ok=True)
        return Build(name, kind, primitives, vmfb, dispatches)

    def fail(self, build: Build, reason: str) -> None:
        """One that can no longer be counted on."""
        self.failures[build.name] = reason
        self.builds = [other for other in self.builds if other is not build]

    def worker(self, build: Build) -> Worker:
        """It, loaded."""
        return Worker(build.vmfb, self.device, self.expected, timeout=self.timeout)

    def _check(self, vmfb: Path, kind: Kind) -> None:
        """Compare outputs with those that are right. Raises DlasError."""
        with Worker(vmfb, self.device, self.expected, timeout=self.timeout) as worker:
            if self.expected is not None:
                check = worker.check(tolerance_of(self.preset.element))
                if not check.verified:
                    raise DlasError(check.reason)
            if kind != "rule":
                return
            self.inputs = worker.examples()
            outputs = worker.run()
            self.call_s = min(worker.turn(min_seconds=0.2, min_count=3).ns) / 1e9
        if self.expected is None:
            where = self.folder / "expected.npz"
            self.expected = write_expected(where, self.imported, self.preset.element, self.inputs, outputs, RULE)
