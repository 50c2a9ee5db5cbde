"""Who may speak to a scheduler: loopback, or certificates, made by the commands of docs/distributed.md."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlas_mlir.cli import dlas, study_worker
from dlas_mlir.errors import DlasError
from dlas_mlir.process import python
from dlas_mlir.study.address import parse_address, reach
from dlas_mlir.study.cluster import OwnCluster
from dlas_mlir.study.distributed import Distributed
from dlas_mlir.study.executor import Job

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs" / "distributed.md"
PATIENCE = 120.0


def commands(part: str) -> list[list[str]]:
    """The commands between two marks in the documentation."""
    (text,) = re.findall(f"<!-- {part}:begin -->\n(.*?)<!-- {part}:end -->", DOCS.read_text(), re.DOTALL)
    return [shlex.split(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, each with the folder `board` of a machine that it has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt-get install openssl)")
    root = tmp_path_factory.mktemp("certificates")
    for authority in ("ours", "theirs"):
        (root / authority).mkdir()
        for command in commands("authority") + commands("machine"):
            subprocess.run(command, cwd=root / authority, check=True, capture_output=True)
    return root


@pytest.fixture(scope="module")
def cluster(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("locks")))
        patch.setenv("DLAS_STUDY_ENTRY", "study_entries:run")
        patch.syspath_prepend(str(HERE))
        own = OwnCluster(["board"], 1, certificates / "ours" / "board")
        yield own
        own.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://10.0.0.7:8786", "can be reached from other machines"),
        ("tcp://0.0.0.0:8786", "can be reached from other machines"),
        ("tcp://[::]:8786", "can be reached from other machines"),
        ("tcp://board.local", "can be reached from other machines"),
        ("tls://10.0.0.7", "needs --tls FOLDER"),
        ("tls://127.0.0.1", "needs --tls FOLDER"),
        ("10.0.0.7:8786", "is no address"),
        ("http://127.0.0.1:8786", "is no address"),
        ("tcp://127.0.0.1:port", "is no address"),
        ("tcp://127.0.0.1:8786/x", "is no address"),
    ],
)
def test_addresses_that_others_could_reach_are_refused(text: str, message: str) -> None:
    with pytest.raises(DlasError, match=message):
        parse_address(text, None)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:99", "tcp://localhost:99", "tcp://[::1]:99", "tcp://127.3.2.1:99"])
def test_loopback_needs_no_certificates(text: str) -> None:
    assert parse_address(text, None).url == text
    with pytest.raises(DlasError, match="--tls goes with tls://"):
        parse_address(text, Path())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "1"], r"error: there is no file .*ca\.pem"),
        ([], "error: --tls goes with --scheduler or --workers"),
    ],
)
def test_certificates_of_a_run_are_never_left_aside(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", "run", "demo", "--folder", str(tmp_path / "s"), "--tls", str(tmp_path)]
    assert dlas.main([*command, *options]) == 1
    assert re.match(message, capsys.readouterr().err)


def test_workers_of_a_run_show_certificates(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path | None] = []
    monkeypatch.setattr(Distributed, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(OwnCluster, "__init__", lambda self, devices, workers, tls: made.append(tls))
    monkeypatch.setattr(OwnCluster, "address", None, raising=False)
    folder = certificates / "ours" / "board"
    args = dlas.build_parser().parse_args(["study", "run", "demo", "--workers", "1", "--tls", str(folder)])
    remote = study_worker.remote_of(args)
    assert remote is not None
    remote(("board",), print)
    assert made == [folder]


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1.5"])
def test_a_port_is_a_whole_number(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["study", "worker", "--scheduler", "tcp://127.0.0.1", "--device", "a", f"--port={port}"]
    assert dlas.main(command) == 1
    assert f"expected 0 to 65535, found `{port}`" in capsys.readouterr().err


def test_certificates_are_looked_at(certificates: Path, tmp_path: Path) -> None:
    board = shutil.copytree(certificates / "ours" / "board", tmp_path / "board")
    assert parse_address("tls://board.local", board).url == "tls://board.local:8786"
    (board / "key.pem").chmod(0o644)
    with pytest.raises(DlasError, match="can be read by others: chmod 600"):
        parse_address("tls://board.local", board)
    (board / "key.pem").write_bytes((certificates / "theirs" / "board" / "key.pem").read_bytes())
    (board / "key.pem").chmod(0o600)
    with pytest.raises(DlasError, match="these certificates cannot be used"):
        parse_address("tls://board.local", board)
    (board / "cert.pem").unlink()
    with pytest.raises(DlasError, match=r"there is no file .*cert\.pem"):
        parse_address("tls://board.local", board)


def test_a_job_goes_through_tls(cluster: OwnCluster) -> None:
    executor = Distributed(cluster.address, ["board"], grace=PATIENCE)
    executor.submit(Job("x", "block", {"name": "x"}, "board", PATIENCE))
    assert [done.end for done in executor.wait(PATIENCE)] == ["ok"]
    executor.close()
    with pytest.raises(DlasError, match=r"nobody offers .* --tls FOLDER --device gpu` on it"):
        Distributed(cluster.address, ["gpu"], grace=0.5)


def test_another_authority_is_told_on_either_side(cluster: OwnCluster, certificates: Path, tmp_path: Path) -> None:
    ours, theirs = certificates / "ours" / "board", certificates / "theirs" / "board"
    with pytest.raises(DlasError, match=r"is not taken: .*\. Was it signed by the authority in"):
        Distributed(parse_address(cluster.address.url, theirs), ["board"])
    # One that takes the scheduler's, and is not taken.
    mixed = shutil.copytree(theirs, tmp_path / "mixed")
    (mixed / "ca.pem").write_bytes((ours / "ca.pem").read_bytes())
    with pytest.raises(DlasError, match=r"does not take the certificate in .*another authority"):
        Distributed(parse_address(cluster.address.url, mixed), ["board"])
    with pytest.raises(ConnectionError, match="does it speak TLS"):
        reach(parse_address(cluster.address.url.replace("tls", "tcp"), None), 0.5)
    command = ["study", "worker", "--scheduler", cluster.address.url, "--tls", str(theirs), "--device", "board"]
    ended = subprocess.run([*python("dlas_mlir.cli.dlas"), *command], capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert re.search("^error: the certificate of .* is not taken", ended.stderr)


def test_nobody_who_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match="nobody answers at tcp://127"):
        reach(parse_address(f"tcp://127.0.0.1:{port}", None), 1.0)
    with pytest.raises(DlasError, match="nobody answers"):
        Distributed(parse_address(f"tcp://127.0.0.1:{port}", None), ["board"], grace=0.1)
