"""dlas-set-target: write the target's figures on the module."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from iree.compiler import ir

from dlas_mlir.ir.target import ATTRIBUTE, Target
from dlas_mlir.opt.base import Pass, PassError, option


@dataclass(frozen=True)
class SetTargetPass(Pass):
    """Write what is known of the machine on the module, where the later passes look it up.

    A preset puts this pass first, with the figures of its target. An older attribute is replaced.

    Before:
    ```mlir
    module {
      ...
    }
    ```
    After `dlas-set-target{target=x86-64-avx2 vector-bits=256 vector-registers=16}`:
    ```mlir
    module attributes {dlas.target = {bf16_dot = "", bsr2_break_even = 50 : i64, bsr4_break_even = 30 : i64,
                                      bsr8_break_even = 30 : i64, csr_break_even = 70 : i64, fma_chains = 10 : i64,
                                      int8_dot = "", l1d_bytes = 32768 : i64,
                                      l2_bytes = 1048576 : i64, load_cost = 15 : i64,
                                      name = "x86-64-avx2", sparse_bits = 0 : i64, threads = 1 : i64,
                                      vector_bits = 256 : i64, vector_registers = 16 : i64}} {
      ...
    }
    ```
    """

    name = "dlas-set-target"

    target: str = option("generic", "name of the target")
    vector_bits: int = option(0, "bits of a vector register; 0 where no CPU schedule applies", minimum=0)
    vector_registers: int = option(0, "number of architectural vector registers", minimum=0)
    fma_chains: int = option(10, "independent fused multiply-adds that hide their latency", minimum=1)
    load_cost: int = option(15, "what a vector load adds to a multiply-add, in percent", minimum=0)
    l1d_bytes: int = option(32 * 1024, "bytes of level 1 data cache per core", minimum=0)
    l2_bytes: int = option(1024 * 1024, "bytes of level 2 cache per core", minimum=0)
    threads: int = option(1, "number of workers that schedules give equal work", minimum=1)
    csr_break_even: int = option(70, "percent of zeros from which on CSR is faster than dense", minimum=0, maximum=100)
    bsr2_break_even: int = option(
        50, "percent of zero blocks of 2 output channels from which on", minimum=0, maximum=100
    )
    bsr4_break_even: int = option(
        30, "percent of zero blocks of 4 output channels from which on", minimum=0, maximum=100
    )
    bsr8_break_even: int = option(
        30, "percent of zero blocks of 8 output channels from which on", minimum=0, maximum=100
    )
    sparse_bits: int = option(0, "bits of the vectors of sparse kernels; 0: vector-bits", minimum=0)
    int8_dot: str = option("", "dot-product instruction for u8 x s8, such as vpdpbusd; empty: none")
    bf16_dot: str = option("", "dot-product instruction for bfloat16, such as vdpbf16ps; empty: none")

    def run(self, module: ir.Module) -> None:
        figures = asdict(self)
        target = Target(name=figures.pop("target"), **figures)
        if problem := target.problem():
            raise PassError(problem.replace("_", "-"))
        module.operation.attributes[ATTRIBUTE] = target.to_attr()
