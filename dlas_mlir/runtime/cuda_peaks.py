"""What an NVIDIA GPU reaches: products of each type in loops that do nothing else, and bytes that are copied."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from dlas_mlir.runtime.cuda_driver import Cuda, Ready

_MULTIPROCESSOR_COUNT, _CAPABILITY_MAJOR = 16, 75  # of CUdevice_attribute
_STEPS = 1024
# Instructions of a step: independent sums for mma.sync and fma.
_CHAINS = 8
# The same in one queue for wgmma. The assembler takes seconds for twice the columns.
_QUEUED = 4
_THREADS = 256
_COPIED = 1 << 30


@dataclass(frozen=True)
class Loop:
    """A kernel that repeats one instruction: its text, and the multiply-adds of one thread."""

    name: str
    text: str
    multiply_adds: float


# Operands, the shape's k, and the type of sums, of a product of 64 x 128 x k by four warps.
_WGMMA = {
    "f16": ("m64n128k16.f32.f16.f16", 16, "f32", ", 1, 1, 0, 0"),
    "bf16": ("m64n128k16.f32.bf16.bf16", 16, "f32", ", 1, 1, 0, 0"),
    "tf32": ("m64n128k8.f32.tf32.tf32", 8, "f32", ", 1, 1"),
    "s8": ("m64n128k32.s32.s8.s8", 32, "b32", ""),
}
# The same of 16 x 8 x k by one warp.
_MMA = {
    "f16": ("m16n8k16.row.col.f32.f16.f16.f32", 16, "f32"),
    "bf16": ("m16n8k16.row.col.f32.bf16.bf16.f32", 16, "f32"),
    "tf32": ("m16n8k8.row.col.f32.tf32.tf32.f32", 8, "f32"),
    "s8": ("m16n8k32.row.col.s32.s8.s8.s32", 32, "b32"),
}


def loops(wide: bool) -> list[Loop]:
    """The loops of all types: `wide`, with wgmma, which capability 9.0 alone has, or with mma.sync."""
    products = [_wgmma(name) for name in _WGMMA] if wide else [_mma(name) for name in _MMA]
    return [*products, _fma()]


def program(wide: bool, names: Collection[str] = ()) -> str:
    """PTX of `loops`, or of those with these names."""
    head = ".version 8.0\n.target sm_90a\n" if wide else ".version 7.0\n.target sm_80\n"
    return "\n".join(
        [head + ".address_size 64", *(loop.text for loop in loops(wide) if loop.name in names or not names)]
    )


def _kernel(name: str, registers: str, before: str, step: str, after: str) -> str:
    """A loop of _STEPS steps; %me is the number of the thread, and %out where its result goes."""
    return f"""
