"""The machine that kernels are made for: a CPU or a GPU, its figures, and the constants that were fitted to it.

A target is a plain value, and declared here once: its file in pipelines/, `dlas-set-target`, the module attribute
`dlas.target` and JSON are all read by `Target.from_figures`. What they leave out has the value of
pipelines/figures.toml. No figure of a machine stands in code. All but the attribute works without a compiler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dlas_mlir import pipelines, toml
from dlas_mlir.codegen import figures as tables
from dlas_mlir.codegen.dot_instructions import INSTRUCTIONS
from dlas_mlir.codegen.figures import FigureError, Table, figure

if TYPE_CHECKING:
    from iree.compiler import ir

__all__ = ["AnyTarget", "CpuCost", "CpuTarget", "FigureError", "GpuCost", "GpuTarget", "Target"]

ATTRIBUTE = "dlas.target"
_INT8 = ("", *(name for name, instruction in INSTRUCTIONS.items() if not instruction.floating))
_BF16 = ("", *(name for name, instruction in INSTRUCTIONS.items() if instruction.floating))


@dataclass(frozen=True)
class Target:
    """What every target has. `kind` says which of the two classes below it is."""

    kind: ClassVar[str]

    name: str

    @staticmethod
    def from_figures(figures: Mapping[str, Any], table: Table | None = None) -> AnyTarget:
        """The target with these `figures`, plain values by the names of the fields, `kind` beside them.

        What is missing has the value of pipelines/figures.toml, unless `table` says otherwise. Raises FigureError,
        which names the figure.
        """
        prefix = table.prefix if table else ""
        rest = dict(figures)
        kind = rest.pop("kind", None)
        if kind is None:
            raise FigureError(f'the key `{prefix}kind` is missing: "cpu" or "gpu"')
        if not isinstance(kind, str) or kind not in _KINDS:
            raise FigureError(f"{prefix}kind: expected cpu or gpu, found {kind!r}")
        for other in _KINDS.values():
            if wrong := [key for key in rest if key in tables.names(other) and key not in tables.names(_KINDS[kind])]:
                what = f"a figure of {other.kind.upper()}s, and this target is a {kind.upper()}"
                raise FigureError(f"{prefix}{wrong[0]} is {what}: leave it out")
        target = tables.read(_KINDS[kind], rest, table or Table(shared=generic(kind)))
        if isinstance(target, CpuTarget):
            target.check_instructions(prefix)
        return target

    @staticmethod
    def from_json(text: str) -> AnyTarget:
        """The target that `to_json` wrote. Raises FigureError for any other text."""
        try:
            figures = json.loads(text)
        except ValueError as error:
            raise FigureError(f"a target is no JSON: {error}") from None
        if not isinstance(figures, dict):
            raise FigureError(f"a target is an object of JSON, found {text[:40]}")
        return Target.from_figures(figures, Table(complete=True))

    @staticmethod
    def of(module: ir.Module) -> AnyTarget:
        """The target written on `module`. Raises PassError when there is none, or it is wrong."""
        from dlas_mlir.ir import attributes
        from dlas_mlir.opt.base import PassError

        marks = module.operation.attributes
        if ATTRIBUTE not in marks:
            message = f"the module has no `{ATTRIBUTE}` attribute: run dlas-set-target{{target=...}} first"
            raise PassError(message, module.operation)
        try:
            figures = attributes.to_plain(marks[ATTRIBUTE])
            if not isinstance(figures, dict):
                raise FigureError(f"expected a dictionary, found {marks[ATTRIBUTE]}")
            return Target.from_figures(figures)
        except (FigureError, ValueError) as error:
            raise PassError(f"`{ATTRIBUTE}`: {error}", module.operation) from None

    @staticmethod
    def known(module: ir.Module) -> AnyTarget | None:
        """The same, or None where there is none."""
        return Target.of(module) if ATTRIBUTE in module.operation.attributes else None

    def figures(self) -> dict[str, Any]:
        """All figures as plain values, `kind` among them; `from_figures` reads them."""
        return {"kind": self.kind, **tables.plain(self)}

    def to_json(self) -> str:
        """The canonical text: equal for equal targets."""
        return json.dumps(self.figures(), sort_keys=True, separators=(",", ":"))

    def to_attr(self) -> ir.Attribute:
        """The dictionary attribute that stands on the module."""
        from dlas_mlir.ir import attributes

        return attributes.from_plain(self.figures())


def _percent(help: str) -> Any:
    return figure(help, minimum=0, maximum=100)


def _share(help: str) -> Any:
    return figure(help, minimum=0, maximum=1)


@dataclass(frozen=True)
class CpuCost:
    """What the rules that schedule kernels of a CPU weigh: constants that were fitted to measurements.

    Costs of dense kernels are in multiply-adds, those of sparse ones in cycles.
    """

    scratch_registers: int = figure("registers of a dense kernel beside its accumulators", minimum=0)
    streaming_columns: int = figure("columns beyond which a kernel without reuse gains nothing", minimum=1)
    column_start: float = figure("what beginning a row of such columns costs, in columns", minimum=0)
    unrolled_blocks: int = figure("blocks of channels that follow each other in the taps of a window", minimum=1)
    unrolled_reduction: int = figure("the longest reduction that is unrolled", minimum=1)
    straight_code: int = figure("vector operations of a tile, all straight code, that searches try at most", minimum=1)
    peel_cost: float = figure("what code of its own for the first and the last tile of a loop adds", minimum=0)
    weight_streams: int = figure("panels of weights that a matrix-vector product reads side by side", minimum=1)
    lone_vector: float = figure("what one vector of weights in a tile adds: every multiply-add loads", minimum=0)
    panel_share: float = _share("share of the first-level cache that the weights of a tile may take")
    panel_miss: float = figure("what weights from the second-level cache add, for a tile of one pixel", minimum=0)
    weights_share: float = _share("share of the second-level cache that the weights of a tile may take")
    weights_miss: float = figure("what weights from beyond the second-level cache add", minimum=0)
    prefetch_share: float = figure("weights of this many second-level caches, or more, are fetched ahead", minimum=0)
    within_share: float = figure(
        "results of this many second-level caches, or more, are computed where they are read", minimum=0
    )
    apart_cost: float = figure("what results add that one kernel writes and another one reads again", minimum=0)
    resident_share: float = _share("share of the second-level cache for data that loops go over again and again")
    far_byte: float = figure("what a byte from beyond the second-level cache costs, in bytes from it", minimum=0)
    order_gain: float = _share("of the bytes that caches load, what another order of loops must save")
    workgroups_per_thread: int = figure("workgroups for each thread: to even out, and cost nothing", minimum=1)
    workgroup_cost: float = figure("what a workgroup more costs, as a share of the work", minimum=0)

    winograd_input: float = figure("writing an element of an image in lines, or in tiles", minimum=0)
    winograd_output: float = figure("reading a product, or writing a result", minimum=0)
    winograd_weight: float = figure("reading an element of the transformed weights", minimum=0)
    winograd_share: float = _share("share of the second-level cache in which all that costs no more")
    winograd_far: float = figure("what it costs more of images, times the square of how often it is doubled", minimum=0)
    winograd_weight_far: float = figure("the same of weights, for each place of a tile", minimum=0)
    winograd_shared: float = figure("doublings, at least, where other threads have written it", minimum=0)
    winograd_start: float = figure("three kernels more, for each thread", minimum=0)

    sparse_scratch_registers: int = figure("registers of a sparse kernel beside accumulators and weights", minimum=0)
    sparse_cache_share: float = _share("share of the first-level cache for the activations of a chunk")
    sparse_load: float = figure("a vector load", minimum=0)
    sparse_split_load: float = figure("a vector load that most often crosses a cache line", minimum=0)
    sparse_far_line: float = figure("what a line from the second-level cache adds", minimum=0)
    sparse_fma: float = figure("a fused multiply-add of a vector", minimum=0)
    sparse_loop: float = figure("beginning and leaving the loop over the non-zeros of a block", minimum=0)
    sparse_keep: float = figure("keeping an accumulator between two chunks", minimum=0)
    sparse_latency: float = figure("a step of that loop, at least", minimum=0)
    sparse_step: float = figure("a step of that loop, always", minimum=0)


@dataclass(frozen=True)
class CpuTarget(Target):
    """A CPU with vectors. Sizes of caches are bytes per core; `threads` is chosen for each artifact."""

    kind: ClassVar[Literal["cpu"]] = "cpu"

    vector_bits: int = figure("bits of a vector register", minimum=64, power_of_two=True)
    vector_registers: int = figure("architectural vector registers", minimum=8)
    sparse_bits: int = figure(
        "bits of the vectors of sparse kernels", minimum=64, power_of_two=True, like="vector_bits"
    )
    line_bytes: int = figure("bytes of a cache line", minimum=8, power_of_two=True)
    l1d_bytes: int = figure("bytes of the first-level data cache", minimum=0)
    l2_bytes: int = figure("bytes of the second-level cache", minimum=0)
    fma_chains: int = figure("independent fused multiply-adds that hide their latency", minimum=1)
    load_cost: int = figure("what a vector load adds to a multiply-add, in percent", minimum=0)
    csr_break_even: int = _percent("percent of zeros from which on CSR is faster than dense")
    bsr2_break_even: int = _percent("percent of zero blocks of 2 output channels from which on")
    bsr4_break_even: int = _percent("percent of zero blocks of 4 output channels from which on")
    bsr8_break_even: int = _percent("percent of zero blocks of 8 output channels from which on")
    int8_dot: str = figure("dot-product instruction for u8 x s8; empty: none", choices=_INT8)
    bf16_dot: str = figure("dot-product instruction for bfloat16; empty: none", choices=_BF16)
    cost: CpuCost = figure("what the rules weigh")  # noqa: RUF009
    threads: int = figure("workers that get equal work", default=1, minimum=1)

    def check_instructions(self, prefix: str = "") -> None:
        """Raise FigureError for a dot-product instruction that vectors of this size do not have."""
        for key in ("int8_dot", "bf16_dot"):
            name = getattr(self, key)
            sizes = INSTRUCTIONS[name].intrinsics if name else {self.vector_bits: ""}
            if self.vector_bits not in sizes:
                words = " or ".join(map(str, sizes))
                raise FigureError(f"{prefix}{key}: {name} is for vectors of {words} bits, not of {self.vector_bits}")

    def lanes(self, element_bits: int = 32) -> int:
        """Elements of `element_bits` bits in one vector register."""
        return self.vector_bits // element_bits

    def break_even(self, block: int) -> float:
        """The share of zero blocks of `block` output channels from which on sparse primitives are faster."""
        known = {1: self.csr_break_even, 2: self.bsr2_break_even, 4: self.bsr4_break_even, 8: self.bsr8_break_even}
        return known[max(size for size in known if size <= block)] / 100


@dataclass(frozen=True)
class GpuCost:
    """What the rule that schedules kernels of a GPU weighs, in cycles of a multiprocessor and per cycle of one."""

    products_per_cycle: int = figure("multiply-adds of 16-bit operands by matrix instructions", minimum=1)
    far_bytes: float = figure("bytes that arrive from the second-level cache", minimum=1)
    memory_bytes: float = figure("bytes that arrive from memory, where all multiprocessors read", minimum=1)
    sector_bytes: int = figure("bytes of memory that are read together", minimum=1)
    shared_bytes_per_cycle: int = figure("bytes read from shared memory", minimum=1)
    copy_cycles: int = figure("from the start of a copy to its end", minimum=0)
    step_cycles: int = figure("what a step of a sum takes beside its work: barriers", minimum=0)
    warp_step_cycles: int = figure(
        "the same on top of that for instructions of a single warp: loads that they wait for", minimum=0
    )
    split_cycles: int = figure("what each further part of a split sum takes, until it is added up", minimum=0)
    warp_share: float = figure("of the multiply-adds, those that instructions of a single warp reach", minimum=0.01)
    start_cycles: int = figure("what a kernel takes beside its steps: its start and its end", minimum=0)
    launch_cycles: int = figure("what a further launch takes of the host and the driver beside that", minimum=0)
    chain_waits: float = figure("by what a workgroup that does several kernels waits longer than estimated", minimum=1)
    thread_sums: int = figure("multiply-adds of threads, without matrix instructions", minimum=1)
    thread_loads: int = figure("loads, or stores, of threads", minimum=1)
    scratch_registers: int = figure("registers of a thread beside what it computes and has loaded", minimum=0)
    matrix_scratch_registers: int = figure("the same in kernels with matrix instructions", minimum=0)
    unrolled_reduction: int = figure("iterations of a thread's sum that are straight code, at most", minimum=1)
    unrolled_steps: int = figure("operations on vectors in a thread's straight code, at most", minimum=1)


@dataclass(frozen=True)
class GpuTarget(Target):
    """A GPU: what bounds a kernel's workgroups, and what it can do. What a file leaves out is what every device has."""

    kind: ClassVar[Literal["gpu"]] = "gpu"

    architecture: str = figure("what to compile for, sm_90a or spirv:v1.3; empty: what iree-compile's flags say")
    ptx: str = figure("the version of PTX for it: +ptx80; empty: the compiler's own")
    compute_units: int = figure("multiprocessors: workgroups that run at the same time, at least", minimum=1)
    subgroup_size: int = figure("threads of a warp, or subgroup", minimum=1, power_of_two=True)
    workgroup_threads: int = figure("most threads of a workgroup", minimum=1)
    shared_bytes: int = figure("most bytes of memory that a workgroup shares", minimum=0)
    lanes: int = figure("most elements of a vector that a thread loads at once", minimum=1, power_of_two=True)
    elements: tuple[str, ...] = figure("types of elements that threads load and compute with")
    load_bytes: int = figure("most bytes of such a vector", minimum=4, power_of_two=True)
    registers: int = figure("most 32-bit registers of a thread", minimum=16)
    unit_threads: int = figure("most threads of a multiprocessor", minimum=1)
    unit_shared_bytes: int = figure("bytes of a multiprocessor that its workgroups share among them", minimum=0)
    unit_registers: int = figure("32-bit registers of a multiprocessor", minimum=1024)
    bandwidth_gbs: int = figure("GB/s of device memory", minimum=1)
    cache_bytes: int = figure("bytes of the second-level cache", minimum=0)
    matrix_instructions: tuple[str, ...] = figure("products of small matrices: m16n8k16.f16.f32 is SHAPE.OPERANDS.SUM")
    cost: GpuCost = figure("what the rule weighs")  # noqa: RUF009


