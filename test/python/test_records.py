"""Records, the store that keeps them, and `dlas records`."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from dlas_mlir.cli import dlas
from dlas_mlir.errors import DlasError
from dlas_mlir.measure import database as databases
from dlas_mlir.measure.check import Check
from dlas_mlir.measure.record import Algorithm, Failure, Hardware, Layer, Model, Record, Software
from dlas_mlir.measure.rows import row
from dlas_mlir.measure.store import Store
from dlas_mlir.measure.turn import Turn


def record(preset: str = "host/auto", ms: float = 1.0, **changes: object) -> Record:
    found = Record(
        model=Model(name="net", macs=1_000_000, parameters=10),
        algorithm=Algorithm(
            recipe=preset.partition("/")[2],
            primitives={"gemm": 1},
            layers=(Layer(name="fc", primitive="gemm", macs=1_000_000),),
        ),
        software=Software(preset=preset),
        hardware=Hardware(device="local-sync", cpu="a CPU"),
        turns=tuple(Turn(ns=(int(ms * 1e6),) * 3, cpu_ns=int(ms * 2e6), start=i // 3) for i in range(6)),
        noise=0.001,
        check=Check(verified=True, max_rel_error=1e-7),
        run="r1",
        date="2026-01-02T03:04:05+00:00",
    )
    return replace(found, **changes)  # pyright: ignore[reportArgumentType]


def test_json_has_one_form_and_is_read_back() -> None:
    text = record().to_json()
    assert Record.from_json(text) == record()
    assert Record.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model": {"name": 3}}', r"here: Expected `str`, got `int` - at `\$.model.name`"),
        ('{"model": {"name": "net"}}', "missing required field `algorithm`"),
        ("{", "here: Input data was truncated"),
    ],
)
def test_json_that_is_no_record(text: str, message: str) -> None:
    with pytest.raises(DlasError, match=message):
        Record.from_json(text, "here")


def test_keys_tell_what_may_be_compared() -> None:
    one = record()
    assert one.subject == record("host/stock").subject
    assert one.key != record("host/stock").key
    assert one.key == record(ms=2.0, date="later").key
    for other in (
        replace(one, hardware=Hardware(device="local-sync", cpu="a CPU", threads=2)),
        replace(one, hardware=Hardware(device="local-sync", cpu="another")),
        replace(one, model=Model(name="net", batch=8)),
    ):
        assert other.subject != one.subject


def test_a_row_has_the_figures() -> None:
    found = row(record(ms=2.0))
    assert found["name"] == "net/host/auto/threads:1"
    assert (found["median_ms"], found["p99_ms"], found["real_time"], found["cpu_time"]) == (2.0, 2.0, 2.0, 4.0)
    assert (found["throughput"], found["gflops"]) == (500.0, 1.0)
    assert (found["samples"], found["rounds"], found["starts"]) == (18, 6, 2)
    four = row(record(ms=2.0, model=Model(name="net", batch=8), hardware=Hardware(device="cuda", streams=4)))
    assert four["throughput"] == 4 * 8 * 500.0
    assert four["name"] == "net/host/auto/batch:8/threads:1/streams:4"


def test_a_row_of_a_failure_has_no_times() -> None:
    found = row(record(failure=Failure(stage="compile", message="no")))
    assert (found["error"], found["median_ms"], found["throughput"]) == ("no", None, None)


def test_records_are_kept_in_order(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        assert [store.add(record(ms=ms)) for ms in (1.0, 2.0)] == [1, 2]
        assert store.get(2) == record(ms=2.0)
        assert [stored.id for stored in store.records()] == [1, 2]
        with pytest.raises(DlasError, match=r"s.db: there is no record 3; it has 2"):
            store.get(3)
    with Store(tmp_path / "s.db", create=False) as store:
        assert [stored.record.turns[0].ns[0] for stored in store.records()] == [1_000_000, 2_000_000]


def _write_and_die(path: Path) -> None:
    store = Store(path)
    store.add(record())
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    for _ in range(2):
        process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(tmp_path / "s.db",))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    with Store(tmp_path / "s.db", create=False) as store:
        assert [stored.record for stored in store.records()] == [record(), record()]


def test_a_store_that_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with Store(path) as store:
        store.add(record())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with Store(path, wait_seconds=0.1) as second:
            with pytest.raises(DlasError, match=r"s.db: another process has been writing to it for 0.1 s"):
                second.add(record())
            assert len(list(second.records())) == 1
        other.execute("COMMIT")
        other.close()


def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        store.add(record())
        pages = store._one("PRAGMA page_count")
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        big = record(turns=tuple(Turn(ns=tuple(i * i for i in range(20_000))) for _ in range(6)))
        with pytest.raises(DlasError, match="the disk is full; what was recorded before is safe"):
            store.add(big)
        assert store.get(1) == record()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.write_text("nonsense" * 100), "this is no SQLite data base"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE t (x)"), "a data base of something else"),
        (lambda path: path.mkdir(), "unable to open"),
    ],
)
def test_a_file_that_is_no_store(tmp_path: Path, prepare, message: str) -> None:
    path = tmp_path / "s.db"
    prepare(path)
    with pytest.raises(DlasError, match=rf"s.db: .*{message}"):
        Store(path)


def test_a_store_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DlasError, match="a store of records of version 99; this dlas knows up to"):
        Store(path)


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with Store(path) as store:
        store.add(record("host/stock"))
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE records RENAME COLUMN subject TO workload")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Store(path) as store:
        store.add(record("host/auto"))
        assert [stored.record.software.preset for stored in store.records()] == ["host/stock", "host/auto"]


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DlasError, match="there is no such file; `dlas bench MODEL --store"):
        Store(tmp_path / "none.db", create=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_store_that_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with Store(path) as store:
        store.add(record())
    path.chmod(0o444)
    with Store(path, create=False) as store:
        assert store.get(1) == record()
    with pytest.raises(DlasError, match="it cannot be written"), Store(path) as store:
        store.add(record())


def test_a_store_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_network_file_system", lambda path: "nfs4")
    with pytest.raises(DlasError, match="SQLite's locks do not work on nfs4"):
        Store(tmp_path / "s.db")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two runs of two presets, the second run with a faster `auto`; and a failure."""
    path = tmp_path / "s.db"
    with Store(path) as store:
        for run, auto in (("r1", 1.0), ("r2", 0.5)):
            store.add(record("host/stock", 4.0, run=run))
            store.add(record("host/auto", auto, run=run))
        store.add(record("host/gemm", turns=(), failure=Failure(stage="compile", message="out of luck"), run="r2"))
    return path


