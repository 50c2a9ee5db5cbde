"""Transfer-tuning, leaving one model out: what the schedules of the others bring, and in how much less of a search.

python -m benchmarks.transfer --threads 1 --trials 64 --folder results/transfer --docs docs

Every model is searched in full, in a data base of its own. Then each is given the schedules of the others, in all
ways at once: fitted to its loops (at most 5 a layer), or as they are, as the paper has it; from each other model alone,
and from all mixed. What several ways propose is tried once. Everything is kept in --folder: a run that was stopped goes
on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import transfer_report as results
from benchmarks.common import ROOT
from benchmarks.report import environment, write_text
from dlas_mlir.codegen import backends
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.errors import DlasError
from dlas_mlir.tuning import transfer
from dlas_mlir.tuning.conclude import judge
from dlas_mlir.tuning.task import Settings, Task
from dlas_mlir.tuning.transfer import Foreign, Method, Transfer, TransferSearch
from dlas_mlir.tuning.tune import open_trials, tune
from dlas_mlir.tuning.tuner import Tuner

MODELS = [
    "resnet18-cifar",
    "mobilenetv1-cifar",
    "mobilenetv2-cifar",
    "vgg16-cifar",
    "resnet18",
    "resnet50",
    "mobilenetv1",
    "mobilenetv2",
    "efficientnetb0",
    "resnet34-g4",
    "wrn-40-2-g1",
    "wrn-40-2-g4",
]
STARTS = ("rule", "naive")
METHODS: tuple[Method, ...] = ("fitted", "as-is")
POOL = "all mixed"
# As many as there are.
_ALL = 2**31


@dataclass(frozen=True)
class Case:
    """One model on some threads, from the rule's schedules or from naive ones."""

    folder: Path
    model: str
    threads: int
    start: str

    def file(self, what: str, suffix: str) -> Path:
        """Where something of it is kept."""
        return self.folder / f"{what}-{self._name}-{self.start}-{self.threads}.{suffix}"

    @property
    def tried(self) -> Path:
        """The data base of what was transferred: a schedule is as fast wherever the search began."""
        return self.folder / f"transfer-{self._name}-{self.threads}.db"

    @property
    def _name(self) -> str:
        return self.model.replace("/", "_").replace(":", "_")

    @property
    def seed(self) -> bool:
        """Whether the rule's schedules are known."""
        return self.start == "rule"


