"""Our own compiler: the variant is the preset, with `=int8` behind it for the model in integers.

`host/stock` is IREE as it comes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import Loaded
from benchmarks.workload import INT8, Case
from dlas_mlir.compiler.driver import compile_model
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.graph_session import open_session
from dlas_mlir.runtime.worker import load_golden, sorted_keys


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("dlas-mlir", "iree-base-compiler", "iree-base-runtime", "torch-mlir")}


@contextlib.contextmanager
def _every_cpu() -> Iterator[None]:
    """The compiler may use all CPUs; what runs afterwards is pinned as before."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, pinned)


def load(case: Case, threads: int, variant: str) -> Loaded:
    name, _, form = variant.partition("=")
    if form not in ("", INT8):
        raise DlasError(f"unknown variant `{form}` of {name}: the only one is `{INT8}`")
    preset = load_preset(name, threads=threads)
    with _every_cpu():
        weights = Path(case.int8_weights) if form else None
        artifact = compile_model(case.source, preset, weights=weights)
    device = resolve(artifact.driver, threads)
    session = open_session(artifact.vmfb, device, pin=True)
    arrays = load_golden(str(artifact.golden) if form else case.golden)
    arguments = [session.prepare([arrays[key] for key in sorted_keys(arrays, "input_")])]
    flags = {"iree-compile": " ".join(artifact.flags), "device": " ".join(device.tool_flags())}

    def close() -> None:
        # Buffers that outlive their device crash the process when they are freed.
        arguments.clear()
        session.close()

    return Loaded(
        lambda: session.invoke(arguments[0]),
        lambda: session.fetch(session.invoke(arguments[0])),
        close,
        flags,
        {"primitives": artifact.primitives, "artifact_sha256": artifact.sha256},
        golden=str(artifact.golden) if form else "",
        element=preset.element,
    )