def test_list_and_show(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dlas.main(["records", "list", "--store", str(store)]) == 0
    text = capsys.readouterr().out
    assert "5 records" in text
    assert "net/host/auto/threads:1" in text
    assert "failed" in text
    assert dlas.main(["records", "list", "--store", str(store), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in listed] == [1, 2, 3, 4, 5]
    assert listed[4]["error"] == "out of luck"
    assert dlas.main(["records", "show", "2", "--store", str(store)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["turns"]) == 6
    assert shown["software"]["preset"] == "host/auto"


def test_export(store: Path, tmp_path: Path) -> None:
    for kind in ("jsonl", "csv"):
        arguments = ["records", "export", "--store", str(store), "--format", kind, "-o", str(tmp_path / kind)]
        assert dlas.main(arguments) == 0
    lines = (tmp_path / "jsonl").read_text().splitlines()
    with Store(store, create=False) as opened:
        assert [Record.from_json(line) for line in lines] == [stored.record for stored in opened.records()]
    with (tmp_path / "csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [one["median_ms"] for one in read] == ["4.0", "1.0", "4.0", "0.5", ""]
    assert json.loads(read[0]["primitives"]) == {"gemm": 1}


def test_export_as_parquet(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    path = tmp_path / "records.parquet"
    assert dlas.main(["records", "export", "--store", str(store), "--format", "parquet", "-o", str(path)]) == 0
    assert parquet.read_table(path).column("median_ms").to_pylist() == [4.0, 1.0, 4.0, 0.5, None]


def compared(store: Path, a: str, b: str, capsys: pytest.CaptureFixture[str]) -> dict:
    assert dlas.main(["records", "compare", a, b, "--store", str(store), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_presets_are_compared_where_the_workload_is_the_same(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(store, "host/stock", "host/auto", capsys)
    (pair,) = found["pairs"]
    assert (pair["name"], pair["ratio"], pair["verdict"]) == ("net/threads:1", 0.125, "faster")
    assert (found["n"], found["faster"], found["tie"]) == (1, 1, 0)


def test_runs_are_compared_preset_by_preset(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(store, "r1", "r2", capsys)
    assert {pair["name"]: pair["verdict"] for pair in found["pairs"]} == {
        "net/host/stock/threads:1": "tie",
        "net/host/auto/threads:1": "faster",
    }
    assert found["geomean"] == pytest.approx(0.5**0.5)


def test_stores_and_numbers_are_compared(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path / "later.db") as later:
        later.add(record("host/auto", 3.0, run="r3"))
    found = compared(store, str(store), str(tmp_path / "later.db"), capsys)
    assert [(pair["name"], pair["ratio"]) for pair in found["pairs"]] == [("net/host/auto/threads:1", 6.0)]
    assert compared(store, "2", "3", capsys)["pairs"][0]["ratio"] == 4.0
    assert dlas.main(["records", "compare", "1", "2", "--store", str(store)]) == 0
    assert "faster" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nothing", "host/auto"], "`nothing` is no number, preset, run or model"),
        (["compare", "1", "5"], "record 5 (net/host/gemm/threads:1) has no times: out of luck"),
        (["compare", "host/gemm", "host/auto"], "nothing in common that was timed in both"),
        (["show", "9"], "there is no record 9; it has 5"),
        (["export", "--won", "-o", "x.jsonl"], "--won is about tuned schedules: --db names their data base"),
    ],
)
def test_what_cannot_be_done(
    store: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dlas.main(["records", *arguments, "--store", str(store)]) == 1
    assert message in capsys.readouterr().err
