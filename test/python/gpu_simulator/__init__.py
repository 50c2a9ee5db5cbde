"""CUDA kernels as this project emits them, run in NumPy by PTX's definitions: all threads of a cluster at once.

`run(module, inputs)` runs the one dispatch of `@main` on arrays and returns its results. What cp.async copies is there
once its group has been waited for; what a thread writes is seen by others behind a barrier: reading it earlier, and
writing what others may still read, is an error (`Race`), as is an address outside of a tensor or of shared memory.
"""

from gpu_simulator.kernel import Report
from gpu_simulator.memory import Race
from gpu_simulator.run import run

__all__ = ["Race", "Report", "run"]
