"""Optimizer kernels over `count` of all parameters; these and the moments change in place.

Each takes arrays and then `settings`, the address of float64 numbers that differ from step to step: those which follow the
arrays in the operation of the same name. A moment that is not kept is 0.
"""

import math

import numpy as np

from .jit import inlined, kernel
from .simd import fill, load, number_at, raised, select, size_of, square_root, store, width_of

TINY = float(np.finfo("float32").tiny)


@inlined
def setting(settings, number, zero):
    return fill(number_at(settings + 8 * number, 0.0), zero)


@inlined
def one_minus(settings, number, zero):
    """1 - a setting, with the digits of float64."""
    return fill(1.0 - number_at(settings + 8 * number, 0.0), zero)


@kernel("w", "velocity")
def sgd(zero, count, w, g, velocity, settings):
    """settings: the learning rate, the momentum, and 1 for Nesterov's look-ahead."""
    size, lanes = size_of(zero), width_of(zero)
    rate, momentum = setting(settings, 0, zero), setting(settings, 1, zero)
    nesterov = number_at(settings + 16, 0.0) != 0.0
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        step = rate * load(g + place, left, zero)
        if velocity:
            speed = momentum * load(velocity + place, left, zero) - step
            store(speed, velocity + place, left)
            if nesterov:
                speed = momentum * speed - step
            store(load(w + place, left, zero) + speed, w + place, left)
        else:
            store(load(w + place, left, zero) - step, w + place, left)


