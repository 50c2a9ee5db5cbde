"""What is asked of NVIDIA's driver, by a driver made up for it; and the loops that measure its peaks."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Any

import pytest
from ptx import assemble, ptxas

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime import cuda_driver, cuda_peaks
from dlas_mlir.runtime.cuda_driver import Cuda
from dlas_mlir.runtime.launches import Kernel, Program
from dlas_mlir.runtime.listing import Binding, Launch


class Driver:
    """Keeps what it is asked; memory begins at addresses that tell its order."""

    def __init__(self, wrong: str = "") -> None:
        self.launched: list[tuple[Any, ...]] = []
        self.asked: list[str] = []
        self.memory: list[int] = []
        self.wrong = wrong
        self.numbers = iter(range(1, 10_000))

    def __getattr__(self, name: str) -> Any:
        def answer(*arguments: Any) -> int:
            self.asked.append(name)
            if name == self.wrong:
                return 700
            if name == "cuMemAlloc_v2":
                self.memory.append(arguments[1].value)
                arguments[0]._obj.value = 0x1000000 * len(self.memory)
            elif name == "cuModuleGetFunction":
                arguments[0]._obj.value = next(self.numbers)
            elif name == "cuLaunchKernel":
                self.launched.append(self._launch(*arguments))
            elif name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = 9 if arguments[1] == 75 else 132
            elif name == "cuEventElapsedTime":
                arguments[0]._obj.value = 0.128
            elif name == "cuGetErrorName":
                arguments[1]._obj.value = b"CUDA_ERROR_ILLEGAL_ADDRESS"
            return 0

        return answer

    def _launch(self, function: Any, *rest: Any) -> tuple[Any, ...]:
        *sizes, shared, _stream, places, _extra = rest
        values = [ctypes.cast(place, ctypes.POINTER(ctypes.c_uint64))[0] for place in places[:2]]
        values += [ctypes.cast(place, ctypes.POINTER(ctypes.c_uint32))[0] for place in places[2:]]
        return function.value, [size.value for size in sizes], shared.value, values


@dataclasses.dataclass(frozen=True)
class Made(Program):
    def kernel(self, launch: Launch) -> Kernel:
        return Kernel(launch.name, ".version 8.0", (128, 1, 1), 65536 if launch.name == "large" else 0)


SMALL = Launch("small", "a.fb", 0, (4, 1, 1), (7,), (Binding("slot 0", 0, 64), Binding("slot 1", 256, 512)))
LARGE = Launch("large", "a.fb", 1, (8, 2, 1), (), (Binding("slot 1", 256, 512), Binding("global 2", 0, 100)))


def program(*launches: Launch) -> Made:
    return Made(None, "cuda-nvptx-fb", launches)  # pyright: ignore[reportArgumentType]


def test_launches_have_their_memory_and_constants() -> None:
    driver = Driver()
    found = cuda_driver.replayed(Cuda(driver), program(SMALL, LARGE, SMALL))
    assert driver.memory == [64, 768, 100]
    assert driver.asked.count("cuModuleLoadData") == 1
    assert driver.asked.count("cuFuncSetAttribute") == 1
    small, large = driver.launched[:2]
    assert small[1:] == ([4, 1, 1, 128, 1, 1], 0, [0x1000000, 0x2000100, 7])
    assert large[1:] == ([8, 2, 1, 128, 1, 1], 65536, [0x2000100, 0x3000000])
    assert small[0] != large[0]
    # A call of 128 us; 64 copies of each kernel alone, of which equal ones are timed once.
    assert found["device_us"] == pytest.approx(128)
    assert [one["name"] for one in found["launches"]] == ["small", "large", "small"]
    assert [one["us"] for one in found["launches"]] == pytest.approx([2, 2, 2])
    assert len(driver.launched) == 2 * (3 + 64 + 64)
    assert driver.asked.count("cuMemFree_v2") == 3
    assert driver.asked.count("cuModuleUnload") == 1


def test_what_the_driver_says_is_wrong() -> None:
    with pytest.raises(DlasError, match="cuGraphLaunch: CUDA_ERROR_ILLEGAL_ADDRESS"):
        cuda_driver.replayed(Cuda(Driver("cuGraphLaunch")), program(SMALL))


def test_peaks() -> None:
    driver = Driver()
    found = cuda_peaks.measure(Cuda(driver))
    assert set(found["tflops"]) == {"f16", "bf16", "tf32", "s8", "fma"}
    # 264 workgroups of two times four warps, each 4096 products of 64 x 128 x 16, in 128 us.
    assert found["tflops"]["f16"] == pytest.approx(2 * 264 * 2 * 4096 * 64 * 128 * 16 / 128e-6 / 1e12)
    assert found["bandwidth_gbs"] == pytest.approx(2 * (1 << 30) / 128e-6 / 1e9)


@pytest.mark.skipif(ptxas() is None, reason="ptxas is not installed: pip install -e '.[gpu-check]'")
@pytest.mark.parametrize(("wide", "architecture"), [(False, "sm_80"), (True, "sm_90a")])
def test_loops_for_peaks_are_assembled(wide: bool, architecture: str, tmp_path) -> None:
    # The assembler takes a second for each of wgmma; its types differ by a word.
    names = ["f16", "fma"] if wide else ["bf16", "f16", "fma", "s8", "tf32"]
    found, said = assemble(cuda_peaks.program(wide, names), architecture, tmp_path)
    assert sorted(one.name for one in found) == names
    assert "serialized" not in said
    assert all((one.stack, one.spilled) == (0, 0) for one in found)
