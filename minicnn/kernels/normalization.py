"""Batch-normalisation kernels over the rows (M, C) of an activation; a task has the rows first … last-1.

Statistics are summed in groups of rows that depend on M alone, and the groups are added in order, so the bits are the
same for any number of threads.
"""

from typing import Any

import numpy as np

from .jit import kernel

BLOCK = 256  # rows measured together


@kernel
def moments(x: Any, first: int, last: int, mean: Any, square: Any) -> None:
    """The mean (C,) of the rows and the sum (C,) of their squared deviations from it, in one pass over memory.

    Blocks that fit the cache are measured in two passes, and merged: Chan, Golub and LeVeque (1979).
    """
    C = x.shape[1]
    block_mean = np.empty(C, x.dtype)
    block_square = np.empty(C, x.dtype)
    seen = 0
    for start in range(first, last, BLOCK):
        stop = min(last, start + BLOCK)
        count = stop - start
        for c in range(C):
            block_mean[c] = 0
            block_square[c] = 0
        for m in range(start, stop):
            for c in range(C):
                block_mean[c] += x[m, c]
        for c in range(C):
            block_mean[c] /= count
        for m in range(start, stop):
            for c in range(C):
                deviation = x[m, c] - block_mean[c]
                block_square[c] += deviation * deviation
        share = x.dtype.type(count / (seen + count))
        for c in range(C):
            if seen == 0:
                mean[c] = block_mean[c]
                square[c] = block_square[c]
            else:
                apart = block_mean[c] - mean[c]
                mean[c] += apart * share
                square[c] += block_square[c] + apart * apart * share * seen
        seen += count


@kernel
def scale_rows(x: Any, first: int, last: int, mean: Any, scale: Any, shift: Any, y: Any) -> None:
    """y = (x - mean) · scale + shift"""
    C = x.shape[1]
    for m in range(first, last):
        for c in range(C):
            y[m, c] = (x[m, c] - mean[c]) * scale[c] + shift[c]


@kernel
def gradient_sums(dy: Any, x: Any, first: int, last: int, mean: Any, dbeta: Any, dgamma: Any) -> None:
    """dbeta[c] = Σ dy and dgamma[c] = Σ dy · (x - mean), the latter still to be divided by the standard deviation."""
    C = x.shape[1]
    for c in range(C):
        dbeta[c] = 0
        dgamma[c] = 0
    for m in range(first, last):
        for c in range(C):
            dbeta[c] += dy[m, c]
            dgamma[c] += dy[m, c] * (x[m, c] - mean[c])


@kernel
def input_gradient(
    dy: Any, x: Any, first: int, last: int, mean: Any, scale: Any, along_one: Any, along_x: Any, dx: Any
) -> None:
    """dx = scale · (dy - along_one - (x - mean) · along_x)"""
    C = x.shape[1]
    for m in range(first, last):
        for c in range(C):
            dx[m, c] = scale[c] * (dy[m, c] - along_one[c] - (x[m, c] - mean[c]) * along_x[c])
