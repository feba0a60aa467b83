"""Numba kernels: arrays and numbers in, arrays filled. They know nothing of layers, check nothing and cannot fail."""
