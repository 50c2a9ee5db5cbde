"""A .vmfb that `dlas compile -o` wrote, somewhere else than in the cache."""

from __future__ import annotations

import json

import pytest

import dlas_mlir as dlas
from dlas_mlir import api
from dlas_mlir.cli.dlas import main
from dlas_mlir.compiler import cache
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.rounds import Protocol

MODEL = "imported_model:small"
PROTOCOL = Protocol(rounds=1, max_rounds=1, starts=1, min_seconds=0.01)


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """A copy whose cache is gone."""
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "first"))
    path = tmp_path / "net.vmfb"
    assert main(["compile", MODEL, "--preset", "host/stock", "-o", str(path)]) == 0
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "second"))
    return path


def test_it_is_run_and_timed(compiled, capsys):
    assert main(["run", str(compiled)]) == 0
    assert "equal to PyTorch" in capsys.readouterr().out
    artifact = api.compile(str(compiled), preset="host/auto")
    assert artifact.preset == "host/stock"
    (row,) = dlas.bench(str(compiled), protocol=PROTOCOL)
    assert row["verified"]
    assert row["model"] == MODEL
    assert row["preset"] == "host/stock"
    with pytest.raises(DlasError, match="is compiled already: inputs, batch and weights are for a model"):
        api.compile(str(compiled), preset="host/auto", inputs=("1x4xf32",))


def test_without_the_right_outputs_it_is_not_checked(compiled, capsys):
    compiled.with_name("net.vmfb.npz").unlink()
    assert main(["run", str(compiled)]) == 0
    assert "not checked: net.vmfb.npz with the right outputs is not beside it, or another" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "net.vmfb.json is of another .vmfb than net.vmfb"),
        (lambda path: path.with_name("net.vmfb.json").unlink(), "net.vmfb has no net.vmfb.json beside it"),
        (
            lambda path: path.with_name("net.vmfb.json").write_text(json.dumps({"sha256": ""})),
            "net.vmfb.json is damaged",
        ),
        (
            lambda path: cache.write_record(path.with_name("net.vmfb.json"), {"sha256": "", "model": "net"}),
            "net.vmfb.json was written by another version of dlas; compile net.vmfb again",
        ),
        (lambda path: path.unlink(), "there is no file"),
    ],
)
def test_what_is_not_whole_is_refused(compiled, capsys, spoil, message):
    spoil(compiled)
    assert main(["run", str(compiled)]) == 1
    assert message in capsys.readouterr().err
    assert main(["bench", str(compiled)]) == 1
    assert message in capsys.readouterr().err
