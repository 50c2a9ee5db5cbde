"""What has to be the same on both sides: what decides times, and what the messages between them are."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from dlas_mlir import errors
from dlas_mlir.compiler import cache

_DISTRIBUTIONS = ("dlas-mlir", "iree-base-runtime", "distributed")
# The parts of this package that run on a device.
_ROOMS = ("datasets", "measure", "process", "runtime")
_MODULES = ("artifacts", "attempt", "entry", "images", "offers", "on_device", "parcels", "remote")


@functools.cache
def versions() -> Mapping[str, str]:
    """Those of this process, by what they are of; `sources` is the hash of our own files that run on a device."""
    return {**dict.fromkeys(_DISTRIBUTIONS, "none"), **cache.versions(*_DISTRIBUTIONS), "sources": _sources()}


def _sources() -> str:
    package = Path(errors.__file__).parent
    files = [file for room in _ROOMS for file in sorted((package / room).rglob("*.py"))]
    files += [package / "study" / f"{name}.py" for name in _MODULES]
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(package)}\n".encode() + file.read_bytes() + b"\0")
    return whole.hexdigest()[:12]


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What differs, in words: `iree-base-runtime 3.12.0 where this run has 3.13.0`; nothing where all is the same."""
    words = [
        f"{name} {theirs.get(name, 'none')} where this run has {version}"
        for name, version in ours.items()
        if theirs.get(name) != version
    ]
    return ", ".join(words)


def digest(found: Mapping[str, str]) -> str:
    """All of them in 8 digits."""
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:8]
