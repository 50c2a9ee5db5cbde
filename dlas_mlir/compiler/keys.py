"""What an artifact is made from, as one hash."""

from __future__ import annotations

import re
from pathlib import Path

from dlas_mlir import errors
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.opt.pipeline import parse_pipeline
from dlas_mlir.opt.pipeline_elements import is_file
from dlas_mlir.opt.registry import ENTRY_POINTS
from dlas_mlir.runtime.devices import cpu_features, cpu_model

DISTRIBUTIONS = ("dlas-mlir", "iree-base-compiler")


def artifact_key(imported: Imported, preset: Preset) -> str:
    """The hash of everything an artifact is made from. Raises DlasError for a file of choices that is missing."""
    # `host` in a flag means this machine, which a cache on a shared disk may outlive.
    host = [cpu_model(), cpu_features()] if any("host" in flag for flag in preset.iree_flags) else []
    # The pipeline's text holds the target's figures. Threads matter only as far as it does.
    canonical = [preset.name, preset.pipeline, preset.iree_flags, preset.device.startswith("local")]
    read = [cache.file_digest(file) for file in _files_read(preset)]
    names = [imported.key, imported.name]
    return cache.digest(names, canonical, read, host, cache.versions(*DISTRIBUTIONS), own_sources())


def _files_read(preset: Preset) -> list[Path]:
    """The files that passes and iree-compile are told to read; of a flag, each word of its value that is a file."""
    words = [word for flag in preset.iree_flags for word in re.split(r"[=,]", flag)]
    return [Path(file) for file in (*parse_pipeline(preset.pipeline).reads(), *filter(is_file, words))]


def own_sources() -> str:
    """The hash of the sources that decide what a pipeline makes; passes and primitives of others by their versions."""
    from importlib import metadata

    package = Path(errors.__file__).parent
    files = sorted(file for part in ("codegen", "ir", "opt", "passes") for file in (package / part).rglob("*.py"))
    own = ("artifact", "dispatches", "driver", "job", "network", "network_process", "pipeline_process")
    files += [Path(__file__).with_name(f"{name}.py") for name in own]
    foreign = sorted(
        f"{point.dist.name} {point.dist.version}"
        for group in ENTRY_POINTS
        for point in metadata.entry_points(group=group)
        if point.dist
    )
    return cache.digest([file.read_text() for file in files], foreign)
