"""The Deep Learning Acceleration Stack on MLIR and IREE.

import dlas_mlir as dlas
artifact = dlas.compile("resnet18", preset="host/auto")
print(dlas.bench(artifact))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlas_mlir.api import bench, compile, profile, run, tune, tune_primitives
    from dlas_mlir.compiler.artifact import Artifact
    from dlas_mlir.errors import DlasError
    from dlas_mlir.measure.rounds import Protocol
    from dlas_mlir.tuning.task import Settings
    from dlas_mlir.tuning.transfer import Transfer

__all__ = [
    "Artifact",
    "DlasError",
    "Protocol",
    "Settings",
    "Transfer",
    "bench",
    "compile",
    "profile",
    "run",
    "tune",
    "tune_primitives",
]

_HOMES = {
    "Artifact": "dlas_mlir.compiler.artifact",
    "DlasError": "dlas_mlir.errors",
    "Protocol": "dlas_mlir.measure.rounds",
    "Settings": "dlas_mlir.tuning.task",
    "Transfer": "dlas_mlir.tuning.transfer",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: most parts of the package never need the runtime.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "dlas_mlir.api")), name)
