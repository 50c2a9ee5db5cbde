"""What a study concludes on this machine where the truth is known: `python -m benchmarks.study_noise NET.vmfb`.

One artifact, loaded by many processes, takes turns with itself in the blocks of a study. Nothing differs, so a
difference that is found, or a change of the fastest, is a false one. Slow-downs are put in afterwards: the times of
one of two are made longer.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.planted_study import study
from dlas_mlir.compiler.artifact import load_file
from dlas_mlir.measure.gate import measuring
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.study.contrasts import SLOWER, TIE, UNTESTABLE, Clock
from dlas_mlir.study.duels import Duels, flips
from dlas_mlir.study.results import Level, Results

ROUNDS, STARTS = 10, 2
# The two of a comparison, and contexts between which the faster one could change: together a block.
_CHOICES = ("direct", "gemm")
_CONTEXTS = ("none", "prune-90")
# Others who measure wait no longer than these seconds.
_HOLD = 80.0
_MEMBERS = len(_CHOICES) * len(_CONTEXTS)


class Tape:
    """Times of blocks that were measured, played in their order as those of a study."""

    def __init__(self, blocks: np.ndarray) -> None:
        """`blocks` are milliseconds [blocks, members, starts, rounds of a start]."""
        self._blocks = iter(blocks)

    def sample(self, source: np.random.Generator, true: np.ndarray, rounds: int, starts: int) -> np.ndarray:
        """The next block, each member as many times as slow as `true` says."""
        return next(self._blocks) * true[:, None, None]


def measured(vmfb: Path, count: int, threads: int, seconds: float) -> np.ndarray:
    """Milliseconds [blocks, members, starts, rounds of a start] of blocks, of which all members are the same."""
    blocks: list[np.ndarray] = []
    while len(blocks) < count:
        with measuring():
            end = time.monotonic() + _HOLD
            while len(blocks) < count and time.monotonic() < end:
                blocks.append(_block(vmfb, threads, seconds))
        print(f"{len(blocks)} of {count} blocks", file=sys.stderr, flush=True)
    return np.array(blocks)


def _block(vmfb: Path, threads: int, seconds: float) -> np.ndarray:
    artifact = load_file(vmfb)
    protocol = Protocol(rounds=ROUNDS, max_rounds=ROUNDS, starts=STARTS, min_seconds=seconds)
    names = [str(number) for number in range(_MEMBERS)]
    with ExitStack() as stack:
        device = resolve(artifact.driver, threads)
        runners = {name: stack.enter_context(Worker(vmfb, device, artifact.golden)) for name in names}
        rounds = Rounds(runners, protocol).run()
    turns = [[np.median(turn.ns) / 1e6 for turn in rounds.turns[name]] for name in names]
    return np.array(turns).reshape(_MEMBERS, STARTS, -1)


def concluded(blocks: np.ndarray, slower: float) -> tuple[Results, Duels, int]:
    """The study of these blocks, of which in every second one choice is `slower` than the other in all contexts: its
    duels, and how many changes of the fastest it finds."""
    models: list[Level] = [f"m{number}" for number in range(len(blocks))]

    def truth(point) -> float:
        return slower if point["primitive"] == _CHOICES[0] and models.index(point["model"]) % 2 else 1.0

    axes = {"model": models, "compression": list(_CONTEXTS), "primitive": list(_CHOICES)}
    results = study(axes, truth, machine=Tape(blocks), rounds=ROUNDS, starts=STARTS)
    clock = Clock.of(results)
    duels = Duels.of(clock)
    return results, duels, len(flips(clock, duels, "compression").found)


def main() -> None:
    """Measure, and print what is concluded; the times stay in a file for a second look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vmfb", type=Path, help="what `dlas compile -o` wrote")
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a turn, at least")
    parser.add_argument("-o", "--output", type=Path, default=Path("study-noise.npy"))
    args = parser.parse_args()
    count = -(-args.comparisons // len(_CONTEXTS))
    blocks = measured(args.vmfb, count, args.threads, args.seconds)
    np.save(args.output, blocks)
    report(blocks)


def report(blocks: np.ndarray) -> None:
    """Print what is concluded from them."""
    _, duels, changes = concluded(blocks, 1.0)
    band = f"{np.median(duels.effects.band):.1%}"
    false = int(((duels.verdict != TIE) & (duels.verdict != UNTESTABLE)).sum())
    print(f"{len(duels.verdict)} comparisons of the same, tie band {band}: {false} called different, ", end="")
    print(f"{changes} changes of the fastest of {len(blocks)}, {int((duels.verdict == UNTESTABLE).sum())} untestable")
    results, duels, changes = concluded(blocks, 1.1)
    number = np.array([int(str(results.level("model", int(row)))[1:]) for row in duels.example[duels.cell]])
    slow = number % 2 == 1
    found, false = (duels.verdict[slow] == SLOWER).mean(), int((duels.verdict[~slow] != TIE).sum())
    print(
        f"{int(slow.sum())} of them slower by 10 %: {found:.1%} found; of the others {false} called different; ", end=""
    )
    print(f"{changes} changes of the fastest")


if __name__ == "__main__":
    main()
