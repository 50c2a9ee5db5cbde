"""PTX of kernels, and what ptxas says of it, where the extra gpu-check is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iree.compiler import ir

from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.codegen.write_workload import build_workload
from dlas_mlir.passes.dispatch.lower_dispatches import LowerDispatchesPass
from dlas_mlir.passes.dispatch.set_device import SetDevicePass


def ptxas() -> Path | None:
    """NVIDIA's assembler, if there is one."""
    spec = importlib.util.find_spec("nvidia.cuda_nvcc") if importlib.util.find_spec("nvidia") else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [Path(place) / "bin" / "ptxas" for place in places]
    return next((path for path in found if path.is_file()), None)


@dataclass(frozen=True)
class Assembled:
    """What ptxas says of a kernel: registers of a thread, bytes of its stack and that are spilled."""

    name: str
    registers: int
    stack: int
    spilled: int


def text_of(kernels: Sequence[tuple[Workload, AnySchedule]], target: GpuTarget, folder: Path) -> str:
    """The PTX of some kernels, all in one module."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        module.operation.attributes["dlas.target"] = target.to_attr()
        for number, (workload, schedule) in enumerate(kernels):
            module.body.append(build_workload(workload, f"kernel{number}", schedule))
        return text_of_module(module, folder)


def text_of_module(module: ir.Module, folder: Path) -> str:
    """The PTX of the regions of `module`, which has a target, in the current context."""
    LowerDispatchesPass().run(module)
    SetDevicePass().run(module)
    (folder / "kernels.mlir").write_text(str(module))
    compiler = Path(sys.executable).parent / "iree-compile"
    flags = ["--iree-opt-level=O3", "--iree-hal-target-device=cuda", "--iree-cuda-target=sm_80"]
    flags += [f"--iree-hal-dump-executable-files-to={folder}", "-o", str(folder / "kernels.vmfb")]
    done = subprocess.run([compiler, folder / "kernels.mlir", *flags], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:2000]
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.ptx")))


def assemble(text: str, architecture: str, folder: Path) -> tuple[list[Assembled], str]:
    """What ptxas says of each kernel, and all that it says."""
    program = ptxas()
    assert program is not None
    (folder / "all.ptx").write_text(text)
    command = [program, "-v", f"-arch={architecture}", folder / "all.ptx", "-o", folder / "all.cubin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:2000]
    each = re.findall(
        r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores.*?Used (\d+) registers",
        done.stderr,
        re.DOTALL,
    )
    found = [Assembled(name, int(used), int(stack), int(spilled)) for name, stack, spilled, used in each]
    return found, done.stderr
