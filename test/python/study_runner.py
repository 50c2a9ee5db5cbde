"""An entry point of studies that builds and measures nothing: what it answers follows from what it is asked.

`DLAS_TEST_STUDY` is JSON: `log`, a file that gets a line for each job that is begun; `seconds` that each kind takes;
`poison`, `hang` and `wrong`: presets, of which a block's process dies, hangs, or whose outputs are wrong; `untimed`:
why no block is timed.
What the JSON file `more` has goes before: it can be changed while processes that were started with the variable live.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from dlas_mlir.study.entry import StepError


def run(payload: str) -> str:
    """As `dlas_mlir.study.entry.run`."""
    request, settings = json.loads(payload), json.loads(os.environ.get("DLAS_TEST_STUDY", "{}"))
    if (more := Path(settings.get("more", "none"))).is_file():
        settings |= json.loads(more.read_text())
    _log(settings, f"{request['kind']} {request['key']}")
    time.sleep(settings.get("seconds", {}).get(request["kind"], 0))
    try:
        return json.dumps({"state": "ok", "result": _DO[request["kind"]](request, settings)})
    except StepError as error:
        return json.dumps({"state": error.state, "reason": str(error)})


def _log(settings: dict[str, Any], line: str) -> None:
    if "log" in settings:
        file = os.open(Path(settings["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line.encode() + b"\n")
        os.close(file)


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def _weights(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    if request["parameters"]["model"] == settings.get("unfit"):
        raise StepError("not-applicable", "step 1 (prune): no layer can be pruned")
    return {"weights": f"{request['key']}.safetensors"}


def _import(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    return {"file": "x", "count": 4, "classes": 10, "dataset": "d", "macs": 100, "weights": None}


def _compile(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    preset = request["parameters"]["preset"]
    if preset == settings.get("refused"):
        raise StepError("compile-error", "iree-compile failed with exit code 1")
    macs = 100 + _number(request["key"]) % 100
    facts = {"macs": macs, "parameters": macs, "weight_bytes": 4 * macs, "effective_macs": macs}
    more = {"expected_speedup": 1.0, "compile_seconds": 1.0}
    return {"vmfb": f"{request['key']} {preset}", "golden": None, "driver": "local", **facts, **more}


def _verify(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    if settings.get("wrong") and settings["wrong"] in request["inputs"]["compile"]["vmfb"]:
        raise StepError("wrong", "the output is off by 1.00e+00 of PyTorch's largest value")
    return {"verified": True}


def _accuracy(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    hits = bytes(_number(f"{request['key']} {byte}") % 256 for byte in range(12)) + b"\0"
    correct = sum(byte.bit_count() for byte in hits)
    return {"correct": correct, "images": 100, "hits": base64.b64encode(hits).decode()}


def _block(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    turns = {}
    if untimed := settings.get("untimed"):
        return {"turns": {}, "errors": {}, "noise": None, "device": {"gpu": "llvmpipe", "cpu": "x"}, "untimed": untimed}
    for member in request["members"]:
        artifact = member["compiled"]["vmfb"]
        if settings.get("poison") and settings["poison"] in artifact:
            os.kill(os.getpid(), signal.SIGSEGV)
        if settings.get("hang") and settings["hang"] in artifact:
            time.sleep(600)
        ns = 1_000_000 + _number(artifact) % 1_000_000
        turns[member["point"]] = [
            {"ns": [ns, ns + 10], "cpu_ns": ns, "waited": 0.0, "start": start} for start in (0, 0, 0, 1, 1, 1)
        ]
    return {"turns": turns, "errors": {}, "noise": 0.01, "device": {"cpu": "none"}}


_DO = {
    "train": _weights,
    "compress": _weights,
    "import": _import,
    "lower": lambda request, settings: {"kernels": 1},
    "tune": lambda request, settings: {"schedules": "s", "db": "d"},
    "compile": _compile,
    "verify": _verify,
    "accuracy": _accuracy,
    "block": _block,
}
