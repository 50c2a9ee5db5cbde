"""`GpuSchedule`: how a product of matrices is shared out over the workgroups, warps and instructions of a GPU.

It stands on the root of a region as the attribute `dlas.schedule`, whose keys are those of its JSON form:

    {kind = "gpu", instruction = "m16n8k16.f16.f32", tile = {rows = 64, columns = 32}, warp = {rows = 32, columns = 16},
     stages = 4, split = 1, halo = false}
"""

from __future__ import annotations

from typing import Any

import msgspec

from dlas_mlir.codegen.gpu.instructions import INSTRUCTIONS, Instruction
from dlas_mlir.codegen.gpu.product import BYTES, NotAProduct, Product, layout_of
from dlas_mlir.codegen.gpu.window import Window, chunks
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.workload import Access, Workload

KIND = "gpu"


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the result."""

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"{self.rows} rows x {self.columns} columns"


class GpuSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to run a product of matrices on a GPU. Rows are pixels (batch, row, column), columns output channels.

    instruction: the product of small matrices that does it, one of the target's `matrix_instructions`.
    tile: the part of the result that a workgroup computes.
    warp: the part of that of a warp; for wgmma that of four warps, with all columns of the tile.
    stages: steps of 128 bytes of each row that are in shared memory at the same time.
    split: workgroups that share the sum of one tile: with wgmma a cluster, which adds their parts; else a second kernel
        adds them.
    halo: the pixels of a tile are loaded once for all taps of a window, not once for each.
    """

    instruction: str
    tile: Block
    warp: Block
    stages: int
    split: int = 1
    halo: bool = False
    kind: str = KIND

    @property
    def unit(self) -> Instruction:
        """The instruction."""
        return INSTRUCTIONS[self.instruction]

    @property
    def threads(self) -> int:
        """Threads of a workgroup."""
        return self.tile.rows // self.warp.rows * (self.tile.columns // self.warp.columns) * self.unit.threads

    @property
    def clustered(self) -> bool:
        """Whether workgroups that share a sum are a cluster, and add its parts themselves."""
        return self.unit.kind == "wgmma"

    def to_value(self) -> dict[str, Any]:
        """The JSON form as Python values."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """The canonical JSON form."""
        return msgspec.json.encode(self.to_value(), order="sorted").decode()

    def problem(self, workload: Workload) -> str | None:
        """Why this cannot be the schedule of `workload`, whatever the target, or None."""
        try:
            product = Product.of(workload)
        except NotAProduct as error:
            return f"kind: `{KIND}` is for products of matrices: {error}"
        if product.group_columns % self.tile.columns and product.a.groups:
            groups = f"groups of {product.group_columns} output channels"
            return f"tile: {self.tile.columns} columns are not all of one group; there are {groups}"
        return self._instruction_problem(product) or self._tile_problem() or self._sum_problem(product)

    def _instruction_problem(self, product: Product) -> str | None:
        if self.instruction not in INSTRUCTIONS:
            return f"instruction: there is no `{self.instruction}`; there are {', '.join(INSTRUCTIONS)}"
        if not fits(self.unit, product):
            rounded = f", rounded to {product.rounding}" if product.rounding else ""
            what = f"{product.element}{rounded} into {product.total}"
            return f"instruction: `{self.instruction}` does not multiply {what}"
        return None

    def _tile_problem(self) -> str | None:
        unit, tile, warp = self.unit, self.tile, self.warp
        for name in ("rows", "columns"):
            whole, own = getattr(tile, name), getattr(warp, name)
            if own < 1 or whole % own:
                return f"warp: {own} {name} do not divide the {whole} {name} of the tile"
        if warp.rows % unit.m:
            return f"warp: {warp.rows} rows are no multiple of the {unit.m} of `{self.instruction}`"
        if unit.kind == "wgmma":
            if warp.columns != tile.columns:
                return f"warp: `{self.instruction}` does all {tile.columns} columns of the tile, not {warp.columns}"
            if tile.columns % 8 or not 8 <= tile.columns <= 256:
                return f"tile: `{self.instruction}` has 8 to 256 columns, a multiple of 8, not {tile.columns}"
        elif warp.columns % 16:
            return f"warp: {warp.columns} columns are no multiple of 16, two times those of `{self.instruction}`"
        if self.threads % 64:
            return f"warp: {self.threads} threads; copies are shared out over a multiple of 64"
        copied = self.threads // 8
        for name in ("rows", "columns"):
            if (size := getattr(tile, name)) % copied:
                return f"tile: {size} {name} are no multiple of the {copied} that {self.threads} threads copy"
        return None

    def _sum_problem(self, product: Product) -> str | None:
        # A step of wgmma is under way while the next one is waited for.
        least = 3 if self.unit.kind == "wgmma" else 2
        if self.stages < least:
            return f"stages: at least {least}, found {self.stages}"
        if not 1 <= self.split <= min(8, product.steps):
            return f"split: 1 to {min(8, product.steps)} parts of the sum, found {self.split}"
        if (self.split - 1) * -(-product.steps // self.split) >= product.steps:
            return f"split: {product.steps} steps leave nothing for the last of {self.split} workgroups"
        if self.split > 1 and not self.clustered and product.n % 2:
            return f"split: parts of sums are stored in pairs, and there are {product.n} columns"
        return self._halo_problem(product) if self.halo else None

    def _halo_problem(self, product: Product) -> str | None:
        if self.unit.kind != "wgmma":
            return f"halo: there is none with `{self.instruction}`, only with wgmma"
        if isinstance(why := Window.of(product), str):
            return f"halo: {why}"
        if (count := chunks(product, 1)) % self.split:
            return f"halo: {count} chunks of channels are not shared out over {self.split} workgroups (split)"
        return None


def fits(unit: Instruction, product: Product) -> bool:
    """Whether an instruction multiplies what a product does, as exactly."""
    wanted = (product.element, product.total, product.rounding)
    return (unit.operand, unit.total, unit.rounding) == wanted


def read(value: Any, workload: Workload) -> GpuSchedule:
    """The schedule that `to_value` wrote, for `workload`. Raises ScheduleError naming the key and what is allowed."""
    try:
        found = msgspec.convert(value, GpuSchedule)
    except msgspec.ValidationError as error:
        raise ScheduleError(str(error)) from None
    if (why := found.problem(workload)) is not None:
        raise ScheduleError(why)
    return found


def problem_of_workload(workload: Workload) -> str | None:
    """Why no schedule of this kind computes `workload`, or None."""
    try:
        product = Product.of(workload)
    except NotAProduct as error:
        return str(error)
    width = BYTES[product.element]
    if product.channels * width % 16:
        return f"{product.channels} channels of {product.element} are no whole 16 bytes"
    for name, layout in (("first", product.a), ("second", product.b)):
        moves = [layout.bytes(loop) for loop in (*product.rows, product.column, *product.taps)]
        if any(move % 16 for move in (*moves, layout.constant * width, product.group_bytes)):
            return f"the {name} factor is not read in whole 16 bytes"
    if (why := _behind_problem(workload)) is not None:
        return why
    if product.total not in ("f32", "i32"):
        return f"sums of {product.total}"
    if workload.sparsity is not None or any(any((*o.low, *o.high)) for o in workload.outputs):
        return "it writes padding around its result"
    return None


def _behind_problem(workload: Workload) -> str | None:
    """Why what is behind the sums cannot be computed with them, or None."""
    for number, stage in enumerate(workload.stages):
        items = [(stage.initial, stage.element)]
        if number:
            items += zip(stage.inputs, stage.input_elements, strict=True)
        for item, element in items:
            if not isinstance(item, Access):
                continue
            try:
                layout = layout_of(workload, item, element)
            except NotAProduct as error:
                return f"behind the sum {error}"
            if layout.guards or layout.groups or item.outside:
                return "behind the sum it reads beyond the ends of an operand, or groups of channels"
    for output in workload.outputs:
        if (element := workload.stages[output.stage].element) not in BYTES:
            return f"a result of {element}"
    return None
