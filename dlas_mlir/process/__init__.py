"""Work that may crash, hang or be stopped: done in processes of their own, with a time limit, and without leftovers.

`run` runs a tool, `call` a Python function. Both go through a fork server (`forkserver.py`), one for each process that
asks. It loads what takes seconds to load once (torch), forks for each request, and ends what it has forked when this
process ends, however that happens. `supervise` runs a whole command on this terminal.
"""

from dlas_mlir.process.calls import LIMIT, Died, Outcome, call, run
from dlas_mlir.process.supervision import die_with_parent, is_supervised, python, supervise
from dlas_mlir.process.watchdog import limited
from dlas_mlir.process.worker import entering

__all__ = [
    "LIMIT",
    "Died",
    "Outcome",
    "call",
    "die_with_parent",
    "entering",
    "is_supervised",
    "limited",
    "python",
    "run",
    "supervise",
]
