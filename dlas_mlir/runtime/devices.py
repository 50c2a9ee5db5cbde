"""Devices that artifacts run on, with the threads they use pinned and counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.failures import explained
from dlas_mlir.runtime.gpu_query import answer
from dlas_mlir.runtime.gpus import Gpu, told

LOCAL_DRIVERS = ("local", "local-sync", "local-task")
# How long a worker looks for work before it sleeps: between two dispatches it seldom has to be woken then. At the end
# of a call it looks as long in vain, in the way of the caller (docs/measuring.md).
_SPIN_US = 4


@dataclass(frozen=True)
class Device:
    """A driver and its CPU threads: `local-sync` runs on the calling thread, `local-task` on workers.

    `cpus` are the logical CPUs that the threads are pinned to; empty where the driver has no CPU workers. `caller` is
    the CPU that who calls a GPU is pinned to; None where that is left to the kernel.
    """

    driver: str
    threads: int = 1
    cpus: tuple[int, ...] = ()
    caller: int | None = None

    @property
    def local(self) -> bool:
        """Whether it is this machine's CPUs."""
        return self.driver in LOCAL_DRIVERS

    def tool_flags(self) -> list[str]:
        """The flags that give the command-line tools (iree-benchmark-module) the same device."""
        flags = [f"--device={self.driver}"]
        if self.local:
            flags.append("--device_allocator=caching")
        return [*flags, *self.worker_flags()]

    def worker_flags(self) -> list[str]:
        """The flags of IREE that say where workers run, and how they wait."""
        if self.driver != "local-task":
            return []
        return [
            f"--task_topology_cpu_ids={','.join(map(str, self.cpus))}",
            f"--task_worker_spin_us={_SPIN_US}",
        ]


def resolve(driver: str, threads: int = 1) -> Device:
    """The device for `threads` threads of a preset's driver; they decide which of the CPU drivers it is.

    Raises DlasError when this process may not use that many CPUs.
    """
    available = usable_cpus()
    if driver not in LOCAL_DRIVERS:
        return Device(driver, threads, caller=available[0])
    if not 1 <= threads <= len(available):
        raise DlasError(f"{threads} threads asked for, but this process may use 1 to {len(available)}")
    return Device("local-sync" if threads == 1 else "local-task", threads, tuple(available[:threads]))


def resolve_streams(driver: str, threads: int, streams: int) -> list[Device]:
    """A device for each of `streams` callers at the same time, on CPUs of its own. Raises DlasError for more threads
    than this process may use CPUs; callers of a GPU may be more, and are pinned where they are not."""
    if driver not in LOCAL_DRIVERS:
        available = usable_cpus()
        callers = available[:streams] if streams <= len(available) else [None] * streams
        return [Device(driver, threads, caller=caller) for caller in callers]
    every = resolve(driver, threads * streams).cpus
    kind = resolve(driver, threads).driver
    return [Device(kind, threads, every[i * threads : (i + 1) * threads]) for i in range(streams)]


def usable_cpus() -> list[int]:
    """The logical CPUs of this process, one of every physical core first."""
    allowed = sorted(os.sched_getaffinity(0))
    first = [cpu for cpu in allowed if cpu == min(_siblings(cpu) & set(allowed) or {cpu})]
    return first + [cpu for cpu in allowed if cpu not in first]


def _siblings(cpu: int) -> set[int]:
    listing = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    if not listing.exists():
        return {cpu}
    siblings: set[int] = set()
    for part in listing.read_text().strip().split(","):
        low, _, high = part.partition("-")
        siblings.update(range(int(low), int(high or low) + 1))
    return siblings


def open_device(device: Device, *, pin: bool) -> Any:
    """An iree.runtime HalDevice. With `pin`, the calling thread stays on the device's first CPU: it computes there, or
    sleeps while a worker does, which it then wakes and is woken by without another CPU having to come out of its halt.
    The caller of a GPU stays on the device's `caller`, with the threads that its driver makes (docs/gpu.md).

    The caching allocator is decisive: without it each call's fresh pages fault (0.115 against 1.40 ms
    measured on one binary). Raises DlasError when the driver is absent or finds no device, and says what is missing.
    """
    from iree.runtime import _binding, flags

    if not device.local:
        own_gpu(device.driver)
    before, cpus = os.sched_getaffinity(0), callers_cpus(device) if pin else ()
    if cpus and not device.local:
        # A call goes from thread to thread, which wake each other: the driver's begin where this one is.
        os.sched_setaffinity(0, cpus)
    flags.parse_flags(*device.worker_flags())
    allocators = ["caching"] if device.local else None
    try:
        # A driver of our own, not the process-wide cached one: the flags are read when it is made.
        create = _binding.create_hal_driver  # pyright: ignore[reportAttributeAccessIssue]
        # A GPU's driver has its threads preempt the caller: only that one gives way.
        with without_preemption(device) if device.local else nullcontext():
            made = create(device.driver).create_device_by_uri(device.driver, allocators)
    except (ValueError, RuntimeError) as error:
        os.sched_setaffinity(0, before)
        raise DlasError(f"device `{device.driver}` cannot be opened: {explained(error)}") from error
    if cpus and device.local:
        # After the workers are made, which would begin with it.
        os.sched_setaffinity(0, cpus)
    return made


def callers_cpus(device: Device) -> tuple[int, ...]:
    """Where the calling thread stays; empty: wherever the kernel puts it."""
    if device.local:
        return device.cpus[:1]
    # A CPU that does as a GPU computes on threads of this process, some of which are made later, by the caller.
    if device.caller is None or own_gpu(device.driver).software:
        return ()
    return (device.caller,)


@cache
def own_gpu(driver: str) -> Gpu:
    """The GPU that `driver` opens, asked in this process: of a worker, whose driver it is. Others ask `gpus`. Raises
    NoGpu."""
    return told(driver, answer(driver))[0]


@contextmanager
def without_preemption(device: Device) -> Iterator[None]:
    """The threads of a `local-task` device do not preempt one another: those made inside, and the caller inside. Nor
    does the caller of a GPU preempt the driver's threads, which may be on its CPU.

    `iree_async_semaphore_multi_wait`, where a call waits, is woken by a worker from within a callback and then spins
    until that callback has ended. If the kernel lets it start on that worker's CPU, the worker cannot end it, and both
    wait for the end of a time slice (2 ms measured, with another CPU idle; on an H200 4 ms, in every sixth call of
    ResNet50). Linux preempts nothing in favour of a thread of SCHED_BATCH. The policy of the calling thread is put back
    afterwards.
    """
    if device.driver == "local-sync" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    _set_policy(os.SCHED_BATCH)
    try:
        yield
    finally:
        _set_policy(os.SCHED_OTHER)


def _set_policy(policy: int) -> None:
    # A sandbox may forbid it: then calls are merely slower.
    with suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(0))


def cpu_model() -> str:
    """The CPU's name as the kernel gives it."""
    return _cpuinfo().get("model name") or os.uname().machine


def cpu_features() -> str:
    """The CPU's feature flags, space separated, as the kernel gives them."""
    info = _cpuinfo()
    return info.get("flags") or info.get("Features") or ""


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    first = path.read_text().split("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
