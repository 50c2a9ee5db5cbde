"""What is read from a study: how far it is, one point with its commands, tables, what is not needed; searches."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import fake_gpus
import pytest
from test_study_run import SPEC, Study, study

from dlas_mlir.cli import dlas
from dlas_mlir.compiler.presets import host
from dlas_mlir.errors import DlasError
from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.estimate import Estimate
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.run import STORE
from dlas_mlir.study.search import OPTUNA, point_at
from dlas_mlir.study.spec_file import read_spec
from dlas_mlir.study.store import StudyStore

__all__ = ["study"]


def test_status_tells_states_and_reasons(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.runner(refused="host/gemm:naive")
    study.run()
    capsys.readouterr()
    assert dlas.main(["study", "status", str(study.folder), "--watch", "--json", str(tmp_path / "s.json")]) == 0
    out = capsys.readouterr().out
    assert "4 compile-error: compile: iree-compile failed with exit code 1" in out
    assert "no run is at work" in out
    assert json.loads((tmp_path / "s.json").read_text())["states"]["compile-error"] == 4


def test_a_point_is_shown_with_the_commands_that_do_it(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run()
    wanted = ("vgg16-cifar", "prune-50", "gemm", "sparse", "naive")
    (name,) = (
        name
        for name, (point, *_) in study.found().items()
        if (point.model, point.compression, point.primitive, point.format, point.schedule) == wanted
    )
    capsys.readouterr()
    assert dlas.main(["study", "show", str(study.folder), name[:8]]) == 0
    out = capsys.readouterr().out
    assert f"{name}: ok" in out
    by_hand = [shlex.split(line) for line in out.partition("by hand:\n")[2].splitlines() if "  dlas" in line]
    assert [words[1] for words in by_hand] == ["train", "compress", "bench", "evaluate"]
    parser = dlas.build_parser()
    for words in by_hand:
        parser.parse_args(words[1:])  # the commands have these options
    assert by_hand[2][3:5] == ["--preset", "host/sparse-gemm:naive"]
    assert dlas.main(["study", "show", str(study.folder), "zz"]) == 1
    assert "there is no point whose id begins with `zz`" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables(study: Study, tmp_path: Path, kind: str) -> None:
    study.run("--limit", "4")
    for table in ("points", "turns"):
        file = tmp_path / f"{table}.{kind}"
        assert dlas.main(["study", "export", str(study.folder), "-o", str(file), "--table", table]) == 0
        if kind == "csv":
            rows = list(csv.DictReader(file.open()))
        elif kind == "jsonl":
            rows = [json.loads(line) for line in file.read_text().splitlines()]
        else:
            rows = pytest.importorskip("pyarrow.parquet").read_table(file).to_pylist()
        assert len(rows) == (48 if table == "points" else 4 * 6)
        if table == "points":
            assert sum(row["state"] == "ok" and float(row["median_ms"]) > 0 for row in rows) == 4
    assert dlas.main(["study", "export", str(study.folder), "-o", str(tmp_path / "x.xls")]) == 1


def test_what_is_not_needed_is_removed(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run()
    study.write(SPEC.replace(', "vgg16-cifar"', ""))
    study.run()
    (study.folder / "artifacts" / "ab").mkdir(parents=True)
    (study.folder / "artifacts" / "ab" / ("ab" * 32)).write_text("x" * 1000)
    command = ["study", "gc", str(study.folder), "--left"]
    assert dlas.main([*command, "--dry-run"]) == 0
    assert "1 files (0 MB), 58 results of steps and 24 points would be removed" in capsys.readouterr().out
    assert dlas.main(command) == 0
    assert sum(study.states().values()) == 24
    assert not list((study.folder / "artifacts").glob("*/*"))
    study.log.unlink()
    assert study.run() == 0
    assert not study.jobs()


def test_a_folder_without_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["show", "x"], ["export", "-o", str(tmp_path / "x.csv")], ["gc"]):
        action, *rest = command
        assert dlas.main(["study", action, str(tmp_path), *rest]) == 1
        assert f"{tmp_path / STORE}: there is no such file" in capsys.readouterr().err


def test_a_store_of_a_newer_version_is_refused(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run("--limit", "1")
    with study.store() as store:
        store._connection.execute("PRAGMA user_version = 99")
    assert study.run() == 1
    assert f"a store of a study of version 99; this dlas knows up to {StudyStore.version}" in capsys.readouterr().err


def test_plan_tells_what_is_left_out_and_what_is_shared(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert dlas.main(["study", "plan", str(study.path), "--folder", str(study.folder), "--left-out"]) == 0
    out = capsys.readouterr().out
    assert "48 cells, 36 points to be measured, 0 of them done" in out
    assert "12 not-applicable: no weights are zero" in out
    assert "not-applicable: no weights are zero, so there is nothing to leave out" in out


WORKERS = """
[devices.gpu]
target = "vulkan"
[devices.board]
target = "aarch64-neon"
kind = "worker"
[devices.box]
target = "cuda-sm90"
kind = "worker"
"""


def test_schedules_are_searched_for_on_gpus_too_and_where_the_run_is(study: Study) -> None:
    fake_gpus.install(study.monkeypatch, vulkan=[fake_gpus.vulkan("RTX 4090")])
    study.monkeypatch.setattr(host, "machine", lambda: "x86_64")
    text = SPEC.replace('["naive", "rule"]', '["rule", "tuned", "transferred"]') + WORKERS
    study.write(text.replace('format = ["dense", "sparse"]', 'device = ["gpu", "board", "box"]'))
    plan = Plan.of(read_spec(study.path))
    reasons = {(point.device, point.schedule): plan.judge(point) for point in plan.points}
    for schedule in ("tuned", "transferred"):
        assert reasons["gpu", schedule] is None
        for device, why in (
            ("board", "where aarch64-neon cannot run: it is for aarch64"),
            ("box", "cannot run: .*cuda"),
        ):
            assert (verdict := reasons[device, schedule]) is not None
            assert verdict.state == "not-applicable"
            assert re.search(why, verdict.reason)
    assert {reasons[device, "rule"] for device in ("gpu", "board", "box")} == {None}
    chain = next(
        plan.chain(point.id) for point in plan.points if (point.device, point.schedule) == ("gpu", "transferred")
    )
    searches = [step for step in chain.work if step.kind == "tune"]
    assert [step.parameters.get("transfer", False) for step in searches] == [False, True]


def test_ids_and_keys_are_the_same_again(study: Study) -> None:
    one, other = Plan.of(read_spec(study.path)), Plan.of(read_spec(study.path))
    assert one.ids == other.ids
    assert [one.chain(name).key for name in one.wanted] == [other.chain(name).key for name in one.wanted]


def test_numbers_of_a_grid_are_its_points(study: Study) -> None:
    spec = read_spec(study.path)
    assert [point_at(spec, number) for number in range(spec.size)] == Plan.of(spec).points


RANDOM = SPEC.replace('name = "s"', 'name = "s"\nsearch = "random"\ntrials = 10')


def test_a_random_study_draws_the_same_points_again(study: Study) -> None:
    study.write(RANDOM)
    assert study.run() == 0
    first = set(study.found())
    # What was drawn, and the points that these are compared with.
    assert 10 <= len(first) <= 12
    study.log.unlink()
    assert study.run() == 0
    assert not study.jobs()
    assert set(study.found()) == first


@pytest.mark.parametrize("search", ["tpe", "nsga2"])
def test_optuna_proposes_points_and_goes_on(study: Study, search: str) -> None:
    optuna = pytest.importorskip("optuna")
    text = RANDOM.replace('"random"', f'"{search}"').replace("trials = 10", "trials = 14")
    study.write(text + '[goals]\nlimits = ["accuracy_loss <= 0.5"]\n')
    assert study.run("--limit", "3") == 0
    assert study.run() == 0
    kept = optuna.load_study(study_name="s", storage=f"sqlite:///{study.folder / OPTUNA}")
    states = {trial.state.name for trial in kept.trials}
    assert len(kept.trials) == 14
    assert states <= {"COMPLETE", "FAIL"}
    found = study.found()
    for trial in kept.trials:
        if trial.state.name == "COMPLETE":
            (row,) = (row for row in found.values() if row[0].as_dict() == trial.params)
            assert trial.values == [row[3]["accuracy"], row[3]["median_ms"]]
    study.log.unlink()
    assert study.run() == 0
    assert not study.jobs()


def test_the_estimate_is_right_after_a_tenth() -> None:
    seconds = {("compile", "a"): 3.0, ("compile", "b"): 9.0, ("measure", "a"): 1.0, ("measure", "b"): 2.0}
    estimate = Estimate(dict.fromkeys(seconds, 100), lanes=2)
    for (kind, subject), each in seconds.items():
        for number in range(10):
            estimate.done(kind, subject, each * (0.8 + 0.04 * number))
    expected = 90 * (3 + 9) / 2 + 90 * (1 + 2)
    assert abs(estimate.seconds() / expected - 1) < 0.25
    estimate.skip("compile", "b", 90)
    assert abs(estimate.seconds() / (90 * 3 / 2 + 90 * 3) - 1) < 0.25


def test_what_has_no_step_of_its_kind_yet_is_guessed_by_size_and_by_the_pace_so_far() -> None:
    left = {("train", "mobilenetv1-cifar"): 2, ("train", "resnet50"): 1, ("compile", "mobilenetv1-cifar"): 1}
    estimate = Estimate(left, lanes=2)
    guessed = estimate.mean("compile", "mobilenetv1-cifar")
    assert estimate.mean("train", "resnet50") > 2 * estimate.mean("train", "mobilenetv1-cifar")
    slow = 10 * estimate.mean("train", "mobilenetv1-cifar")
    estimate.done("train", "mobilenetv1-cifar", slow)
    assert estimate.mean("train", "mobilenetv1-cifar") == slow
    assert estimate.mean("train", "resnet50") > 2 * slow
    assert 3 * guessed < estimate.mean("compile", "mobilenetv1-cifar") < 10 * guessed


def test_a_file_that_comes_half_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def get_file(self, source: str, target: str) -> None:
            Path(target).write_text("half")
            raise OSError("connection lost")

    place = Artifacts("s3://bucket/study", tmp_path)
    monkeypatch.setattr(place, "_system", lambda: (Broken(), "bucket/study"))
    with pytest.raises(
        DlasError, match="cannot fetch the file abababababababab from s3://bucket/study: connection lost"
    ):
        place.get("ab" * 32)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
