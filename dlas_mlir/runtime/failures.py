"""Errors of IREE's drivers for GPUs in plain words: what is missing, and what to choose instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dlas_mlir.runtime.gpus import plain

_OTHER_SCHEDULE = "another schedule, `:rule` or `:naive` behind the preset, or its target's recipe `stock`"
_LESS = "a smaller --batch, fewer --streams, or a recipe in 16 bits"
# What is added where no answer comes at all.
HANGING = f"a kernel may hang: choose {_OTHER_SCHEDULE}, or a longer --timeout"


@dataclass(frozen=True)
class _Failure:
    """`said` is what a driver says of it, `words` what that means."""

    said: re.Pattern[str]
    words: Callable[[re.Match[str]], str]


def _failure(said: str, words: str | Callable[[re.Match[str]], str]) -> _Failure:
    return _Failure(re.compile(said), words if callable(words) else lambda _: words)


def _too_much_shared(found: re.Match[str]) -> str:
    wanted, own = found["wanted"], found["own"]
    return (
        f"a kernel takes {wanted} bytes of shared memory, and the device has {own} for a workgroup; choose the target "
        f"host-gpu, which knows it, or {_OTHER_SCHEDULE}"
    )


def _too_many_threads(found: re.Match[str]) -> str:
    return (
        f"a kernel has workgroups of {found['wanted']} threads, and the device allows {found['own']}; "
        f"choose {_OTHER_SCHEDULE}"
    )


def _other_subgroups(found: re.Match[str]) -> str:
    least, most = found["least"], found["most"]
    own = least if least == most else f"{least} to {most}"
    return (
        f"a kernel is for subgroups of {found['wanted']} threads, and the device has {own}; choose the target "
        "`vulkan`, which is for any"
    )


# The first that fits is told.
_FAILURES = (
    _failure(r"requires (?P<wanted>\d+)B of shared memory.*maximum of (?P<own>\d+)B", _too_much_shared),
    _failure(r"block dims (?P<wanted>\w+) exceeds device maximum (?P<own>\w+)", _too_many_threads),
    _failure(r"subgroup size (?P<wanted>\d+) outside device range \[(?P<least>\d+), (?P<most>\d+)\]", _other_subgroups),
    _failure(
        r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        "the driver is older than the PTX in it; choose a newer driver, or the target cuda-sm80",
    ),
    _failure(
        r"CUDA_ERROR_(NO_BINARY_FOR_GPU|INVALID_PTX|INVALID_IMAGE|INVALID_SOURCE)|mismatched target chip"
        r"|hipErrorNoBinaryForGpu",
        "its code is not for this GPU; choose the target host-gpu, which is for the one that is here",
    ),
    _failure(
        r"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES|hipErrorLaunchOutOfResources",
        f"a kernel takes more registers or threads than a multiprocessor has; choose {_OTHER_SCHEDULE}",
    ),
    _failure(
        r"CUDA_ERROR_OUT_OF_MEMORY|hipErrorOutOfMemory|VK_ERROR_OUT_OF_(DEVICE|HOST)_MEMORY|VK_ERROR_TOO_MANY_OBJECTS"
        r"|RESOURCE_EXHAUSTED|out of memory",
        f"the device has too little memory; choose {_LESS}",
    ),
    _failure(
        r"CUDA_ERROR_(LAUNCH_TIMEOUT|TIMEOUT)|hipErrorLaunchTimeOut|VK_TIMEOUT|DEADLINE_EXCEEDED",
        f"a kernel did not end within the time that the driver gives one; choose {_OTHER_SCHEDULE}",
    ),
    _failure(
        r"CUDA_ERROR_(ILLEGAL_\w+|MISALIGNED_ADDRESS|INVALID_ADDRESS_SPACE|INVALID_PC|LAUNCH_FAILED|ASSERT"
        r"|HARDWARE_STACK_ERROR)|hipError(IllegalAddress|LaunchFailure)|VK_ERROR_DEVICE_LOST",
        f"a kernel failed on the device, which is a fault of the kernel's; choose {_OTHER_SCHEDULE}",
    ),
)


def explained(error: object) -> str:
    """What an error of a driver means, with its own first line behind; that line alone where nobody knows."""
    text = str(error)
    line = plain(error)
    for failure in _FAILURES:
        if found := failure.said.search(text):
            return f"{failure.words(found)} ({line[:200]})"
    return line or type(error).__name__
