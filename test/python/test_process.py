"""Work in processes of their own: answers, crashes, limits, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from dlas_mlir import process
from dlas_mlir.errors import DlasError
from dlas_mlir.process import calls

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


def call(name: str, timeout: float | None = 60, **arguments):
    return process.call(f"working:{name}", arguments, what="a test", timeout=timeout)


def wait_until(condition: Callable[[], bool]) -> None:
    """Give other processes the time that they need, and fail when something never comes."""
    end = monotonic() + 60
    while not condition():
        assert monotonic() < end
        sleep(0.02)


def is_running(pid: int) -> bool:
    """Also not one that only waits to be reaped by whoever has inherited it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_function_answers_in_our_surroundings(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLAS_TEST", "a\udcff\n")
    answer = call("echo", number=1.5, text="é")
    assert answer == {
        "arguments": {"number": 1.5, "text": "é"},
        "folder": str(tmp_path),
        "variable": "a\udcff\n",
    }
    assert capfd.readouterr() == ("", "for the eyes\n")


def test_a_users_module_does_not_shadow_ours(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise ImportError('shadowed')")
    monkeypatch.chdir(tmp_path)
    for server in calls._idle[:]:
        calls._idle.remove(server)
        server.stop()
    assert call("echo")["arguments"] == {}


def test_a_crash_says_where_and_what_to_keep(tmp_path):
    file = tmp_path / "kept"
    with pytest.raises(process.Died, match=r"^the second part was killed by SIGSEGV:\nerror: half-way$") as error:
        call("crash", file=str(file))
    assert error.value.keep == file
    assert file.read_bytes() == b"input"
    assert error.value.again == ("tool", str(file))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("refuse", DlasError, "^the layer conv1 is too wide$"),
        ("fail", RuntimeError, "^KeyError: 'conv1'$"),
        ("leave", process.Died, "^a test failed with exit code 7$"),
        ("fill", process.Died, "^a test was stopped: it printed more than 256 MB$"),
    ],
)
def test_what_goes_wrong_there_is_told_here(name, kind, message):
    with pytest.raises(kind, match=message):
        call(name)
    assert call("echo", still=1)["arguments"] == {"still": 1}


def test_a_function_that_forks_answers_once():
    assert set(call("fork_and_return")) == {"pid"}


def test_tools():
    assert process.run(["printf", "%s|", "a b", "c"]).stdout == "a b|c|"
    failed = process.run(["sh", "-c", "echo 'tool: error: so' >&2; exit 3"])
    assert (failed.how(), failed.tail()) == ("failed with exit code 3", ":\ntool: error: so")
    assert "cannot run no-such-tool: No such file" in process.run(["no-such-tool"]).tail()
    slow = process.run(["sleep", "60"], timeout=0.1)
    assert slow.how() == "was stopped: it took more than 0.1 s (--timeout)"


def test_what_takes_too_long_is_stopped_with_all_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    call("echo")  # the server has started
    with pytest.raises(process.Died, match="a test was stopped: it took more than 5 s"):
        call("ignore_signals", timeout=5, pids=str(pids))
    # They have been killed, which the system may still be busy with.
    wait_until(lambda: not any(map(is_running, map(int, pids.read_text().split()))))


def test_what_is_not_wanted_any_more_is_stopped(tmp_path):
    pids = tmp_path / "pids"
    told, tell = os.pipe()

    def end_it_when_it_runs() -> None:
        wait_until(pids.exists)
        os.close(tell)

    threading.Thread(target=end_it_when_it_runs).start()
    with pytest.raises(process.Died, match="it is not wanted any more") as died:
        process.call("working:ignore_signals", {"pids": str(pids)}, what="a test", timeout=60, stop=told)
    os.close(told)
    assert died.value.unwanted
    assert not died.value.late
    wait_until(lambda: not any(is_running(int(pid)) for pid in pids.read_text().split()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_is_running_ends_with_us(tmp_path, number):
    pids = tmp_path / "pids"
    command = [sys.executable, str(HERE / "working.py"), str(pids)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as asking:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        others = [*map(int, pids.read_text().split()), *(child.pid for child in psutil.Process(asking.pid).children())]
        assert len(others) == 3
        os.kill(asking.pid, number)
        asking.wait()
    wait_until(lambda: not any(map(is_running, others)))


def test_what_is_loaded_ends_with_us(tmp_path, monkeypatch):
    """Also while native code holds the interpreter of the fork server, and we are killed."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("DLAS_TEST_PIDS", str(pids))
    command = [sys.executable, str(HERE / "working.py"), str(pids), "loads_slowly"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as asking:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        asking.kill()
    wait_until(lambda: not is_running(int(pids.read_text())))


def loop() -> None:
    while True:
        with suppress(Exception):
            sleep(0.001)


def test_python_code_in_our_own_process_is_stopped():
    said = r"^a loop was stopped: it took more than 0\.05 s \(timeout\)$"
    with pytest.raises(DlasError, match=said), process.limited("a loop", 0.05):
        loop()
    with process.limited("nothing", 60), process.limited("without a limit", None):
        pass
