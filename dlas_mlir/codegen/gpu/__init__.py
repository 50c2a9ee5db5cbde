"""Kernels for GPUs.

| file | what it holds |
|---|---|
| `backend.py` | the backends that `codegen/backends.py` lists |
| `product.py` | a workload seen as a product of matrices: rows, columns, taps, channels, where the factors lie |
| `instructions.py` | the products of small matrices that GPUs have as instructions |
| `schedule.py` | the schedules of kind `gpu`, read, written and checked against a workload |
| `resources.py` | what a schedule takes of a multiprocessor, checked against a target |
| `rule.py` | the schedules that are tried, what one costs, and the cheapest |
| `moves.py` | the schedules that differ from one in one decision, for searches |
| `refit.py` | a schedule fitted to a product of another size, for transfer |
| `nest.py` | the loop nest that follows from a schedule, as pseudo-code |
| `executable.py` | the `hal.executable.source` around a kernel, and the dispatch that runs it |
| `machine.py` | 32-bit arithmetic, pointers and PTX's instructions, as operations |
| `copies.py` | steps of the factors copied to shared memory by cp.async |
| `window.py`, `halo_copies.py` | the same for a window whose pixels are loaded once for all taps |
| `tensor_core.py` | the kernel of a product: copies, instructions, epilogue |
| `mma.py`, `wgmma.py` | its sums by ldmatrix and mma.sync, or by wgmma |
| `fragments.py` | where instructions leave sums |
| `body.py` | the scalar bodies of stages |
| `behind.py` | the stages behind a root in some columns of a row, their operands and results |
| `epilogue.py` | sums in shared memory, the stages behind them, and their results |
| `pooling.py` | a pooling in the kernel of the product before it: how it reads that, its schedule |
| `pooled_rule.py` | whether the two are one kernel: schedules that are tried, and what they cost |
| `pooled_epilogue.py` | what a kernel does with its sums that a pooling reads |

Kernels are `hal.executable.source` with one function on pointers, which iree-compile lowers as it stands; it is the
PTX back end. What is emitted runs in NumPy in the tests (test/python/gpu_simulator), by PTX's definitions.
"""
