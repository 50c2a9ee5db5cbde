"""`Record`: one measurement or failure, with what was run (the six layers of DLAS), how, and where.

A record has one canonical form in JSON. Fields are only ever added, each with a default; `SCHEMA` counts what breaks
that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import Check
from dlas_mlir.measure.rounds import Protocol
from dlas_mlir.measure.turn import Turn

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Layer 1: what the accuracy was measured on."""

    name: str
    images: int


@dataclass(frozen=True, kw_only=True)
class Model:
    """Layer 2. `inputs` are types such as `1x3x224x224xf32`; `macs` are multiply-accumulates of one call, zeros
    included, and `dense_macs` those of the model before it was compressed."""

    name: str
    inputs: tuple[str, ...] = ()
    batch: int = 1
    parameters: int = 0
    macs: int = 0
    dense_macs: int = 0


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Layer 3: the checkpoint, by name and content, and what it left. `element` is the type that the recipe rounds to.
    `effective_macs` are those of weights that are not zero, by the type that they can be done in; `dense` says that
    this is the uncompressed model in fp32, `expected_speedup` what the arithmetic lets expect over that."""

    weights: str | None = None
    weights_sha256: str | None = None
    element: str = ""
    nonzeros: int = 0
    weight_bytes: int = 0
    effective_macs: dict[str, int] = field(default_factory=dict)
    dense: bool | None = None
    expected_speedup: float | None = None


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer that became a kernel: its primitive with its options, its multiply-accumulates, its algebra, the exact
    key of its workload and its schedule, in JSON's values."""

    name: str
    primitive: str
    macs: int
    options: dict[str, Any] | None = None
    shape: dict[str, Any] | None = None
    workload: str | None = None
    schedule: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Layer 4: the recipe, and what it came to for each layer."""

    recipe: str
    primitives: dict[str, int] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Software:
    """Layer 5: what compiled and ran it. `runtime` is `iree` for what we compile; `preset` is `TARGET/RECIPE`."""

    runtime: str = "iree"
    preset: str = ""
    target: str = ""
    flags: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    artifact_sha256: str | None = None
    compile_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Layer 6. `cpus` are the logical CPUs that the threads are pinned to; `streams` the callers at the same time;
    `peak_gflops` the FMA rate measured with as many threads."""

    device: str
    threads: int = 1
    streams: int = 1
    cpu: str = ""
    cpus: tuple[int, ...] = ()
    host: str = ""
    peak_gflops: float | None = None


@dataclass(frozen=True, kw_only=True)
class OnGpu:
    """A GPU, and what was measured there beside the turns, which are calls that are waited for: milliseconds of a call.

    `queued_ms` is with `in_flight` of them on their way, `device_ms` the device's alone, measured by `device_ms_by`;
    `launches` are the kernels of a call. `percent_of_peak` is what the multiply-adds take at the peaks of their types
    (`peak_gflops`), `percent_of_bandwidth` what the bytes of our kernels take, both over `device_ms`; `peaks_by` says
    how peaks are known. `function_only`: the device is a CPU, and its times say nothing of a GPU's.
    """

    name: str
    function_only: bool = False
    queued_ms: float | None = None
    in_flight: int = 0
    device_ms: float | None = None
    device_ms_by: str = ""
    launches: int = 0
    percent_of_peak: float | None = None
    percent_of_bandwidth: float | None = None
    peak_gflops: dict[str, float] = field(default_factory=dict)
    bandwidth_gbs: float | None = None
    peaks_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The share of images whose class was right, 0 to 1: `correct` of `images`. `low` and `high` bound the true share
    with 95 % confidence. `reference` is PyTorch's share with the same weights and images, where there is one."""

    top1: float
    correct: int
    images: int
    low: float
    high: float
    reference: float | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong, and at which stage."""

    stage: Literal["import", "compile", "load", "check", "time"]
    message: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measurement. Without `turns` nothing was timed, and `failure` or `check` says why."""

    schema: int = SCHEMA
    model: Model
    dataset: Dataset | None = None
    optimization: Optimization = field(default_factory=Optimization)
    algorithm: Algorithm
    software: Software = field(default_factory=Software)
    hardware: Hardware
    protocol: Protocol = field(default_factory=Protocol)
    turns: tuple[Turn, ...] = ()
    noise: float | None = None
    check: Check | None = None
    accuracy: Accuracy | None = None
    failure: Failure | None = None
    gpu: OnGpu | None = None
    run: str = ""  # the same for all that took turns with each other
    date: str = ""

    @property
    def name(self) -> str:
        """What reports call it, as google-benchmark would."""
        hardware, optimization = self.hardware, self.optimization
        weights = f"/weights:{optimization.weights}" if optimization.weights else ""
        batch = f"/batch:{self.model.batch}" if self.model.batch > 1 else ""
        streams = f"/streams:{hardware.streams}" if hardware.streams > 1 else ""
        return f"{self.model.name}/{self.software.preset}{weights}{batch}/threads:{hardware.threads}{streams}"

    @property
    def error(self) -> str | None:
        """What went wrong, in a line; None where all went well."""
        return self.failure.message if self.failure else None

    @property
    def subject(self) -> str:
        """The hash of what was run, the preset and the software left out: records of which it is the same may be
        compared with each other."""
        hardware = replace(self.hardware, peak_gflops=None, host="", cpus=())
        model = (self.model.name, self.model.inputs, self.model.batch)
        return _digest([model, self.optimization.weights_sha256 or self.optimization.weights, hardware])

    @property
    def key(self) -> str:
        """The hash of what was run and by what: a second record of it is the same thing measured again."""
        return _digest([self.subject, self.software.runtime, self.software.preset, self.algorithm.recipe])

    def to_json(self) -> bytes:
        """The canonical form: keys in order, no white space."""
        return msgspec.json.encode(self, order="deterministic")

    @staticmethod
    def from_json(text: bytes | str, where: str = "record") -> Record:
        """Read a record back. Raises DlasError that names the key that is wrong."""
        try:
            return msgspec.json.decode(text, type=Record)
        except msgspec.DecodeError as error:
            raise DlasError(f"{where}: {error}") from None


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]
