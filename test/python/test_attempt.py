"""One attempt at a job of a study: how it ended is told apart."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dlas_mlir.study.attempt import attempt


@pytest.fixture(autouse=True)
def _entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("DLAS_STUDY_ENTRY", "study_entries:run")


@pytest.mark.parametrize(
    ("do", "end", "reason"),
    [
        ("answer", "ok", ""),
        ("refuse", "failed", "the layer conv1 is too wide"),
        ("fail", "failed", "KeyError: 'conv1'"),
        ("crash", "crash", "block 1 was killed by SIGSEGV"),
        ("hang", "timeout", "block 1 took more than 0.5 s"),
    ],
)
def test_how_an_attempt_ended(do: str, end: str, reason: str) -> None:
    outcome = attempt({"name": "a", "do": do}, 0.5 if do == "hang" else 60, what="block 1")
    assert (outcome["end"], outcome["reason"]) == (end, reason)
    assert outcome["answer"] == ({"said": "a", "ns": [1, 2, 3]} if end == "ok" else {})


def test_an_attempt_that_is_not_wanted_any_more_is_lost() -> None:
    told, tell = os.pipe()
    threading.Timer(0.2, os.close, [tell]).start()
    assert attempt({"do": "hang"}, 60, stop=told)["end"] == "lost"
    os.close(told)
