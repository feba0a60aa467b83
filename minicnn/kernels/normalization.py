"""Batch-normalisation kernels: images are rows (pixels) of channels, `rows` of them per item.

What is summed over the batch is summed per group of images first, and the groups are added in order.
"""

from .jit import kernel
from .simd import clear, fill, load, number_at, put, real, select, size_of, square_root, store, width_of

BLOCK = 256  # rows measured together


@kernel("part")
def moments(zero, count, fresh, x, part, rows, C):
    """Into part (2·C + 1,): means (C,), sums (C,) of the squared deviations from them, and the number of rows, so far.

    Blocks that fit the cache are measured in two passes, and merged: Chan, Golub and LeVeque (1979).
    """
    size, lanes = size_of(zero), width_of(zero)
    blocks = (rows + BLOCK - 1) // BLOCK
    before = zero
    if not fresh:
        before = number_at(part + size * 2 * C, zero)
    for c in range(0, C, lanes):
        left, seen = C - c, before
        mean, square = fill(zero, zero), fill(zero, zero)
        if not fresh:
            mean, square = load(part + size * c, left, zero), load(part + size * (C + c), left, zero)
        # No block spans two items, so it does not matter how many items are done at once.
        for number in range(count * blocks):
            start = number // blocks * rows + number % blocks * BLOCK
            length = min(BLOCK, rows - number % blocks * BLOCK)
            place = x + size * (start * C + c)
            even, odd = fill(zero, zero), fill(zero, zero)  # two sums wait less for each other's additions
            for r in range(length):
                even, odd = odd, even + load(place + size * r * C, left, zero)
            block_mean = (even + odd) / fill(length, zero)
            even, odd = fill(zero, zero), fill(zero, zero)
            for r in range(length):
                deviation = load(place + size * r * C, left, zero) - block_mean
                even, odd = odd, even + deviation * deviation
            block_square = even + odd
            share = length / (seen + length)
            apart = block_mean - mean
            mean += apart * fill(share, zero)
            square += block_square + apart * apart * fill(share * seen, zero)
            seen += length
        store(mean, part + size * c, left)
        store(square, part + size * (C + c), left)
    put(before + count * rows, part + size * 2 * C, zero)


@kernel("mean", "variance", "inverse", "scale")
def combine_moments(zero, count, parts, number, gamma, mean, variance, inverse, scale, first, C, epsilon):
    """The statistics of `count` channels from number `first` on, of so many parts; scale = γ / √(variance + ε)."""
    size, lanes = size_of(zero), width_of(zero)
    stride = size * (2 * C + 1)
    for c in range(first, first + count, lanes):
        left, seen = first + count - c, number_at(parts + size * 2 * C, zero)
        middle, square = load(parts + size * c, left, zero), load(parts + size * (C + c), left, zero)
        for p in range(1, number):
            part = parts + p * stride
            rows = number_at(part + size * 2 * C, zero)
            share = rows / (seen + rows)
            apart = load(part + size * c, left, zero) - middle
            middle += apart * fill(share, zero)
            square += load(part + size * (C + c), left, zero) + apart * apart * fill(share * seen, zero)
            seen += rows
        spread = square / fill(seen, zero)
        factor = fill(1, zero) / square_root(spread + fill(real(epsilon), zero))
        store(middle, mean + size * c, left)
        store(spread, variance + size * c, left)
        store(factor, inverse + size * c, left)
        store(factor * load(gamma + size * c, left, zero), scale + size * c, left)


@kernel("y")
def scale_rows(zero, count, x, mean, scale, shift, y, rows, C, relu):
    """y = (x - mean) · scale + shift, and no less than 0 with `relu`."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    for c in range(0, C, lanes):
        left = C - c
        middle, factor = load(mean + size * c, left, zero), load(scale + size * c, left, zero)
        start = load(shift + size * c, left, zero)
        for r in range(count * rows):
            place = size * (r * C + c)
            value = (load(x + place, left, zero) - middle) * factor + start
            if relu:
                value = select(value <= nothing, nothing, value)
            store(value, y + place, left)


@kernel("part")
def gradient_sums(zero, count, fresh, dy, x, mean, scale, shift, part, rows, C):
    """Adds Σ dy and Σ dy · (x - mean) to part (2, C); with `shift`, only dy that the ReLU of `scale_rows` lets pass."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    if fresh:
        clear(part, size * 2 * C)
    for c in range(0, C, lanes):
        left = C - c
        middle, factor, start = load(mean + size * c, left, zero), nothing, nothing
        if shift:
            factor, start = load(scale + size * c, left, zero), load(shift + size * c, left, zero)
        total, total_along = load(part + size * c, left, zero), load(part + size * (C + c), left, zero)
        for n in range(count):  # item by item: it must not matter how many are done at once
            even, odd, even_along, odd_along = nothing, nothing, nothing, nothing
            for r in range(n * rows, (n + 1) * rows):
                gradient = load(dy + size * (r * C + c), left, zero)
                deviation = load(x + size * (r * C + c), left, zero) - middle
                if shift:
                    gradient = select(deviation * factor + start <= nothing, nothing, gradient)
                even, odd = odd, even + gradient
                even_along, odd_along = odd_along, even_along + gradient * deviation
            total += even + odd
            total_along += even_along + odd_along
        store(total, part + size * c, left)
        store(total_along, part + size * (C + c), left)


@kernel("dgamma", "dbeta", "along_one", "along_x")
def combine_sums(zero, count, parts, number, inverse, dgamma, dbeta, along_one, along_x, first, C, rows):
    """The gradients of γ and β for `count` channels from `first` on, and what `input_gradient` takes off; rows in all."""
    size, lanes = size_of(zero), width_of(zero)
    for c in range(first, first + count, lanes):
        left = first + count - c
        sum0, sum1 = load(parts + size * c, left, zero), load(parts + size * (C + c), left, zero)
        for p in range(1, number):
            part = parts + p * size * 2 * C
            sum0 += load(part + size * c, left, zero)
            sum1 += load(part + size * (C + c), left, zero)
        factor, pixels = load(inverse + size * c, left, zero), fill(rows, zero)
        sum1 = sum1 * factor
        store(sum0, dbeta + size * c, left)
        store(sum1, dgamma + size * c, left)
        store(sum0 / pixels, along_one + size * c, left)
        store(sum1 * factor / pixels, along_x + size * c, left)


@kernel("dx")
def input_gradient(zero, count, dy, x, mean, scale, shift, along_one, along_x, dx, rows, C):
    """dx = scale · (dy - along_one - (x - mean) · along_x), with dy as in `gradient_sums`."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    for c in range(0, C, lanes):
        left = C - c
        middle, factor = load(mean + size * c, left, zero), load(scale + size * c, left, zero)
        one, along = load(along_one + size * c, left, zero), load(along_x + size * c, left, zero)
        start = nothing
        if shift:
            start = load(shift + size * c, left, zero)
        for r in range(count * rows):
            place = size * (r * C + c)
            gradient, deviation = load(dy + place, left, zero), load(x + place, left, zero) - middle
            if shift:
                gradient = select(deviation * factor + start <= nothing, nothing, gradient)
            store(factor * (gradient - one - deviation * along), dx + place, left)
