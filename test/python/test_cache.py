"""The content cache: whole files or none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dlas_mlir.compiler import cache
from dlas_mlir.errors import DlasError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    return cache.entry("import", "abc")


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
    with pytest.raises(DlasError, match=r"cannot make the cache directory .*DLAS_CACHE"):
        cache.entry("import", "abc")


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