def main() -> int:
    """Run what is left to run, and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", default=MODELS, help=f"at least two (default: {' '.join(MODELS)})")
    add("--preset", default="host/auto", help="default: %(default)s")
    add("--threads", nargs="+", type=int, default=[1], help="default: 1")
    add("--trials", type=int, default=64, help="schedules of each layer in a full search (default: %(default)s)")
    add("--lot", type=int, default=0, help="builds that are timed at a time (default: as many as compile at a time)")
    add("--jobs", type=int, default=0, help="compilers at a time (default: CPUs)")
    add("--rounds", type=int, default=6, help="of the last comparison (default: %(default)s)")
    add("--starts", nargs="+", choices=STARTS, default=list(STARTS), help="default: %(default)s")
    add("--folder", type=Path, default=Path("results/transfer"), help="data bases (default: %(default)s)")
    add("--output", type=Path, default=Path("results/transfer.json"), help="default: %(default)s")
    add("--docs", type=Path, default=ROOT / "docs", help="folder of transfer-results.md and .svg (default: docs)")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        run(options, lambda text: console.print(text, markup=False, soft_wrap=True))
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """All cases, writing the results after each. Raises DlasError."""
    if len(set(options.models)) < 2 or options.trials < 1 or min(options.threads) < 1:
        raise DlasError("there must be two models at least, and one trial and one thread")
    options.folder.mkdir(parents=True, exist_ok=True)
    for threads in options.threads:
        # Schedules come from searches that began with the rule's, whatever they are transferred to begins with.
        for model in options.models:
            search(Case(options.folder, model, threads, "rule"), options, say)
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        for start in options.starts:
            for model in options.models:
                case = Case(options.folder, model, threads, start)
                full = search(case, options, say)
                rows.append(results.row(full, brought(case, full, options, say)))
                document = {
                    "environment": environment(),
                    "rounds": options.rounds,
                    "rows": rows,
                }
                write_text(options.output, json.dumps(document, indent=1) + "\n")
                results.write(document, options.docs, say)


def search(case: Case, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """The full search: shares of the kernels, the ratios of all trials of each in order, and the best schedules."""
    done, file = case.file("full", "json"), case.file("full", "db")
    if not done.is_file():
        settings = _settings(options, trials=options.trials, seed=case.seed, resume=True)
        report = tune(case.model, options.preset, threads=case.threads, settings=settings, db=file, say=say)
        if report.interrupted:
            raise DlasError(f"{case.model}: stopped; the same command goes on")
        write_text(done, json.dumps(report.to_plain(), indent=1) + "\n")
    report = json.loads(done.read_text())
    tried: dict[str, list[float | None]] = {kernel["workload"]: [] for kernel in report["kernels"]}
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    with open_trials(file) as trials:
        for trial in trials.trials():
            key = trial.place.workload
            if key not in tried:
                continue
            tried[key].append(trial.ratio if trial.status == "ok" else None)
            if trial.status == "ok" and trial.ratio is not None and trial.ratio < best.get(key, (_ALL, {}))[0]:
                best[key] = (trial.ratio, trial.schedule)
    shares = {kernel["workload"]: kernel["share"] for kernel in report["kernels"]}
    network = None if report["note"] else report["ratio"]
    return {"shares": shares, "tried": tried, "best": best, "network": network, "seconds": report["seconds"]}


def _settings(options: argparse.Namespace, **given: Any) -> Settings:
    return Settings(lot=options.lot, jobs=options.jobs, rounds=options.rounds, **given)


def brought(
    case: Case, full: Mapping[str, Any], options: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, Any]:
    """What each way to transfer comes to, over all of them measured at once; what they and the `full` search choose
    takes turns with the rule's schedules in the end."""
    done = case.file("transfer", "json")
    if not done.is_file():
        sources = tuple(
            str(Case(case.folder, model, case.threads, "rule").file("full", "db"))
            for model in options.models
            if model != case.model
        )
        settings = _settings(options, trials=_ALL, seed=case.seed)
        with (
            open_trials(case.tried) as trials,
            Tuner(case.model, options.preset, case.threads, settings, trials, say) as tuner,
        ):
            foreign = transfer.foreign_schedules(Transfer(sources=sources), case.model, tuner.preset, trials)
            ways: list[dict[str, Any]] = []
            tuner.search(lambda: ways.extend(_plan(tuner, foreign, case)))
            found = _outcome(tuner, ways, full["best"], case)
        write_text(done, json.dumps(found, indent=1) + "\n")
    return json.loads(done.read_text())


def _plan(tuner: Tuner, foreign: Mapping[str, list[Foreign]], case: Case) -> list[dict[str, Any]]:
    """The candidates of each way, and a search of their union for every kernel."""
    target = tuner.preset.target
    assert isinstance(target, CpuTarget)
    ways: list[dict[str, Any]] = []
    sets = {**foreign, POOL: [one for known in foreign.values() for one in known]}
    for method in METHODS:
        way = Transfer(sources=(), method=method)
        for name, known in sets.items():
            candidates = {
                key: list(transfer.candidates(task, known, target, way, seed=case.seed))
                for key, task in tuner.tasks.items()
            }
            of = transfer.score if method == "fitted" else transfer.paper_score
            ways.append(
                {"method": method, "source": name, "score": of(tuner.tasks.values(), known), "candidates": candidates}
            )
    for key, task in tuner.tasks.items():
        union = list(dict.fromkeys(schedule for way in ways for schedule in way["candidates"][key]))
        start = task.search.start
        task.search = TransferSearch(start, 1.0 if start == task.rule else None, union)
    return ways


