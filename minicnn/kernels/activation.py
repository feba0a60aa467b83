"""The ReLU family and the error function, elementwise over so many numbers per item."""

import math

from .jit import kernel
from .simd import clear, fill, load, number_at, put, select, size_of, store, width_of


@kernel("y")
def relu(zero, count, x, y, each):
    """y = max(x, 0); what is not a number stays so."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    for k in range(0, count * each, lanes):
        left = count * each - k
        value = load(x + size * k, left, zero)
        store(select(value <= nothing, nothing, value), y + size * k, left)


@kernel("dx")
def relu_backward(zero, count, dy, y, dx, each):
    """dx = dy where y is not 0."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    for k in range(0, count * each, lanes):
        left = count * each - k
        gradient = load(dy + size * k, left, zero)
        store(select(load(y + size * k, left, zero) <= nothing, nothing, gradient), dx + size * k, left)


@kernel("y")
def erf(zero, count, x, y):
    """The error function of every number."""
    size = size_of(zero)
    for k in range(count):
        put(math.erf(number_at(x + size * k, zero)), y + size * k, zero)


@kernel("y")
def prelu(zero, count, x, alpha, y, rows, C):
    """y = x where positive, α x elsewhere, for items of so many rows of C numbers, each with its own α."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    for c in range(0, C, lanes):
        left, slope = C - c, load(alpha + size * c, C - c, zero)
        for r in range(count * rows):
            place = size * (r * C + c)
            value = load(x + place, left, zero)
            store(select(value > nothing, value, slope * value), y + place, left)


@kernel("dx", "part")
def prelu_backward(zero, count, fresh, dy, x, alpha, dx, part, rows, C):
    """dx = dy where x is positive, α dy elsewhere; into part (C), if it is not 0: Σ dy · x over the latter, so far."""
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    if fresh and part:
        clear(part, size * C)
    for c in range(0, C, lanes):
        left, slope, total = C - c, load(alpha + size * c, C - c, zero), nothing
        if part:
            total = load(part + size * c, left, zero)
        for r in range(count * rows):
            place = size * (r * C + c)
            value, gradient = load(x + place, left, zero), load(dy + place, left, zero)
            positive = value > nothing
            total += select(positive, nothing, gradient * value)
            store(select(positive, gradient, slope * gradient), dx + place, left)
        if part:
            store(total, part + size * c, left)
