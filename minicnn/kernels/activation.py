"""The ReLU family, elementwise over so many numbers per item."""

from .jit import kernel
from .simd import fill, load, select, size_of, store, width_of


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
