"""Products of small matrices that a GPU has as one instruction, by the names in a target's `matrix_instructions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Instruction:
    """D[m, n] += A[m, k] B[k, n], done by a warp (`mma`) or by four of them (`wgmma`, where n is 8 ... 256 by 8).

    `operand` and `total` are MLIR's types of the elements and of the sums, `ptx` the operands' type in PTX. `rounding`
    is what elements are rounded to that it multiplies, where that is less than they are. `products`: of how many
    instructions a product is made: each float32 is taken apart into two tf32, three of whose four products count.
    """

    kind: Literal["mma", "wgmma"]
    m: int
    n: int
    k: int
    operand: str
    total: str
    ptx: str
    rounding: str = ""
    products: int = 1

    @property
    def threads(self) -> int:
        """The threads that do it together."""
        return 32 if self.kind == "mma" else 128


# Every K in bytes is 32. `m64k16` is wgmma, whose n is the tile's.
INSTRUCTIONS: dict[str, Instruction] = {
    "m16n8k16.f16.f32": Instruction("mma", 16, 8, 16, "f16", "f32", "f16"),
    "m16n8k16.bf16.f32": Instruction("mma", 16, 8, 16, "bf16", "f32", "bf16"),
    "m16n8k8.tf32.f32": Instruction("mma", 16, 8, 8, "f32", "f32", "tf32", rounding="tf32"),
    "m16n8k8.tf32x3.f32": Instruction("mma", 16, 8, 8, "f32", "f32", "tf32", products=3),
    "m16n8k32.s8.s32": Instruction("mma", 16, 8, 32, "i8", "i32", "s8"),
    "m64k16.f16.f32": Instruction("wgmma", 64, 0, 16, "f16", "f32", "f16"),
    "m64k16.bf16.f32": Instruction("wgmma", 64, 0, 16, "bf16", "f32", "bf16"),
    "m64k8.tf32.f32": Instruction("wgmma", 64, 0, 8, "f32", "f32", "tf32", rounding="tf32"),
    "m64k32.s8.s32": Instruction("wgmma", 64, 0, 32, "i8", "i32", "s8"),
}


def hardware(name: str) -> str:
    """The instruction that a target has to have for `name`."""
    return name.replace("tf32x3", "tf32")
