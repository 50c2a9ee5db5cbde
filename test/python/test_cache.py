"""The content cache: whole files or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dlas_mlir.compiler import cache
from dlas_mlir.errors import DlasError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    path = cache.entry("import", "abc")
    path.mkdir(parents=True)
    return path


def test_root_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "mine"))
    assert cache.root() == tmp_path / "mine"
    monkeypatch.delenv("DLAS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "dlas"


@pytest.mark.parametrize(
    ("data", "content"),
    [(b"bytes", b"bytes"), ("téxt", "téxt".encode()), (lambda path: path.write_bytes(b"call"), b"call")],
)
def test_writes_whole_files(folder, data, content):
    cache.write_atomically(folder / "file.bin", data)
    assert (folder / "file.bin").read_bytes() == content
    assert [path.name for path in folder.iterdir()] == ["file.bin"]


def test_a_failure_keeps_what_was_there(folder):
    cache.write_atomically(folder / "file.npz", b"old")

    def fail(path):
        assert path.suffix == ".npz"
        path.write_bytes(b"half")
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        cache.write_atomically(folder / "file.npz", fail)
    assert (folder / "file.npz").read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 1


def test_a_full_disk_leaves_nothing(folder):
    """A limit on the size of files makes the write break off half-way, as a full disk does."""
    code = (
        "import resource, sys, pathlib; from dlas_mlir.compiler import cache; "
        "from dlas_mlir.errors import DlasError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: cache.write_atomically(pathlib.Path(sys.argv[1]), b'x' * 100_000)\n"
        "except DlasError as error: print(error)"
    )
    target = folder / "big.bin"
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {target}: ")
    assert not list(folder.iterdir())


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DlasError, match=r"cannot make the cache directory .*DLAS_CACHE"), cache.workspace():
        pass


def test_a_workspace_is_gone_at_the_end_also_of_a_failure(folder):
    def interrupted():
        with cache.workspace() as work:
            (work / "part").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list((cache.root() / "work").iterdir())


def test_a_dead_process_leaves_nothing_for_long_and_a_living_one_is_left_alone(folder):
    """The other process says when it has its workspace, and lives until it is killed."""
    code = (
        "import sys; from dlas_mlir.compiler import cache\n"
        "with cache.workspace() as work:\n    (work / 'part').write_bytes(b'half'); print(work, flush=True)\n"
        "    sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().decode().strip())
        with cache.workspace():
            assert (theirs / "part").read_bytes() == b"half"
        other.kill()
    assert theirs.exists()
    with cache.workspace() as work:
        assert {path.name for path in work.parent.iterdir()} == {work.name, f"{work.name}.lock"}


def test_what_is_published_is_named_by_its_content(folder):
    names = []
    for content in (b"one", b"two", b"one"):
        with cache.workspace() as work:
            (work / "module.bin").write_bytes(content)
            path, sha256 = cache.publish(work / "module.bin", folder)
        assert path.read_bytes() == content
        assert sha256 == cache.file_digest(path)
        names.append(path.name)
    assert names[0] == names[2] != names[1]
    assert {path.name for path in folder.iterdir()} == set(names)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:20],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("3", "4", 1),
        lambda text: "\udcff" + text,
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_record_is_none(folder, damage):
    facts = {"module": "a", "macs": 3, "sources": {"b": [1.5, None]}}
    cache.write_record(folder / "import.json", facts)
    assert cache.read_record(folder / "import.json") == facts
    text = (folder / "import.json").read_text()
    (folder / "import.json").write_bytes(damage(text).encode(errors="surrogateescape"))
    assert cache.read_record(folder / "import.json") is None
    assert cache.read_record(folder / "none.json") is None


def test_digests_tell_contents_apart(tmp_path):
    assert cache.digest("a", ["b"]) == cache.digest("a", ["b"])
    assert cache.digest("a", ["b"]) != cache.digest("ab", [])
    (tmp_path / "a").write_bytes(b"1" * 3_000_000)
    (tmp_path / "b").write_bytes(b"1" * 2_999_999 + b"2")
    assert cache.file_digest(tmp_path / "a") != cache.file_digest(tmp_path / "b")
    with pytest.raises(DlasError, match="cannot read"):
        cache.file_digest(tmp_path / "none")


def test_versions_leave_out_what_is_not_installed():
    assert list(cache.versions("numpy", "no-such-package-here")) == ["numpy"]
