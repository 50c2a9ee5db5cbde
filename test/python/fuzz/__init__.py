"""Random programs in linalg on tensors, compiled by the recipes and compared with NumPy: `python -m fuzz --help`."""
