"""One prepared script for a machine with a GPU: what is compiled elsewhere is checked and timed there, beside PyTorch.

python -m benchmarks.gpu build build/gpu-check       # here: artifacts, right outputs, this script, the runtime
sh build/gpu-check/run.sh results                    # there, where there is Python with NumPy
"""
