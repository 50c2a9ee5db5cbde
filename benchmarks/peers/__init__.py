"""The runtimes that are compared: one module each, behind the two functions of `Peer`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.workload import Case


@dataclass(frozen=True)
class Loaded:
    """A workload ready to run: `call` is one inference, the timed part; `outputs` runs and copies out.

    `close` is called once, when nothing else will be. `golden` is what the outputs are compared with, where that is not
    the case's; `element` is the type that it rounds operands to, where that is not the model's.
    """

    call: Callable[[], object]
    outputs: Callable[[], list[np.ndarray]]
    close: Callable[[], None] = lambda: None
    flags: dict[str, str] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)
    golden: str = ""
    element: str = ""


class Peer(Protocol):
    """A peer's module. `variant` is what follows the first `=` of a runtime's name, such as a preset."""

    def versions(self) -> dict[str, str]: ...

    def load(self, case: Case, threads: int, variant: str) -> Loaded: ...


MODULES = {
    "eager": "benchmarks.peers.torch_eager",
    "inductor": "benchmarks.peers.torch_inductor",
    "onnxruntime": "benchmarks.peers.ort",
    "openvino": "benchmarks.peers.openvino_cpu",
    "dlas": "benchmarks.peers.dlas",
}
OTHERS = ("eager", "inductor", "onnxruntime", "openvino")


def is_ours(runtime: str) -> bool:
    """Whether `runtime` is a preset of ours (`host/auto`) rather than another system."""
    return "/" in runtime.partition("=")[0]


def module_of(runtime: str) -> tuple[str, str]:
    """(module, variant) of a runtime's name: a preset, one of MODULES, or a module with these functions."""
    if is_ours(runtime):
        return MODULES["dlas"], runtime
    name, _, variant = runtime.partition("=")
    if name not in MODULES and "." not in name:
        raise DlasError(f"unknown runtime `{runtime}`: give a preset TARGET/RECIPE or one of {', '.join(OTHERS)}")
    return MODULES.get(name, name), variant


def peer(runtime: str) -> tuple[Peer, str]:
    """The peer and its variant. Raises DlasError where it is not known or not installed."""
    module, variant = module_of(runtime)
    try:
        return cast("Peer", importlib.import_module(module)), variant
    except ImportError as error:
        raise DlasError(f"{runtime} is not installed ({error}): make peers") from None