AnyTarget = CpuTarget | GpuTarget
_KINDS: dict[str, type[CpuTarget] | type[GpuTarget]] = {"cpu": CpuTarget, "gpu": GpuTarget}


def kinds() -> tuple[str, ...]:
    """The kinds of targets."""
    return tuple(_KINDS)


def figures_file() -> Path:
    """The file with the values of what targets leave out."""
    return Path(pipelines.__path__[0]) / "figures.toml"


@cache
def generic(kind: str) -> Mapping[str, Any]:
    """The figures that targets of `kind` have where they do not say otherwise."""
    return toml.read(figures_file())[1]["figures"][kind]


def as_text(target: AnyTarget) -> tuple[str, ...]:
    """The figures that are not the generic ones, each as `key=value`; `from_text` reads them. Threads are apart."""
    shared, words = tables.as_text(generic(target.kind)), tables.as_text(target.figures())
    apart = ("kind", "name", "threads")
    return tuple(f"{key}={word}" for key, word in words.items() if key not in apart and shared.get(key) != word)


def from_text(words: tuple[str, ...], kind: str, **others: Any) -> AnyTarget:
    """The target with the figures of `words` and `others`, and generic ones beside them. Raises FigureError."""
    for word in words:
        if "=" not in word:
            raise FigureError(f"expected key=value such as vector_bits=512, found `{word}`")
    figures = tables.from_text(_KINDS[kind], {key: word for key, _, word in (one.partition("=") for one in words)})
    return Target.from_figures({**figures, **others, "kind": kind})
