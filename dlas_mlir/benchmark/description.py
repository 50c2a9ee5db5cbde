"""What a record says of what was run: the six layers of an artifact on its devices."""

from __future__ import annotations

import datetime
import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlas_mlir.benchmark.speedup import expected, is_dense
from dlas_mlir.codegen.target import Target
from dlas_mlir.compiler import cache
from dlas_mlir.compiler.artifact import Artifact
from dlas_mlir.measure import record as records
from dlas_mlir.measure.record import Record
from dlas_mlir.runtime.devices import Device, cpu_model, resolve

if TYPE_CHECKING:
    from dlas_mlir.compression.accuracy import Evaluation


def blank(model: records.Model, preset: str, weights: Path | None, hardware: records.Hardware) -> Record:
    """The record of what is asked for, before anything is compiled."""
    return Record(
        model=model,
        optimization=records.Optimization(
            weights=weights.stem if weights else None,
            weights_sha256=cache.file_digest(weights) if weights and weights.is_file() else None,
        ),
        algorithm=records.Algorithm(recipe=preset.rpartition("/")[2]),
        software=records.Software(preset=preset),
        hardware=replace(hardware, cpu=cpu_model(), host=os.uname().nodename),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def described(record: Record, artifact: Artifact, devices: Sequence[Device]) -> Record:
    """`record` with what the artifact says of itself."""
    macs = record.model.dense_macs
    layers = tuple(
        records.Layer(
            name=layer["layer"],
            primitive=layer["primitive"],
            macs=layer["macs"],
            options=layer.get("options"),
            shape=layer.get("shape"),
            workload=layer.get("workload"),
            schedule=layer.get("schedule"),
        )
        for layer in artifact.layers
    )
    return replace(
        record,
        model=replace(record.model, parameters=artifact.parameters, macs=artifact.macs),
        optimization=replace(
            record.optimization,
            element=artifact.element,
            nonzeros=artifact.nonzeros,
            weight_bytes=artifact.weight_bytes,
            effective_macs=artifact.effective_macs,
            dense=is_dense(artifact.effective_macs, macs),
            expected_speedup=expected(artifact.effective_macs, macs, Target.from_figures(artifact.target)),
        ),
        algorithm=replace(record.algorithm, primitives=artifact.primitives, layers=layers),
        software=replace(
            record.software,
            target=artifact.target["name"],
            flags=artifact.flags,
            versions=artifact.versions,
            artifact_sha256=artifact.sha256,
            compile_seconds=artifact.seconds,
        ),
        hardware=replace(
            record.hardware,
            device=devices[0].driver,
            cpus=tuple(cpu for device in devices for cpu in device.cpus),
        ),
    )


def evaluation_record(found: Evaluation, artifact: Artifact, weights: Path | None, threads: int) -> Record:
    """The record of an accuracy: of what `artifact` gives on a dataset, timed by nobody."""
    record = blank(
        records.Model(name=found.model, dense_macs=found.macs),
        found.preset,
        weights,
        records.Hardware(device="", threads=threads),
    )
    measured = found.artifact
    return replace(
        described(record, artifact, [resolve(artifact.driver, threads)]),
        dataset=records.Dataset(name=found.dataset, images=measured.n),
        accuracy=records.Accuracy(
            top1=measured.top1,
            correct=measured.correct,
            images=measured.n,
            low=measured.low,
            high=measured.high,
            reference=None if found.pytorch is None else found.pytorch.top1,
        ),
        run=secrets.token_hex(8),
    )