.visible .entry {name}(.param .u64 {name}_out)
.maxntid {_THREADS}, 1, 1
{{
  .reg .b32 %me, %i, %x;
  .reg .b64 %out, %at;
  .reg .pred %p, %q;
{registers}
  ld.param.u64 %out, [{name}_out];
  mov.u32 %me, %tid.x;
  mul.wide.u32 %at, %me, 4;
  add.s64 %out, %out, %at;
{before}
  mov.u32 %i, 0;
$next_{name}:
{step}
  add.u32 %i, %i, 1;
  setp.lt.u32 %p, %i, {_STEPS};
  @%p bra $next_{name};
{after}
  ret;
}}"""


def _sum(kind: str, count: int) -> str:
    """Store the sum of %c0, %c1, ... , so that nothing is left out."""
    plus = "add.f32" if kind == "f32" else "add.s32"
    lines = [f"  {plus} %c0, %c0, %c{i};" for i in range(1, count)]
    return "\n".join([*lines, f"  st.global.{kind} [%out], %c0;"])


def _zeros(kind: str, count: int) -> str:
    zero = "0f00000000" if kind == "f32" else "0"
    return "\n".join(f"  mov.{kind} %c{i}, {zero};" for i in range(count))


def _noise(register: str, number: int) -> str:
    """Two float16 from 1 to 2, other ones in each thread: operands without zeros, of any type."""
    return f"  mad.lo.u32 %x, %me, {2654435761 + 2 * number}, {number};\n  and.b32 %x, %x, 0x03ff03ff;\n" + (
        f"  or.b32 {register}, %x, 0x3c003c00;"
    )


def _mma(name: str) -> Loop:
    shape, k, kind = _MMA[name]
    sums = 4 * _CHAINS
    registers = f"  .reg .b32 %a<4>, %b<2>;\n  .reg .{kind} %c<{sums}>;"
    before = "\n".join([_noise(f"%a{i}", i) for i in range(4)] + [_noise(f"%b{i}", 7 + i) for i in range(2)])
    steps = []
    for chain in range(_CHAINS):
        part = ", ".join(f"%c{4 * chain + i}" for i in range(4))
        steps.append(f"  mma.sync.aligned.{shape} {{{part}}}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {{{part}}};")
    text = _kernel(name, registers, f"{before}\n{_zeros(kind, sums)}", "\n".join(steps), _sum(kind, sums))
    return Loop(name, text, _STEPS * _CHAINS * 16 * 8 * k / 32)


def _wgmma(name: str) -> Loop:
    shape, k, kind, signs = _WGMMA[name]
    registers = (
        f"  .reg .b64 %da, %db, %base;\n  .reg .{kind} %c<64>;\n  .reg .b32 %word;\n"
        f"  .shared .align 1024 .b8 operands_{name}[32768];"
    )
    # Each thread fills its part; where a product's rows lie does not matter, only that they are in there.
    fill = "\n".join(
        [f"  mov.u32 %word, operands_{name};", "  mad.lo.u32 %word, %me, 128, %word;"]
        + [f"{_noise('%x', i)}\n  st.shared.b32 [%word+{4 * i}], %x;" for i in range(32)]
    )
    address = f"""  bar.sync 0;
  fence.proxy.async;
  mov.u32 %word, operands_{name};
  shr.u32 %word, %word, 4;
  cvt.u64.u32 %base, %word;
  or.b64 %da, %base, {(8 << 16) | (16 << 32)};
  add.s64 %base, %base, {8192 >> 4};
  or.b64 %db, %base, {(8 << 16) | (16 << 32)};
  setp.ne.b32 %q, 1, 0;"""
    parts = ", ".join(f"%c{i}" for i in range(64))
    one = f"  wgmma.mma_async.sync.aligned.{shape} {{{parts}}}, %da, %db, %q{signs};"
    waiting = ["  wgmma.commit_group.sync.aligned;", "  wgmma.wait_group.sync.aligned 0;"]
    step = "\n".join(["  wgmma.fence.sync.aligned;", *([one] * _QUEUED), *waiting])
    text = _kernel(name, registers, f"{fill}\n{address}\n{_zeros(kind, 64)}", step, _sum(kind, 64))
    return Loop(name, text, _STEPS * _QUEUED * 64 * 128 * k / 128)


def _fma() -> Loop:
    sums = 2 * _CHAINS
    before = "  .reg .f32 %a;\n  cvt.rn.f32.u32 %a, %me;\n" + _zeros("f32", sums)
    step = "\n".join(f"  fma.rn.f32 %c{i}, %c{i}, %a, %a;" for i in range(sums))
    return Loop("fma", _kernel("fma", f"  .reg .f32 %c<{sums}>;", before, step, _sum("f32", sums)), _STEPS * sums)


def measure(cuda: Cuda) -> dict[str, Any]:
    """`tflops` by type (of s8 too, and `fma`), `bandwidth_gbs` of bytes read and written, and `how`."""
    units, major = cuda.attribute(_MULTIPROCESSOR_COUNT), cuda.attribute(_CAPABILITY_MAJOR)
    wide = major == 9
    module, out = cuda.module(program(wide)), cuda.memory(4 * _THREADS)
    groups = units * 2 if wide else units * 8
    found: dict[str, float] = {}
    for loop in loops(wide):
        function = cuda.function(module, loop.name)
        ready = Ready(function, (groups, 1, 1), (_THREADS, 1, 1), 0, (out,))
        us = cuda.graph_us(lambda ready=ready: cuda.launch(ready))
        found[loop.name] = 2 * loop.multiply_adds * _THREADS * groups / us / 1e6
    source, target = cuda.memory(_COPIED, noise=False), cuda.memory(_COPIED, noise=False)
    us = cuda.graph_us(lambda: cuda.copy(target, source, _COPIED))
    how = f"loops of {'wgmma' if wide else 'mma.sync'} and fma, and a copy of {_COPIED >> 30} GiB, on the device"
    return {"tflops": found, "bandwidth_gbs": 2 * _COPIED / us / 1e3, "how": how}


def peaks() -> dict[str, Any]:
    """What `measure` finds; for a process of its own."""
    return measure(Cuda())
