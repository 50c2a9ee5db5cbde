"""What a profile is made of: times and names of dispatches, and the peak that they are held to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

import pytest

from dlas_mlir.benchmark import profiling
from dlas_mlir.benchmark.bench import peak_gflops
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.profile import PREFIX, DispatchTime, read_dispatches, remove_what_is_left


def test_dispatch_times_are_medians_over_calls():
    def event(name, start, duration, index=0):
        row = {"type": "host_dispatch_event", "key": name, "start_host_time_ns": start, "duration_ns": duration}
        return json.dumps({**row, "submission_id": start // 100, "command_index": index})

    events = [event("init", 1, 9)]
    for call, duration in enumerate((1_000_000, 5_000_000, 2_000_000)):
        # The second call starts its dispatches in the other order.
        first, second = (20, 10) if call == 1 else (10, 20)
        events.append(event("a", 100 * (call + 1) + first, duration, 1))
        events.append(event("b", 100 * (call + 1) + second, 3_000_000, 2))
    assert read_dispatches("\n".join(events), 3) == [
        DispatchTime("a", (1_000_000, 5_000_000, 2_000_000)),
        DispatchTime("b", (3_000_000,) * 3),
    ]
    assert DispatchTime("a", (1_000_000, 5_000_000, 2_000_000)).ms == 2.0


def test_no_dispatches_is_an_error():
    with pytest.raises(DlasError, match="recorded no dispatches"):
        read_dispatches("", 3)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("main_dispatch_1_conv_64x32x32x3x3x3_f32", 64 * 32 * 32 * 27),
        ("main_dispatch_11_matmul_like_128x16x16x64_f32", 128 * 16 * 16 * 64),
        ("main_dispatch_30_matvec_like_10x512_f32", 5120),
        ("main_dispatch_29_reduction_512x16_f32", 0),
        ("main_dispatch_2_slow_memcpy", 0),
    ],
)
def test_macs_by_a_dispatch_name(name, macs):
    assert profiling.contraction_macs(name) == macs


def test_the_peak_is_measured():
    peak = peak_gflops()
    if peak is None:
        pytest.skip("no CPU target of ours fits this machine")
    assert peak > 1


def test_folders_of_those_that_were_killed_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, ours, other = (tmp_path / name for name in (f"{PREFIX}{gone.pid}-a", f"{PREFIX}{os.getpid()}-b", "dlas-c"))
    for folder in (left, ours, other):
        folder.mkdir()
        (folder / "0.npy").write_bytes(b"x")
    remove_what_is_left()
    assert sorted(tmp_path.iterdir()) == sorted([ours, other])
