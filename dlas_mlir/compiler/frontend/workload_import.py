"""A workload file as a model: one kernel to be compiled, checked and timed alone.

The right answer to random inputs is what iree-compile's own code gives for the same operations.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.replace import dissolve
from dlas_mlir.codegen.workload import Access, Workload
from dlas_mlir.codegen.workload_file import read_file
from dlas_mlir.codegen.write_workload import arguments_of, build_workload
from dlas_mlir.compiler import tools
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import build
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

_FLAGS = ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host")
_ELEMENTS = {"bf16": "bfloat16", "f16": "float16"}


def write_linalg(path: Path, output: Path, *, as_region: bool = True) -> int:
    """Write the workload in `path` as bytecode with a function `main` that holds a dispatch region, with its schedule
    if the file has one, or (not `as_region`) plain linalg. Returns its multiply-accumulates. Raises DlasError."""
    workload, schedule = read_file(path)
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        module.body.append(build_workload(workload, "main", schedule))
        if not as_region:
            for op in build.operations(module):
                if op.name == "flow.dispatch.region":
                    dissolve(op)
        module.operation.verify()
        with output.open("wb") as file:
            module.operation.write_bytecode(file)
    return workload.macs


def answer(spec: str, output: str) -> None:
    """Write inputs and outputs of the workload in the file `spec` to `output`, an .npz file; for a process of its own.

    Raises DlasError when iree-compile has no code for it.
    """
    workload, _ = read_file(Path(spec))
    with tempfile.TemporaryDirectory() as folder:
        vmfb = Path(folder) / "plain.vmfb"
        compile_by_itself(Path(spec), vmfb)
        session = Session(vmfb, resolve("local"))
        inputs = with_zeros(workload, [kind.example(seed) for seed, kind in enumerate(session.inputs)])
        outputs = session(*inputs)
    arrays = {f"input_{i}": _plain(value) for i, value in enumerate(inputs)}
    arrays |= {f"output_{i}": _plain(value) for i, value in enumerate(outputs)}
    elements = {tensor.element for tensor in workload.tensors} | {stage.element for stage in workload.stages}
    narrow = [name for element, name in _ELEMENTS.items() if element in elements]
    arrays["element"] = np.array(narrow[0] if narrow else "float32")
    arrays["reference"] = np.array("iree-compile by itself")
    with Path(output).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def compile_by_itself(path: Path, vmfb: Path) -> None:
    """Write what iree-compile alone makes of the workload in `path`, for this CPU, to `vmfb`. Raises DlasError."""
    module = vmfb.with_suffix(".mlirbc")
    write_linalg(path, module, as_region=False)
    done = subprocess.run([tools.iree_compile(), module, *_FLAGS, "-o", vmfb], capture_output=True, text=True)
    module.unlink()
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise DlasError(f"iree-compile by itself has no code for it: {said}")


def with_zeros(workload: Workload, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Inputs of a workload, with zeros where it says that there are some."""
    arguments = arguments_of(workload)
    found = [np.array(value) for value in inputs]
    if workload.producer is not None:
        found[len(arguments) :] = with_zeros(workload.producer.workload, found[len(arguments) :])
    for item in workload.root.inputs:
        if isinstance(item, Access) and item.zeros and item.tensor in arguments:
            array = found[arguments.index(item.tensor)]
            for dim, (low, high) in enumerate(item.zeros):
                line = np.moveaxis(array, dim, 0)
                end = item.offsets[dim] + item.shape[dim]
                line[: item.offsets[dim] + low if low else 0] = 0
                line[end - high if high else len(line) :] = 0
    return found


def _plain(value: np.ndarray) -> np.ndarray:
    """As .npz files hold it: bfloat16 as float32."""
    return value.astype(np.float32) if value.dtype == ml_dtypes.bfloat16 else value
