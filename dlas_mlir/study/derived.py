"""What follows from several points of a study: losses of accuracy."""

from __future__ import annotations

from collections.abc import Mapping

from dlas_mlir.study.axes import NO_COMPRESSION
from dlas_mlir.study.store import StudyStore
from dlas_mlir.study.values import Point


def figures(store: StudyStore) -> dict[str, dict[str, float]]:
    """All metrics of all points that have some, by id, those that follow from others among them."""
    found: dict[str, dict[str, float]] = {}
    for name, metric in store.metrics():
        found.setdefault(name, {})[metric.name] = metric.value
    points = {row.id: row.point for row in store.points() if row.id in found}
    add_losses(found, points)
    return found


def add_losses(found: Mapping[str, dict[str, float]], points: Mapping[str, Point]) -> None:
    """Set `accuracy_loss`: the accuracy of the uncompressed model in f32, minus a point's own."""
    dense: dict[tuple, float] = {}
    for name, point in points.items():
        accuracy = found[name].get("accuracy")
        if accuracy is not None and point.compression == NO_COMPRESSION and point.element == "f32":
            dense.setdefault((point.dataset, point.model), accuracy)
    for name, point in points.items():
        accuracy, before = found[name].get("accuracy"), dense.get((point.dataset, point.model))
        if accuracy is not None and before is not None:
            found[name]["accuracy_loss"] = before - accuracy
