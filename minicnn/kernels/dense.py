"""Dense layers through the register tile: y = x · kernel and both gradients, cut into blocks of output channels.

Rows of x, dy and the kernel often lie a power of two apart, and then they evict each other from the cache; so the part
that a task reads again and again is first copied into scratch.
"""

from functools import lru_cache

import numpy as np

from .arrays import transpose
from .jit import kernel, part
from .product import PACKED, plan, run_plan
from .simd import (
    ACCUMULATE,
    copy,
    fill,
    int_at,
    lanes,
    load,
    prefetch,
    select,
    size_of,
    store,
    vector_registers,
    width_of,
)

DEPTH = 512  # the most terms summed at once: so many rows of a block of the kernel stay in the second-level cache
SHALLOW = 128  # and the fewest, where sums are cut so that all cores have some
SKEW = 16  # numbers added to the rows of a copy, so that they do not lie a power of two apart
ROWS, COLUMNS = 128, 128  # the most rows and output channels of one block of the forward pass
PACKED_COLUMNS = 256  # the same where the kernel is packed: rows of x are copied once for every block
REPEATED = 24  # rows of x from which on packing a block of the kernel is worth it
LINE = 64  # bytes in a line of a cache
WAY = 4096  # bytes that addresses lie apart whose lines evict each other from the first-level cache
AHEAD = 4096  # bytes that rows are asked for before they are copied
SAMPLES = 256  # added up at a time in the backward pass
BLOCK = 64  # input channels computed together in the backward pass


def packs(rows: int, F: int, dtype: str) -> bool:
    """Whether blocks of a kernel (·, F) are packed: where they are read often, and its rows evict each other from the cache.

    Where registers are shorter than a cache line, always: packed, the lines that a tile reads one by one lie in a row.
    """
    type_ = np.dtype(dtype)
    line_by_line = PACKED * lanes(type_) < F and vector_registers()[0] < LINE
    return rows >= REPEATED and (line_by_line or F * type_.itemsize % WAY == 0)


@lru_cache(maxsize=256)
def forward_plan(
    dtype: str, rows: int, columns: int, room: int, depth: int, F: int, start: int, relu: int, packed: bool
) -> np.ndarray:
    """Multiplies the copy of x (rows, room + SKEW) by `depth` rows of a kernel's block, into a block of y (·, F)."""
    return plan(
        dtype, rows, columns, a_row=room + SKEW, c_row=F, K=depth, a_k=1, b_k=F, start=start, relu=relu,
        packed=depth if packed else 0,
    )  # fmt: skip


@lru_cache(maxsize=256)
def input_gradient_plan(dtype: str, N: int, C: int, F: int, columns: int) -> np.ndarray:
    """The copies of dy (N, F) and of `columns` rows of the kernel, transposed, multiplied, into dx (N, C)."""
    return plan(dtype, N, columns, a_row=F + SKEW, c_row=C, K=F, a_k=1, b_k=columns)


@lru_cache(maxsize=256)
def kernel_gradient_plan(dtype: str, N: int, F: int, rows: int) -> np.ndarray:
    """Multiplies copies of `rows` columns of x, transposed, and of dy (N, F), into `rows` rows of dkernel (C, F).

    As many samples at a time as the caches hold of both.
    """
    parts = [
        plan(
            dtype, rows, F, a_offset=first * rows, b_offset=first * (F + SKEW), a_row=1, c_row=F, K=min(SAMPLES, N - first),
            a_k=rows, b_k=F + SKEW, start=ACCUMULATE if first else 0,
        )
        for first in range(0, N, SAMPLES)
    ]  # fmt: skip
    return np.concatenate(parts)


@part
def pack(zero, source, rows, columns, stride, target, vectors):
    """Copies a block of a matrix, whose rows lie `stride` bytes apart, as a packed operand: see `product.plan`."""
    size, lanes = size_of(zero), width_of(zero)
    side = vectors * lanes
    for row in range(rows):
        line, place = source + row * stride, target
        for column in range(0, columns, side):
            together = min(side, columns - column)
            for c in range(0, together, lanes):
                left = together - c
                store(load(line + size * (column + c), left, zero), place + size * (row * together + c), left)
            place += size * rows * together


