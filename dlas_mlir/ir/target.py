"""What passes know of the machine they compile for: the module attribute `dlas.target`, filled from a preset."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.opt.base import PassError

ATTRIBUTE = "dlas.target"


@dataclass(frozen=True)
class Target:
    """The figures of one target. `vector_bits` is 0 where no CPU schedule applies (a GPU).

    `vector_registers` counts architectural vector registers; `fma_chains` the independent fused multiply-adds that hide
    their latency; `load_cost` is what a vector load adds to a multiply-add, in percent; cache sizes are bytes per core;
    `threads` is the number of workers that a schedule should give equal work. `csr_break_even` is the percentage of
    zeros from which on sparse primitives are faster than dense ones, `bsr2_break_even` and so on that of zero blocks;
    `sparse_bits` is the size of the vectors of their kernels (0: `vector_bits`): their loads start anywhere.
    `int8_dot` and `bf16_dot` name the dot-product instructions for u8 x s8 and bfloat16 (see
    dlas_mlir/codegen/dot.py), empty where there are none.
    """

    name: str
    vector_bits: int = 0
    vector_registers: int = 0
    fma_chains: int = 10
    load_cost: int = 15
    l1d_bytes: int = 32 * 1024
    l2_bytes: int = 1024 * 1024
    threads: int = 1
    csr_break_even: int = 70
    bsr2_break_even: int = 50
    bsr4_break_even: int = 30
    bsr8_break_even: int = 30
    sparse_bits: int = 0
    int8_dot: str = ""
    bf16_dot: str = ""

    def problem(self) -> str:
        """What is wrong with the figures of the vectors, or nothing."""
        bits, registers = self.vector_bits, self.vector_registers
        if bits and (bits < 64 or bits & (bits - 1)):
            return f"vector_bits: expected 0 or a power of two from 64, found {bits}"
        if bits and registers < 8:
            return f"vector_registers: expected at least 8 where there are vectors, found {registers}"
        return ""

    def lanes(self, element_bits: int = 32) -> int:
        """Elements of `element_bits` bits in one vector register."""
        return self.vector_bits // element_bits

    def break_even(self, block: int) -> float:
        """The share of zero blocks of `block` output channels from which on sparse primitives are faster."""
        known = {1: self.csr_break_even, 2: self.bsr2_break_even, 4: self.bsr4_break_even, 8: self.bsr8_break_even}
        return known[max(size for size in known if size <= block)] / 100

    def to_attr(self) -> ir.Attribute:
        """The dictionary attribute that stands on the module."""
        i64 = ir.IntegerType.get_signless(64)
        fields = dataclasses.asdict(self)
        return ir.DictAttr.get(
            {
                key: ir.StringAttr.get(value) if isinstance(value, str) else ir.IntegerAttr.get(i64, value)
                for key, value in fields.items()
            }
        )

    @staticmethod
    def of(module: ir.Module) -> Target:
        """The target written on `module`. Raises PassError when there is none."""
        attributes = module.operation.attributes
        if ATTRIBUTE not in attributes:
            raise PassError(
                f"the module has no `{ATTRIBUTE}` attribute: run dlas-set-target{{target=...}} first",
                module.operation,
            )
        values = {
            named.name: ir.StringAttr(named.attr).value
            if isinstance(named.attr, ir.StringAttr)
            else ir.IntegerAttr(named.attr).value
            for named in ir.DictAttr(attributes[ATTRIBUTE])
        }
        known = {field.name for field in dataclasses.fields(Target)}
        if unknown := values.keys() - known:
            raise PassError(f"`{ATTRIBUTE}` has unknown entries: {', '.join(sorted(unknown))}", module.operation)
        return Target(**values)
