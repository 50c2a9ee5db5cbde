"""The schedules that earlier searches have found for the kernels of a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir import errors, pipelines
from dlas_mlir.codegen import backends
from dlas_mlir.codegen.chosen import Chosen, print_chosen
from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.target import Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.network import Network
from dlas_mlir.compiler.presets import MACHINE_FLAGS, Preset
from dlas_mlir.measure.trials import Environment, Place, Trials, Winner
from dlas_mlir.measure.winners_file import read_winners
from dlas_mlir.opt.base import PassError
from dlas_mlir.runtime.devices import cpu_model
from dlas_mlir.runtime.gpus import NoGpu, gpus

_VERSIONS = ("iree-base-compiler", "iree-base-runtime")


def database() -> Path:
    """Where records of schedules are kept: $DLAS_DB, else dlas/schedules.db in the user's data directory."""
    if chosen := os.environ.get("DLAS_DB"):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "dlas" / "schedules.db"


def place_of(workload: Workload, preset: Preset, threads: int) -> Place:
    """Where times of a workload's kernels may be compared: threads are those that its work is shared out to."""
    return Place(workload.exact, target_key(preset), preset.target_name, threads)


def target_key(preset: Preset) -> str:
    """A hash of the target and of iree-compile's flags, but for those that name the machine: `host` has other ones than
    the target that it comes to, and the CPU stands beside what was measured."""
    flags = [flag for flag in preset.iree_flags if not flag.startswith(MACHINE_FLAGS)]
    return cache.digest(preset.target_name, flags)[:16]


def environment(preset: Preset | None = None) -> Environment:
    """That of this machine and this installation; for a `preset` of a GPU that of the GPU, which need not be here."""
    package = Path(errors.__file__).parent
    files = sorted(file for part in ("codegen", "ir") for file in (package / part).rglob("*.py"))
    emitter = cache.digest([file.read_text() for file in files])[:16]
    own = cpu_model() if preset is None or preset.target.kind == "cpu" else _gpu(preset)
    return Environment(own, tuple(sorted(cache.versions(*_VERSIONS).items())), emitter)


def _gpu(preset: Preset) -> str:
    """The GPU's name; empty where there is none: what was measured elsewhere can be compiled here."""
    try:
        return str(gpus(preset.device)[0])
    except NoGpu:
        return ""


def choose(network: Network, preset: Preset, say: Callable[[str], None] = lambda _: None) -> Chosen:
    """The best known schedule of each workload that has one which beats the rule's, by exact key.

    A record counts if what it was measured with is what is installed here, or makes the same kernels of both schedules.
    Those of another CPU or GPU of the same target are taken where there are no others, and it is said; what is out of
    date is not taken, and it is said. Raises DlasError for a data base that cannot be read.
    """
    here = environment(preset)
    keys = {kernel.workload.exact for kernel in network.kernels}
    own = list(_own_winners(keys))
    held = holding([*shipped_winners(preset, keys), *own], network, preset)
    found = {key: winner.schedule for key, winner in held.winners.items() if winner.schedule is not None}
    said = f"{len(found)} of {len(keys)} kernels have tuned schedules"
    if foreign := [key for key in found if held.winners[key].environment.cpu != here.cpu]:
        said += f", {len(foreign)} of them measured on another {preset.target.kind.upper()} of this target"
    old = {winner.place.workload for winner in held.stale} - set(found)
    if old:
        said += (
            f"; records of {len(old)} are out of date ({_reason(held.stale, here)}): `dlas tune` measures them again"
        )
    if elsewhere := _elsewhere(own, set(keys) - set(held.winners) - old, preset):
        said += f"; {elsewhere}, which says nothing here"
    say(said)
    return found


@dataclass(frozen=True)
class Holding:
    """Of some winners those that say something of a network's kernels here, by workload, and those that are out of
    date."""

    winners: dict[str, Winner]
    stale: list[Winner]


