"""Presets: target files, recipes and fragments, and what `TARGET/RECIPE` comes to."""

from dlas_mlir.compiler.presets.resolve import Listed, Preset, list_fragments, list_presets, load_preset

__all__ = ["Listed", "Preset", "list_fragments", "list_presets", "load_preset"]