@part
def copy_rows(source, stride, rows, length, target, target_stride):
    """Copies rows of `length` bytes that lie far apart, and prefetches the rows that are copied a little later."""
    ahead = AHEAD // length
    for row in range(rows):
        if row + ahead < rows:
            prefetch(source + (row + ahead) * stride, length, 0)
        copy(source + row * stride, target + row * target_stride, length)


@kernel("y", "x_copy", "weights_copy")
def dense(
    zero, count, block, x, weights, bias, y, x_copy, weights_copy, plans, N, C, F, height, width, depth, skew, together,
    part, vectors,
):  # fmt: skip
    """Blocks of y (N, F), of `height` rows, `width` columns and sums of `depth` terms, from number `block` on.

    With `together` a block sums all terms, else only one slice of `depth`, into a y of its own; these partial results
    lie `part` bytes apart. Blocks of the kernel are packed, `vectors` vectors side by side, unless `weights_copy` is 0.
    `plans` lists address and number of panels of each plan: for full and last row blocks, in each for full and last
    column blocks, in each for the first, a middle and the last slice.
    """
    size = size_of(zero)
    slices = (C + depth - 1) // depth
    down = (N + height - 1) // height
    for number in range(block, block + count):
        first, last, place = 0, slices, number
        if not together:
            first, last, place = number % slices, number % slices + 1, number // slices
        row, column = place % down * height, place // down * width
        rows, columns, kind = height, width, 0
        if row + rows > N:
            rows, kind = N - row, 6
        if column + width > F:
            columns = F - column
            kind += 3
        target = y + size * (row * F + column)
        if not together:
            target += first * part
        for k in range(first, last):
            terms, step = depth, 1
            if k == 0:
                step = 0
            if k == slices - 1:
                terms, step = C - k * depth, 2
            copy_rows(x + size * (row * C + k * depth), size * C, rows, size * terms, x_copy, size * (depth + skew))
            entry = plans + 16 * (kind + step)
            start = weights + size * (k * depth * F + column)
            if weights_copy:
                pack(zero, start, terms, columns, size * F, weights_copy, vectors)
                start = weights_copy
            run_plan(int_at(entry), int_at(entry + 8), x_copy, start, bias + size * column, target)


@kernel("y")
def add_slices(zero, count, parts, number, part, bias, y, first, F, relu):
    """Rows of y = Σ parts + bias, from number `first` on; the parts lie so many bytes apart, bias is 0 for none."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    for n in range(count):
        for f in range(0, F, lanes):
            left, place = F - f, size * ((first + n) * F + f)
            even, odd = load(parts + place, left, zero), nothing
            if bias:
                odd = load(bias + size * f, left, zero)
            for p in range(1, number):
                even, odd = odd, even + load(parts + p * part + place, left, zero)
            total = even + odd
            if relu:
                total = select(total <= nothing, nothing, total)
            store(total, y + size * (n * F + f), left)


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
def dense_backward(zero, count, block, x, dy, weights, dkernel, dx, x_copy, weights_copy, plans, N, C, F, width):
    """Blocks of `width` rows of dkernel (C, F) and, unless dx is 0, the same columns of dx, from number `block` on.

    `plans` lists the kernel's and the input's plan for a full block, and both for the last.
    """
    size = size_of(zero)
    for first in range(block * width, min((block + count) * width, C), width):
        columns = min(width, C - first)
        place = plans if columns == width else plans + 32
        copy_rows(x + size * first, size * C, N, size * columns, x_copy, size * columns)
        for n in range(N * (dx != 0)):
            prefetch(dx + size * (n * C + first), size * columns, 1)
        run_plan(int_at(place), int_at(place + 8), x_copy, dy, 0, dkernel + size * first * F)
        if dx:
            transpose(weights + size * first * F, columns, F, size * F, weights_copy, size * columns, zero)
            run_plan(int_at(place + 16), int_at(place + 24), dy, weights_copy, 0, dx + size * first)
