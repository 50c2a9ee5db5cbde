"""dlas-opt with passes of another package: found through the entry point, and whatever they do is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlas_mlir.opt import reproducer

PASSES = '''
import os
import signal
from dataclasses import dataclass

from dlas_mlir.opt.base import Pass, PassError, option, remark, warning


@dataclass(frozen=True)
class TroublePass(Pass):
    """Make trouble of a chosen kind."""

    name = "other-trouble"
    kind: str = option("none", "what happens", choices=("none", "crash", "bug", "error", "remark", "invalid"))

    def run(self, module):
        op = module.body.operations[0]
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.kind == "bug":
            {}["no such key"]
        if self.kind == "error":
            raise PassError("this function is not wanted", op)
        if self.kind == "remark":
            remark(op, "a function")
            warning(op, "it does nothing")
        if self.kind == "invalid":
            op.attributes["sym_name"] = module.context and op.attributes["function_type"]
'''
SOURCE = "// a comment\nfunc.func @f() {\n  return\n}\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an installed distribution that has one pass."""
    root = tmp_path_factory.mktemp("package")
    (root / "other_passes.py").write_text(PASSES)
    info = root / "other_passes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-passes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dlas_mlir.passes]\nother-trouble = other_passes:TroublePass\n")
    (root / "f.mlir").write_text(SOURCE)
    return root


def dlas_opt(package: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """dlas-opt in the package's directory."""
    return subprocess.run(
        [sys.executable, "-m", "dlas_mlir.cli.dlas_opt", *arguments],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_found_and_listed(package: Path) -> None:
    result = dlas_opt(package, "f.mlir", "--pass-pipeline=cse,other-trouble{kind=none}", "--dump-pass-pipeline")
    assert (result.returncode, result.stderr) == (0, "builtin.module(cse,other-trouble)\n")
    assert "other-passes:\n  --other-trouble" in dlas_opt(package, "--list-passes").stdout


def test_an_error_points_at_the_operation(package: Path) -> None:
    result = dlas_opt(package, "f.mlir", "--other-trouble=kind=error", "-o", "out.mlir")
    assert result.returncode == 1
    assert result.stderr == "f.mlir:2:1: error: this function is not wanted\nfunc.func @f() {\n^\n"
    assert not (package / "out.mlir").exists()


def test_remarks_and_warnings_are_told_without_failing(package: Path) -> None:
    result = dlas_opt(package, "f.mlir", "--other-trouble=kind=remark")
    assert result.returncode == 0
    assert "f.mlir:2:1: remark: a function\n" in result.stderr
    assert "f.mlir:2:1: warning: it does nothing\n" in result.stderr
    assert "func.func @f" in result.stdout


def test_remarks_can_be_expected(package: Path) -> None:
    expected = "// expected-remark@+2 {{a function}}\n// expected-warning-re@+1 {{does {{n.*g}}}}\n"
    (package / "expected.mlir").write_text(expected + SOURCE.removeprefix("// a comment\n"))
    assert dlas_opt(package, "expected.mlir", "--other-trouble=kind=remark", "--verify-diagnostics").returncode == 0
    result = dlas_opt(package, "expected.mlir", "--other-trouble=kind=error", "--verify-diagnostics")
    assert result.returncode == 1
    assert "expected.mlir:3:1: error: unexpected error: this function is not wanted" in result.stderr
    assert 'expected.mlir:1:4: error: expected remark "a function" was not produced' in result.stderr


def test_a_bug_in_a_pass_is_no_traceback(package: Path) -> None:
    result = dlas_opt(package, "f.mlir", "--other-trouble=kind=bug")
    assert result.returncode == 1
    assert result.stderr.startswith("f.mlir: error: other-trouble broke: KeyError: 'no such key' (a bug;")
    assert "Traceback" not in result.stderr
    assert "Traceback" in dlas_opt(package, "f.mlir", "--other-trouble=kind=bug", DLAS_TRACEBACK="1").stderr


def test_invalid_ir_is_found_by_the_verifier(package: Path) -> None:
    result = dlas_opt(package, "f.mlir", "--other-trouble=kind=invalid")
    assert result.returncode == 1
    assert "f.mlir:2:1: error:" in result.stderr
    assert "sym_name" in result.stderr


def test_a_crash_leaves_a_reproducer(package: Path) -> None:
    flag = "--mlir-pass-pipeline-crash-reproducer=crash.mlir"
    result = dlas_opt(package, "f.mlir", "--cse", "--other-trouble=kind=crash", flag)
    assert result.returncode == 1
    assert "error: the passes crashed with SIGSEGV" in result.stderr
    assert "dlas-opt --run-reproducer crash.mlir" in result.stderr
    assert 'pipeline: "builtin.module(cse,other-trouble{kind=crash})"' in (package / "crash.mlir").read_text()
    assert not (package / "crash.mlir.pending").exists()
    again = dlas_opt(package, "--run-reproducer", "crash.mlir")
    assert again.returncode == 1
    assert "error: the passes crashed with SIGSEGV" in again.stderr


def test_a_reproducer_remembers_how_it_ran(package: Path) -> None:
    flags = ("--mlir-pass-pipeline-crash-reproducer=how.mlir", "--verify-each=false", "--mlir-disable-threading")
    assert dlas_opt(package, "f.mlir", "--other-trouble=kind=error", *flags).returncode == 1
    recipe = reproducer.read(package / "how.mlir")
    assert recipe == reproducer.Recipe("builtin.module(other-trouble{kind=error})", threading=False, verify_each=False)
    assert "f.mlir:2:1: error: this function" in dlas_opt(package, "--run-reproducer", "how.mlir").stderr


def test_output_that_nobody_reads_is_no_error_message(package: Path) -> None:
    command = [sys.executable, "-m", "dlas_mlir.cli.dlas_opt", "--list-passes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
