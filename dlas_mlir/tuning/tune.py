"""`tune`: search for the schedules of a network, keep what was tried, say what was gained."""

from __future__ import annotations

from pathlib import Path

from dlas_mlir.compiler import tuned
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Trials
from dlas_mlir.tuning.conclude import conclude
from dlas_mlir.tuning.report import Report
from dlas_mlir.tuning.task import Settings
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
    say: Say = lambda _: None,
) -> Report:
    """Tune the kernels of `model` for `preset` and `threads` threads, and keep every trial in the data base `db`
    (None: the user's own).

    The recipe `tuned` of the same target takes the schedules that won. Ctrl-C (KeyboardInterrupt) ends the search, and
    what was found by then is compared and kept; a second one leaves that out: trials are kept all the same. Raises
    DlasError.
    """
    with (
        open_trials(Path(db) if db is not None else tuned.database()) as trials,
        Tuner(model, preset, threads, settings or Settings(), trials, say, inputs=inputs, weights=weights) as tuner,
    ):
        interrupted = False
        try:
            tuner.search()
        except KeyboardInterrupt:
            if not tuner.ready:
                raise
            interrupted = True
            say("stopped: what was found so far is compared; Ctrl-C again leaves that out")
        return conclude(tuner, interrupted)


def open_trials(file: Path) -> Trials:
    """The data base, made if there is none. Raises DlasError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlasError(f"cannot make the folder {file.parent}: {error.strerror} (--db names another place)") from None
    return Trials(file)
