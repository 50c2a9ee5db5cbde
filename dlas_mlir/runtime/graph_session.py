"""A loaded artifact whose calls are CUDA graphs: one launch each, whatever number of kernels they have.

IREE's runtime launches the kernels of a call one by one, which takes its thread some 4 us for each: more than many
kernels of a network take at batch 1. What a call does is straight code, which the artifact tells: kernels, fills and
copies, and their buffers. They are recorded once, and NVIDIA's driver replays them.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.cuda_driver import Cuda, Kernels, extents
from dlas_mlir.runtime.devices import Device, callers_cpus, own_gpu
from dlas_mlir.runtime.failures import explained
from dlas_mlir.runtime.launches import Program, read_program
from dlas_mlir.runtime.listing import Binding, Copy, Fill, Role, Step
from dlas_mlir.runtime.needs import check
from dlas_mlir.runtime.session import Session, TensorType, declared, numpy_type, taken, tensor_type


def open_session(
    artifact: Path,
    device: Device,
    *,
    pin: bool = False,
    parameters: Mapping[str, np.ndarray] | None = None,
    driver: Cuda | None = None,
) -> AnySession:
    """The function `main` of `artifact`, a .vmfb file, on a device: by CUDA graphs where that is CUDA's and the
    artifact tells all that a call does, else by IREE's runtime. `parameters` are those that it has not in itself, by
    name; `driver` is another than NVIDIA's. Raises DlasError when it cannot be loaded."""
    if device.driver == "cuda" and (program := _whole(artifact, parameters or {})) is not None:
        return GraphSession(program, device, pin=pin, parameters=parameters or {}, driver=driver)
    return Session(artifact, device, pin=pin, parameters=parameters)


def _whole(artifact: Path, parameters: Mapping[str, np.ndarray]) -> Program | None:
    """The program of an artifact, if it is clear what each of its buffers is. Of several constants in one it is not: a
    program keeps them in an order of its own."""
    try:
        program = read_program(artifact)
    except DlasError:
        return None
    if program.unknown or len(program.constants) > 1:
        return None
    for name in extents(program):
        if not (name in program.roles or name in program.constants or program.parameters.get(name) in parameters):
            return None
    return program


@dataclass(eq=False)
class Prepared:
    """The graph of a call on arguments of its own."""

    graph: Any
    addresses: tuple[int, ...]


