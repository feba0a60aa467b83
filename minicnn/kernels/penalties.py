"""Penalties for large weights, over `count` numbers of a parameter."""

from .jit import kernel
from .simd import fill, load, real, select, size_of, store, width_of


@kernel("g", "part")
def penalize(zero, count, w, g, part, l1, l2):
    """g += l1 sign(w) + 2 l2 w, where g is not 0; into part, as many numbers as a vector has: l1 Σ|w| + l2 Σw².

    l1 and l2 are float64 in an integer's bits.
    """
    size, lanes, nothing, one = size_of(zero), width_of(zero), fill(zero, zero), fill(1, zero)
    share, twice = fill(real(l1), zero), fill(2 * real(l2), zero)
    absolute, square = nothing, nothing
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        value = load(w + place, left, zero)
        sign = select(value > nothing, one, select(nothing > value, nothing - one, nothing))
        absolute += sign * value
        square += value * value
        if g:
            store(load(g + place, left, zero) + (share * sign + twice * value), g + place, left)
    store(share * absolute + fill(real(l2), zero) * square, part, lanes)
