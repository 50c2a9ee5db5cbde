"""A loaded artifact: what calls it, and what its function takes and returns."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.archive import opened
from dlas_mlir.runtime.devices import Device, open_device, own_gpu, without_preemption
from dlas_mlir.runtime.failures import explained
from dlas_mlir.runtime.needs import check

# The scope of parameters that an artifact has not in itself.
PARAMETERS = "model"
# The file in an artifact that declares its functions.
_PROGRAM = "module.fb"
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
# One argument in the declaration of a function, with its attributes.
_ARGUMENT = re.compile(r"%\w+: tensor<(?P<type>[^<>]*)>(?: \{(?P<marks>(?:[^{}<>]|<[^<>]*>)*)\})?")
# Among those: its type where its integers are unsigned, and which result it is the storage of.
_ENCODING = re.compile(r"iree\.abi\.encoding = tensor<([^<>]*)>")
_STORAGE = re.compile(r"iree\.abi\.output = (\d+)")


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
    """One artifact on one device. Calling it takes and returns numpy arrays.

    What is compiled for a GPU may take the storage of its results, which is then the same in every call: what `invoke`
    returned last is overwritten. Its calls may be queued: each waits for the last on the device, not for the caller.
    """

    def __init__(
        self,
        artifact: Path,
        device: Device,
        *,
        function: str = "main",
        pin: bool = False,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Load `artifact`, a .vmfb file, with the `parameters` that it has not in itself, by name. Raises DlasError
        when it cannot be loaded or lacks `function`."""
        import iree.runtime as rt

        if not artifact.is_file():
            raise DlasError(f"no artifact `{artifact}`")
        hal_device = open_device(device, pin=pin)
        if not device.local:
            check(artifact, own_gpu(device.driver))
        self._device = device
        instance = rt.VmInstance()
        try:
            module = rt.VmModule.copy_buffer(instance, artifact.read_bytes())
            needed = [rt.create_hal_module(instance, hal_device)]
            if parameters is not None:
                needed.insert(0, rt.create_io_parameters_module(instance, _provider(parameters)))
            context = rt.VmContext(instance, [*needed, module])
        except (ValueError, RuntimeError) as error:
            why = "it is compiled for another kind of machine" if "INCOMPATIBLE" in str(error) else error
            if not device.local:
                why = explained(why)
            raise DlasError(f"`{artifact}` cannot be loaded on {device.driver}: {why}") from error
        main = module.lookup_function(function)
        if main is None:
            raise DlasError(f"`{artifact}` has no function `{function}`; it has {', '.join(module.function_names)}")
        self._handles: dict[str, Any] = {
            "device": hal_device,
            "context": context,
            "main": main,
        }
        self._arguments, storage = _arguments_of(main.reflection.get("iree.abi.declaration", ""))
        kinds = map(tensor_type, storage)
        self._handles["storage"] = [self._on_device(np.zeros(kind.shape, numpy_type(kind.dtype))) for kind in kinds]
        self.can_queue = main.reflection.get("iree.abi.model") == "coarse-fences"
        if self.can_queue:
            self._handles["done"] = hal_device.create_semaphore(0)
            self._handles["pending"] = []
        self._queued = 0
        # The runtime crashes when its objects are torn down in arbitrary order at interpreter exit.
        self._release = weakref.finalize(self, _release, self._handles)

    def close(self) -> None:
        """Release the device and the module; the session cannot be called any more."""
        self._release()

    @property
    def inputs(self) -> list[TensorType]:
        """The types of the arguments, without the storage of results. Raises DlasError for a dynamic shape."""
        return [tensor_type(text) for text in self._arguments]

    def prepare(self, arrays: Sequence[np.ndarray]) -> Any:
        """Arguments in device memory, for `invoke`. Raises DlasError when the function takes others.

        float32 is rounded where the function takes bfloat16, which numpy itself has not.
        """
        views = [*map(self._on_device, taken(arrays, self.inputs)), *self._handles["storage"]]
        # Those of a call that is queued have what it waits for behind them.
        return views if self.can_queue else _packed(views)

    def invoke(self, arguments: Any) -> Any:
        """Call with what `prepare` gave, wait, and return the results in device memory."""
        import iree.runtime as rt

        with without_preemption(self._device):
            if self.can_queue:
                results = self._queue(arguments)
                self._wait()
                return results
            results = rt.VmVariantList(1)
            self._handles["context"].invoke(self._handles["main"], arguments, results)
        return results

    def queue(self, arguments: Any) -> Any:
        """The same without waiting, where the session `can_queue`: the results are there once `wait` returns."""
        with without_preemption(self._device):
            return self._queue(arguments)

    def _queue(self, arguments: Any) -> Any:
        import iree.runtime as rt

        packed, results = _packed(arguments), rt.VmVariantList(1)
        for value in (self._queued, self._queued + 1):
            packed.push_ref(rt.HalFence.create_at(self._handles["done"], value).ref)
        self._handles["context"].invoke(self._handles["main"], packed, results)
        self._queued += 1
        # Whoever drops results that are not there yet takes their memory away.
        self._handles["pending"].append(results)
        return results

    def wait(self) -> None:
        """Wait for all calls that were queued. Raises RuntimeError where one failed on the device."""
        with without_preemption(self._device):
            self._wait()

    def _wait(self) -> None:
        import iree.runtime as rt

        rt.HalFence.create_at(self._handles["done"], self._queued).wait()
        self._handles["pending"].clear()

    def _on_device(self, array: np.ndarray) -> Any:
        import iree.runtime as rt

        return rt.asdevicearray(self._handles["device"], array)._buffer_view

    def fetch(self, results: Any) -> list[np.ndarray]:
        """The results of `invoke` as numpy arrays that own their memory."""
        import iree.runtime as rt

        views = [results.get_as_object(i, rt.HalBufferView) for i in range(len(results))]
        if self._device.local:
            return [np.array(rt.DeviceArray(self._handles["device"], view).to_host()) for view in views]
        return [self._staged(view) for view in views]

    @contextmanager
    def seen(self, results: Any) -> Iterator[list[np.ndarray]]:
        """The results of `invoke` where they are, if the device's memory can be read: valid inside, not to be kept."""
        import iree.runtime as rt

        if not self._device.local:
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


