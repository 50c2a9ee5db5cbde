"""The listing of a host's program, as `iree-dump-module` prints it: which kernels it launches, with what, and where a
call's arguments are among that.

Instructions that record launches are straight code with constants.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from dlas_mlir.errors import DlasError

_NAME = re.compile(r"vm\.rodata\[(\d+)\] = ((?:[0-9A-F]{2})+)$")
_CONSTANT = re.compile(r"%([ir]\d+)(?::\d+)? = vm\.const\.(?:i32|i64|ref)(?:\.(zero|rodata))?(?: (-?\d+))?")
_GLOBAL = re.compile(r"%(r\d+) = vm\.global\.load\.ref \.refs\[(\d+)\] : !hal\.buffer")
_LOOKUP = re.compile(r"%(i\d+)\S* = vm\.call @hal\.executable\.lookup\.function\(%[rR]\d+, %[rR](\d+)\)")
_DISPATCH = re.compile(r"@hal\.command_buffer\.dispatch segments\[([\d, ]+)\]\(([^)]*)\)")
# Where a program is loaded it makes buffers of the constants in the file, and keeps them: one, almost always. Of
# several the order is not known for certain, which timing does not mind.
_CONTENT = re.compile(r"vm\.rodata\[(\d+)\] = ([0-9A-F]*)")
_IMPORT = re.compile(r"%r\d+ = vm\.call @hal\.allocator\.import\(([^)]*)\)")
_KEPT = re.compile(r"vm\.global\.store\.ref %[rR](\d+), \.refs\[(\d+)\] : !hal\.buffer$")
# What is loaded from elsewhere: of a table of places in a text with all names, an entry for each.
_PARAMETERS = re.compile(r"%r\d+ = vm\.call @io_parameters\.load\(([^)]*)\)")
_PARAMETER = re.compile(r"%(r\d+) = vm\.list\.get\.ref %r\d+, %(i\d+) : !hal\.buffer")
_FUNCTION = re.compile(r"vm\.func @(\w+)\(([^)]*)\)")
_VIEWED = re.compile(r"%(r\d+) = vm\.call @hal\.buffer_view\.buffer\(%[rR](\d+)\)")
_ALLOCATED = re.compile(r"%(r\d+) = vm\.call @hal\.device\.queue\.alloca\(")
_RECORDED = re.compile(r"%r\d+ = vm\.call @module\.(\w+)\(([^)]*)\)")
_EXECUTED = re.compile(r"@hal\.device\.queue\.execute(?:\.indirect)? segments\[[\d, ]+\]\(([^)]*)\)")
_QUEUED = re.compile(r"@hal\.device\.queue\.(\w+)")
_RETURNED = re.compile(r"vm\.return(.*)$")
_REGISTER = re.compile(r"%[rR](\d+)")
# Before the buffers of an execution, three words for each.
_BEFORE_BUFFERS = 6
_FILL = re.compile(r"vm\.call @hal\.command_buffer\.fill_buffer\(([^)]*)\)")
_COPY = re.compile(r"vm\.call @hal\.command_buffer\.copy_buffer\(([^)]*)\)")
_OTHER = re.compile(r"vm\.call\S* @hal\.command_buffer\.(update_buffer|collective)")
_GIVEN = re.compile(r"%(r\d+): !vm\.ref")
_ASSIGNED = re.compile(r"%([ir]\d+)(?::\d+)?(?:, %\w+)* = ")
# Of an executable's name, not of weights.
_LONGEST_NAME = 512
# What is no file of its own, in bytes; iree-compile begins far below.
_LARGEST_INSIDE = 1 << 16
# Bytes by which the beginnings of files are compared.
START = 256


def fingerprint(size: int, start: bytes) -> tuple[int, bytes]:
    """What tells a file from others without reading it: its size, and how it begins."""
    return size, start[:START]


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
class Fill:
    """A part of a buffer filled with the number `pattern` of so many bytes, again and again."""

    target: Binding
    pattern: int
    width: int

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The part that it fills."""
        return (self.target,)


