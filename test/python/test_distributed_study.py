"""A whole study on workers, whose run is killed on the way: what is found is the same, and nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlas_mlir.process import python
from dlas_mlir.study.cluster import OwnCluster
from dlas_mlir.study.run import STORE
from dlas_mlir.study.store import StudyStore

SPEC = """
[study]
name = "s"
[devices.board]
target = "host"
kind = "worker"
[axes]
dataset = "digits"
model = ["mobilenetv1-cifar"]
primitive = ["direct", "gemm", "spatial-pack"]
schedule = ["naive", "rule"]
batch = BATCHES
[measurement]
timeout = 30
members = 3
"""
PATIENCE = 120.0
# By hand more of them are tried, of a larger study.
KILLS = int(os.environ.get("DLAS_TEST_KILLS", "3"))
BATCHES = int(os.environ.get("DLAS_TEST_BATCHES", "2"))
SEED = int(os.environ.get("DLAS_TEST_SEED", "0"))


class Study:
    """Runs of one specification, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.log, self.more = folder, folder / "log", folder / "more.json"
        self.spec = folder / "s.toml"
        self.spec.write_text(SPEC.replace("BATCHES", str(list(range(1, 1 + BATCHES)))))

    def start(self, name: str, cluster: OwnCluster) -> subprocess.Popen[bytes]:
        command = [*python("dlas_mlir.cli.dlas"), "study", "run", str(self.spec), "--folder", str(self.root / name)]
        command += ["--jobs", "1", "--scheduler", cluster.address.url, "--wait", str(int(PATIENCE))]
        with (self.root / "said").open("wb") as said:
            return subprocess.Popen(command, stdout=said, stderr=said)

    def run(self, name: str, cluster: OwnCluster) -> None:
        """To its end."""
        self.ends(self.start(name, cluster), cluster)

    def ends(self, process: subprocess.Popen[bytes], cluster: OwnCluster) -> None:
        """As it should."""
        while process.poll() is None:
            cluster.keep_alive()
            time.sleep(0.05)
        assert process.returncode == 0, (self.root / "said").read_text()

    def jobs(self) -> Counter[str]:
        """How often each was begun."""
        return Counter(self.log.read_text().splitlines())

    def found(self, name: str) -> dict[str, Any]:
        """The points with all that is known of them, but for how long it took to find out."""
        with StudyStore(self.root / name / STORE, create=False) as store:
            metrics: dict[str, dict[str, float]] = {}
            for point, metric in store.metrics():
                metrics.setdefault(point, {})[metric.name] = metric.value
            return {row.id: (row.point, row.state, row.reason, metrics.get(row.id)) for row in store.points()}

    def committed(self, name: str) -> set[str]:
        """The keys of what is done."""
        if not (self.root / name / STORE).exists():
            return set()
        with StudyStore(self.root / name / STORE, create=False) as store:
            return {row.key for row in store.steps()} | {row.key for row in store.blocks() if row.state == "ok"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, OwnCluster]]:
    folder = tmp_path_factory.mktemp("study")
    made = Study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("locks")))
        patch.setenv("DLAS_CACHE", str(folder / "cache"))
        patch.setenv("DLAS_STUDY_ENTRY", "study_runner:run")
        seconds = dict.fromkeys(("train", "compress", "compile", "block"), 0.02)
        settings = {"log": str(made.log), "seconds": seconds, "more": str(made.more)}
        patch.setenv("DLAS_TEST_STUDY", json.dumps(settings))
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        cluster = OwnCluster(["board"], 2)
        yield made, cluster
        cluster.close()


@pytest.fixture(scope="module")
def expected(study: tuple[Study, OwnCluster]) -> dict[str, Any]:
    """What a run finds that nobody disturbs."""
    made, cluster = study
    made.run("whole", cluster)
    found = made.found("whole")
    assert Counter(row[1] for row in found.values()) == {"ok": 6 * BATCHES}
    assert set(made.jobs().values()) == {1}
    return found


def test_kill_9_of_the_run_at_any_moment(study, expected):
    made, cluster = study
    source = random.Random(SEED)
    done: set[str] = set()
    begun: Counter[str] = Counter()
    made.log.unlink()
    for _ in range(KILLS):
        process = made.start("killed", cluster)
        began = time.monotonic()
        while not made.log.exists() and process.poll() is None and time.monotonic() < began + PATIENCE:
            time.sleep(0.01)
        time.sleep(source.uniform(0, 3.0))
        process.kill()
        process.wait()
        now = made.committed("killed")
        assert done <= now
        done, begun = now, made.jobs()
        # What was committed before the kill did not run again after it.
    made.run("killed", cluster)
    assert made.found("killed") == expected
    again = {name: count for name, count in made.jobs().items() if count > begun[name] and name.split()[1] in done}
    assert not again
    # Of each kill, at most one block was lost, for there is one device.
    blocks = [count for name, count in made.jobs().items() if name.startswith("block")]
    assert sum(blocks) - len(blocks) <= KILLS


def test_what_kills_its_process_or_hangs_is_told_and_all_others_finish(study):
    made, cluster = study
    made.more.write_text(json.dumps({"poison": "host/gemm:naive", "hang": "host/spatial-pack:naive"}))
    made.spec.write_text(
        made.spec.read_text().replace("timeout = 30", "timeout = 3").replace("members = 3", "members = 2")
    )
    process = made.start("poisoned", cluster)
    while process.poll() is None:
        cluster.keep_alive()
        time.sleep(0.05)
    made.more.unlink()
    assert process.returncode == 1
    with StudyStore(made.root / "poisoned" / STORE, create=False) as store:
        blocks = {block.key: block for block in store.blocks()}
        tries = {key: [attempt.state for attempt in store.attempts(key)] for key in blocks}
        presets = {row.id: f"{row.point.primitive}:{row.point.schedule}" for row in store.points()}
        states = {presets[row.id]: row.state for row in store.points()}
        reasons = {row.state: row.reason for row in store.points()}
    late = [block for block in blocks.values() if block.state == "timeout"]
    broken = [key for key, block in blocks.items() if block.state == "crash"]
    assert len(blocks) == 5 * BATCHES
    assert (states.pop("gemm:naive"), states.pop("spatial-pack:naive")) == ("crash", "timeout")
    assert set(states.values()) == {"ok"}
    assert [tries[key] for key in broken] == [["crash", "crash"]] * BATCHES
    assert "was killed by SIGSEGV" in reasons["crash"]
    assert all(3 <= block.seconds < 8 for block in late)


def test_kill_9_of_workers_and_of_the_scheduler(study, expected):
    made, cluster = study
    source = random.Random(SEED)
    made.log.unlink()
    process = made.start("hunted", cluster)
    while not made.log.exists():
        time.sleep(0.01)
    for _ in range(KILLS):
        time.sleep(source.uniform(0.2, 2.0))
        cluster.keep_alive()
        os.kill(source.choice(cluster.pids), 9)
    made.ends(process, cluster)
    assert made.found("hunted") == expected
