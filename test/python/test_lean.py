"""What works where neither PyTorch nor a compiler is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dlas_mlir.cli.dlas import main
from dlas_mlir.study.cluster import OwnCluster

PATIENCE = 120.0
LEAN = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        heavy = {{"mlxtend", "torch", "torch_mlir", "torchao", "torchvision", "sklearn", "scipy", "safetensors"}}
        if name.split(".")[0] in heavy or name.startswith("iree.compiler"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.path[:] = {sys.path!r}
sys.meta_path.insert(0, Missing())
"""
COMMAND = f"{LEAN}\nfrom dlas_mlir.cli.dlas import main\nsys.exit(main(sys.argv[1:]))"
MODULES = (
    f"{LEAN}\nimport dlas_mlir.study.remote, dlas_mlir.study.on_device, dlas_mlir.study.entry, dlas_mlir.runtime.worker"
)


def test_what_runs_on_a_device_needs_neither_torch_nor_a_compiler() -> None:
    subprocess.run([sys.executable, "-c", MODULES], check=True, timeout=PATIENCE)


def test_a_worker_joins_and_leaves_when_it_is_told_to() -> None:
    cluster = OwnCluster([], 0)
    command = [sys.executable, "-c", COMMAND, "study", "worker", "--scheduler", cluster.address.url, "--device", "pi"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert worker.stderr.readline() == f"offering pi to {cluster.address.url}\n"
        worker.terminate()
        assert worker.wait(PATIENCE) == 0
    cluster.close()


def test_what_is_compiled_is_run_timed_and_profiled(tmp_path, monkeypatch) -> None:
    """Also where the type that operands are rounded to decides what is right."""
    monkeypatch.chdir(Path(__file__).parent)
    vmfb = tmp_path / "net.vmfb"
    assert main(["compile", "imported_model:small", "--preset", "host/bf16-direct", "-o", str(vmfb)]) == 0
    for action in ("run", "bench", "profile"):
        more = ["--rounds", "1", "--starts", "1", "--min-time", "0.01"] if action == "bench" else []
        command = [sys.executable, "-c", COMMAND, action, str(vmfb), *more]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stderr
        assert "dlas-mlir[compiler]" not in ended.stderr


def test_what_needs_a_compiler_says_what_to_install(tmp_path) -> None:
    command = [sys.executable, "-c", COMMAND, "compile", "resnet18-cifar", "-o", str(tmp_path / "x.vmfb")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert (
        ended.stderr == "error: iree.compiler is not installed, which this needs: pip install 'dlas-mlir[compiler]'\n"
    )
