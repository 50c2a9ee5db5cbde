"""Explicit kernels: a scheduled linalg region becomes loops, vector loads and fused multiply-adds."""

from dlas_mlir.ir.kernel.replace import dissolve, emit_kernel

__all__ = ["dissolve", "emit_kernel"]
