"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import open_device, resolve

# PyTorch's threads wait for each other by spinning: its small operations take seconds where other tests hold a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """A cache for all tests of a file: each model is imported once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tuning_surroundings(shared_cache, tmp_path, monkeypatch):
    """The models of this folder are found, and a data base of the test's own is the user's."""
    monkeypatch.setenv("DLAS_CACHE", str(shared_cache))
    monkeypatch.setenv("DLAS_DB", str(tmp_path / "schedules.db"))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(scope="session")
def vulkan():
    """A Vulkan device, which may be the CPU."""
    try:
        open_device(resolve("vulkan"), pin=False)
    except DlasError as error:
        pytest.skip(f"no Vulkan driver is installed (apt-get install mesa-vulkan-drivers has one for CPUs): {error}")
