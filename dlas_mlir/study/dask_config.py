"""What Dask is told on every side: no server beside the one that is needed, slow clocks, no will of its own."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from dlas_mlir.errors import DlasError

CONFIG: dict[str, Any] = {
    # A block runs where, when and as often as the coordinator says.
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.active-memory-manager.start": False,
    # A machine that is off says nothing: it is gone after this.
    "distributed.scheduler.worker-ttl": "45s",
    # No pages for browsers, and nothing that listens for them.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # What idle workers do on boards costs the measurement.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # What matters is said by us.
    "logging": {"distributed": "critical", "distributed.client": "critical", "tornado": "critical"},
}


def configure() -> None:
    """Set it for this process, whatever stands in files and environment. Raises DlasError where Dask is missing."""
    try:
        import dask.config
    except ModuleNotFoundError:
        raise DlasError("workers need Dask: pip install 'dlas-mlir[runner]'") from None
    dask.config.set(CONFIG)
    # Of anything that happens to be installed. Those that matter we compare ourselves.
    warnings.filterwarnings("ignore", message="Mismatched versions found")
    for name in ("distributed", "distributed.client", "distributed.worker", "distributed.scheduler", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
