"""Kernels for vector units: tiles of registers, and what is summed into them."""
