"""What workers say of themselves when they join, and which devices that gives a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir.study.versions import difference, digest

# Under this, Dask keeps what a worker says of itself, and what the scheduler is told.
NAME = "dlas"


@dataclass(frozen=True)
class Offer:
    """One worker: where it is, the devices that it has, the versions that it runs."""

    machine: str
    devices: tuple[str, ...]
    versions: Mapping[str, str]
    address: str = ""

    def said(self) -> dict[str, Any]:
        """As the worker says it."""
        return {"machine": self.machine, "devices": list(self.devices), "versions": dict(self.versions)}

    def resources(self) -> dict[str, float]:
        """What Dask is told that it has: one of each device."""
        return {resource(device, self.machine, self.versions): 1.0 for device in self.devices}


def resource(device: str, machine: str, versions: Mapping[str, str]) -> str:
    """Dask's name of a device. It names the machine and the versions: a job for one is never given to another."""
    return f"dev:{device}@{machine}#{digest(versions)}"


def this_machine() -> str:
    """The name of this machine, with digits that tell it from another of that name."""
    number = ""
    for file in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        if Path(file).is_file() and (number := Path(file).read_text().strip()):
            break
    return f"{os.uname().nodename}/{hashlib.sha256(number.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Devices:
    """The devices that a run can use (name to machine), and why others cannot be."""

    machines: Mapping[str, str]
    refused: Mapping[str, str]

    @staticmethod
    def of(offers: Iterable[Offer], ours: Mapping[str, str], used: Mapping[str, str]) -> Devices:
        """Those in `offers` with our versions. A device that several machines offer is that of the one which is `used`
        already, else of none."""
        machines: dict[str, set[str]] = {}
        refused: dict[str, str] = {}
        for offer in offers:
            for device in offer.devices:
                if different := difference(offer.versions, ours):
                    refused[device] = f"the worker on {offer.machine} that offers it has {different}"
                else:
                    machines.setdefault(device, set()).add(offer.machine)
        chosen: dict[str, str] = {}
        for device, places in machines.items():
            if len(places) == 1 or used.get(device) in places:
                chosen[device] = used[device] if used.get(device) in places else min(places)
                if len(places) == 1:
                    refused.pop(device, None)
            if len(places) > 1:
                refused[device] = f"it is offered by {' and '.join(sorted(places))}: give each a name of its own"
        return Devices(chosen, refused)


def read_offers(identity: Mapping[str, Any]) -> list[Offer]:
    """What the workers of a scheduler have said, from its `identity`; others than ours are left out."""
    found = []
    for address, worker in identity.get("workers", {}).items():
        said = worker.get(NAME)
        if isinstance(said, Mapping):
            found.append(Offer(said["machine"], tuple(said["devices"]), dict(said["versions"]), str(address)))
    return found
