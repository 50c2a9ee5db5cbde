"""Compiles and runs files in a process of its own, which may die: one JSON object a line in, one out.

{"source": file, "pipeline": text, "flags": [...], "functions": [...], "folder": where NAME.I.in are and NAME.I.out go}
answers {"stage": "done"} or {"stage": "passes" | "iree-compile" | "run" | "overwritten" | "hang", "error": message}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from dlas_mlir.compiler import pipeline_process, tools
from dlas_mlir.errors import DlasError

_TIMEOUT = 240.0


def compile_and_run(request: dict[str, Any]) -> dict[str, str]:
    """One request."""
    folder = Path(request["folder"])
    module, vmfb = folder / "module.mlirbc", folder / "module.vmfb"
    try:
        pipeline_process.run(request["source"], request["pipeline"], str(module), None)
    except DlasError as error:
        return {"stage": "passes", "error": str(error)}
    except Exception:
        return {"stage": "passes", "error": f"TRACEBACK {traceback.format_exc()}"}
    if not request["run"]:
        return {"stage": "done"}
    command = [tools.iree_compile(), str(module), *request["flags"], "-o", str(vmfb)]
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"stage": "hang", "error": f"iree-compile takes more than {_TIMEOUT:.0f} s"}
    if outcome.returncode:
        return {"stage": "iree-compile", "error": f"exit code {outcome.returncode}: {outcome.stderr[:3000]}"}
    try:
        overwritten = _run(vmfb, folder, request["functions"])
    except Exception:
        return {"stage": "run", "error": traceback.format_exc()}
    return {"stage": "overwritten", "error": overwritten} if overwritten else {"stage": "done"}


def _run(vmfb: Path, folder: Path, functions: list[dict[str, Any]]) -> str:
    """Call every function, and tell which arguments are something else afterwards. Bytes go in and out: bfloat16 and
    truth values are no types of the runtime's arrays."""
    import iree.runtime as rt
    import numpy as np

    instance = rt.VmInstance()
    device = rt.get_device("local-sync")
    module = rt.VmModule.copy_buffer(instance, vmfb.read_bytes())
    context = rt.VmContext(instance, [rt.create_hal_module(instance, device), module])
    kinds = {
        "f32": rt.HalElementType.FLOAT_32,
        "f16": rt.HalElementType.FLOAT_16,
        "bf16": rt.HalElementType.BFLOAT_16,
        "i1": rt.HalElementType.BOOL_8,
        "i8": rt.HalElementType.INT_8,
        "i16": rt.HalElementType.INT_16,
        "i32": rt.HalElementType.INT_32,
        "i64": rt.HalElementType.INT_64,
    }
    overwritten = []
    for function in functions:
        name, given = function["name"], []
        arguments = rt.VmVariantList(len(function["inputs"]))
        for i, (shape, element) in enumerate(function["inputs"]):
            data = np.fromfile(folder / f"{name}.{i}.in", np.uint8)
            buffer = device.allocator.allocate_buffer_copy(
                memory_type=int(rt.MemoryType.DEVICE_LOCAL),
                allowed_usage=int(rt.BufferUsage.DEFAULT),
                device=device,
                buffer=data,
            )
            given.append((data, buffer))
            arguments.push_ref(rt.HalBufferView(buffer, tuple(shape), kinds[element]).ref)  # type: ignore[arg-type]
        results = rt.VmVariantList(function["results"])
        context.invoke(module.lookup_function(name), arguments, results)  # type: ignore[arg-type]
        for i in range(function["results"]):
            buffer = results.get_as_object(i, rt.HalBufferView).get_buffer()
            _bytes_of(buffer).tofile(folder / f"{name}.{i}.out")
        for i, (data, buffer) in enumerate(given):
            if (_bytes_of(buffer)[: data.size] != data).any():
                overwritten.append(f"argument {i} of {name}")
        del given
    del arguments, results, context, module
    return ", ".join(overwritten)


def _bytes_of(buffer: Any) -> Any:
    import numpy as np

    return np.array(buffer.map().asarray((buffer.byte_length(),), np.dtype(np.uint8)))


def main() -> None:
    """Answer requests until the end of the input. What native code writes to standard output goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ["DLAS_TRACEBACK"] = "1"
    for line in sys.stdin:
        reply = compile_and_run(json.loads(line))
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
