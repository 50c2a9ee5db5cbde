"""An artifact whose calls launch each kernel several times: what it takes more than another is the kernels' time."""

from __future__ import annotations

import dataclasses

from dlas_mlir.compiler.presets import Preset


def repeating(preset: Preset, count: int) -> Preset:
    """`preset`, with each kernel launched `count` times. What is computed may be wrong: a kernel may add to what is
    there."""
    flag = f"--iree-hal-benchmark-dispatch-repeat-count={count}"
    return dataclasses.replace(preset, iree_flags=(*preset.iree_flags, flag))
