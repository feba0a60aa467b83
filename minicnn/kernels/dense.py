"""Dense layers through the register tile: y = x · kernel and both gradients, cut into blocks of output channels.

Rows of x, dy and the kernel often lie a power of two apart, and then they evict each other from the cache; so the part
that a task reads again and again is first copied into a small array of its own.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from .jit import kernel
from .product import plan, run_plan

DEPTH = 512  # terms summed per pass: so many rows of a block of the kernel stay in the second-level cache
SKEW = 16  # numbers added to the rows of a copy, so that they do not lie a power of two apart
ROWS, COLUMNS = 64, 64  # the most rows and the output channels of one task of the forward pass
SMALL = 1 << 20  # multiply-adds that are done sooner than handed to a second thread
BLOCK = 64  # input channels computed together in the backward pass


@lru_cache(maxsize=256)
def forward_plan(dtype: str, rows: int, columns: int, depth: int, F: int, start: int, relu: int) -> np.ndarray:
    """The copies of x (rows, depth) and of the kernel (depth, columns) multiplied, into a block of y (·, F)."""
    return plan(dtype, rows, columns, a_row=DEPTH + SKEW, c_row=F, K=depth, a_k=1, b_k=columns, start=start, relu=relu)


@lru_cache(maxsize=256)
def input_gradient_plan(dtype: str, N: int, C: int, F: int, columns: int) -> np.ndarray:
    """The copies of dy (N, F) and of `columns` rows of the kernel, transposed, multiplied, into dx (N, C)."""
    return plan(dtype, N, columns, a_row=F + SKEW, c_row=C, K=F, a_k=1, b_k=columns)


@lru_cache(maxsize=256)
def kernel_gradient_plan(dtype: str, N: int, F: int, rows: int) -> np.ndarray:
    """The copies of `rows` columns of x, transposed, and of dy (N, F) multiplied: as many rows of dkernel (C, F)."""
    return plan(dtype, rows, F, a_row=1, c_row=F, K=N, a_k=rows, b_k=F + SKEW)


@kernel
def copy_block(source: Any, row: int, column: int, rows: int, columns: int, target: Any) -> None:
    """The block of `source` that begins at (row, column), into the corner of `target`."""
    for r in range(rows):
        line = source[row + r, column : column + columns]
        copy = target[r]
        for c in range(columns):
            copy[c] = line[c]


@kernel
def dense(
    x: Any,
    row: int,
    rows: int,
    weights: Any,
    column: int,
    columns: int,
    bias: Any,
    y: Any,
    start: Any,
    middle: Any,
    end: Any,
) -> None:
    """A block of y, which begins at (row, column); the plans are those of the first, the middle and the last pass."""
    size = y.itemsize
    C = x.shape[1]
    x_copy = np.empty((rows, DEPTH + SKEW), x.dtype)
    weights_copy = np.empty((min(DEPTH, C), columns), x.dtype)
    c = y.ctypes.data + size * (row * y.shape[1] + column)
    for k in range(0, C, DEPTH):
        depth = min(DEPTH, C - k)
        copy_block(x, row, k, rows, depth, x_copy)
        copy_block(weights, k, column, depth, columns, weights_copy)
        plan = start if k == 0 else end if k + DEPTH >= C else middle
        run_plan(plan, x_copy.ctypes.data, weights_copy.ctypes.data, bias.ctypes.data + size * column, c)


@kernel
def dense_backward(
    x: Any, dy: Any, weights: Any, first: int, last: int, kernel_plan: Any, dkernel: Any, input_plan: Any, dx: Any
) -> None:
    """Rows first … last-1 of dkernel and, where dx is not empty, the same columns of dx; dy has `SKEW` idle columns."""
    size = dy.itemsize
    N, F = dy.shape[0], dy.shape[1] - SKEW
    copy = np.empty((N, last - first), x.dtype)
    copy_block(x, 0, first, N, last - first, copy)
    run_plan(kernel_plan, copy.ctypes.data, dy.ctypes.data, 0, dkernel.ctypes.data + size * first * F)
    if dx.size:
        transposed = np.empty((F, last - first), x.dtype)
        for c in range(last - first):
            for f in range(F):
                transposed[f, c] = weights[first + c, f]
        run_plan(input_plan, dy.ctypes.data, transposed.ctypes.data, 0, dx.ctypes.data + size * first)
