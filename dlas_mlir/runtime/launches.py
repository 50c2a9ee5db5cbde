"""What an artifact launches on a GPU in one call, read from the .vmfb alone: kernels, workgroups and buffers.

A .vmfb is a ZIP file with the executables and the constants in it, and the host's program, which `iree-dump-module`
prints.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dlas_mlir.errors import DlasError
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.archive import opened
from dlas_mlir.runtime.flatbuffer import Table
from dlas_mlir.runtime.listing import START, Launch, Listing, Part, Role, Step, fingerprint
from dlas_mlir.runtime.profile import tool

# Before the flatbuffer of an executable.
_HEADER = 64
_FORMATS = {b"CDA1": "cuda-nvptx-fb", b"VKE1": "vulkan-spirv-fb"}


@dataclass(frozen=True)
class Kernel:
    """A kernel for CUDA: its PTX, threads of a workgroup and bytes of the memory that those share."""

    name: str
    ptx: str
    threads: tuple[int, int, int]
    shared_bytes: int


@dataclass(frozen=True)
class Program:
    """What one call of an artifact does: launches, fills and copies, in order.

    `format` is that of the executables, as IREE calls it. By the names that bindings have for buffers: `constants` are
    those whose content is in the .vmfb, `parameters` those that are loaded from elsewhere, and `roles` what the others
    are in a call of `main`; `unknown` says why that cannot be told, if so. `returned` are the arguments that it
    returns.
    """

    vmfb: Path
    format: str
    steps: tuple[Step, ...]
    constants: Mapping[str, Part] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    returned: tuple[int, ...] = ()
    unknown: str = ""

    @property
    def launches(self) -> tuple[Launch, ...]:
        """The launches among its steps."""
        return tuple(step for step in self.steps if isinstance(step, Launch))

    def content(self, buffer: str) -> bytes | None:
        """What is in a buffer when the program is loaded; None where that is not in the .vmfb."""
        if (part := self.constants.get(buffer)) is None:
            return None
        if isinstance(part.whole, bytes):
            return part.whole[part.offset : part.offset + part.length]
        with opened(self.vmfb) as archive, archive.open(part.whole) as file:
            file.seek(part.offset)
            return file.read(part.length)

    def executable(self, file: str) -> bytes:
        """One of its executables."""
        with opened(self.vmfb) as archive:
            return archive.read(file)

    def kernel(self, launch: Launch) -> Kernel:
        """The kernel of `launch`, for CUDA."""
        root = Table.root(self.executable(launch.file)[_HEADER:])
        export = root.tables(0)[launch.ordinal]
        x, y, z = export.words(2, 3)
        return Kernel(export.text(1), root.tables(1)[export.u32(0)].text(0), (x, y, z), export.u32(3))


def read_program(vmfb: Path) -> Program:
    """The launches of one call of `vmfb`. Raises DlasError for no artifact, and where they cannot be told: sizes that
    depend on inputs."""
    found, places = {}, {}
    others: dict[tuple[int, bytes], str] = {}
    alike: set[tuple[int, bytes]] = set()
    with opened(vmfb) as archive:
        for entry in archive.namelist():
            with archive.open(entry) as file:
                magic = file.read(4)
                mark = fingerprint(archive.getinfo(entry).file_size, magic + file.read(START - len(magic)))
            if mark in others:
                alike.add(mark)
            others[mark] = entry
            if magic in _FORMATS:
                found[entry] = _FORMATS[magic]
                names = _entry_points(archive.read(entry))
                places |= {name: (entry, ordinal) for ordinal, name in enumerate(names)}
    if not found:
        raise DlasError(f"{vmfb} has no kernels for CUDA or Vulkan in it")
    listing = subprocess.Popen(
        [tool("iree-dump-module"), "--output=disassembly", str(vmfb)], stdout=subprocess.PIPE, text=True
    )
    assert listing.stdout is not None
    # What it prints of weights may be large: it is read as it comes, and not by `process.run`.
    limit = threading.Timer(LIMIT, listing.kill)
    limit.start()
    try:
        with listing:
            reader = Listing(places, {mark: entry for mark, entry in others.items() if mark not in alike})
            for line in listing.stdout:
                reader.read(line)
    finally:
        limit.cancel()
    if listing.returncode:
        raise DlasError(f"iree-dump-module cannot read {vmfb}")
    roles, unknown = {}, ""
    try:
        roles = reader.roles()
    except DlasError as error:
        unknown = str(error)
    return Program(
        vmfb,
        next(iter(found.values())),
        tuple(reader.steps),
        constants=reader.constants(),
        parameters=reader.parameters,
        roles=roles,
        returned=tuple(reader.main.returned) if reader.main else (),
        unknown=unknown,
    )


def _entry_points(executable: bytes) -> Iterator[str]:
    for export in Table.root(executable[_HEADER:]).tables(0):
        yield export.text(1)
