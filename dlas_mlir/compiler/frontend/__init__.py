"""Importing: torch, ONNX and MLIR files, down to linalg on tensors."""