@kernel("w", "square", "mean", "velocity")
def rmsprop(zero, count, w, g, square, mean, velocity, settings):
    """settings: the learning rate, ρ, the momentum and ε."""
    size, lanes = size_of(zero), width_of(zero)
    rate, share = setting(settings, 0, zero), one_minus(settings, 1, zero)
    momentum, epsilon = setting(settings, 2, zero), setting(settings, 3, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient, power = load(g + place, left, zero), load(square + place, left, zero)
        power += share * (gradient * gradient - power)
        store(power, square + place, left)
        if mean:
            average = load(mean + place, left, zero)
            average += share * (gradient - average)
            store(average, mean + place, left)
            power -= average * average
        step = rate * gradient / square_root(power + epsilon)
        if velocity:
            step += momentum * load(velocity + place, left, zero)
            store(step, velocity + place, left)
        store(load(w + place, left, zero) - step, w + place, left)


@kernel("w", "square")
def adagrad(zero, count, w, g, square, settings):
    """settings: the learning rate and ε."""
    size, lanes = size_of(zero), width_of(zero)
    rate, epsilon = setting(settings, 0, zero), setting(settings, 1, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient = load(g + place, left, zero)
        power = load(square + place, left, zero) + gradient * gradient
        store(power, square + place, left)
        step = rate * gradient / square_root(power + epsilon)
        store(load(w + place, left, zero) - step, w + place, left)


@kernel("w", "square", "moved")
def adadelta(zero, count, w, g, square, moved, settings):
    """settings: the learning rate, ρ and ε."""
    size, lanes = size_of(zero), width_of(zero)
    rate, share, epsilon = setting(settings, 0, zero), one_minus(settings, 1, zero), setting(settings, 2, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient, power = load(g + place, left, zero), load(square + place, left, zero)
        before = load(moved + place, left, zero)
        power += share * (gradient * gradient - power)
        step = gradient * square_root((before + epsilon) / (power + epsilon))
        store(power, square + place, left)
        store(before + share * (step * step - before), moved + place, left)
        store(load(w + place, left, zero) - rate * step, w + place, left)


@kernel("w", "m", "v", "top")
def adam(zero, count, w, g, m, v, top, settings):
    """settings: the rate, which carries the bias correction, β₁, β₂ and ε."""
    size, lanes = size_of(zero), width_of(zero)
    rate, rest_1 = setting(settings, 0, zero), one_minus(settings, 1, zero)
    rest_2, epsilon = one_minus(settings, 2, zero), setting(settings, 3, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient = load(g + place, left, zero)
        mean, square = load(m + place, left, zero), load(v + place, left, zero)
        mean += rest_1 * (gradient - mean)
        square += rest_2 * (gradient * gradient - square)
        store(mean, m + place, left)
        store(square, v + place, left)
        if top:
            most = load(top + place, left, zero)
            square = select(most > square, most, square)
            store(square, top + place, left)
        store(load(w + place, left, zero) - rate * mean / (square_root(square) + epsilon), w + place, left)


@kernel("w", "m", "v")
def nadam(zero, count, w, g, m, v, settings):
    """settings: the rates along m and along g, what v is multiplied by, β₁, β₂ and ε."""
    size, lanes = size_of(zero), width_of(zero)
    along_m, along_g, growth = setting(settings, 0, zero), setting(settings, 1, zero), setting(settings, 2, zero)
    rest_1, rest_2, epsilon = one_minus(settings, 3, zero), one_minus(settings, 4, zero), setting(settings, 5, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient = load(g + place, left, zero)
        mean, square = load(m + place, left, zero), load(v + place, left, zero)
        mean += rest_1 * (gradient - mean)
        square += rest_2 * (gradient * gradient - square)
        store(mean, m + place, left)
        store(square, v + place, left)
        step = (along_m * mean + along_g * gradient) / (square_root(growth * square) + epsilon)
        store(load(w + place, left, zero) - step, w + place, left)


@kernel("w", "m", "u")
def adamax(zero, count, w, g, m, u, settings):
    """settings: the rate, which carries the bias correction, β₁, β₂ and ε."""
    size, lanes = size_of(zero), width_of(zero)
    rate, rest_1 = setting(settings, 0, zero), one_minus(settings, 1, zero)
    beta_2, epsilon, nothing = setting(settings, 2, zero), setting(settings, 3, zero), fill(zero, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient, mean = load(g + place, left, zero), load(m + place, left, zero)
        mean += rest_1 * (gradient - mean)
        store(mean, m + place, left)
        most, height = beta_2 * load(u + place, left, zero), select(gradient > nothing, gradient, nothing - gradient)
        most = select(most > height, most, height)
        store(most, u + place, left)
        store(load(w + place, left, zero) - rate * mean / (most + epsilon), w + place, left)


@kernel("w", "m")
def lion(zero, count, w, g, m, settings):
    """settings: the rate, β₁ and β₂."""
    size, lanes = size_of(zero), width_of(zero)
    rate, rest_1, rest_2 = setting(settings, 0, zero), one_minus(settings, 1, zero), one_minus(settings, 2, zero)
    nothing = fill(zero, zero)
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        before, mean = load(w + place, left, zero), load(m + place, left, zero)
        change = load(g + place, left, zero) - mean
        ahead = mean + rest_1 * change
        step = select(ahead > nothing, rate, select(nothing > ahead, nothing - rate, ahead))
        store(before - step, w + place, left)
        store(mean + rest_2 * change, m + place, left)


@kernel("w", "n", "z")
def ftrl(zero, count, w, g, n, z, settings):
    """settings: the learning rate, the power, λ₁, λ₂, λₛ and β."""
    size, lanes, root = size_of(zero), width_of(zero), number_at(settings + 8, 0.0) == 0.5
    pace, power = fill(1.0 / number_at(settings, 0.0), zero), setting(settings, 1, zero)
    l1, l2, shrinkage = setting(settings, 2, zero), setting(settings, 3, zero), setting(settings, 4, zero)
    beta, least = setting(settings, 5, zero), fill(TINY, zero)
    smallest = fill(zero, zero) - l1
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        gradient, weight = load(g + place, left, zero), load(w + place, left, zero)
        total, lead = load(n + place, left, zero), load(z + place, left, zero)
        before = square_root(total) if root else raised(total, power)
        total += gradient * gradient
        after = square_root(total) if root else raised(total, power)
        lead += gradient + (shrinkage + shrinkage - pace * (after - before)) * weight
        store(total, n + place, left)
        store(lead, z + place, left)
        curvature = pace * (beta + after) + l2 + l2
        curvature = select(least > curvature, least, curvature)
        kept = select(lead > l1, l1, select(smallest > lead, smallest, lead))
        store((kept - lead) / curvature, w + place, left)


# ---------------------------------------------------------------------- before and after the step


@kernel("g")
def clip_value(zero, count, g, settings):
    """settings: the largest absolute value."""
    size, lanes = size_of(zero), width_of(zero)
    most = setting(settings, 0, zero)
    least = fill(zero, zero) - most
    for k in range(0, count, lanes):
        gradient = load(g + size * k, count - k, zero)
        gradient = select(gradient > most, most, gradient)
        store(select(least > gradient, least, gradient), g + size * k, count - k)


@kernel("part")
def square_sums(zero, count, g, part):
    """Into part (W,): sums of squares, whose sum is that of all."""
    size, lanes = size_of(zero), width_of(zero)
    even, odd = fill(zero, zero), fill(zero, zero)
    for k in range(0, count, 2 * lanes):
        one, other = load(g + size * k, count - k, zero), load(g + size * (k + lanes), count - k - lanes, zero)
        even += one * one
        odd += other * other
    store(even + odd, part, lanes)


@kernel("g")
def clip_norm(zero, count, g, sums, number, settings):
    """Scales g where the root of the sum of so many `sums` is larger than the norm in the settings."""
    size, lanes = size_of(zero), width_of(zero)
    total, most = 0.0, number_at(settings, 0.0)
    for k in range(number):
        total += number_at(sums + size * k, zero)
    norm = math.sqrt(total)
    if not norm <= most:
        factor = fill(most / norm, zero)
        for k in range(0, count, lanes):
            store(factor * load(g + size * k, count - k, zero), g + size * k, count - k)


@kernel("w")
def decay(zero, count, w, settings):
    """settings: the share of w that goes."""
    size, lanes = size_of(zero), width_of(zero)
    share = one_minus(settings, 0, zero)
    for k in range(0, count, lanes):
        store(share * load(w + size * k, count - k, zero), w + size * k, count - k)


@kernel("w", "mean")
def moving_average(zero, count, w, mean, settings):
    """settings: the momentum, and 1 where w becomes the average."""
    size, lanes = size_of(zero), width_of(zero)
    share, overwrite = one_minus(settings, 0, zero), number_at(settings + 8, 0.0) != 0.0
    for k in range(0, count, lanes):
        left, place = count - k, size * k
        average = load(mean + place, left, zero)
        average += share * (load(w + place, left, zero) - average)
        store(average, mean + place, left)
        if overwrite:
            store(average, w + place, left)
