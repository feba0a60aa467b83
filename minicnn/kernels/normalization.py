"""Batch-normalisation kernels over the rows (M, C) of an activation; a task has the rows first … last-1.

Statistics are summed in groups of rows that depend on M alone, and the groups are added in order, so the bits are the
same for any number of threads.
"""

from typing import Any

from .jit import kernel


@kernel
def row_sums(x: Any, first: int, last: int, total: Any) -> None:
    """total[c] = Σ x[m,c]"""
    C = x.shape[1]
    for c in range(C):
        total[c] = 0
    for m in range(first, last):
        for c in range(C):
            total[c] += x[m, c]


@kernel
def row_square_sums(x: Any, first: int, last: int, mean: Any, total: Any) -> None:
    """total[c] = Σ (x[m,c] - mean[c])²"""
    C = x.shape[1]
    for c in range(C):
        total[c] = 0
    for m in range(first, last):
        for c in range(C):
            deviation = x[m, c] - mean[c]
            total[c] += deviation * deviation


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
