"""A module that takes longer to load than anybody waits; no other Python runs meanwhile, as with native code."""

import ctypes
import os
from pathlib import Path

Path(os.environ["DLAS_TEST_PIDS"]).write_text(f"{os.getpid()}\n")
ctypes.PyDLL(None).sleep(100)
