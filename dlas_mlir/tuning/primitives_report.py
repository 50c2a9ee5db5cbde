"""What choosing the primitives of a network by measurement came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Two primitives whose times differ by less than this, relatively, are level.
_LEVEL = 0.02


@dataclass(frozen=True)
class LayerChoice:
    """One layer: what it is, the microseconds of each primitive in the network as far as it was measured, at best, the
    recipe's own primitive and the chosen one, and why that."""

    layer: str
    shape: str
    costs: dict[str, float]
    rule: str
    chosen: str
    why: str


@dataclass(frozen=True)
class TimedChoice:
    """One assignment of primitives to layers that was timed end to end: the milliseconds of a call that were predicted
    (of a mixed one before it was built) and measured, and the time over that with the recipe's own primitives. `kind`
    is `rule` (the recipe's own), `single` (one primitive wherever it applies) or `mixed`."""

    name: str
    kind: str
    predicted_ms: float
    measured_ms: float
    ratio: float
    low: float
    high: float
    verdict: str

    @property
    def off(self) -> float:
        """How far the prediction is off, relative to what was measured."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True)
class PrimitivesReport:
    """One network. `chosen` is the name of the assignment that was kept; `failures` says of each that could not be
    built, or was wrong, why. `checked_by` is who computed the outputs that all were compared with; `noise` is how far
    two starts of one and the same build lay apart."""

    model: str
    preset: str
    threads: int
    chosen: str
    ratio: float
    seconds: float
    builds: int
    checked_by: str
    layers: tuple[LayerChoice, ...]
    timed: tuple[TimedChoice, ...]
    failures: dict[str, str]
    noise: float

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = asdict(self)
        found["timed"] = [{**asdict(one), "off": one.off} for one in self.timed]
        return found


def reason(costs: Mapping[str, float], rule: str, chosen: str) -> str:
    """Why a layer is done by `chosen`, in a few words, from the microseconds of each primitive."""
    if len(costs) < 2 or chosen not in costs:
        return "nothing else does it"
    fastest = min(costs, key=lambda name: costs[name])
    if costs[chosen] <= costs[fastest] * (1 + _LEVEL):
        rest = [us for name, us in costs.items() if name != chosen]
        if chosen != rule and rule in costs:
            saved = costs[rule] - costs[chosen]
            if saved > 0:
                return f"{saved:.1f} us less than the recipe's"
            return f"the recipe's saves {-saved:.1f} us here, but not in the whole network"
        return "level with the fastest" if min(rest) <= costs[chosen] else "the fastest"
    own = f"{fastest} saves {costs[chosen] - costs[fastest]:.1f} us here"
    return f"{own}, but not in the whole network"
