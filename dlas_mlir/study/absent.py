"""Devices of a specification that are GPUs of this machine, and not here: their points have that as their reason."""

from __future__ import annotations

from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.compiler.presets.here import gpu_of
from dlas_mlir.errors import DlasError
from dlas_mlir.study.spec import Spec


def absent_devices(spec: Spec) -> dict[str, str]:
    """Levels of the axis of devices that cannot run here, with what is missing and what to choose instead. A driver is
    asked once in a process; devices of workers are those of their machines."""
    found = {}
    for level in spec.axes["device"]:
        name = str(level)
        device = spec.devices[name]
        if device.kind != "local":
            continue
        try:
            gpu_of(load_preset(f"{device.target}/stock"), device.target)
        except DlasError as error:
            found[name] = (
                f"devices.{name}: {error}; a GPU of another machine is offered by a worker there "
                '(kind = "worker", docs/distributed.md)'
            )
    return found
