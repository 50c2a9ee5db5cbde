"""Explicit kernels: a scheduled linalg region becomes loops, vector loads and fused multiply-adds."""
