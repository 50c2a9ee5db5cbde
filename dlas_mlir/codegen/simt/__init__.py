"""Kernels of GPU threads without matrix instructions: one text for CUDA and Vulkan.

| file | what it holds |
|---|---|
| `backend.py` | the backend that `codegen/backends.py` lists |
| `schedule.py` | schedules of kind `simt`, read, written and checked against a workload |
| `layout.py` | which loop vectors run along, and how wide they can be |
| `resources.py` | what a schedule takes of a thread and of a workgroup, checked against a target |
| `space.py` | the schedules that are tried, what one costs, and the cheapest |
| `moves.py` | the schedules that differ from one in one decision, for searches |
| `refit.py` | a schedule fitted to other loops, for transfer |
| `nonzeros.py` | sparse weights: their schedules, costs and loops |
| `joining.py` | results that several threads of a workgroup compute together |
| `together.py` | the schedules of kernels in one launch, and what that costs |
| `chain.py` | those kernels |
| `threads.py` | which part of the result a thread does |
| `kernel.py` | the kernel: a register tile for each thread |

A thread computes a register tile as a CPU's workgroup does (`codegen/register_tile.py`), in a
`flow.dispatch.workgroups` on tensors and vectors, which iree-compile bufferises and lowers to PTX or SPIR-V.
"""
