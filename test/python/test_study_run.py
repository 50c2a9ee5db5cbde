"""Runs of studies with a runner that measures nothing: what is done, in which order, and what survives."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dlas_mlir.cli import dlas
from dlas_mlir.process import python
from dlas_mlir.study.run import STORE, claimed
from dlas_mlir.study.store import StudyStore

SPEC = """
[study]
name = "s"
[axes]
dataset = "digits"
model = ["mobilenetv1-cifar", "vgg16-cifar"]
compression = ["none", "prune-50"]
primitive = ["direct", "gemm", "spatial-pack"]
format = ["dense", "sparse"]
schedule = ["naive", "rule"]
[measurement]
timeout = 30
"""
# 12 dense points of each model, and 6 sparse ones.
POINTS = 36


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("DLAS_STUDY_ENTRY", "study_runner:run")
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the locks of the machine are not those of others who measure
    return Study(tmp_path, monkeypatch)


class Study:
    """A study in a folder of its own, run by commands."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.path, self.log = folder / "study", folder / "s.toml", folder / "log"
        self.monkeypatch = monkeypatch
        self.write(SPEC)
        self.runner()

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def runner(self, **settings: Any) -> None:
        self.monkeypatch.setenv("DLAS_TEST_STUDY", json.dumps({"log": str(self.log), **settings}))

    def run(self, *arguments: str) -> int:
        return dlas.main(["study", "run", str(self.path), "--folder", str(self.folder), "--jobs", "2", *arguments])

    def jobs(self) -> Counter[str]:
        """How often each job was begun."""
        return Counter(self.log.read_text().splitlines()) if self.log.exists() else Counter()

    def kinds(self) -> Counter[str]:
        return Counter(line.split()[0] for line in self.jobs())

    def store(self) -> StudyStore:
        return StudyStore(self.folder / STORE, create=False)

    def states(self) -> dict[str, int]:
        with self.store() as store:
            return store.states()

    def found(self) -> dict[str, Any]:
        """Points with all that is known of them."""
        with self.store() as store:
            metrics: dict[str, dict[str, float]] = {}
            for name, metric in store.metrics():
                metrics.setdefault(name, {})[metric.name] = metric.value
            return {row.id: (row.point, row.state, row.reason, metrics.get(row.id)) for row in store.points()}


def test_steps_that_points_share_are_done_once(study: Study) -> None:
    assert study.run() == 0
    assert study.states() == {"ok": POINTS, "not-applicable": 12}
    assert set(study.jobs().values()) == {1}
    kinds = study.kinds()
    # Weights of both models, test images and imports of both checkpoints, and what differs for each point.
    assert {kind: kinds[kind] for kind in ("train", "compress", "import")} == {"train": 2, "compress": 2, "import": 5}
    assert {kinds[kind] for kind in ("compile", "verify", "accuracy")} == {36}
    assert not kinds["lower"]  # nothing is searched for
    assert study.run() == 0
    assert set(study.jobs().values()) == {1}


def test_blocks_hold_what_is_compared_and_their_base(study: Study) -> None:
    study.run()
    with study.store() as store:
        points = {row.id: row.point for row in store.points()}
        blocks = list(store.blocks())
        assert {len(block.points) for block in blocks} <= set(range(2, 9))
        for block in blocks:
            first, *others = (points[name] for name in block.points)
            assert (first.compression, first.primitive, first.schedule) == ("none", "direct", "naive")
            assert {point.model for point in others} == {first.model}
        timed = Counter(name for _, name, turns in store.turns() if turns)
        assert set(timed) == {name for name, row in study.found().items() if row[1] == "ok"}


