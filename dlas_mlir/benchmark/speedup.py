"""What compression should bring, and what it brings: expected and actual speed-up over the dense fp32 model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlas_mlir.codegen.dot_instructions import INSTRUCTIONS
from dlas_mlir.codegen.target import CpuTarget, Target

# Of the multiply-accumulates of a dense model in fp32, as some weights may happen to be zero.
_DENSE = 0.99


def rates(target: Target) -> dict[str, float]:
    """Multiply-accumulates of each element type in the time of one in fp32, at the peak of `target`.

    A dot-product instruction takes the time of a fused multiply-add, and one that does not accumulate that of two.
    Without one, narrow elements are widened to fp32 as they are loaded.
    """
    found = {"f64": 0.5, "f32": 1.0}
    if isinstance(target, CpuTarget):
        found |= {"f16": 1.0, "bf16": _rate(target.bf16_dot), "i8": _rate(target.int8_dot)}
    return found


def _rate(name: str) -> float:
    instruction = INSTRUCTIONS.get(name)
    return 1.0 if instruction is None else instruction.width / (1 if instruction.accumulates else 2)


def expected(effective_macs: Mapping[str, int], dense_macs: int, target: Target) -> float | None:
    """`dense_macs` at the fp32 peak over the time of `effective_macs`, by element type, each at its own peak.

    None where there is nothing to compute, and for an element type whose peak is not known (on a GPU).
    """
    known = rates(target)
    if not dense_macs or any(element not in known for element in effective_macs):
        return None
    time = sum(macs / known[element] for element, macs in effective_macs.items())
    return dense_macs / time if time else None


def is_dense(effective_macs: Mapping[str, int], dense_macs: int) -> bool:
    """Whether the model is the uncompressed one in fp32."""
    return set(effective_macs) <= {"f32"} and sum(effective_macs.values()) >= _DENSE * dense_macs


def add_actual(rows: Sequence[dict[str, Any]]) -> None:
    """Set `actual_speedup` of `rows` of `dlas bench`: over the row of the same model, target and threads that is dense,
    in fp32 and of the recipe `auto`; None where there is no such row."""
    reference: dict[tuple[str, str, int], float] = {}
    for row in rows:
        target, _, recipe = row["preset"].rpartition("/")
        if row.get("dense") and recipe == "auto" and row["median_ms"]:
            reference.setdefault((row["model"], target, row["threads"]), row["median_ms"])
    for row in rows:
        over = reference.get((row["model"], row["preset"].rpartition("/")[0], row["threads"]))
        row["actual_speedup"] = over / row["median_ms"] if over and row["median_ms"] else None
