"""Which CPU the thread that calls a GPU stays on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import fake_gpus
import pytest
from iree.runtime import _binding

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime import devices, worker
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device, open_device, resolve, resolve_streams

H200 = fake_gpus.cuda("H200", "9.0")
CPUS = [4, 6, 5, 7]


@pytest.fixture
def affinity(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is done to this process, in order, where it may use `CPUS`; nothing of it is."""
    done: list[object] = []
    monkeypatch.setattr(devices, "usable_cpus", lambda: CPUS)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: done.append(tuple(cpus)))

    class Driver:
        def create_device_by_uri(self, *_: object) -> str:
            done.append("made")
            return "device"

    monkeypatch.setattr(_binding, "create_hal_driver", lambda _: Driver())
    return done


@pytest.fixture(autouse=True)
def _asked_again() -> Iterator[None]:
    """Made-up GPUs are forgotten."""
    devices.own_gpu.cache_clear()
    yield
    devices.own_gpu.cache_clear()


def _has(monkeypatch: pytest.MonkeyPatch, gpu: dict[str, str]) -> None:
    monkeypatch.setattr(devices, "answer", lambda _: {"devices": [gpu]})


@pytest.mark.parametrize(
    ("driver", "gpu", "pin", "done"),
    [
        ("cuda", H200, True, [(4,), "made"]),
        ("cuda", H200, False, ["made"]),
        ("vulkan", fake_gpus.vulkan("RTX 4090"), True, [(4,), "made"]),
        # Its threads are this process's.
        ("vulkan", fake_gpus.LAVAPIPE, True, ["made"]),
    ],
)
def test_the_caller_of_a_gpu_stays_on_one_cpu_with_the_drivers_threads(
    driver: str,
    gpu: dict[str, str],
    pin: bool,
    done: list[object],
    affinity: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _has(monkeypatch, gpu)
    open_device(resolve(driver), pin=pin)
    assert affinity == done


def test_a_device_that_cannot_be_made_leaves_the_caller_where_it_was(
    affinity: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: str) -> object:
        raise RuntimeError("device lost")

    _has(monkeypatch, H200)
    monkeypatch.setattr(_binding, "create_hal_driver", lost)
    before = tuple(os.sched_getaffinity(0))
    with pytest.raises(DlasError, match="device `cuda` cannot be opened"):
        open_device(resolve("cuda"), pin=True)
    assert affinity == [(4,), before]


def test_every_stream_of_a_gpu_has_a_cpu_of_its_own_where_there_are_enough(
    affinity: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    _has(monkeypatch, H200)
    assert [device.caller for device in resolve_streams("cuda", 1, 3)] == [4, 6, 5]
    more = resolve_streams("cuda", 1, 5)
    assert [device.caller for device in more] == [None] * 5
    open_device(more[0], pin=True)
    assert affinity == ["made"]


def test_a_gpu_has_no_cpus_for_tools_and_records(affinity: list[object]) -> None:
    device = resolve("cuda")
    assert (device.cpus, device.threads, device.tool_flags()) == ((), 1, ["--device=cuda"])
    assert resolve("local", 2).caller is None


def test_a_worker_loads_for_the_device_that_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, sessions = [], []
    monkeypatch.setattr(Worker, "_request", lambda _, op, **arguments: asked.append((op, json.dumps(arguments))) or {})
    device = Device("cuda", 1, (), 6)
    with Worker(tmp_path / "module.vmfb", device):
        pass
    ((op, arguments),) = asked
    assert op == "load"

    class Session:
        inputs = ()

        def __init__(self, artifact: Path, device: Device, *, pin: bool) -> None:
            sessions.append((artifact, device, pin))

        def prepare(self, inputs: list) -> list:
            return inputs

    monkeypatch.setattr(worker, "open_session", Session)
    monkeypatch.setattr(worker, "Exchange", lambda _: None)
    worker._Server().load(**json.loads(arguments))
    assert sessions == [(tmp_path / "module.vmfb", device, True)]
