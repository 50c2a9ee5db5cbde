"""The parts of a run, each a process that goes through its cases and prints a row for each, as one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu import cases

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """`rows` gives those of one case of the part of the bundle that is called `of` (empty: there is one case). It may
    take `seconds` in all and `case_seconds` for each; `jobs` processes share the cases; `torch`: PyTorch is needed."""

    rows: Callable[[Row, Path, str, float], Iterator[Row]]
    of: str
    seconds: float
    case_seconds: float = 20.0
    jobs: int = 1
    torch: bool = False


def _facts(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from iree.runtime import version

    from dlas_mlir.runtime.devices import own_gpu

    gpu = own_gpu(device)
    yield {
        "who": gpu.name,
        "software": gpu.software,
        "facts": dict(gpu.facts),
        "runtime": version.VERSION,
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)),
    }
    try:
        import torch

        yield {"who": "torch", "version": torch.__version__, "cuda": torch.cuda.is_available()}
    except ImportError:
        yield {"who": "torch", "missing": "there is no PyTorch here: nothing to compare with"}


def _peaks(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from dlas_mlir.runtime import cuda_peaks

    if device == "cuda":
        yield {"who": "peaks", **cuda_peaks.peaks()}


def _ours(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import measuring

    yield {"who": "ours", **measuring.measured(one, bundle, device, turn)}


def _candidates(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import measuring

    if device == "cuda":
        yield from ({"who": "ours", **row} for row in measuring.candidates(one, bundle))


def _calls(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import measuring

    if one["case"].endswith("_n1") and one["element"] == "f16":
        yield from measuring.calls(one, bundle, device)


def _layer_peers(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import peers

    yield from peers.layer(one)


def _model_peers(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import peers

    if _has_peers(one):
        yield from peers.model(one)


def _inductor(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import peers

    if _has_peers(one):
        yield from peers.inductor(one, "reduce-overhead")


def _autotuned(one: Row, bundle: Path, device: str, turn: float) -> Iterator[Row]:
    from benchmarks.gpu import peers

    if _has_peers(one):
        yield from peers.inductor(one, "max-autotune")


def _has_peers(model: Row) -> bool:
    """PyTorch has no convolutions of integers on GPUs."""
    return model["element"] != "int8"


PARTS: dict[str, Part] = {
    "facts": Part(_facts, "", 30),
    "peaks": Part(_peaks, "", 30),
    "grid": Part(_ours, "grid", 60, jobs=6),
    "zoo": Part(_ours, "zoo", 90, 40, jobs=6),
    "layers": Part(_ours, "layers", 70),
    "sparse": Part(_ours, "sparse", 25),
    "candidates": Part(_candidates, "candidates", 100, 60, jobs=8),
    "layers-torch": Part(_layer_peers, "layers", 40, torch=True),
    "models": Part(_ours, "models", 85, 40),
    "apart": Part(_ours, "apart", 40, 40),
    "models-torch": Part(_model_peers, "models", 60, 60, jobs=5, torch=True),
    "calls": Part(_calls, "models", 20),
    # Their compilers are slow, and so are begun together.
    "inductor": Part(_inductor, "models", 300, 300, jobs=10, torch=True),
    "inductor-autotuned": Part(_autotuned, "models", 400, 400, jobs=10, torch=True),
}


def cases_of(name: str, manifest: Row, elements: Sequence[str]) -> list[Row]:
    """The cases of a part in a bundle, in these types."""
    of = PARTS[name].of
    if not of:
        return [{"part": name, "case": name, "element": "", "id": name}]
    return [one for one in manifest["cases"] if one["part"] == of and one["element"] in elements]


def serve(options: argparse.Namespace) -> int:
    """Print the rows of a part, from its case `first`, every `step`th. What native code prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    manifest = cases.read_json(options.bundle / "manifest.json")
    part = PARTS[options.part]
    known = cases_of(options.part, manifest, options.elements)
    for number in range(options.first, len(known), options.step):
        one = known[number]
        names = {"part": options.part, "case": one["case"], "element": one["element"], "number": number}
        print(json.dumps({"begin": number}), file=replies, flush=True)
        for row in _rows(part, one, options, manifest["device"]):
            print(json.dumps({**names, **row}), file=replies, flush=True)
    replies.close()
    os._exit(0)  # drivers do not all survive the interpreter's own shutdown


def _rows(part: Part, one: Row, options: argparse.Namespace, device: str) -> Iterator[Row]:
    if "error" in one:
        if not part.torch:
            yield {"who": "ours", "error": f"not compiled: {one['error']}"}
        return
    try:
        yield from part.rows(one, options.bundle, device, options.turn)
    except Exception as error:  # whatever PyTorch or a driver raises is this case's result
        traceback.print_exc(file=sys.stderr)
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        yield {"who": "torch" if part.torch else "ours", "error": text[:400]}
