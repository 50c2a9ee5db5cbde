"""Studies of GPUs: those that are not here, CPUs that do as one, and what devices say of themselves."""

from __future__ import annotations

import fake_gpus
import pytest
from test_study_run import SPEC, Study, study

from dlas_mlir.cli import dlas
from dlas_mlir.runtime.devices import cpu_model
from dlas_mlir.study import on_device
from dlas_mlir.study.collect import collect
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.read_results import read_results
from dlas_mlir.study.spec_file import find_spec, read_spec

__all__ = ["study"]


def test_what_is_verified_alone_is_right_and_has_no_time(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    device = '[devices.box]\ntarget = "vulkan"\ndescription = "the one in the corner"\n'
    axes = 'dataset = "digits"\nmodel = "vgg16-cifar"\nprimitive = ["direct", "gemm"]\n'
    study.write(f'[study]\nname = "s"\n{device}[axes]\n{axes}')
    study.runner(untimed="function only: llvmpipe is a CPU")
    fake_gpus.install(study.monkeypatch, vulkan=[fake_gpus.LAVAPIPE])
    assert study.run() == 0
    assert "verified 2, and timed none, variants of vgg16-cifar" in capsys.readouterr().err
    assert study.states() == {"ok": 2}
    with study.store() as store:
        assert {row.reason for row in store.points()} == {"function only: llvmpipe is a CPU"}
        names = {metric.name for _, metric in store.metrics()}
        found = read_results(store, "s")
    assert "accuracy" in names
    assert "median_ms" not in names
    assert not found.timed.any()
    assert found.devices[0].description.startswith("the one in the corner, llvmpipe, vulkan")
    assert dlas.main(["study", "report", str(study.folder)]) == 0
    assert "the one in the corner" in (study.folder / "report.md").read_text()


ABSENT = (
    "devices.box: device `cuda` cannot be opened: there is no NVIDIA GPU here; `dlas presets` shows what runs here; "
    'a GPU of another machine is offered by a worker there (kind = "worker", docs/distributed.md)'
)


def test_a_study_of_gpus_alone_none_of_which_is_here_ends_at_once(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpus.install(study.monkeypatch, cuda=fake_gpus.NO_NVIDIA_GPU)
    study.write(SPEC + '[devices.box]\ntarget = "cuda-sm80"\n')
    assert study.run() == 1
    assert f"s.toml: {ABSENT}" in capsys.readouterr().err
    assert not study.jobs()


def test_points_of_a_gpu_that_is_not_here_are_rows_and_the_rest_runs(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpus.install(study.monkeypatch, cuda=fake_gpus.NO_NVIDIA_GPU)
    axes = 'dataset = "none"\nmodel = "vgg16-cifar"\nprimitive = ["direct", "gemm"]\n'
    devices = '[devices.host]\ntarget = "host"\n[devices.box]\ntarget = "cuda-sm80"\n'
    study.write(f'[study]\nname = "s"\n{devices}[axes]\n{axes}')
    assert dlas.main(["study", "plan", str(study.path), "--folder", str(study.folder)]) == 0
    assert f"2 not-applicable: {ABSENT}" in capsys.readouterr().out
    assert study.run() == 0
    said = capsys.readouterr()
    assert said.err.count(ABSENT) == 1
    assert study.states() == {"ok": 2, "not-applicable": 2}
    with study.store() as store:
        assert {(row.point.device, row.reason) for row in store.points()} == {("host", ""), ("box", ABSENT)}
    # Nothing has to be asked for again where the GPU is.
    fake_gpus.install(study.monkeypatch, cuda=[fake_gpus.cuda("A100", "8.0")])
    assert study.run() == 0
    assert study.states() == {"ok": 4}
    # And what was measured there stays, and needs what made it.
    fake_gpus.install(study.monkeypatch, cuda=fake_gpus.NO_NVIDIA_GPU)
    assert study.run() == 0
    assert study.states() == {"ok": 4}
    with study.store() as store:
        before = sorted(row.key for row in store.steps())
    collect(study.folder)
    with study.store() as store:
        assert sorted(row.key for row in store.steps()) == before


def test_the_shipped_study_of_gpus_asks_no_gpu_for_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_spec(find_spec("gpus"))
    h200 = fake_gpus.cuda("H200", "9.0")
    fake_gpus.install(monkeypatch, cuda=[h200], vulkan=[fake_gpus.vulkan("RTX 4090")])
    plan = Plan.of(spec)
    assert {plan.by_id[name].device for name in plan.verdicts} == {"host"}
    assert {verdict.reason for verdict in plan.verdicts.values()} == {"host has no recipe `f16-auto`"}
    # A driver that is here, with a GPU that is too old, is as good as none.
    fake_gpus.install(monkeypatch, cuda=[fake_gpus.cuda("V100", "7.0")], vulkan=[fake_gpus.LAVAPIPE])
    plan = Plan.of(spec)
    assert set(plan.absent) == {"cuda-sm80", "cuda-sm90"}
    assert "compute capability 7.0: " in plan.absent["cuda-sm80"]
    assert {plan.by_id[name].device for name in plan.wanted} == {"host", "vulkan"}


@pytest.mark.parametrize(
    ("found", "facts", "untimed"),
    [
        (fake_gpus.LAVAPIPE, {"gpu": "llvmpipe", "only": "function only"}, "function only: llvmpipe is a CPU"),
        (fake_gpus.vulkan("RTX 4090"), {"gpu": "RTX 4090"}, ""),
    ],
)
def test_devices_say_what_they_are(found: dict, facts: dict, untimed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus.install(monkeypatch, vulkan=[found])
    device, why = on_device.device_of("vulkan")
    assert (device, why) == ({**facts, "cpu": cpu_model()}, untimed)
    assert on_device.device_of("local-task") == ({"cpu": cpu_model()}, "")
