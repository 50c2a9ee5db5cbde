"""What compiling gives: a .vmfb file and what is known about it."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlas_mlir.compiler.cache import file_digest, read_record
from dlas_mlir.errors import DlasError

# Not written beside the .vmfb: they are where the files lie here and what happened this time.
_LOCAL = ("vmfb", "golden", "unchecked", "cached")
# Of a .vmfb that `dlas compile -o` writes: the key of the digest of the right outputs beside it.
GOLDEN = "golden_sha256"
SUFFIX = ".vmfb"


@dataclass(frozen=True)
class Artifact:
    """A compiled model.

    `driver` is the device it runs on ("local" for CPUs), `macs` are multiply-accumulates per call, `effective_macs`
    those of weights that are not zero, by the element type that they can be done in; `nonzeros` are those of the
    `parameters`, `weight_bytes` what the constants take in the .vmfb. `golden` is an .npz of inputs and PyTorch's
    outputs (None when there is no PyTorch model), `primitives` the number of layers by primitive, `layers` one dict
    per convolution or linear layer (layer, primitive, options, shape, macs), `dispatches` what a call runs, with the
    layer it comes from (name, layer), `seconds` the time of each stage when it was compiled. `unchecked` says why
    `golden` is None. `target` are the figures of what it was compiled for (`Target.from_figures` reads them), `element`
    the type that the preset rounds operands to, empty where it rounds none.
    """

    vmfb: Path
    sha256: str
    model: str
    preset: str
    driver: str
    target: dict[str, Any]
    element: str
    macs: int = 0
    parameters: int = 0
    nonzeros: int = 0
    effective_macs: dict[str, int] = field(default_factory=dict)
    weight_bytes: int = 0
    golden: Path | None = None
    primitives: dict[str, int] = field(default_factory=dict)
    layers: tuple[dict[str, Any], ...] = ()
    dispatches: tuple[dict[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cached: bool = False
    unchecked: str = ""

    def facts(self) -> dict[str, Any]:
        """The record that stands beside the .vmfb, as JSON can hold it."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if key not in _LOCAL}
        return json.loads(json.dumps({"file": self.vmfb.name, **values}))


def weight_bytes(vmfb: Path) -> int:
    """The bytes of the constants in an artifact, as they are stored: a .vmfb is a ZIP file with one entry for them."""
    with zipfile.ZipFile(vmfb) as archive:
        return sum(entry.file_size for entry in archive.infolist() if entry.filename.startswith("_const"))


def facts_file(vmfb: Path) -> Path:
    """Where what is known of a .vmfb stands that `dlas compile -o` wrote."""
    return vmfb.with_name(f"{vmfb.name}.json")


def golden_file(vmfb: Path) -> Path:
    """Where its example inputs and the right outputs stand."""
    return vmfb.with_name(f"{vmfb.name}.npz")


def load_file(vmfb: Path) -> Artifact:
    """The artifact in a .vmfb file that `dlas compile -o` wrote. Raises DlasError where it, or what is known of it, is
    missing or not the other's."""
    if not vmfb.is_file():
        raise DlasError(f"there is no file {vmfb}")
    values = read_record(facts_file(vmfb))
    if values is not None and not _is_whole(values):
        raise DlasError(f"{facts_file(vmfb)} was written by another version of dlas; compile {vmfb.name} again")
    if values is None:
        if (facts := facts_file(vmfb)).exists():
            raise DlasError(f"{facts} is damaged, or was not written by `dlas compile -o`; compile {vmfb.name} again")
        raise DlasError(
            f"{vmfb} has no {facts_file(vmfb).name} beside it, which says what it is: `dlas compile -o` writes both"
        )
    golden, digest = golden_file(vmfb), values.pop(GOLDEN, None)
    unchecked = "" if digest else "nobody told the right outputs when it was compiled"
    if digest and not (golden.is_file() and file_digest(golden) == digest):
        unchecked = f"{golden.name} with the right outputs is not beside it, or another"
    values.pop("file", None)
    artifact = _artifact(values, vmfb, golden if not unchecked else None, unchecked)
    if file_digest(vmfb) != artifact.sha256:
        raise DlasError(f"{facts_file(vmfb)} is of another .vmfb than {vmfb.name}; compile it again")
    return artifact


def _is_whole(values: dict[str, Any]) -> bool:
    """Whether a record has what is known of an artifact, as this version knows it."""
    fields = {field.name for field in dataclasses.fields(Artifact)} - {*_LOCAL}
    return values.keys() - {"file", GOLDEN} == fields


def _artifact(values: dict[str, Any], vmfb: Path, golden: Path | None, unchecked: str) -> Artifact:
    for name in ("layers", "dispatches", "flags"):
        values[name] = tuple(values[name])
    return Artifact(vmfb=vmfb, golden=golden, unchecked=unchecked, cached=True, **values)


def load_artifact(record: Path, golden: Path | None, unchecked: str = "") -> Artifact | None:
    """The artifact that stands in the cache beside its `record`, or None when it is not there whole."""
    values = read_record(record)
    if values is None or not _is_whole(values):
        return None
    vmfb = record.with_name(values.pop("file"))
    artifact = _artifact(values, vmfb, golden, unchecked)
    try:
        return artifact if file_digest(vmfb) == artifact.sha256 else None
    except DlasError:
        return None
