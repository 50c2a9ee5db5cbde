"""Kernels of contractions with sparse weights: loops over non-zeros, with pixels in the lanes."""
