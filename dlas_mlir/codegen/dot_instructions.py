"""The dot-product instructions that there are, as values: who only asks what a target can do needs no compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Instruction:
    """One dot product: `width` elements of `operand` bits from either operand for each lane of the sum's 32 bits.

    `intrinsics` are LLVM's names of it by the bits of the vector. `accumulates`: it adds to its first operand.
    Integer elements that are narrower than `operand` bits are extended when they are loaded.
    """

    width: int
    operand: int
    intrinsics: Mapping[int, str]
    accumulates: bool
    floating: bool = False


_BITS = (128, 256, 512)
INSTRUCTIONS = {
    "vpdpbusd": Instruction(4, 8, {bits: f"llvm.x86.avx512.vpdpbusd.{bits}" for bits in _BITS}, True),
    "vpmaddwd": Instruction(
        2,
        16,
        {128: "llvm.x86.sse2.pmadd.wd", 256: "llvm.x86.avx2.pmadd.wd", 512: "llvm.x86.avx512.pmaddw.d.512"},
        False,
    ),
    "smull": Instruction(1, 16, {128: "llvm.aarch64.neon.smull.v4i32"}, False),
    "usdot": Instruction(4, 8, {128: "llvm.aarch64.neon.usdot.v4i32.v16i8"}, True),
    "vdpbf16ps": Instruction(
        2, 16, {bits: f"llvm.x86.avx512bf16.dpbf16ps.{bits}" for bits in _BITS}, True, floating=True
    ),
    "bfdot": Instruction(2, 16, {128: "llvm.aarch64.neon.bfdot.v4f32.v8bf16"}, True, floating=True),
}
