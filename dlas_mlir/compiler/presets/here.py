"""Whether this machine can run what a preset compiles, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dlas_mlir.compiler.presets import host
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import cpu_model
from dlas_mlir.runtime.gpus import FUNCTION_ONLY, INSTEAD, Gpu, NoGpu, gpus
from dlas_mlir.runtime.needs import missing


class Wanted(Protocol):
    """What a preset, or a target's file, wants of a machine."""

    @property
    def device(self) -> str: ...

    @property
    def machine(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Here:
    """Whether it `runs`, `on` which device, and the `reason` why not, or what is to be said of that device."""

    runs: bool
    on: str = ""
    reason: str = ""


def here(wanted: Wanted) -> Here:
    """What this machine is for a preset or a target. A driver is asked once in a process."""
    if wanted.device.startswith("local"):
        return _cpu(wanted)
    try:
        gpu = gpus(wanted.device)[0]
    except NoGpu as error:
        return Here(False, reason=error.reason)
    if said := missing(wanted.needs, gpu):
        return Here(False, str(gpu), said)
    return Here(True, str(gpu), FUNCTION_ONLY if gpu.software else "")


def gpu_of(wanted: Wanted, name: str) -> Gpu | None:
    """The GPU that the preset `name` runs on, before anything is compiled for it; None for one of a CPU. Raises
    DlasError that says what is missing, and what to choose instead."""
    if wanted.device.startswith("local"):
        return None
    gpu = gpus(wanted.device)[0]
    if said := missing(wanted.needs, gpu):
        raise DlasError(f"{name} cannot run on {gpu}: {said}; {INSTEAD}")
    return gpu


def _cpu(wanted: Wanted) -> Here:
    if wanted.machine not in ("", host.machine()):
        return Here(False, reason=f"it is for {wanted.machine}, and this is {host.machine()}")
    if lacks := [need for need in wanted.needs if need not in host.cpu_features()]:
        return Here(False, cpu_model(), f"this CPU has no {', '.join(lacks)}")
    return Here(True, cpu_model())