def _release(handles: dict[str, Any]) -> None:
    """The last first: a semaphore, or a buffer, is not to outlive its device."""
    while handles:
        handles.popitem()


def _packed(views: Sequence[Any]) -> Any:
    import iree.runtime as rt

    packed = rt.VmVariantList(len(views))
    for view in views:
        packed.push_ref(view.ref)
    return packed


def _provider(parameters: Mapping[str, np.ndarray]) -> Any:
    import iree.runtime as rt

    index = rt.ParameterIndex()
    for name, array in parameters.items():
        index.add_buffer(name, np.ascontiguousarray(array).view(np.uint8))
    return index.create_provider(scope=PARAMETERS)


def _arguments_of(declaration: str) -> tuple[list[str], list[str]]:
    """The types of what a function takes, as its declaration has them, and of the storage of its results."""
    arguments: list[str] = []
    storage: list[str] = []
    for found in _ARGUMENT.finditer(declaration.partition("->")[0]):
        marks = found["marks"] or ""
        encoding = _ENCODING.search(marks)
        if _STORAGE.search(marks):
            storage.append(found["type"])
        else:
            arguments.append(encoding[1] if encoding else found["type"])
    return arguments, storage


def declared(artifact: Path, function: str) -> tuple[list[str], list[str]]:
    """The types (1x10xf32) of what `function` of an artifact takes, and of the storage of results behind that, told
    without a device. Raises DlasError for no artifact."""
    with opened(artifact) as archive:
        if _PROGRAM not in archive.namelist():
            raise DlasError(f"`{artifact}` is no artifact: it has no {_PROGRAM}")
        program = archive.read(_PROGRAM)
    found = re.search(rb"func @%b\(([^\0\n]*)" % re.escape(function.encode()), program)
    return _arguments_of(found[1].decode()) if found else ([], [])


def numpy_type(dtype: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def tensor_type(text: str) -> TensorType:
    *sizes, element = text.split("x")
    if any(not size.isdigit() for size in sizes):
        raise DlasError(f"an argument has a dynamic shape, tensor<{text}>: only static shapes can be run")
    if element not in _DTYPES:
        raise DlasError(f"an argument has the element type {element}, which numpy does not have")
    return TensorType(tuple(map(int, sizes)), _DTYPES[element])


def taken(arrays: Sequence[np.ndarray], expected: Sequence[TensorType]) -> list[np.ndarray]:
    """`arrays` as a function takes them. Raises DlasError where it takes others."""
    given = [TensorType(array.shape, str(array.dtype)) for array in arrays]
    if len(expected) == len(arrays):
        arrays = [_rounded(array, to) for array, to in zip(arrays, expected, strict=True)]
    got = [TensorType(array.shape, str(array.dtype)) for array in arrays]
    if expected and got != list(expected):
        raise DlasError(f"the function takes {_describe(expected)}, not {_describe(given)}")
    return list(arrays)


def _rounded(array: np.ndarray, to: TensorType) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16) if (array.dtype, to.dtype) == (np.float32, "bfloat16") else array


def _describe(types: Sequence[TensorType]) -> str:
    return ", ".join(f"{'x'.join(map(str, t.shape))} {t.dtype}" for t in types) or "nothing"
