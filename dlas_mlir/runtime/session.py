"""A loaded artifact: what calls it, and what its function takes and returns."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import LOCAL_DRIVERS, Device, open_device, without_preemption

_DTYPES = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "i1": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "ui8": "uint8",
    "si8": "int8",
}
# One argument in the declaration of a function; `encoding` is there where its integers are unsigned.
_ARGUMENT = re.compile(
    r"%\w+: tensor<(?P<type>[^<>]*)>(?: \{[^{}]*iree\.abi\.encoding = tensor<(?P<encoding>[^<>]*)>[^{}]*\})?"
)


@dataclass(frozen=True)
class TensorType:
    """Static shape and element type of one argument: numpy's name, or bfloat16."""

    shape: tuple[int, ...]
    dtype: str

    def example(self, seed: int = 0) -> np.ndarray:
        """An array of this type, the same for the same seed."""
        random = np.random.default_rng(seed)
        if self.dtype.startswith(("float", "bfloat")):
            return np.asarray(random.standard_normal(self.shape)).astype(self.dtype)
        return np.asarray(random.integers(0, 2, self.shape)).astype(self.dtype)


class Session:
    """One artifact on one device. Calling it takes and returns numpy arrays."""

    def __init__(self, artifact: Path, device: Device, *, function: str = "main", pin: bool = False) -> None:
        """Load `artifact`, a .vmfb file. Raises DlasError when it cannot be loaded or lacks `function`."""
        import iree.runtime as rt

        if not artifact.is_file():
            raise DlasError(f"no artifact `{artifact}`")
        hal_device = open_device(device, pin=pin)
        self._device = device
        instance = rt.VmInstance()
        try:
            module = rt.VmModule.copy_buffer(instance, artifact.read_bytes())
            context = rt.VmContext(instance, [rt.create_hal_module(instance, hal_device), module])
        except (ValueError, RuntimeError) as error:
            why = "it is compiled for another kind of machine" if "INCOMPATIBLE" in str(error) else error
            raise DlasError(f"`{artifact}` cannot be loaded on {device.driver}: {why}") from error
        main = module.lookup_function(function)
        if main is None:
            raise DlasError(f"`{artifact}` has no function `{function}`; it has {', '.join(module.function_names)}")
        self._handles: dict[str, Any] = {
            "main": main,
            "context": context,
            "device": hal_device,
        }
        # The runtime crashes when its objects are torn down in arbitrary order at interpreter exit.
        weakref.finalize(self, self._handles.clear)

    def close(self) -> None:
        """Release the device and the module; the session cannot be called any more."""
        self._handles.clear()

    @property
    def inputs(self) -> list[TensorType]:
        """The types of the arguments. Raises DlasError for a dynamic shape."""
        declaration = self._handles["main"].reflection.get("iree.abi.declaration", "")
        arguments = declaration.partition("->")[0]
        return [_tensor_type(found["encoding"] or found["type"]) for found in _ARGUMENT.finditer(arguments)]

    def prepare(self, arrays: Sequence[np.ndarray]) -> Any:
        """Arguments in device memory, for `invoke`. Raises DlasError when the function takes others.

        float32 is rounded where the function takes bfloat16, which numpy itself has not.
        """
        import iree.runtime as rt

        expected = self.inputs
        given = [TensorType(array.shape, str(array.dtype)) for array in arrays]
        if len(expected) == len(arrays):
            arrays = [_rounded(array, to) for array, to in zip(arrays, expected, strict=True)]
        got = [TensorType(array.shape, str(array.dtype)) for array in arrays]
        if expected and got != expected:
            raise DlasError(f"the function takes {_describe(expected)}, not {_describe(given)}")
        packed = rt.VmVariantList(len(arrays))
        for array in arrays:
            on_device = rt.asdevicearray(self._handles["device"], array)
            packed.push_ref(on_device._buffer_view.ref)
        return packed

    def invoke(self, arguments: Any) -> Any:
        """Call with what `prepare` gave, wait, and return the results in device memory."""
        import iree.runtime as rt

        results = rt.VmVariantList(1)
        with without_preemption(self._device):
            self._handles["context"].invoke(self._handles["main"], arguments, results)
        return results

    def fetch(self, results: Any) -> list[np.ndarray]:
        """The results of `invoke` as numpy arrays that own their memory."""
        import iree.runtime as rt

        views = [results.get_as_object(i, rt.HalBufferView) for i in range(len(results))]
        if self._device.driver in LOCAL_DRIVERS:
            return [np.array(rt.DeviceArray(self._handles["device"], view).to_host()) for view in views]
        return [self._staged(view) for view in views]

    @contextmanager
    def seen(self, results: Any) -> Iterator[list[np.ndarray]]:
        """The results of `invoke` where they are, if the device's memory can be read: valid inside, not to be kept."""
        import iree.runtime as rt

        if self._device.driver not in LOCAL_DRIVERS:
            yield self.fetch(results)
            return
        views = [results.get_as_object(i, rt.HalBufferView) for i in range(len(results))]
        arrays = [rt.DeviceArray(self._handles["device"], view) for view in views]  # they hold the mapping
        yield [array.to_host() for array in arrays]

    def _staged(self, view: Any) -> np.ndarray:
        """Copy through a buffer of the device's: the bindings' own way hands Vulkan memory that it rejects."""
        import iree.runtime as rt

        device, source = self._handles["device"], view.get_buffer()
        staging = device.allocator.allocate_buffer(
            memory_type=int(rt.MemoryType.HOST_LOCAL | rt.MemoryType.DEVICE_VISIBLE),
            allowed_usage=int(rt.BufferUsage.TRANSFER_TARGET | rt.BufferUsage.MAPPING_SCOPED),
            allocation_size=source.byte_length(),
        )
        done = device.create_semaphore(0)
        before, after = (rt.HalFence.create_at(done, value) for value in (0, 1))
        device.queue_copy(source, staging, wait_semaphores=before, signal_semaphores=after)
        after.wait()
        return np.array(staging.map().asarray(view.shape, rt.HalElementType.map_to_dtype(view.element_type)))

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        return self.fetch(self.invoke(self.prepare(arrays)))


def _tensor_type(text: str) -> TensorType:
    *sizes, element = text.split("x")
    if any(not size.isdigit() for size in sizes):
        raise DlasError(f"an argument has a dynamic shape, tensor<{text}>: only static shapes can be run")
    if element not in _DTYPES:
        raise DlasError(f"an argument has the element type {element}, which numpy does not have")
    return TensorType(tuple(map(int, sizes)), _DTYPES[element])


def _rounded(array: np.ndarray, to: TensorType) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16) if (array.dtype, to.dtype) == (np.float32, "bfloat16") else array


def _describe(types: Sequence[TensorType]) -> str:
    return ", ".join(f"{'x'.join(map(str, t.shape))} {t.dtype}" for t in types) or "nothing"