def _outcome(
    tuner: Tuner, ways: list[dict[str, Any]], full: Mapping[str, tuple[float, dict[str, Any]]], case: Case
) -> dict[str, Any]:
    """Shares and ratios of each way: of its best candidates as they were tried, and `kept`, from the rule's schedules
    once more in turns. From naive ones, which take several times as long, that they were the least of several noisy
    times matters little."""
    tasks = tuner.tasks
    starts = {key: task.search.start for key, task in tasks.items()}
    picks = [{key: _best(task, way["candidates"][key]) for key, task in tasks.items()} for way in ways]
    searched = {
        key: backends.read_schedule(schedule, tasks[key].workload, tuner.preset.target)
        for key, (ratio, schedule) in full.items()
        if key in tasks and ratio < (tasks[key].search.results.get(starts[key]) or _ALL)
    }
    best, compared = {**starts, **searched}, _compared(ways, picks, tasks)
    if case.seed:
        ratios = verified(tuner, [starts, best, *(picks[place] for place in compared)])
    else:
        ratios = {key: {one: full[key][0]} for key, one in searched.items()}

    def kept(schedules: Mapping[str, AnySchedule]) -> dict[str, float]:
        return {key: ratios.get(key, {}).get(one, _unverified(tasks[key], one, case)) for key, one in schedules.items()}

    plain = [
        {
            "method": way["method"],
            "source": way["source"],
            "score": way["score"],
            "most": max(map(len, way["candidates"].values()), default=0),
            "total": sum(map(len, way["candidates"].values())),
            "ratios": {key: tasks[key].search.results.get(schedule) for key, schedule in pick.items()},
            "kept": kept(pick) if place in compared else None,
        }
        for place, (way, pick) in enumerate(zip(ways, picks, strict=True))
    ]
    kernels = {
        key: {"share": task.share, "start": task.search.results.get(starts[key]), "kept": kept(starts)[key]}
        for key, task in tasks.items()
    }
    return {
        "case": {**asdict(case), "folder": ""},
        "kernels": kernels,
        "full": kept(best),
        "ways": plain,
    }


def _unverified(task: Task, schedule: AnySchedule, case: Case) -> float:
    """What counts of a schedule that was not timed again: the rule's is what all are compared with, and what was not
    right then is not kept; from naive schedules the time as it was tried."""
    tried = None if case.seed or schedule == task.rule else task.search.results.get(schedule)
    return 1.0 if tried is None else tried


def _best(task: Task, schedules: Sequence[AnySchedule]) -> AnySchedule:
    """The fastest of the candidates and the start, as they were tried."""
    results = task.search.results
    return min((task.search.start, *schedules), key=lambda one: results.get(one) or _ALL)


def _compared(
    ways: Sequence[Mapping[str, Any]], picks: Sequence[Mapping[str, AnySchedule]], tasks: Mapping[str, Task]
) -> list[int]:
    """The ways that the page shows: by each method the source with the best score, the best in hindsight, all mixed."""

    def time(place: int) -> float:
        found = ((task, task.search.results.get(picks[place][key])) for key, task in tasks.items())
        return sum(task.share * (1.0 if ratio is None else ratio) for task, ratio in found)

    found = []
    for method in METHODS:
        mine = [place for place, way in enumerate(ways) if way["method"] == method]
        single = [place for place in mine if ways[place]["source"] != POOL]
        found += [place for place in mine if ways[place]["source"] == POOL]
        found += [max(single, key=lambda place: ways[place]["score"]), min(single, key=time)]
    return list(dict.fromkeys(found))


def verified(tuner: Tuner, picks: Sequence[Mapping[str, AnySchedule]]) -> dict[str, dict[AnySchedule, float]]:
    """By kernel, the time over the rule's of each schedule that is picked, once more and in turns: the least of many
    noisy times says little. One that does not beat the rule's is not kept, so it counts as that."""
    wanted: list[dict[str, AnySchedule]] = []
    for key, task in tuner.tasks.items():
        chosen = dict.fromkeys(schedule for pick in picks if (schedule := pick[key]) != task.rule)
        for place, schedule in enumerate(chosen):
            if place == len(wanted):
                wanted.append({})
            wanted[place][key] = schedule
    verdicts = judge(tuner, wanted)
    return {
        key: {one.schedule: one.ratio if one.wins else 1.0 for one in verdicts.get(key, {}).values()}
        for key in tuner.tasks
    }


if __name__ == "__main__":
    sys.exit(main())
