"""The fuzzer by hand: `PYTHONPATH=test/python python -m fuzz --cases 10000 --seed 1 --jobs 2 --folder /tmp/fuzz`."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock

from fuzz.reduce import reduced
from fuzz.runner import VARIANTS, Case, Outcome, Runner, Variant, Worker, main_text
from fuzz.strategies import numbered


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first block of programs")
    parser.add_argument("--batch", type=int, default=25, help="programs in one module")
    parser.add_argument("--jobs", type=int, default=2, help="modules at a time")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-failures"), help="where reproducers and the log go")
    parser.add_argument("--variant", nargs="*", help="recipes, TARGET/RECIPE; else all take turns")
    parser.add_argument("--passes-only", action="store_true", help="neither compile nor run what the passes give")
    parser.add_argument("--keep-size", action="store_true", help="do not reduce what fails")
    return parser.parse_args()


class _Run:
    """One run: blocks of programs, a line in the log for each, a file for each failure."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "log.jsonl"
        self.lock = Lock()
        self.counts: Counter[str] = Counter()
        self.done = self._logged()

    def _logged(self) -> set[int]:
        """The blocks that an earlier run has finished."""
        done = set()
        if self.log.is_file():
            for line in self.log.read_text().splitlines():
                entry = json.loads(line)
                if "block" in entry:
                    done.add(entry["block"])
                    self.counts.update(entry["counts"])
        return done

    def block(self, number: int) -> None:
        if number in self.done:
            return
        names = self.options.variant
        variants = [Variant(name) for name in names] if names else _turns()
        variant = replace(variants[number % len(variants)], run=not self.options.passes_only)
        start, first = time.monotonic(), number * self.options.batch
        cases = [Case.of(numbered(first + i), variant) for i in range(self.options.batch)]
        worker = Worker()
        try:
            runner = Runner(worker)
            outcomes = runner.run(cases, variant)
            for i, (case, outcome) in enumerate(zip(cases, outcomes, strict=True)):
                if outcome.kind not in ("ok", "aside"):
                    self._failure(str(first + i), case, variant, outcome, runner)
        finally:
            worker.close()
        for i, outcome in enumerate(outcomes):
            if outcome.kind == "aside":
                self._say({"aside": first + i, "variant": str(variant), "detail": outcome.detail})
        counts = Counter(outcome.kind for outcome in outcomes)
        self._write({"block": number, "variant": str(variant), "counts": counts}, counts, time.monotonic() - start)

    def _failure(self, name: str, case: Case, variant: Variant, outcome: Outcome, runner: Runner) -> None:
        def fails(program) -> bool:
            try:
                candidate = Case.of(program, variant)
            except Exception:
                return False
            return runner.run([candidate], variant)[0].kind == outcome.kind

        program = case.program if self.options.keep_size else reduced(case.program, fails)
        recipe = str(variant).replace("/", "-")
        file = self.folder / f"{outcome.kind}-{recipe}-{name}.mlir"
        last = runner.run([Case.of(program, variant)], variant)[0]
        detail = "\n".join(f"// {line}" for line in f"{last.kind}: {last.detail[-2500:]}".splitlines())
        file.write_text(f"// {variant}\n{main_text(program)}{detail}\n")
        self._say({"failure": file.name, "kind": outcome.kind, "program": repr(program)})

    def _say(self, entry: dict) -> None:
        with self.lock, self.log.open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def _write(self, entry: dict, counts: Counter[str], seconds: float) -> None:
        self._say(entry)
        with self.lock:
            self.counts.update(counts)
            shown = ", ".join(f"{kind} {count}" for kind, count in sorted(self.counts.items()))
            print(f"block {entry['block']} {entry['variant']} {seconds:.0f} s: {dict(counts)} | {shown}", flush=True)


def _turns() -> list[Variant]:
    """Every other block is `host/auto`, the first of the variants; the others take turns."""
    return list(itertools.chain.from_iterable((VARIANTS[0], other) for other in VARIANTS[1:]))


def main() -> int:
    options = _arguments()
    run = _Run(options)
    blocks = -(-options.cases // options.batch)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run.block, range(options.seed, options.seed + blocks)))
    print(json.dumps(run.counts))
    return 1 if set(run.counts) - {"ok", "aside"} else 0


if __name__ == "__main__":
    sys.exit(main())
