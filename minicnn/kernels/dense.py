"""Dense layers through the register tile: y = x · kernel and both gradients, cut into blocks of output channels.

Rows of x, dy and the kernel often lie a power of two apart, and then they evict each other from the cache; so the part
that a task reads again and again is first copied into scratch.
"""

from functools import lru_cache

import numpy as np

from .jit import kernel
from .product import plan, run_plan
from .simd import copy, fill, int_at, load, number_at, put, select, size_of, store, width_of

DEPTH = 512  # terms summed per pass: so many rows of a block of the kernel stay in the second-level cache
SKEW = 16  # numbers added to the rows of a copy, so that they do not lie a power of two apart
ROWS, COLUMNS = 64, 64  # the most rows and the output channels of one block of the forward pass
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


@kernel("y", "x_copy", "weights_copy")
def dense(zero, count, block, x, weights, bias, y, x_copy, weights_copy, plans, N, C, F, height, width, depth, skew):
    """The blocks of y (N, F) from number `block` on; each has `height` rows and `width` columns, if there are as many.

    `plans` lists addresses and panels of plans: for full and last row blocks, full and last column blocks, and the first,
    the middle and the last pass over `depth` terms.
    """
    size = size_of(zero)
    down = (N + height - 1) // height
    for number in range(block, block + count):
        row, column = number % down * height, number // down * width
        rows, columns = height, width
        kind = 0
        if row + rows > N:
            rows, kind = N - row, 6
        if column + columns > F:
            columns = F - column
            kind += 3
        for k in range(0, C, depth):
            terms = depth
            step = 1
            if k == 0:
                step = 0
            if k + depth >= C:
                terms, step = C - k, 2
            for r in range(rows):
                copy(x + size * ((row + r) * C + k), x_copy + size * r * (depth + skew), size * terms)
            for t in range(terms):
                copy(weights + size * ((k + t) * F + column), weights_copy + size * t * columns, size * columns)
            place = plans + 16 * (kind + step)
            run_plan(
                int_at(place), int_at(place + 8), x_copy, weights_copy, bias + size * column, y + size * (row * F + column)
            )  # fmt: skip


@kernel("spread")
def spread_rows(zero, count, dy, y, spread, F, skew):
    """Copies rows (F,) with `skew` idle numbers after each, and with zeros where y, the result of a ReLU, is zero."""
    size, lanes = size_of(zero), width_of(zero)
    nothing = fill(zero, zero)
    for n in range(count):
        for f in range(0, F, lanes):
            place = size * (n * F + f)
            gradient = load(dy + place, F - f, zero)
            if y:
                gradient = select(load(y + place, F - f, zero) <= nothing, nothing, gradient)
            store(gradient, spread + size * (n * (F + skew) + f), F - f)


@kernel("dkernel", "dx", "x_copy", "weights_copy")
def dense_backward(zero, count, block, x, dy, weights, dkernel, dx, x_copy, weights_copy, plans, N, C, F, width, skew):
    """Blocks of `width` rows of dkernel (C, F) and, unless dx is 0, the same columns of dx, from number `block` on.

    `plans` lists the kernel's and the input's plan for a full block, and both for the last.
    """
    size = size_of(zero)
    for first in range(block * width, min((block + count) * width, C), width):
        columns = min(width, C - first)
        place = plans if columns == width else plans + 32
        for n in range(N):
            copy(x + size * (n * C + first), x_copy + size * n * columns, size * columns)
        run_plan(int_at(place), int_at(place + 8), x_copy, dy, 0, dkernel + size * first * F)
        if dx:
            for c in range(columns):
                for f in range(F):
                    number = number_at(weights + size * ((first + c) * F + f), zero)
                    put(number, weights_copy + size * (f * columns + c), zero)
            run_plan(int_at(place + 16), int_at(place + 24), dy, weights_copy, 0, dx + size * first)
