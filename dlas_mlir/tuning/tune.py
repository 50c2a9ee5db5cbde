"""`tune`: search for the schedules of a network, keep what was tried, say what was gained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dlas_mlir.compiler import tuned
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.choices import Choices
from dlas_mlir.tuning.conclude import conclude
from dlas_mlir.tuning.report import Report, Transferred
from dlas_mlir.tuning.task import Settings
from dlas_mlir.tuning.transfer import Transfer, check_families, foreign_schedules, prepare
from dlas_mlir.tuning.tuner import Say, Tuner


def tune(
    model: str,
    preset: str = "host/auto",
    *,
    threads: int = 1,
    settings: Settings | None = None,
    db: Path | str | None = None,
    inputs: tuple[str, ...] | None = None,
    weights: Path | str | None = None,
    batch: int | None = None,
    transfer: Transfer | None = None,
    say: Say = lambda _: None,
) -> Report:
    """Tune the kernels of `model` for `preset` and `threads` threads, and keep every trial in the data base `db`
    (None: the user's own).

    Presets `TARGET/RECIPE:tuned` of the same target take the schedules that won. Ctrl-C (KeyboardInterrupt) ends the
    search, and what was found by then is compared and kept; a second one leaves that out: trials are kept all the
    same. With `transfer` only schedules from other models are tried. Raises DlasError.
    """
    with (
        open_trials(Path(db) if db is not None else tuned.database()) as trials,
        Tuner(
            model, preset, threads, settings or Settings(), trials, say, inputs=inputs, weights=weights, batch=batch
        ) as tuner,
    ):
        interrupted = False
        bring = _bringing(transfer, tuner) if transfer is not None else lambda: None
        try:
            tuner.search(bring)
        except KeyboardInterrupt:
            if not tuner.ready:
                raise
            interrupted = True
            say("stopped: what was found so far is compared; Ctrl-C again leaves that out")
        return conclude(tuner, interrupted)


def _bringing(transfer: Transfer, tuner: Tuner) -> Callable[[], Transferred]:
    """What gives the kernels the schedules of others, once their shares are known."""
    target, seed = tuner.preset.target, tuner.settings.seed
    foreign = foreign_schedules(transfer, tuner.model, tuner.preset, tuner.trials)
    check_families(foreign, tuner.tasks)
    return lambda: prepare(transfer, foreign, tuner.tasks, target, seed=seed, say=tuner.say)


def open_trials(file: Path) -> Choices:
    """The data base, made if there is none. Raises DlasError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlasError(f"cannot make the folder {file.parent}: {error.strerror} (--db names another place)") from None
    return Choices(file)
