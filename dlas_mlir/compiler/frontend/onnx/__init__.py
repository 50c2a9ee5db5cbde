"""ONNX: what a file holds, made what torch-mlir takes, and the reference that its numbers are checked by."""
