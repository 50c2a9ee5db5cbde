"""How many candidates a layer are enough: what a long search had found after its first ones.

dlas tune resnet18-cifar --no-seed --trials 1000 --db long.db --json long.json
python -m benchmarks.candidates long.db long.json --no-seed --counts 24 64 300

For each workload, from the trials in the order in which they were made: the best time after so many, over the rule's,
and the part that it is of the gain of all of them, (start / best after n - 1) / (start / best of all - 1). The start is
the naive schedule with --no-seed, else the rule's. The best of many noisy times is flattered, of the
long search most of all, so that the parts are rather too small.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import environment, write_text
from dlas_mlir.codegen import backends
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Trial, Trials

# A workload on which all candidates gain less than this has nothing of which a part could be reached.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Curve:
    """One workload: the model, its layers, its percentage of the time of a call, how many candidates were tried, the
    time of the start over the rule's, and after each of the counts the best one's and its part of the whole gain (None
    where there is none)."""

    model: str
    layers: tuple[str, ...]
    share: float
    tried: int
    start: float
    best: dict[int, float]
    parts: dict[int, float | None]

    @property
    def first_as_fast(self) -> str:
        """The smallest of the counts after which it was as fast as the rule's."""
        return str(next((count for count, ratio in self.best.items() if ratio <= 1.0), "never"))


def curve(
    model: str, kernel: Mapping[str, Any], trials: Sequence[Trial], counts: Sequence[int], start: dict[str, Any] | None
) -> Curve:
    """Of a kernel of the report of a model, from its trials in order. `start` is the schedule that the search began
    with, None: the rule's."""
    ratios = [one.ratio if one.status == "ok" else None for one in trials]
    first = 1.0
    if start is not None and start != kernel["rule"]:
        first = next((ratio for one, ratio in zip(trials, ratios, strict=True) if one.schedule == start), None)
    if first is None:
        raise DlasError(
            f"workload {kernel['workload'][:8]}: there is no time of the schedule that the search began with"
        )
    shown = [*(count for count in counts if count < len(ratios)), len(ratios)]
    best = {count: min([first, *(ratio for ratio in ratios[:count] if ratio is not None)]) for count in shown}
    whole = first / best[len(ratios)] - 1
    parts = {count: (first / ratio - 1) / whole if whole >= LEAST_GAIN else None for count, ratio in best.items()}
    return Curve(model, tuple(kernel["layers"]), kernel["share"], len(ratios), first, best, parts)


def curves(database: Path, report: Path, counts: Sequence[int], *, seed: bool) -> list[Curve]:
    """Of all workloads in a file of `dlas tune --json`, those that take longest first. Without `seed` the search began
    with naive schedules. Raises DlasError."""
    tried: dict[str, list[Trial]] = {}
    found = []
    with Trials(database, create=False) as trials:
        for trial in trials.trials():
            tried.setdefault(trial.place.workload, []).append(trial)
        workloads = {one.exact: Workload.from_json(one.text) for one in trials.known()}
    for one in _reports(report):
        target = load_preset(one["preset"], threads=one["threads"]).target
        for kernel in one["kernels"]:
            start, key = None, kernel["workload"]
            if key not in workloads:
                raise DlasError(f"{report}: {database} has no trials of workload {key[:8]} of {one['model']}")
            if not seed:
                start = backends.backend_for(workloads[key], target).naive(workloads[key], target).to_value()
            found.append(curve(one["model"], kernel, tried.get(key, []), sorted(counts), start))
    return sorted(found, key=lambda one: -one.share)


def _reports(file: Path) -> list[Mapping[str, Any]]:
    """The searches for schedules in a file of `dlas tune --json`."""
    try:
        return [one for one in json.loads(file.read_text()) if one["kind"] == "schedules" and one["kernels"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DlasError(f"{file}: not a report of `dlas tune --json`: {error}") from None


def table(found: Sequence[Curve], counts: Sequence[int], wanted: float) -> str:
    """A line for each workload, and one for all of them."""
    heads = ["model", "layers", "% of the call", "tried", "start", *(f"after {count}" for count in counts), "after all"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for one in found:
        cells = [
            one.model,
            ", ".join(one.layers).strip(", ") or "-",
            f"{one.share:.1f}",
            str(one.tried),
            f"{one.start:.2f}",
        ]
        for count in (*counts, one.tried):
            part = one.parts.get(count)
            cells.append(_cell(one.best.get(count), part))
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for count in counts:
        parts = [part for one in found if (part := one.parts.get(count)) is not None]
        enough = sum(part >= wanted for part in parts)
        fast = sum(ratio <= 1.0 for one in found if (ratio := one.best.get(count)) is not None)
        mean = f"{100 * sum(parts) / len(parts):.0f} %" if parts else "-"
        lines.append(
            f"After {count}: {mean} of the gain in the mean, {100 * wanted:.0f} % of it on {enough} of {len(parts)}; "
            f"as fast as the rule's on {fast} of {len(found)}."
        )
    return "\n".join(lines) + "\n"


def _cell(ratio: float | None, part: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if part is None else f"{ratio:.2f} ({100 * part:.0f} %)"


def main() -> int:
    """Print the table, and write it and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, help="that `dlas tune --db` wrote")
    parser.add_argument("report", type=Path, help="that `dlas tune --json` wrote")
    parser.add_argument("--no-seed", action="store_true", help="the search was one with --no-seed")
    parser.add_argument("--counts", type=int, nargs="+", default=[24, 64, 300], help="default: 24 64 300")
    parser.add_argument("--part", type=float, default=0.95, help="of the gain that is enough (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("results/candidates.json"), help="default: %(default)s")
    options = parser.parse_args()
    try:
        counts = sorted(set(options.counts))
        if counts[0] < 1:
            raise DlasError("--counts: one candidate is the least")
        found = curves(options.database, options.report, counts, seed=not options.no_seed)
        text = table(found, counts, options.part)
        rows = [{**asdict(one), "first_as_fast": one.first_as_fast} for one in found]
        write_text(options.output, json.dumps({"environment": environment(), "workloads": rows}, indent=1) + "\n")
        write_text(options.output.with_suffix(".md"), text)
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