@dataclass(frozen=True)
class Copy:
    """A part of a buffer copied to another as long."""

    source: Binding
    target: Binding

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Both."""
        return self.source, self.target


@dataclass(frozen=True)
class Part:
    """`length` bytes from `offset` on of a file in the .vmfb; of a small constant, of its content itself."""

    whole: str | bytes
    offset: int
    length: int


Step: TypeAlias = Launch | Fill | Copy


@dataclass(frozen=True)
class Role:
    """What a buffer is in a call: `argument` by its number, or memory of the call's own by its number; from byte
    `offset` on."""

    argument: int | None
    own: int = 0
    offset: int = 0


@dataclass
class MainFunction:
    """What a call does, `main` line by line: its arguments by their registers, what buffers are, and which of them the
    function that records launches is `given`, or launches find in `slots`. `more` says what else it does."""

    arguments: dict[str, int]
    buffers: dict[str, Role] = field(default_factory=dict)
    given: dict[str, list[Role | None]] = field(default_factory=dict)
    slots: dict[str, Role] = field(default_factory=dict)
    returned: list[int] = field(default_factory=list)
    executed: int = 0
    more: str = ""
    allocated: int = 0

    def read(self, line: str, numbers: dict[str, int]) -> None:
        """The next line; `numbers` are the constants so far."""
        role = None
        if viewed := _VIEWED.match(line):
            number = self.arguments.get(viewed[2])
            role = Role(number) if number is not None else None
        elif _ALLOCATED.match(line):
            role, self.allocated = Role(None, self.allocated), self.allocated + 1
        elif recorded := _RECORDED.match(line):
            self.given[recorded[1]] = [self.buffers.get(one) for one in _REGISTER.findall(recorded[2])]
        elif executed := _EXECUTED.search(line):
            self.executed += 1
            self._execute([word.strip().lstrip("%").lower() for word in executed[1].split(",")], numbers)
        elif line.startswith(("vm.br", "vm.cond_br")):
            self.more = "it branches"
        elif (queued := _QUEUED.search(line)) and queued[1] not in ("dealloca", "execute"):
            self.more = f"queue.{queued[1]}"
        elif returned := _RETURNED.match(line):
            found = [self.arguments.get(one) for one in _REGISTER.findall(returned[1])]
            self.returned = [one for one in found if one is not None]
            if len(self.returned) < len(found):
                self.more = "it returns what is none of its arguments"
        if (assigned := _ASSIGNED.match(line)) and assigned[1].startswith("r"):
            register = assigned[1][1:]
            self.arguments.pop(register, None)
            self.buffers.pop(register, None)
            if role is not None:
                self.buffers[register] = role

    def _execute(self, words: list[str], numbers: dict[str, int]) -> None:
        for slot, place in enumerate(range(_BEFORE_BUFFERS, len(words), 3)):
            buffer, offset = self.buffers.get(words[place][1:]), numbers.get(words[place + 1])
            if buffer is None or offset is None:
                self.more = f"nobody knows what slot {slot} is"
            else:
                self.slots[f"slot {slot}"] = Role(buffer.argument, buffer.own, buffer.offset + offset)


@dataclass
class Listing:
    """The listing, line by line: what registers hold, as far as it is constant, and the launches. `numbers` are the
    constants of a function, of all its blocks, `contents` what the program's constants are, by the names of files if
    they are any, `small` what is in those that are not large, files too."""

    places: dict[str, tuple[str, int]]
    files: dict[tuple[int, bytes], str]
    names: dict[int, str] = field(default_factory=dict)
    contents: dict[int, str | bytes] = field(default_factory=dict)
    small: dict[int, bytes] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    imports: list[Part | None] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    registers: dict[str, int | str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    other: str = ""
    function: str = ""
    recorded_by: set[str] = field(default_factory=set)
    names_of_parameters: list[str] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    main: MainFunction | None = None

    def read(self, line: str) -> None:
        line = line.strip()
        if line.startswith("vm.rodata"):
            self._read_constant(line)
            return
        if (begins := _FUNCTION.match(line)) is not None:
            self.function = begins[1]
            if self.function == "main":
                self.main = MainFunction({name: place for place, name in enumerate(_REGISTER.findall(begins[2]))})
        self._read_instruction(line)
        if self.function == "main" and self.main is not None:
            self.main.read(line, self.numbers)

    def _read_instruction(self, line: str) -> None:
        if line.startswith(("vm.func", "^bb")) and not line.startswith("^bb0"):
            if line.startswith("vm.func"):
                self.numbers = {}
            # Whatever comes from elsewhere is not known, but a buffer is one all the same.
            self.registers = {name: f"given {name}" for name in _GIVEN.findall(line)}
        elif dispatch := _DISPATCH.search(line):
            self.recorded_by.add(self.function)
            self.steps.append(self._launch(dispatch[1], dispatch[2]))
        elif filled := _FILL.match(line):
            self.recorded_by.add(self.function)
            self.steps.append(self._fill([word.strip().lstrip("%").lower() for word in filled[1].split(",")]))
        elif copied := _COPY.match(line):
            self.recorded_by.add(self.function)
            self.steps.append(self._copy([word.strip().lstrip("%").lower() for word in copied[1].split(",")]))
        elif other := _OTHER.match(line):
            self.other = other[1]
        elif made := _IMPORT.match(line):
            self.imports.append(self._part(made[1]))
        elif loaded := _PARAMETERS.match(line):
            *_, table, text, _ = (word.strip().lstrip("%").lower() for word in loaded[1].split(","))
            self.names_of_parameters = self._parameters(self.numbers.get(table, -1), self.numbers.get(text, -1))
        elif listed := _PARAMETER.match(line):
            place = self.numbers.get(listed[2], -1)
            self.registers.pop(listed[1], None)
            if 0 <= place < len(self.names_of_parameters):
                self.listed[listed[1]] = self.names_of_parameters[place]
        elif kept := _KEPT.match(line):
            if (name := self.listed.get(f"r{kept[1]}")) is not None:
                self.parameters[f"global {kept[2]}"] = name
            else:
                self.kept.append(f"global {kept[2]}")
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
            self.listed.pop(found[1], None)

    def roles(self) -> dict[str, Role]:
        """What the buffers of launches are in a call of `main`, by their names. Raises DlasError where a call does more
        than these launches."""
        if self.main is None:
            raise DlasError("there is no function `main`")
        if more := self.main.more or self.other:
            raise DlasError(f"a call does more than launch kernels, fill and copy: {more}")
        if len(self.recorded_by) != 1 or self.main.executed != 1:
            raise DlasError("a call launches its kernels in several parts")
        given = self.main.given.get(next(iter(self.recorded_by)), [])
        return self.main.slots | {f"given r{place}": role for place, role in enumerate(given) if role is not None}

    def _parameters(self, table: int, text: int) -> list[str]:
        """Names from a table of where each begins and how long it is, by the numbers of both constants."""
        places, names = self.small.get(table, b""), self.small.get(text, b"")
        return [names[start : start + length].decode() for start, length in struct.iter_unpack("<II", places)]

    def _read_constant(self, line: str) -> None:
        if len(line) < 2 * _LONGEST_NAME and (name := _NAME.match(line)):
            self.names[int(name[1])] = bytes.fromhex(name[2]).decode(errors="replace")
        if found := _CONTENT.match(line):
            first, end = found.span(2)
            start = bytes.fromhex(line[first : min(end, first + 2 * START)])
            file = self.files.get(fingerprint((end - first) // 2, start))
            number, small = int(found[1]), end - first < 2 * _LARGEST_INSIDE
            if small:
                self.small[number] = bytes.fromhex(line[first:end])
            if file is not None:
                self.contents[number] = file
            elif small:
                self.contents[number] = self.small[number]

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

    def _fill(self, words: list[str]) -> Fill:
        _, buffer, offset, length, slot, pattern, width, _ = words
        return Fill(self._binding(slot, buffer, offset, length), self._number(pattern), self._number(width))

    def _copy(self, words: list[str]) -> Copy:
        _, source_slot, slot, source, source_offset, target, offset, length, _ = words
        return Copy(
            self._binding(source_slot, source, source_offset, length), self._binding(slot, target, offset, length)
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
