"""Sessions and workers on small artifacts made from MLIR text."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dlas_mlir.compiler.tools import iree_compile
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime import devices, worker
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import Device, resolve
from dlas_mlir.runtime.exchange import Exchange
from dlas_mlir.runtime.session import Session, TensorType

DOUBLE = """
func.func @main(%x: tensor<2x3xf32>, %y: tensor<4xi32>) -> (tensor<2x3xf32>, tensor<4xi32>) {
  %a = arith.addf %x, %x : tensor<2x3xf32>
  %b = arith.addi %y, %y : tensor<4xi32>
  return %a, %b : tensor<2x3xf32>, tensor<4xi32>
}
"""
FLAGS = [
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
]
X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = np.arange(4, dtype=np.int32)


def compile_text(text, folder, *flags):
    source, vmfb = folder / "source.mlir", folder / "module.vmfb"
    source.write_text(text)
    subprocess.run([iree_compile(), source, *FLAGS, *flags, "-o", vmfb], check=True)
    return vmfb


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return compile_text(DOUBLE, tmp_path_factory.mktemp("double"))


@pytest.fixture
def golden(tmp_path):
    path = tmp_path / "golden.npz"
    np.savez(path, input_0=X, input_1=Y, output_0=2 * X, output_1=2 * Y)
    return path


def thread_counts():
    return [1, 2] if len(devices.usable_cpus()) > 1 else [1]


def test_session_calls_with_arrays(double):
    session = Session(double, resolve("local"))
    assert session.inputs == [TensorType((2, 3), "float32"), TensorType((4,), "int32")]
    outputs = session(X, Y)
    np.testing.assert_array_equal(outputs[0], 2 * X)
    np.testing.assert_array_equal(outputs[1], 2 * Y)


def test_results_outlive_the_session(double):
    session = Session(double, resolve("local"))
    outputs = session(X, Y)
    session.close()
    np.testing.assert_array_equal(outputs[0], 2 * X)


@pytest.mark.parametrize("arrays", [[X], [X, X], [X.T, Y], [X.astype(np.float64), Y]])
def test_wrong_arguments(double, arrays):
    with pytest.raises(DlasError, match="the function takes 2x3 float32, 4 int32, not "):
        Session(double, resolve("local"))(*arrays)


def test_artifact_of_another_machine(tmp_path):
    # The last flag counts.
    flags = ["--iree-llvmcpu-target-triple=aarch64-unknown-unknown-eabi-elf", "--iree-llvmcpu-target-cpu=generic"]
    elsewhere = compile_text(DOUBLE, tmp_path, *flags)
    with pytest.raises(DlasError, match="cannot be loaded on local-sync: it is compiled for another kind of machine"):
        Session(elsewhere, resolve("local"))


def test_truncated_artifact(double, tmp_path):
    broken = tmp_path / "broken.vmfb"
    broken.write_bytes(double.read_bytes()[:300])
    with pytest.raises(DlasError, match=r"broken.vmfb` cannot be loaded on local-sync"):
        Session(broken, resolve("local"))


def test_missing_artifact_and_function(double, tmp_path):
    with pytest.raises(DlasError, match="no artifact"):
        Session(tmp_path / "none.vmfb", resolve("local"))
    with pytest.raises(DlasError, match=r"has no function `other`; it has .*main"):
        Session(double, resolve("local"), function="other")


def test_unknown_driver():
    with pytest.raises(DlasError, match="device `nonsense` cannot be opened"):
        devices.open_device(Device("nonsense"), pin=False)


def test_too_many_threads():
    with pytest.raises(DlasError, match=r"100000 threads asked for, but this process may use 1 to \d+"):
        resolve("local", 100_000)


def test_threads_choose_the_driver():
    assert resolve("local").driver == "local-sync"
    assert resolve("vulkan", 4) == Device("vulkan", 4, caller=devices.usable_cpus()[0])
    if len(devices.usable_cpus()) > 1:
        two = resolve("local", 2)
        assert two.driver == "local-task"
        assert len(set(two.cpus)) == 2


def test_threads_of_a_device_do_not_preempt_one_another(double):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with devices.without_preemption(resolve("local")):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    device = Device("local-task", 1, tuple(devices.usable_cpus()[:1]))
    with devices.without_preemption(device):
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    before = set(Path("/proc/self/task").iterdir())
    session = Session(double, device)
    workers = set(Path("/proc/self/task").iterdir()) - before
    assert os.SCHED_BATCH in [os.sched_getscheduler(int(thread.name)) for thread in workers]
    np.testing.assert_array_equal(session(X, Y)[1], 2 * Y)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize("threads", thread_counts())
def test_a_pinned_caller_leaves_the_workers_on_their_cpus(double, threads):
    device = resolve("local", threads)
    allowed, before = os.sched_getaffinity(0), set(Path("/proc/self/task").iterdir())
    try:
        session = Session(double, device, pin=True)
        assert os.sched_getaffinity(0) == {device.cpus[0]}
        workers = set(Path("/proc/self/task").iterdir()) - before
        places = [os.sched_getaffinity(int(thread.name)) for thread in workers]
        np.testing.assert_array_equal(session(X, Y)[1], 2 * Y)
    finally:
        os.sched_setaffinity(0, allowed)
    if threads > 1:
        assert all({cpu} in places for cpu in device.cpus)


def test_iree_s_tools_are_told_the_same_device():
    assert resolve("local", 1).tool_flags() == ["--device=local-sync", "--device_allocator=caching"]
    flags = Device("local-task", 2, (0, 3)).tool_flags()
    assert "--task_topology_cpu_ids=0,3" in flags
    assert any(flag.startswith("--task_worker_spin_us=") for flag in flags)


@pytest.mark.parametrize("threads", thread_counts())
def test_worker(double, golden, threads):
    with Worker(double, resolve("local", threads), golden) as worker:
        assert worker.check().verified
        assert len(worker.turn(min_seconds=0, min_count=3).ns) == 3
        worker.restart()
        assert worker.turn(min_seconds=0, min_count=3).cpu_ns > 0
        np.testing.assert_array_equal(worker.run()[1], 2 * Y)
        np.testing.assert_array_equal(worker.run([X + 1, Y])[0], 2 * X + 2)
        with pytest.raises(DlasError, match="the function takes"):
            worker.run([X])
        assert worker.check().verified


def test_worker_makes_inputs_when_there_are_none(double):
    with Worker(double, resolve("local")) as worker:
        outputs = worker.run()
    assert [array.shape for array in outputs] == [(2, 3), (4,)]


def test_worker_sees_wrong_results(double, tmp_path):
    np.savez(tmp_path / "wrong.npz", input_0=X, input_1=Y, output_0=2 * X + 1, output_1=2 * Y)
    with Worker(double, resolve("local"), tmp_path / "wrong.npz") as worker:
        result = worker.check()
    assert not result.verified
    assert result.max_rel_error == pytest.approx(1 / 11)


def test_a_killed_worker_is_told(double):
    with Worker(double, resolve("local")) as worker:
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(DlasError, match=r"module.vmfb` was killed by SIGKILL during `run`"):
            worker.run()


def test_the_machine_is_described():
    assert devices.cpu_model()
    assert set(devices.usable_cpus()) == os.sched_getaffinity(0)


def test_an_output_is_checked_in_twice_its_size(tmp_path):
    """One of 64 MB, and one that is expected; neither is copied as a whole, nor held in double precision."""
    count = 1 << 24
    text = f"""
