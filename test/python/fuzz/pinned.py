"""Programs that failed once, as the fuzzer's log has them."""

from __future__ import annotations

from fuzz.program import Program

PINNED: tuple[Program, ...] = ()
