"""Locks on devices, and how waiting for them ends."""

from __future__ import annotations

import os
import tempfile

import pytest

from dlas_mlir.measure import gate


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_device_has_one_holder_and_devices_are_apart():
    told, tell = os.pipe()
    os.close(tell)  # nobody waits
    with gate.device("pi 4/big", stop=told):
        with pytest.raises(gate.Unwanted), gate.device("pi 4/big", stop=told):
            pass
        with gate.device("pi 4-big", stop=told), gate.device("pi 4/big", part="-process", stop=told):
            pass
    with gate.device("pi 4/big", stop=told):
        pass
    os.close(told)


def test_nobody_works_while_somebody_measures():
    told, tell = os.pipe()
    os.close(tell)
    with gate.working(stop=told), gate.working(stop=told), pytest.raises(gate.Unwanted), gate.measuring(stop=told):
        pass
    with gate.measuring(stop=told), pytest.raises(gate.Unwanted), gate.working(stop=told):
        pass
    os.close(told)