func.func @main(%x: tensor<1xf32>) -> tensor<{count}xf32> {{
  %empty = tensor.empty() : tensor<{count}xf32>
  %y = linalg.generic {{
      indexing_maps = [affine_map<(i) -> (0)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}}
      ins(%x : tensor<1xf32>) outs(%empty : tensor<{count}xf32>) {{
  ^bb0(%a: f32, %b: f32):
    linalg.yield %a : f32
  }} -> tensor<{count}xf32>
  return %y : tensor<{count}xf32>
}}
"""
    arrays = {"input_0": np.ones(1, np.float32), "output_0": np.ones(count, np.float32)}
    named: dict = arrays
    np.savez(tmp_path / "golden.npz", **named)
    server = worker._Server()
    exchange = Exchange()
    golden = str(tmp_path / "golden.npz")
    server.load(str(compile_text(text, tmp_path)), "local-sync", 1, [], golden, os.dup(exchange.fileno()))
    tracemalloc.start()  # which sees numpy's memory, and not the device's
    try:
        assert server.check(None)["verified"]
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 4 * count
    finally:
        tracemalloc.stop()
        # What lies in the device's memory goes before the device.
        del server.arguments
        server.session.close()


def test_arrays_are_passed_in_a_file_without_a_name(tmp_path, monkeypatch):
    """None is left, however the two that use it end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = Exchange()
    theirs = Exchange(os.dup(mine.fileno()))
    for count in (1000, 10):  # the second is not followed by what is left of the first
        mine.put({"a": np.arange(count), "b": np.ones(count, ml_dtypes.bfloat16)})
        assert not list(tmp_path.iterdir())
        arrays = theirs.take()
        np.testing.assert_array_equal(arrays["a"], np.arange(count))
        assert arrays["b"].dtype == np.float32
    assert os.fstat(mine.fileno()).st_size == 0
