"""The process that asks one of IREE's drivers for its GPUs: `python -m dlas_mlir.runtime.gpu_query DRIVER`.

Drivers are native code, and load that of others: in a process of its own, one that crashes or hangs is a message. It
prints one JSON object: `devices`, each with `name`, `path` and `text` (all that the driver tells of it), or `error`;
`drivers` are those that this runtime has.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from dlas_mlir.process import die_with_parent


def answer(driver: str) -> dict[str, Any]:
    """What there is to say of `driver`."""
    from iree.runtime import _binding, query_available_drivers

    drivers = query_available_drivers()
    if driver not in drivers:
        return {"drivers": drivers}
    try:
        # A driver of our own: what another one found before may be gone.
        found = _binding.create_hal_driver(driver)  # pyright: ignore[reportAttributeAccessIssue]
        devices = [
            {"name": one["name"], "path": one["path"], "text": found.dump_device_info(one["device_id"])}
            for one in found.query_available_devices()
        ]
    except (ValueError, RuntimeError) as error:
        return {"drivers": drivers, "error": str(error)}
    return {"drivers": drivers, "devices": devices}


def main() -> None:
    """Print the answer for the driver that the first argument names."""
    die_with_parent()
    # Native code may print to stdout.
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(answer(sys.argv[1])), file=reply, flush=True)
    os._exit(0)  # drivers do not all survive the interpreter's own shutdown


if __name__ == "__main__":
    main()
