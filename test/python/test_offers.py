"""What a run takes of the devices that workers offer."""

from __future__ import annotations

import pytest

from dlas_mlir.study.offers import Devices, Offer

OURS = {"dlas-mlir": "1", "iree-base-runtime": "3.13.0"}


@pytest.mark.parametrize(
    ("offers", "used", "machines", "refused"),
    [
        pytest.param([("a", OURS), ("a", OURS)], {}, {"board": "a"}, {}, id="two workers of one machine"),
        pytest.param(
            [("a", OURS), ("b", OURS)],
            {},
            {},
            {"board": "it is offered by a and b: give each a name of its own"},
            id="two machines",
        ),
        pytest.param(
            [("a", OURS), ("b", OURS)],
            {"board": "b"},
            {"board": "b"},
            {"board": "it is offered by a and b: give each a name of its own"},
            id="a second machine comes later",
        ),
        pytest.param(
            [("a", OURS | {"iree-base-runtime": "3.12.0"})],
            {},
            {},
            {"board": "the worker on a that offers it has iree-base-runtime 3.12.0 where this run has 3.13.0"},
            id="another version",
        ),
        pytest.param(
            [("a", {"dlas-mlir": "1"}), ("b", OURS)], {}, {"board": "b"}, {}, id="another version beside the right one"
        ),
    ],
)
def test_which_devices_can_be_used(offers, used, machines, refused) -> None:
    said = [Offer(machine, ("board",), versions) for machine, versions in offers]
    assert Devices.of(said, OURS, used) == Devices(machines, refused)
