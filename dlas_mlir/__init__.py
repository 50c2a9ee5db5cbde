"""The Deep Learning Acceleration Stack on MLIR and IREE."""