class GraphSession:
    """One artifact on a CUDA device; what `Session` is, but for how it calls. The storage of results is the same in
    every call: what was returned last is overwritten. It is called by one thread."""

    can_queue = True

    def __init__(
        self,
        program: Program,
        device: Device,
        *,
        pin: bool,
        parameters: Mapping[str, np.ndarray],
        driver: Cuda | None = None,
    ) -> None:
        if driver is None:
            check(program.vmfb, own_gpu(device.driver))
        self.inputs, self._storage = ([tensor_type(text) for text in types] for types in declared(program.vmfb, "main"))
        self._program, self._sizes = program, extents(program)
        try:
            self._cuda = driver or Cuda()
            self._memory = {name: self._kept(name, parameters) for name in self._sizes if name not in program.roles}
            self._own = {place: self._cuda.memory(size, noise=False) for place, size in self._own_sizes().items()}
            self._results = [self._cuda.memory(_bytes(kind), noise=False) for kind in self._storage]
            self._kernels = Kernels(self._cuda, program)
        except DlasError as error:
            raise DlasError(f"`{program.vmfb}` cannot be loaded on {device.driver}: {explained(error)}") from None
        if pin and driver is None:
            os.sched_setaffinity(0, callers_cpus(device) or os.sched_getaffinity(0))
        self._last: Prepared | None = None
        self._given: list[weakref.finalize] = []

    def close(self) -> None:
        """Release memory and kernels; the session cannot be called any more."""
        self._last = None
        for give_back in self._given:
            give_back()
        self._given = []
        self._cuda.release()

    def prepare(self, arrays: Sequence[np.ndarray]) -> Prepared:
        """Arguments in device memory, with the graph of a call on them, for `invoke`; whoever drops them gives them
        back. Raises DlasError when the function takes others."""
        arrays = taken(arrays, self.inputs)
        sizes = self._argument_sizes()
        addresses = tuple(
            self._cuda.memory(max(array.nbytes, sizes.get(number, 1)), noise=False)
            for number, array in enumerate(arrays)
        )
        self._write(addresses, arrays)
        steps = [self._step(step, addresses) for step in self._program.steps]
        found = Prepared(self._cuda.graph(lambda: [step() for step in steps]), addresses)
        self._given = [one for one in self._given if one.alive]
        give_back = weakref.finalize(found, _give_back, self._cuda, found.graph, addresses)
        # The process' end gives everything back.
        give_back.atexit = False
        self._given.append(give_back)
        return found

    def invoke(self, arguments: Prepared) -> Prepared:
        """Call with what `prepare` gave, wait, and return the results in device memory."""
        self._cuda.replay(arguments.graph)
        self._cuda.synchronize()
        return arguments

    def queue(self, arguments: Prepared) -> Prepared:
        """The same without waiting: the results are there once `wait` returns."""
        self._cuda.replay(arguments.graph)
        return arguments

    def wait(self) -> None:
        """Wait for all calls that were queued. Raises DlasError where one failed on the device."""
        self._cuda.synchronize()

    def fetch(self, results: Prepared) -> list[np.ndarray]:
        """The results of the last call as numpy arrays that own their memory."""
        found = []
        for number in self._program.returned:
            kind, address = self._argument(number, results.addresses)
            array = np.empty(kind.shape, numpy_type(kind.dtype))
            self._cuda.read(address, array)
            found.append(array)
        return found

    @contextmanager
    def seen(self, results: Prepared) -> Iterator[list[np.ndarray]]:
        """The same, for as long as the context lasts."""
        yield self.fetch(results)

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        if self._last is None:
            self._last = self.prepare(arrays)
        else:
            self._write(self._last.addresses, taken(arrays, self.inputs))
        return self.fetch(self.invoke(self._last))

    def _write(self, addresses: Sequence[int], arrays: Sequence[np.ndarray]) -> None:
        for address, array in zip(addresses, arrays, strict=True):
            self._cuda.write(address, np.ascontiguousarray(array))

    def _kept(self, name: str, parameters: Mapping[str, np.ndarray]) -> int:
        """The memory of a constant or a parameter."""
        if (parameter := self._program.parameters.get(name)) is None:
            content = self._program.content(name)
        else:
            content = np.ascontiguousarray(parameters[parameter]).tobytes()
        if content is None or len(content) < self._sizes[name]:
            raise DlasError(f"nobody knows what is in its buffer {parameter or name}")
        return self._cuda.memory(len(content), content=content)

    def _own_sizes(self) -> dict[int, int]:
        """The bytes of the memory that a call has for itself."""
        found: dict[int, int] = {}
        for name, role in self._program.roles.items():
            if role.argument is None:
                found[role.own] = max(found.get(role.own, 1), role.offset + self._sizes.get(name, 0))
        return found

    def _argument_sizes(self) -> dict[int, int]:
        """The bytes of arguments that kernels are given."""
        found: dict[int, int] = {}
        for name, role in self._program.roles.items():
            if role.argument is not None:
                found[role.argument] = max(found.get(role.argument, 1), role.offset + self._sizes.get(name, 0))
        return found

    def _argument(self, number: int, addresses: Sequence[int]) -> tuple[TensorType, int]:
        """The type and the place of an argument: the storage of results comes behind the inputs."""
        if number < len(self.inputs):
            return self.inputs[number], addresses[number]
        place = number - len(self.inputs)
        return self._storage[place], self._results[place]

    def _place(self, binding: Binding, addresses: Sequence[int]) -> int:
        role: Role | None = self._program.roles.get(binding.buffer)
        if role is None:
            return self._memory[binding.buffer] + binding.offset
        start = self._own[role.own] if role.argument is None else self._argument(role.argument, addresses)[1]
        return start + role.offset + binding.offset

    def _step(self, step: Step, addresses: Sequence[int]) -> Callable[[], None]:
        """What puts a step of the program on the stream."""
        places = tuple(self._place(one, addresses) for one in step.bindings)
        if isinstance(step, Fill):
            return lambda: self._cuda.fill(places[0], step.pattern, step.width, step.target.length)
        if isinstance(step, Copy):
            return lambda: self._cuda.copy(places[1], places[0], step.target.length)
        ready = self._kernels.ready(step, places)
        return lambda: self._cuda.launch(ready)


def _give_back(cuda: Cuda, graph: Any, addresses: Sequence[int]) -> None:
    cuda.synchronize()
    cuda.drop(graph)
    cuda.free(addresses)


AnySession: TypeAlias = Session | GraphSession


def _bytes(kind: TensorType) -> int:
    return int(np.prod(kind.shape)) * numpy_type(kind.dtype).itemsize
