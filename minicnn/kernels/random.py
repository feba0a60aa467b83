"""The counter-based random generator, and what is made of it: dropout and noise.

The same function of (seed, step, layer, index) as `Ops.random_bits`: Philox4x32-10 of Salmon et al. (2011), four
numbers per counter; here for a vector of counters at a time.
"""

import math

from .jit import inlined, kernel
from .simd import (
    count_up,
    fill,
    fill_integer,
    int_at,
    interleave,
    load,
    number_at,
    put,
    reaches,
    real,
    select,
    size_of,
    store,
    width_of,
    without_first,
)


@inlined
def philox(first, seed, step, layer, zero):
    """The four random numbers of W counters from number `first` on, in the lower halves of int64."""
    low, half = fill_integer(0xFFFFFFFF, zero), fill_integer(32, zero)
    multiplier0, multiplier1 = fill_integer(0xD2511F53, zero), fill_integer(0xCD9E8D57, zero)
    c0, c1 = count_up(first, zero), count_up(first, zero) >> half
    c2, c3 = fill_integer(step, zero), fill_integer(layer, zero)
    k0, k1 = seed, seed >> 32
    for _ in range(10):
        product0, product1 = (c0 & low) * multiplier0, (c2 & low) * multiplier1
        c0, c1 = (product1 >> half) ^ c1 ^ fill_integer(k0 & 0xFFFFFFFF, zero), product1
        c2, c3 = (product0 >> half) ^ c3 ^ fill_integer(k1 & 0xFFFFFFFF, zero), product0
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85
    return c0, c1, c2, c3


@inlined
def quarter_of(r0, r1, r2, r3, quarter):
    """`interleave` for a quarter that is not a literal."""
    if quarter == 0:
        return interleave(r0, r1, r2, r3, 0)
    if quarter == 1:
        return interleave(r0, r1, r2, r3, 1)
    if quarter == 2:
        return interleave(r0, r1, r2, r3, 2)
    return interleave(r0, r1, r2, r3, 3)


@inlined
def drop(bits, x, y, left, threshold, factor, zero):
    store(select(reaches(bits, threshold), load(x, left, zero) * factor, fill(zero, zero)), y, left)


@kernel("y")
def dropout(zero, count, x, y, first, each, key, threshold, scale):
    """y = x · scale where the random number of the index reaches the threshold, else 0.

    For `count` items of `each` numbers, the first of which has index `first`. `key` is the address of (seed, step, layer),
    `scale` a float64 in an integer's bits.
    """
    size, lanes, factor = size_of(zero), width_of(zero), fill(real(scale), zero)
    seed, step, layer = int_at(key), int_at(key + 8), int_at(key + 16)
    k, numbers = 0, count * each
    if first % 4 and lanes < 4:  # in the middle of a counter's four, of which a vector has two
        r0, r1, r2, r3 = philox(first // 4, seed, step, layer, zero)
        if first % 4 == 1:
            k = min(1, numbers)
            drop(without_first(interleave(r0, r1, r2, r3, 0), 1), x, y, k, threshold, factor, zero)
        bits = interleave(r0, r1, r2, r3, 1)
        if first % 4 == 3:
            bits = without_first(bits, 1)
        left = min(4 - first % 4, numbers) - k
        if left > 0:
            drop(bits, x + size * k, y + size * k, left, threshold, factor, zero)
            k += left
    elif first % 4:
        r0, r1, r2, r3 = philox(first // 4, seed, step, layer, zero)
        bits = interleave(r0, r1, r2, r3, 0)
        if first % 4 == 1:
            bits = without_first(bits, 1)
        elif first % 4 == 2:
            bits = without_first(bits, 2)
        else:
            bits = without_first(bits, 3)
        k = min(4 - first % 4, numbers)
        drop(bits, x, y, k, threshold, factor, zero)
    while k < numbers:
        r0, r1, r2, r3 = philox((first + k) // 4, seed, step, layer, zero)
        for quarter in range(4):
            bits = quarter_of(r0, r1, r2, r3, quarter)
            if k < numbers:
                drop(bits, x + size * k, y + size * k, numbers - k, threshold, factor, zero)
            k += lanes


@kernel("y")
def times_channels(zero, count, x, factor, y, rows, C):
    """y = x · factor for items of so many rows of C channels, with a factor (C) for each item."""
    size, lanes = size_of(zero), width_of(zero)
    for n in range(count):
        for c in range(0, C, lanes):
            left, scale = C - c, load(factor + size * (n * C + c), C - c, zero)
            for r in range(n * rows, (n + 1) * rows):
                place = size * (r * C + c)
                store(load(x + place, left, zero) * scale, y + place, left)


@inlined
def four(counter, seed, step, layer):
    """`philox` for one counter."""
    c0, c1, c2, c3 = counter & 0xFFFFFFFF, counter >> 32, step & 0xFFFFFFFF, layer & 0xFFFFFFFF
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(10):
        product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = ((product1 >> 32) & 0xFFFFFFFF) ^ c1 ^ k0, product1 & 0xFFFFFFFF
        c2, c3 = ((product0 >> 32) & 0xFFFFFFFF) ^ c3 ^ k1, product0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


@kernel("y")
def gaussian_noise(zero, count, x, y, first, each, key, stddev):
    """y = x + stddev · z, for `count` items of `each` numbers, the first of which has index `first`.

    Box and Muller's transform in float64: of every two random numbers one is the radius and one the angle. `key` as for
    `dropout`; `stddev` is a float64 in an integer's bits.
    """
    size, last, spread = size_of(zero), first + count * each, real(stddev)
    seed, step, layer = int_at(key), int_at(key + 8), int_at(key + 16)
    for counter in range(first // 4, (last + 3) // 4):
        c0, c1, c2, c3 = four(counter, seed, step, layer)
        for half in range(2):
            one, other = (c0, c1) if half == 0 else (c2, c3)
            radius, angle = spread * math.sqrt(-2 * math.log((one + 0.5) / 2**32)), other * (2 * math.pi / 2**32)
            index = 4 * counter + 2 * half
            if first <= index < last:
                place = size * (index - first)
                put(number_at(x + place, zero) + radius * math.cos(angle), y + place, zero)
            if first <= index + 1 < last:
                place = size * (index + 1 - first)
                put(number_at(x + place, zero) + radius * math.sin(angle), y + place, zero)
