"""Jobs of a study on workers of a real cluster on this machine, whose processes are killed on the way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlas_mlir.errors import DlasError
from dlas_mlir.study import distributed, parcels
from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.cluster import OwnCluster
from dlas_mlir.study.distributed import Distributed
from dlas_mlir.study.executor import Done, Job

HERE = Path(__file__).parent
DEVICE = "board"
# In which this machine, which may be busy, does anything at all of what is tried here.
PATIENCE = 120.0
BLOCKS = int(os.environ.get("DLAS_TEST_BLOCKS", "100"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    """Four workers on one device; locks of this machine are apart from everybody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("locks")))
        patch.setenv("DLAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("DLAS_STUDY_ENTRY", "study_entries:run")
        patch.syspath_prepend(str(HERE))
        own = OwnCluster([DEVICE], 4)
        yield own
        own.close()


class _Kept:
    """A cluster that outlives the executors of the tests."""

    def __init__(self, cluster: OwnCluster) -> None:
        self.keep_alive = cluster.keep_alive

    def close(self) -> None: ...


@pytest.fixture
def executor(cluster: OwnCluster) -> Iterator[Distributed]:
    made = connect(cluster)
    yield made
    made.close()


def connect(cluster: OwnCluster, patience: float = 600.0) -> Distributed:
    return Distributed(cluster.address, [DEVICE], grace=PATIENCE, patience=patience, cluster=_Kept(cluster))


def job(name: str, **payload: object) -> Job:
    timeout = payload.pop("timeout", PATIENCE)
    assert isinstance(timeout, float)
    return Job(name, "block", {"name": name, **payload}, DEVICE, timeout)


def all_of(executor: Distributed, count: int, meanwhile: Callable[[], object] = lambda: None) -> list[Done]:
    """What has become of so many jobs."""
    done: list[Done] = []
    end = time.monotonic() + PATIENCE
    while len(done) < count and time.monotonic() < end:
        done += executor.wait(0.1)
        meanwhile()
    assert len(done) == count
    return done


def intervals(log: Path) -> list[tuple[int, int]]:
    """When each job began and ended, of those that did."""
    began: dict[str, int] = {}
    found = []
    for line in log.read_text().splitlines():
        what, name, when = line.split()
        if what == "begin":
            began[name] = int(when)
        else:
            found.append((began.pop(name), int(when)))
    return sorted(found)


def test_two_coordinators_and_four_workers_on_one_device_never_measure_at_once(cluster, executor, tmp_path):
    other = connect(cluster)
    log = tmp_path / "log"
    for number in range(BLOCKS // 2):
        executor.submit(job(f"a{number}", log=str(log)))
        other.submit(job(f"b{number}", log=str(log)))
    done: list[Done] = []
    while len(done) < BLOCKS:
        done += executor.wait(0.05) + other.wait(0.05)
    other.close()
    assert {one.end for one in done} == {"ok"}
    assert {one.answer["said"] for one in done} == {
        f"{which}{number}" for which in "ab" for number in range(BLOCKS // 2)
    }
    times = intervals(log)
    assert len(times) == BLOCKS
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("do", "end", "reason"),
    [
        ("refuse", "failed", "the layer conv1 is too wide"),
        ("fail", "failed", "KeyError: 'conv1'"),
        ("crash", "crash", "was killed by SIGSEGV"),
    ],
)
def test_how_a_job_ended_comes_back(executor, do, end, reason):
    executor.submit(job("x", do=do))
    executor.submit(job("y"))
    wrong, right = all_of(executor, 2)
    assert (wrong.end, right.end) == (end, "ok")
    assert reason in wrong.reason


def test_the_limit_counts_on_the_device_and_ends_what_hangs(executor):
    """The second waits for longer than its limit before it begins."""
    executor.submit(job("slow", seconds=3))
    executor.submit(job("short", timeout=2.5))
    executor.submit(job("hang", do="hang", timeout=2.0))
    slow, short, hang = all_of(executor, 3)
    assert (slow.end, short.end, hang.end) == ("ok", "ok", "timeout")
    assert "more than 2 s" in hang.reason
    assert 2.0 <= hang.seconds < 7.0


def test_what_kills_its_worker_is_lost_and_the_device_goes_on(executor):
    poison = job("poison", do="kill the worker")
    executor.submit(poison)
    executor.submit(job("y"))
    lost, right = all_of(executor, 2)
    assert (lost.job, lost.end, lost.innocent) == (poison, "lost", False)
    assert "died meanwhile" in lost.reason
    assert right.end == "ok"


def test_when_the_scheduler_is_killed_what_ran_is_lost_and_the_rest_is_done(cluster, executor, tmp_path):
    log = tmp_path / "log"
    executor.submit(job("long", do="hang", log=str(log)))
    executor.submit(job("y"))

    def kill_once_it_runs() -> None:
        if log.exists() and scheduler == cluster.pids[0]:
            os.kill(scheduler, signal.SIGKILL)

    scheduler = cluster.pids[0]
    lost, right = all_of(executor, 2, kill_once_it_runs)
    assert (lost.job.key, lost.end, lost.innocent) == ("long", "lost", True)
    assert right.end == "ok"
    assert scheduler != cluster.pids[0]


def test_a_coordinator_that_leaves_frees_the_device(cluster, tmp_path):
    log = tmp_path / "log"
    first = connect(cluster)
    first.submit(job("long", do="hang", log=str(log)))
    while not log.exists():
        assert first.wait(0.1) == []
    first.close()
    second = connect(cluster)
    second.submit(job("y"))
    assert [one.end for one in all_of(second, 1)] == ["ok"]
    second.close()


def test_a_device_that_nobody_offers_is_told_at_once(cluster):
    with pytest.raises(DlasError, match=r"nobody offers device `gpu` at .* offered are board"):
        Distributed(cluster.address, [DEVICE, "gpu"], grace=0.5, cluster=_Kept(cluster))


def test_a_worker_of_another_version_is_told_by_the_run(cluster, executor):
    """`executor` has found the worker, which is of its own version."""
    others = {**distributed.versions(), "iree-base-runtime": "2.0.0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "versions", lambda: others)
        with pytest.raises(DlasError, match=r"has iree-base-runtime \d.* where this run has 2\.0\.0"):
            Distributed(cluster.address, [DEVICE], grace=0.5, cluster=_Kept(cluster))
    connect(cluster).close()  # the scheduler is told which version workers are to have


def test_a_device_that_does_not_come_back_is_given_up(cluster, monkeypatch):
    made = connect(cluster, patience=0.5)
    monkeypatch.setattr(distributed, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(made._link, "offers", list)
    made.submit(job("x"))
    (done,) = all_of(made, 1)
    made.close()
    assert done.end == "failed"
    assert "nobody offers device `board`" in done.reason


def test_files_that_the_worker_cannot_reach_are_sent_to_it(cluster, executor, tmp_path, monkeypatch):
    """The folder of the run is given as one that only the run knows."""
    monkeypatch.setattr(parcels, "_PIECE", 1000)
    kept = Artifacts(str(tmp_path / "kept"))
    (tmp_path / "whole.vmfb").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "empty.npz").write_bytes(b"")
    names = {"vmfb": kept.put(tmp_path / "whole.vmfb"), "golden": kept.put(tmp_path / "empty.npz")}
    hidden = str(tmp_path / "hidden")
    monkeypatch.setattr(distributed, "Transfer", lambda url, *rest: parcels.Transfer(kept.url, *rest))
    executor.submit(job("x", do="read", artifacts=hidden, members=[names]))
    executor.submit(job("y", do="read", artifacts=hidden, members=[{"vmfb": "0" * 64 + ".vmfb"}]))
    there, missing = all_of(executor, 2)
    assert there.answer["bytes"] == {"vmfb": 2560, "golden": 0}
    assert (missing.end, f"the file {'0' * 16} is not in" in missing.reason) == ("failed", True)
    for name in names.values():
        parcels.own_place().joinpath(name[:2], name).write_bytes(b"damaged")
    executor.submit(job("z", do="read", artifacts=hidden, members=[names]))
    (again,) = all_of(executor, 1)
    assert again.answer == {**there.answer, "said": "z"}


def test_a_piece_that_arrives_damaged_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a.vmfb"
    file.write_bytes(b"right")
    name = Artifacts(str(tmp_path / "kept")).put(file)
    file.write_bytes(b"wrong")
    answers = [json.loads(parcels.receive(piece))["error"] for piece in parcels.pieces(file, name)]
    assert answers == [f"the file {name[:16]} has arrived damaged"]