def holding(winners: Iterable[Winner], network: Network, preset: Preset) -> Holding:
    """Which of `winners` hold here: for each workload that of this CPU or GPU before others, the latest of them."""
    here = environment(preset)
    kernels = {kernel.workload.exact: kernel for kernel in network.kernels}
    found = Holding({}, [])
    ranked: dict[str, tuple[bool, str]] = {}
    for winner in winners:
        key = winner.place.workload
        kernel = kernels.get(key)
        if kernel is None or winner.place != place_of(kernel.workload, preset, threads_of(preset)):
            continue
        if not still_holds(winner, kernel.workload, kernel.rule, here, preset.target):
            found.stale.append(winner)
            continue
        rank = (winner.environment.cpu == here.cpu, winner.date)
        if key not in ranked or ranked[key] <= rank:
            ranked[key] = rank
            found.winners[key] = winner
    return found


def _elsewhere(winners: list[Winner], keys: set[str], preset: Preset) -> str:
    """In words, on which targets and threads the workloads `keys` were tuned that nobody tuned here; empty for none."""
    threads = threads_of(preset)
    found: dict[str, str] = {}
    for winner in winners:
        place = winner.place
        if place.workload in keys and winner.schedule is not None:
            words = [] if place.target_name == preset.target_name else [place.target_name]
            words += [] if place.threads == threads else [f"{place.threads} threads"]
            found[place.workload] = ", ".join(words) or "other flags of iree-compile"
    if not found:
        return ""
    return f"records of {len(found)} are of {' and '.join(sorted(set(found.values())))}"


def _reason(stale: list[Winner], here: Environment) -> str:
    return ", ".join(dict.fromkeys(word for winner in stale for word in here.differences(winner.environment)))


def still_holds(winner: Winner, workload: Workload, rule: dict[str, Any], here: Environment, target: Target) -> bool:
    """Whether a record says something about kernels for `target` as they are made now, on whatever CPU."""
    if winner.environment.versions != here.versions:
        return False
    if winner.environment.emitter == here.emitter:
        return True
    try:
        won = None if winner.schedule is None else digest_of(workload, winner.schedule, target)
        return (won is None or won == winner.kernel) and digest_of(workload, rule, target) == winner.rule_kernel
    except (PassError, ScheduleError):
        return False


def digest_of(workload: Workload, schedule: dict[str, Any], target: Target) -> str:
    """The hash of the kernel. Raises ScheduleError for no schedule of it on `target`, PassError for no kernel."""
    return kernel_digest(workload, backends.read_schedule(schedule, workload, target))


def written(chosen: Chosen) -> Path:
    """A file with them, whose name tells its content, in the cache."""
    text = print_chosen(chosen)
    with cache.workspace() as scratch:
        made = scratch / "schedules.jsonl"
        cache.write_atomically(made, text)
        return cache.publish(made, cache.entry("schedules", cache.digest(text)))[0]


def threads_of(preset: Preset) -> int:
    """The threads that a preset shares work out to."""
    return preset.target.threads if preset.target.kind == "cpu" else 1


def shipped() -> list[Path]:
    """The files of records that come with the package."""
    return sorted((Path(pipelines.__path__[0]) / "records").glob("*.jsonl"))


def shipped_winners(preset: Preset, keys: Collection[str]) -> Iterator[Winner]:
    """What comes with the package for the target of `preset` and the workloads `keys`."""
    for file in shipped():
        for winner in read_winners(file):
            if winner.place.target_name == preset.target_name and winner.place.workload in keys:
                yield winner


def _own_winners(keys: Collection[str]) -> Iterator[Winner]:
    file = database()
    if not file.is_file():
        if os.environ.get("DLAS_DB"):
            raise errors.DlasError(f"there is no data base {file}; `dlas tune MODEL --db {file}` makes one")
        return
    with Trials(file, create=False) as trials:
        for winner in trials.winners():
            if winner.place.workload in keys:
                yield winner