def test_what_is_new_runs_and_what_left_is_kept(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run()
    before = study.found()
    study.write(SPEC.replace('"gemm", "spatial-pack"', '"spatial-pack", "winograd"'))
    study.log.unlink()
    assert study.run() == 0
    assert "the specification has changed: 16 points are new, 16 have left it" in capsys.readouterr().err
    after = study.found()
    assert {name: after[name] for name in before} == before
    assert study.states()["left"] == 16
    assert study.kinds()["compile"] == 8  # dense winograd alone: it has no sparse recipe
    study.write(SPEC)
    study.log.unlink()
    assert study.run() == 0
    assert not study.jobs()
    assert study.states()["left"] == 16


def test_the_reason_of_a_cell_is_that_of_the_specification_now(study: Study) -> None:
    exclude = '[[exclude]]\nwhen = "primitive == \'gemm\'"\nreason = "{}"\n'
    for reason in ("too slow", "not asked"):
        study.write(SPEC + exclude.format(reason))
        study.run("--limit", "1")
    with study.store() as store:
        assert {row.reason for row in store.points("state = 'excluded'")} == {"not asked"}


def test_filter_and_limit_and_what_is_left_then(study: Study) -> None:
    assert study.run("--filter", "model == 'vgg16-cifar' and format == 'dense'", "--limit", "5") == 0
    assert study.states() == {"planned": POINTS - 5, "not-applicable": 12, "ok": 5}
    assert study.run("--filter", "model == 'vgg16-cifar'") == 0
    assert study.states()["ok"] == POINTS // 2


def test_a_failed_step_fails_its_points_and_no_other(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.runner(refused="host/gemm:naive", wrong="host/sparse-direct")
    assert study.run() == 1
    states = study.states()
    assert (states["compile-error"], states["wrong"], states["ok"]) == (4, 4, POINTS - 8)
    reasons = {row[2] for row in study.found().values() if row[1] == "compile-error"}
    assert reasons == {"compile: iree-compile failed with exit code 1"}
    study.runner()
    study.log.unlink()
    assert study.run() == 0
    assert not study.jobs()  # failures stay, until they are asked for again
    assert study.run("--retry", "failed") == 0
    assert study.states()["ok"] == POINTS


def test_a_recipe_that_does_not_fit_is_a_cell_with_a_reason(study: Study) -> None:
    study.runner(unfit="vgg16-cifar")
    study.write(SPEC + '[models.vgg16-cifar]\nweights = "weights.safetensors"\n')
    (study.path.parent / "weights.safetensors").write_text("weights")
    assert study.run() == 0
    rows = [row for row in study.found().values() if row[2].startswith("compress: step 1 (prune)")]
    assert {row[1] for row in rows} == {"not-applicable"}
    assert len(rows) == 12


def test_fail_fast_ends_at_the_first_failure(study: Study) -> None:
    study.runner(refused="host/direct:naive")
    assert study.run("--fail-fast") == 1
    assert study.states()["planned"] > 20


def test_a_block_that_kills_its_process_is_tried_twice(study: Study) -> None:
    study.runner(poison="host/gemm:naive")
    assert study.run() == 1
    with study.store() as store:
        broken = [block for block in store.blocks() if block.state == "crash"]
        assert broken
        for block in broken:
            attempts = list(store.attempts(block.key))
            assert [attempt.state for attempt in attempts] == ["crash", "crash"]
            assert "was killed by SIGSEGV" in block.reason
        states = {row.id: row.state for row in store.points()}
        hit = {name for block in broken for name in block.points}
    found = study.found()
    assert {name for name, state in states.items() if state == "crash"} <= hit
    assert all(states[name] == "ok" for name, row in found.items() if name not in hit and row[1] != "not-applicable")


def test_what_hangs_is_stopped_in_time(study: Study) -> None:
    study.runner(hang="host/sparse-gemm:naive")
    study.write(SPEC.replace("timeout = 30", "timeout = 2").replace(', "vgg16-cifar"', ""))
    assert study.run() == 1
    with study.store() as store:
        late = [block for block in store.blocks() if block.state == "timeout"]
        assert late
        assert all(2 <= block.seconds < 7 for block in late)
        assert store.states()["timeout"] > 0
        assert store.states()["ok"] > 0


def test_points_that_were_measured_otherwise_are_stale(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run()
    study.write(SPEC + "rounds = 8\n")
    study.log.unlink()
    assert study.run() == 0
    assert f"{POINTS} points were measured with other versions or settings" in capsys.readouterr().err
    assert not study.jobs()
    assert study.run("--retry", "stale") == 0
    assert set(study.kinds()) == {"block"}
    assert study.run() == 0
    assert "other versions" not in capsys.readouterr().err.rpartition("plan s")[2]


def test_a_budget_ends_a_run(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.runner(seconds={"train": 0.5})
    assert study.run("--budget", "0.2s") == 0
    assert "stopped early: the budget is used up" in capsys.readouterr().out
    assert study.states()["planned"] == POINTS


def _start(study: Study) -> subprocess.Popen[bytes]:
    command = [*python("dlas_mlir.cli.dlas"), "study", "run", str(study.path), "--folder", str(study.folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([*command, "--jobs", "2"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def test_what_a_budget_leaves_has_a_reason(study: Study) -> None:
    study.runner(seconds={"compile": 0.5})
    assert study.run("--budget", "1.5") == 0
    with study.store() as store:
        reasons = {row.reason for row in store.points("state = 'planned'")}
    assert reasons == {"not measured yet: the budget is used up"}
    study.runner()
    assert study.run() == 0
    with study.store() as store:
        assert {row.reason for row in store.points("state = 'ok'")} == {""}


def test_kill_9_at_any_moment_changes_nothing_of_what_is_found(study: Study, tmp_path: Path) -> None:
    study.run()
    expected = study.found()
    study.folder = tmp_path / "killed"
    study.log.unlink()
    study.runner(seconds=dict.fromkeys(("train", "compress", "compile", "block"), 0.02))
    source = random.Random(int(os.environ.get("DLAS_TEST_SEED", "0")))
    kills = int(os.environ.get("DLAS_TEST_KILLS", "20"))
    committed: set[str] = set()
    for _ in range(kills):
        process = _start(study)
        began = time.monotonic()
        while not (study.folder / STORE).exists() and process.poll() is None and time.monotonic() < began + 60:
            time.sleep(0.01)
        time.sleep(source.uniform(0, 0.7))
        process.kill()
        process.communicate()
        if not (study.folder / STORE).exists():
            continue
        with study.store() as store:
            done = {row.key for row in store.steps()} | {block.key for block in store.blocks() if block.state == "ok"}
        assert committed <= done
        committed = done
    committed_counts = {key: count for key, count in study.jobs().items() if key.split()[1] in committed}
    assert study.run() == 0
    assert study.found() == expected
    # Nothing that was committed has run again.
    assert {key: study.jobs()[key] for key in committed_counts} == committed_counts


def test_the_first_ctrl_c_drains_and_the_second_stops(study: Study) -> None:
    study.runner(seconds={"train": 3.0})
    process = _start(study)
    _wait_for(study, "train")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stopping when what runs has ended" in error
    with study.store() as store:
        assert {row.kind for row in store.steps()} >= {"train"}
    study.log.unlink()
    study.folder = study.folder.with_name("other")
    study.runner(seconds={"train": 60.0})
    process = _start(study)
    _wait_for(study, "train")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    with study.store() as store:
        assert "train" not in {row.kind for row in store.steps()}


def _wait_for(study: Study, kind: str) -> None:
    end = time.monotonic() + 60
    while kind not in study.kinds() and time.monotonic() < end:
        time.sleep(0.05)
    assert kind in study.kinds()


def test_one_run_at_a_time(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    with claimed(study.folder):
        assert study.run() == 1
    assert f"another run is at work on it (process {os.getpid()})" in capsys.readouterr().err


def test_a_full_disk_ends_a_run_and_loses_nothing(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    prepare = StudyStore._prepare

    def small(store: StudyStore, create: bool) -> None:
        prepare(store, create)
        store._connection.execute(f"PRAGMA max_page_count = {store._one('PRAGMA page_count') + 12}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudyStore, "_prepare", small)
        assert study.run() == 1
    assert re.search(r"study.db: the disk is full; what was recorded before is safe", capsys.readouterr().err)
    with study.store() as store:
        done = {row.key for row in store.steps()}
    assert done
    before = study.jobs()
    assert study.run() == 0
    again = {line for line, count in study.jobs().items() if count > before[line] and line.split()[1] in done}
    assert not again
    assert study.states() == {"ok": POINTS, "not-applicable": 12}


def test_a_folder_on_a_network_disk_is_refused(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mounts = f"server:/x {study.folder.parent} nfs4 rw 0 0\nroot / ext4 rw 0 0\n"
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, *more, **named: mounts if str(path) == "/proc/mounts" else read(path, *more, **named),
    )
    assert study.run() == 1
    assert (
        "study.db: SQLite's locks do not work on nfs4; keep a store of a study on a local disk"
        in capsys.readouterr().err
    )
    assert not study.jobs()


def test_a_folder_belongs_to_one_study(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run("--limit", "1")
    study.write(SPEC.replace('name = "s"', 'name = "t"'))
    assert study.run() == 1
    assert "this is the study `s`, not `t`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (SPEC, ["--filter", "modle == 'x'"], "--filter: .*there is no `modle` .did you mean `model`"),
        (SPEC + '[devices.pi]\ntarget = "aarch64-neon"\nkind = "worker"\n', [], "nobody offers pi"),
        (SPEC.replace("[axes]", 'artifacts = "nowhere://x"\n[axes]'), [], "nowhere"),
    ],
)
def test_what_cannot_be_run_is_said_at_once(
    study: Study, capsys: pytest.CaptureFixture[str], text: str, arguments: list[str], message: str
) -> None:
    study.write(text)
    assert study.run(*arguments) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not study.jobs()
