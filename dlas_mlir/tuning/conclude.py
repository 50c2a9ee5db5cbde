"""The end of a search: the best candidates beside the rule's schedules once more, in turns, and the whole network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.gate import measuring
from dlas_mlir.measure.stats import Comparison
from dlas_mlir.measure.trials import Winner
from dlas_mlir.tuning.build import Build, BuildError
from dlas_mlir.tuning.final import AGAIN, RULE, Final, Verdict
from dlas_mlir.tuning.report import KernelResult, Report
from dlas_mlir.tuning.task import Task
from dlas_mlir.tuning.tuner import Tuner

# What decides is timed this many times as long as what was only to be ranked.
_LONGER = 3
# How often half of what won alone is dropped, where the whole network does not gain.
_HALVED = 2
# Nothing can be said of a machine whose kernels differ by this from themselves.
_TOO_NOISY = 0.05


def conclude(tuner: Tuner, interrupted: bool = False) -> Report:
    """Compare the best candidates with the rule's schedules in turns, write winners, time the network. Raises DlasError
    where there is nothing to compare, as no candidate came to a time."""
    _check_useful(tuner, interrupted)
    verdicts = judge(tuner, _finalists(tuner))
    won: dict[str, Verdict] = {}
    for key, found in verdicts.items():
        best = min(found.values(), key=lambda verdict: verdict.ratio)
        if best.wins:
            won[key] = best
    won, network, note = _settled(tuner, won)
    slower = False
    noise = _noise(verdicts)
    noisy = not won and noise > _TOO_NOISY
    if noisy:
        note = (
            f"the machine is too noisy to decide: the rule's own times differ by {100 * noise:.0f} % from round to "
            "round; the rule's schedules stay"
        )
    if network is None or not _gains(network):
        won, note = {}, note or "the whole network is no faster with the schedules that won alone, so the rule's stay"
        slower = network is not None and network.verdict == "slower"
        network = Comparison(1.0, 1.0, 1.0, network.band if network else 0.0)
    kept = 0
    for key, task in tuner.tasks.items():
        if stays(task, verdicts.get(key, {}), won.get(key), undecided=noisy, slower=slower):
            kept += task.incumbent is not None
        else:
            _win(tuner, task, won.get(key))
    if kept:
        note = "; ".join(filter(None, (note, f"earlier records stay where they were not beaten ({kept})")))
    return _reported(tuner, won, verdicts, network, interrupted, note, noisy)


def _gains(network: Comparison) -> bool:
    """Whether a network with schedules that won alone is not the slower one."""
    return network.verdict != "slower" and network.ratio <= 1


def _settled(tuner: Tuner, won: dict[str, Verdict]) -> tuple[dict[str, Verdict], Comparison | None, str]:
    """What of `won` the whole network gains from, the network with that over the rule's, and a note. Where it does not
    gain from all, the half of which is least certain that they are faster is dropped, and half of what is left; as that
    is another attempt, its interval has to be below 1. Where none gains, the first one counts."""
    network, note = _network(tuner, won)
    if network is None or _gains(network):
        return won, network, note
    kept = sorted(won, key=lambda key: won[key].high)
    for _ in range(_HALVED):
        kept = kept[: len(kept) // 2]
        if not kept:
            break
        half = {key: won[key] for key in kept}
        found, _ = _network(tuner, half)
        if found is not None and found.high < 1:
            dropped = len(won) - len(half)
            return half, found, f"the whole network is no faster with all that won alone: {dropped} were dropped"
    return won, network, note


def _check_useful(tuner: Tuner, interrupted: bool) -> None:
    known = any(task.earlier or task.incumbent for task in tuner.tasks.values())
    if tuner.timed or known or interrupted or tuner.transferred is not None:
        return
    if tuner.failures:
        failed = ", ".join(f"{count} {how}" for how, count in tuner.failures.items())
        raise DlasError(f"no candidate came to a time ({failed}): `dlas records show` has their messages")
    if tuner.left() <= 0:
        took = f"the network with the rule's schedules took {tuner.baseline.seconds:.0f} s to compile"
        raise DlasError(f"the budget of {tuner.settings.budget:.0f} s was used up before a candidate was tried: {took}")
    raise DlasError("no kernel has another schedule than the rule's that could be tried")


def stays(task: Task, verdicts: Mapping[str, Verdict], won: Verdict | None, *, undecided: bool, slower: bool) -> bool:
    """Whether what is known of a workload stays as it is: nothing was found out, or not that its record is worse than
    what `won` (None: the rule's). `undecided`: the machine was too noisy; `slower`: the network with all that won was.
    """
    if task.incumbent is None:
        return won is None and not verdicts and not task.tried and not task.earlier
    own = next((verdict for verdict in verdicts.values() if verdict.schedule == task.challenged), None)
    if own is None:
        return won is None or won.ratio >= task.incumbent.ratio
    return won is None and (undecided or (own.wins and not slower))


def judge(tuner: Tuner, wanted: Sequence[Mapping[str, AnySchedule]]) -> dict[str, dict[str, Verdict]]:
    """By workload and build, each of the schedules beside the rule's, in turns; builds that fail or are wrong are left
    out."""
    builds = _builds(tuner, wanted)
    return _final(tuner).judge({RULE: tuner.baseline, AGAIN: tuner.baseline, **builds}) if builds else {}


def _final(tuner: Tuner) -> Final:
    calls, timeout = _LONGER * tuner.calls, _LONGER * tuner.run_timeout
    return Final(tuner.builder, tuner.inputs, calls, timeout, tuner.settings.rounds, tuner.say)


def _finalists(tuner: Tuner) -> list[dict[str, AnySchedule]]:
    """The best, the second best and so on of each workload whose best looks faster; what holds here already is one of
    them, but where records are not to be used."""
    known = tuner.settings.seed and tuner.transferred is None
    wanted: list[dict[str, AnySchedule]] = [{} for _ in range(tuner.settings.finalists)]
    for key, task in tuner.tasks.items():
        better = [schedule for schedule, ratio in task.search.ranked() if ratio < 0.99 and schedule != task.rule]
        chosen = better[: len(wanted)]
        if known and task.challenged not in (None, task.rule, *chosen):
            chosen = [*chosen[: len(wanted) - 1], task.challenged]
        for assignment, schedule in zip(wanted, chosen, strict=False):
            assignment[key] = schedule
    wanted = [assignment for assignment in wanted if assignment]
    tuner.say(f"compile the best {len(wanted)} candidates of {len(wanted[0]) if wanted else 0} kernels")
    return wanted


def _builds(tuner: Tuner, wanted: Sequence[Mapping[str, AnySchedule]]) -> dict[str, Build]:
    """Builds with these schedules, each by a name."""
    found = {}
    for number, build in enumerate(tuner.builder.build_all(wanted, tuner.jobs)):
        if isinstance(build, Build) and _is_right(tuner, build):
            found[f"candidates {number + 1}"] = build
    return found


def _is_right(tuner: Tuner, build: Build) -> bool:
    try:
        tuner.builder.check(build, tuner.expected, tuner.run_timeout)
    except BuildError:
        return False
    return True


def _network(tuner: Tuner, won: Mapping[str, Verdict]) -> tuple[Comparison | None, str]:
    """The whole network with what won, over that with the rule's schedules; None where it fails, and why."""
    if not won:
        return Comparison(1.0, 1.0, 1.0, 0.0), "nothing is faster than the rule's schedules"
    tuner.say("compile the network with what won")
    try:
        build = tuner.builder.build({key: verdict.schedule for key, verdict in won.items()})
        tuner.builder.check(build, tuner.expected, tuner.run_timeout)
        with measuring():
            return _final(tuner).network(build, tuner.baseline, tuner.expected), ""
    except DlasError as error:
        return None, f"the network fails with the schedules that won alone, so the rule's stay: {error}"


def _win(tuner: Tuner, task: Task, verdict: Verdict | None) -> None:
    """Write what the search came to."""
    digest = kernel_digest(task.workload, verdict.schedule) if verdict else ""
    tuner.trials.win(
        Winner(
            place=task.place,
            environment=tuner.environment,
            schedule=verdict.schedule.to_value() if verdict else None,
            ratio=verdict.ratio if verdict else 1.0,
            low=verdict.low if verdict else 1.0,
            high=verdict.high if verdict else 1.0,
            kernel=digest,
            rule_kernel=task.rule_kernel,
            trials=task.tried + task.earlier,
            model=tuner.model,
            source=task.sources.get(verdict.schedule, "") if verdict else "",
        )
    )


def _reported(
    tuner: Tuner,
    won: Mapping[str, Verdict],
    verdicts: Mapping[str, Mapping[str, Verdict]],
    network: Comparison,
    interrupted: bool,
    note: str,
    undecided: bool,
) -> Report:
    kernels = []
    for key, task in sorted(tuner.tasks.items(), key=lambda item: -item[1].share):
        found = won.get(key) or min(verdicts.get(key, {}).values(), key=lambda v: v.ratio, default=None)
        kernels.append(
            KernelResult(
                workload=key,
                layers=task.layers,
                primitive=task.primitive,
                share=100 * task.share,
                trials=task.tried,
                ratio=found.ratio if found else 1.0,
                low=found.low if found else 1.0,
                high=found.high if found else 1.0,
                rule=task.rule.to_value(),
                schedule=won[key].schedule.to_value() if key in won else None,
                source=task.sources.get(won[key].schedule, "") if key in won else "",
            )
        )
    return Report(
        model=tuner.model,
        preset=tuner.preset.name,
        threads=tuner.threads,
        ratio=network.ratio,
        low=network.low,
        high=network.high,
        verdict=network.verdict,
        seconds=time.monotonic() - tuner.began,
        builds=tuner.builder.count,
        failures=tuner.failures,
        interrupted=interrupted,
        kernels=tuple(kernels),
        note=note,
        undecided=undecided,
        transferred=tuner.transferred,
    )


def _noise(verdicts: Mapping[str, Mapping[str, Verdict]]) -> float:
    """How far the rule's schedules are from themselves: the median over all kernels."""
    found = [verdict.noise for same in verdicts.values() for verdict in same.values()]
    return statistics.median(found) if found else 0.0
