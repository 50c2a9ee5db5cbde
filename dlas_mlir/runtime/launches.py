"""What an artifact launches on a GPU in one call, read from the .vmfb alone: kernels, workgroups and buffers.

A .vmfb is a ZIP file with the executables and the constants in it. The host's program records all launches of a call in
command buffers when it is loaded; `iree-dump-module` prints it, and its instructions for that are straight code with
constants.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dlas_mlir.errors import DlasError
from dlas_mlir.process import LIMIT
from dlas_mlir.runtime.archive import opened
from dlas_mlir.runtime.flatbuffer import Table
from dlas_mlir.runtime.profile import tool

# Before the flatbuffer of an executable.
_HEADER = 64
_FORMATS = {b"CDA1": "cuda-nvptx-fb", b"VKE1": "vulkan-spirv-fb"}
_NAME = re.compile(r"vm\.rodata\[(\d+)\] = ((?:[0-9A-F]{2})+)$")
_CONSTANT = re.compile(r"%([ir]\d+)(?::\d+)? = vm\.const\.(?:i32|i64|ref)(?:\.(zero|rodata))?(?: (-?\d+))?")
_GLOBAL = re.compile(r"%(r\d+) = vm\.global\.load\.ref \.refs\[(\d+)\] : !hal\.buffer")
_LOOKUP = re.compile(r"%(i\d+)\S* = vm\.call @hal\.executable\.lookup\.function\(%[rR]\d+, %[rR](\d+)\)")
_DISPATCH = re.compile(r"@hal\.command_buffer\.dispatch segments\[([\d, ]+)\]\(([^)]*)\)")
# Where a program is loaded it makes buffers of the constants in the file, and keeps them in the order of these.
_CONTENT = re.compile(r"vm\.rodata\[(\d+)\] = ([0-9A-F]*)")
_IMPORT = re.compile(r"%r\d+ = vm\.call @hal\.allocator\.import\(([^)]*)\)")
_KEPT = re.compile(r"vm\.global\.store\.ref %[rR]\d+, \.refs\[(\d+)\] : !hal\.buffer$")
_FILL = re.compile(r"vm\.call @hal\.command_buffer\.(fill|copy)_buffer\(")
_GIVEN = re.compile(r"%(r\d+): !vm\.ref")
_ASSIGNED = re.compile(r"%([ir]\d+)(?::\d+)?(?:, %\w+)* = ")
# Of an executable's name, not of weights.
_LONGEST_NAME = 512
# What is no file of its own, in bytes; iree-compile begins far below.
_LARGEST_INSIDE = 1 << 16
# Bytes by which the beginnings of files are compared.
_START = 256


@dataclass(frozen=True)
class Binding:
    """A part of a buffer that a kernel is given: `buffer` names the whole, sizes are in bytes."""

    buffer: str
    offset: int
    length: int


@dataclass(frozen=True)
class Launch:
    """One kernel launched: its name, the file in the .vmfb and its number there, workgroups, and what it is given."""

    name: str
    file: str
    ordinal: int
    workgroups: tuple[int, int, int]
    constants: tuple[int, ...]
    bindings: tuple[Binding, ...]

    @property
    def work(self) -> tuple[str, tuple[int, int, int], tuple[int, ...]]:
        """What launches that take the same time have in common: kernel, workgroups and constants."""
        return self.name, self.workgroups, self.constants


@dataclass(frozen=True)
class Kernel:
    """A kernel for CUDA: its PTX, threads of a workgroup and bytes of the memory that those share."""

    name: str
    ptx: str
    threads: tuple[int, int, int]
    shared_bytes: int


@dataclass(frozen=True)
class Part:
    """`length` bytes from `offset` on of a file in the .vmfb; of a small constant, of its content itself."""

    whole: str | bytes
    offset: int
    length: int


@dataclass(frozen=True)
class Program:
    """What one call of an artifact launches, in order, and the number of buffers that it fills or copies meanwhile.

    `format` is that of the executables, as IREE calls it. `constants` are the buffers, by the names that bindings have
    for them, whose content is in the .vmfb.
    """

    vmfb: Path
    format: str
    launches: tuple[Launch, ...]
    fills: int
    constants: Mapping[str, Part] = field(default_factory=dict)

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
    found, places, others = {}, {}, {}
    with opened(vmfb) as archive:
        for entry in archive.namelist():
            with archive.open(entry) as file:
                magic = file.read(4)
                others[_fingerprint(archive.getinfo(entry).file_size, magic + file.read(_START - len(magic)))] = entry
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
            reader = _Reader(places, others)
            for line in listing.stdout:
                reader.read(line)
    finally:
        limit.cancel()
    if listing.returncode:
        raise DlasError(f"iree-dump-module cannot read {vmfb}")
    return Program(vmfb, next(iter(found.values())), tuple(reader.launches), reader.fills, reader.constants())


def _fingerprint(size: int, start: bytes) -> tuple[int, bytes]:
    """What tells a file from others without reading it: its size, and how it begins."""
    return size, start[:_START]


def _entry_points(executable: bytes) -> Iterator[str]:
    for export in Table.root(executable[_HEADER:]).tables(0):
        yield export.text(1)


@dataclass
class _Reader:
    """The listing, line by line: what registers hold, as far as it is constant, and the launches. `numbers` are the
    constants of a function, of all its blocks, `contents` what the program's constants are, by the names of files if
    they are not small."""

    places: dict[str, tuple[str, int]]
    files: dict[tuple[int, bytes], str]
    names: dict[int, str] = field(default_factory=dict)
    contents: dict[int, str | bytes] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    imports: list[Part | None] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    registers: dict[str, int | str] = field(default_factory=dict)
    launches: list[Launch] = field(default_factory=list)
    fills: int = 0

    def read(self, line: str) -> None:
        line = line.strip()
        if line.startswith("vm.rodata"):
            self._read_constant(line)
        elif line.startswith(("vm.func", "^bb")) and not line.startswith("^bb0"):
            if line.startswith("vm.func"):
                self.numbers = {}
            # Whatever comes from elsewhere is not known, but a buffer is one all the same.
            self.registers = {name: f"given {name}" for name in _GIVEN.findall(line)}
        elif dispatch := _DISPATCH.search(line):
            self.launches.append(self._launch(dispatch[1], dispatch[2]))
        elif _FILL.match(line):
            self.fills += 1
        elif made := _IMPORT.match(line):
            self.imports.append(self._part(made[1]))
        elif kept := _KEPT.match(line):
            self.kept.append(f"global {kept[1]}")
        elif found := _LOOKUP.match(line):
            self.registers[found[1]] = self._value(f"r{found[2]}")
        elif found := _GLOBAL.match(line):
            self.registers[found[1]] = f"global {found[2]}"
        elif found := _CONSTANT.match(line):
            register, kind, value = found.groups()
            self.numbers[register] = int(value or 0)
            name = self.names.get(int(value), "") if kind == "rodata" else "zero"
            self.registers[register] = name if register[0] == "r" else int(value or 0)
        elif found := _ASSIGNED.match(line):
            self.registers.pop(found[1], None)

    def _read_constant(self, line: str) -> None:
        if len(line) < 2 * _LONGEST_NAME and (name := _NAME.match(line)):
            self.names[int(name[1])] = bytes.fromhex(name[2]).decode(errors="replace")
        if found := _CONTENT.match(line):
            first, end = found.span(2)
            start = bytes.fromhex(line[first : min(end, first + 2 * _START)])
            file = self.files.get(_fingerprint((end - first) // 2, start))
            if file is not None:
                self.contents[int(found[1])] = file
            elif end - first < 2 * _LARGEST_INSIDE:
                self.contents[int(found[1])] = bytes.fromhex(line[first:end])

    def _part(self, operands: str) -> Part | None:
        """What a buffer is made of; None where that is no file."""
        *_, content, offset, length = (word.strip().lstrip("%").lower() for word in operands.split(","))
        if not {content, offset, length} <= set(self.numbers) or self.numbers[content] not in self.contents:
            return None
        return Part(self.contents[self.numbers[content]], self.numbers[offset], self.numbers[length])

    def constants(self) -> dict[str, Part]:
        """The buffers of constants by their names: none where it is not clear which is which."""
        if len(self.imports) != len(self.kept):
            return {}
        pairs = zip(self.kept, self.imports, strict=True)
        return {name: part for name, part in pairs if part is not None}

    def _launch(self, segments: str, operands: str) -> Launch:
        *_, constants, _ = (int(size) for size in segments.split(","))
        names = [word.strip().lstrip("%").lower() for word in operands.split(",")]
        name = self._value(names[2])
        if name not in self.places:
            raise DlasError(f"what is launched cannot be told: no executable has the kernel `{name}`")
        file, ordinal = self.places[str(name)]
        x, y, z = (self._number(one) for one in names[3:6])
        first = 7 + constants
        parts = [names[place : place + 5] for place in range(first, len(names), 5)]
        return Launch(
            str(name),
            file,
            ordinal,
            (x, y, z),
            tuple(self._number(one) for one in names[7:first]),
            tuple(self._binding(*part[1:]) for part in parts),
        )

    def _binding(self, slot: str, buffer: str, offset: str, length: str) -> Binding:
        whole = self._value(buffer)
        named = f"slot {self._number(slot)}" if whole == "zero" else str(whole)
        return Binding(named, self._number(offset), self._number(length))

    def _value(self, register: str) -> int | str:
        if register not in self.registers:
            raise DlasError("what is launched cannot be told: its sizes depend on more than its code")
        return self.registers[register]

    def _number(self, register: str) -> int:
        value = self._value(register)
        if not isinstance(value, int):
            raise DlasError(f"what is launched cannot be told: {value} where a number should be")
        return value
