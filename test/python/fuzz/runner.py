"""Runs programs through recipes, many in one module, and says of each what came out."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.compiler.presets import load_preset
from fuzz.elements import DTYPES
from fuzz.evaluate import evaluate
from fuzz.program import Program
from fuzz.text import function
from fuzz.values import Value, difference

_TIMEOUT = 300.0


@dataclass(frozen=True)
class Variant:
    """A recipe for a target. Code is made for this machine's CPU whatever the target, so that the numbers of any vector
    width can be looked at; `run` is whether they are."""

    preset: str
    run: bool = True
    threads: int = 1

    @property
    def narrow(self) -> str | None:
        """The type that the recipe rounds the operands of contractions to."""
        kind = self.preset.partition("/")[2].partition("-")[0]
        return kind if kind in ("bf16", "f16") else None

    @property
    def encoded(self) -> bool:
        """Whether the recipe leaves zeros among weights out."""
        return "dlas-encode-sparsity" in _preset(self.preset, self.threads)[0]

    def __str__(self) -> str:
        return self.preset if self.threads == 1 else f"{self.preset}-{self.threads}-threads"


STOCK = Variant("host/stock")
VARIANTS = (
    Variant("host/auto"),
    Variant("x86-64-avx2/auto"),
    Variant("aarch64-neon/auto"),
    Variant("host/direct"),
    Variant("host/gemm"),
    Variant("host/spatial-pack"),
    Variant("host/sparse-direct"),
    Variant("host/sparse-gemm"),
    Variant("host/sparse-spatial-pack"),
    Variant("host/auto", threads=2),
    Variant("host/bf16-spatial-pack"),
    Variant("host/f16-direct"),
    Variant("host/auto:naive", threads=2),
)


@cache
def _preset(name: str, threads: int) -> tuple[str, tuple[str, ...]]:
    preset = load_preset(name, threads=threads)
    pipeline = preset.pipeline
    if "aarch64" in name:
        # Instructions of another machine; what is of interest here are the widths.
        pipeline = re.sub(r",(int8|bf16)_dot=\w+", "", pipeline)
    return pipeline, load_preset("host/auto").iree_flags


@dataclass(frozen=True)
class Outcome:
    """`kind`: ok, wrong, overwritten (an argument), passes, iree-compile, run, signal, hang, aside (so does stock)."""

    kind: str
    detail: str = ""


class Worker:
    """A process that compiles and runs; started again when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.worker"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        return self._process

    def ask(self, request: dict[str, Any]) -> dict[str, str]:
        """The worker's answer; its death is one too."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        before = os.fstat(self._errors.fileno()).st_size
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(_TIMEOUT)
        line = process.stdout.readline() if ready else ""
        if line:
            reply = json.loads(line)
            if reply["stage"] != "done":
                reply["error"] = f"{self._said(before)}\n{reply['error']}"
            return reply
        if not ready:
            process.kill()
        code = process.wait()
        said = f"exit code {code}\n{self._said(before)}"
        if code > 0:  # It has not come to compile anything: no program is to blame.
            raise RuntimeError(f"the fuzzer's worker ended by itself: {said}")
        return {"stage": "signal" if ready else "hang", "error": said}

    def _said(self, start: int) -> str:
        """What the worker wrote to standard error since; not by seeking, which would move the worker's own place."""
        return os.pread(self._errors.fileno(), 3000, start).decode(errors="replace")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
        self._errors.close()


@dataclass(frozen=True)
class Case:
    """A program and what it should give."""

    program: Program
    wanted: tuple[Value, ...]

    @staticmethod
    def of(program: Program, variant: Variant) -> Case:
        return Case(program, tuple(evaluate(program, variant.narrow, variant.encoded)))


class Runner:
    """Compiles cases with a worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, cases: Sequence[Case], variant: Variant) -> list[Outcome]:
        """What became of each case; those that fail are compiled by themselves, and by stock."""
        found = self._split(list(cases), variant)
        return [
            self._checked(case, outcome) if outcome.kind not in ("ok", "hang") else outcome
            for case, outcome in zip(cases, found, strict=True)
        ]

    def _checked(self, case: Case, outcome: Outcome) -> Outcome:
        """Set aside what iree-compile alone does not do either, but that it may write over arguments, and that numbers
        are not excused by what does not compile."""
        if outcome.kind == "overwritten":
            return outcome
        stock = self._split([case], STOCK)[0]
        if stock.kind in ("ok", "overwritten") or (outcome.kind == "wrong" and stock.kind != "wrong"):
            return outcome
        return Outcome("aside", f"{outcome.kind} {outcome.detail[:200]}; stock: {stock.kind} {stock.detail[:300]}")

    def _split(self, cases: list[Case], variant: Variant) -> list[Outcome]:
        outcomes = self._together(cases, variant)
        if outcomes is not None:
            return outcomes
        parts = 2 if len(cases) <= 8 else 4
        size = -(-len(cases) // parts)
        found = []
        for start in range(0, len(cases), size):
            found += self._split(cases[start : start + size], variant)
        return found

    def _together(self, cases: list[Case], variant: Variant) -> list[Outcome] | None:
        """None where the module as a whole fails and holds more than one case."""
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name)
            reply = self.worker.ask(_request(cases, variant, folder))
            if reply["stage"] == "done":
                if not variant.run:
                    return [Outcome("ok")] * len(cases)
                return [_compared(case, folder, f"p{i}") for i, case in enumerate(cases)]
        return [Outcome(reply["stage"], reply["error"])] if len(cases) == 1 else None


def _request(cases: Sequence[Case], variant: Variant, folder: Path) -> dict[str, Any]:
    pipeline, flags = _preset(variant.preset, variant.threads)
    functions = []
    for i, case in enumerate(cases):
        nodes = case.program.nodes
        kinds = [nodes[place].type for place in case.program.arguments]
        for j, array in enumerate(case.program.inputs()):
            array.tofile(folder / f"p{i}.{j}.in")
        functions.append(
            {
                "name": f"p{i}",
                "inputs": [(kind.shape, kind.element) for kind in kinds],
                "results": len(case.program.results),
            }
        )
    source = folder / "source.mlir"
    source.write_text("".join(function(case.program, f"p{i}") for i, case in enumerate(cases)))
    return {
        "source": str(source),
        "pipeline": pipeline,
        "flags": flags,
        "functions": functions,
        "folder": str(folder),
        "run": variant.run,
    }


def _compared(case: Case, folder: Path, name: str) -> Outcome:
    for i, wanted in enumerate(case.wanted):
        kind = DTYPES[wanted.element]
        got = np.fromfile(folder / f"{name}.{i}.out", kind)
        if got.size < wanted.array.size:
            return Outcome("wrong", f"result {i} has {got.size} elements, not {wanted.array.size}")
        # The device rounds sizes up.
        got = got[: wanted.array.size].reshape(wanted.array.shape)
        wrong, told = difference(wanted, got)
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            detail = f"result {i}: {int(wrong.sum())} of {int(told.sum())} wrong; at {place}: {got[place]} for "
            return Outcome("wrong", detail + f"{wanted.array[place]} (bound {wanted.error[place]:.1e})")
    return Outcome("ok")


def main_text(program: Program) -> str:
    """The program as a file of its own."""
    return function(replace(program), "main")
