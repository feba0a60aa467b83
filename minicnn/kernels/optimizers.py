"""Optimizer kernels over `count` of all parameters; these and the moments change in place.

`settings` is the address of float64 numbers that differ from step to step or from optimizer to optimizer.
"""

from .jit import inlined, kernel
from .simd import fill, load, number_at, size_of, square_root, store, width_of


@inlined
def setting(settings, number, zero):
    return fill(number_at(settings + 8 * number, 0.0), zero)


@kernel("w", "velocity")
def sgd(zero, count, w, g, velocity, settings, nesterov):
    """settings: the learning rate and the momentum."""
    size, lanes = size_of(zero), width_of(zero)
    rate, momentum = setting(settings, 0, zero), setting(settings, 1, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        step = rate * load(g + place, left, zero)
        speed = momentum * load(velocity + place, left, zero) - step
        store(speed, velocity + place, left)
        if nesterov:
            speed = momentum * speed - step
        store(load(w + place, left, zero) + speed, w + place, left)


@kernel("w", "m", "v")
def adam(zero, count, w, g, m, v, settings):
    """settings: the rate, which carries the bias correction, 1 - β₁, 1 - β₂ and ε."""
    size, lanes = size_of(zero), width_of(zero)
    rate, rest_1 = setting(settings, 0, zero), setting(settings, 1, zero)
    rest_2, epsilon = setting(settings, 2, zero), setting(settings, 3, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient = load(g + place, left, zero)
        mean, square = load(m + place, left, zero), load(v + place, left, zero)
        mean += rest_1 * (gradient - mean)
        square += rest_2 * (gradient * gradient - square)
        store(mean, m + place, left)
        store(square, v + place, left)
        store(load(w + place, left, zero) - rate * mean / (square_root(square) + epsilon), w + place, left)


@kernel("w", "square", "mean", "velocity")
def rmsprop(zero, count, w, g, square, mean, velocity, settings):
    """settings: the learning rate, 1 - ρ, the momentum and ε; `mean` and `velocity` are 0 where they are not used."""
    size, lanes = size_of(zero), width_of(zero)
    rate, rest = setting(settings, 0, zero), setting(settings, 1, zero)
    momentum, epsilon = setting(settings, 2, zero), setting(settings, 3, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient, power = load(g + place, left, zero), load(square + place, left, zero)
        power += rest * (gradient * gradient - power)
        store(power, square + place, left)
        if mean:
            average = load(mean + place, left, zero)
            average += rest * (gradient - average)
            store(average, mean + place, left)
            power -= average * average
        step = rate * gradient / square_root(power + epsilon)
        if velocity:
            step += momentum * load(velocity + place, left, zero)
            store(step, velocity + place, left)
        store(load(w + place, left, zero) - step, w + place, left)
