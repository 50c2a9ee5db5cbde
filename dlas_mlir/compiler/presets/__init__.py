"""Presets: target files, recipes and fragments, and what `TARGET/RECIPE` comes to."""

from dlas_mlir.compiler.presets.resolve import (
    MACHINE_FLAGS,
    Listed,
    Preset,
    list_fragments,
    list_presets,
    load_preset,
)

__all__ = ["MACHINE_FLAGS", "Listed", "Preset", "list_fragments", "list_presets", "load_preset"]
