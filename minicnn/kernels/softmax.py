"""Softmax and cross-entropy, and their gradient, in one pass over the rows of the scores."""

import numpy as np

from .jit import kernel
from .simd import number_at, put, size_of


@kernel("losses", "probabilities")
def softmax_cross_entropy(zero, count, scores, targets, losses, probabilities, K):
    """losses[n] = -Σ_k t_k log softmax(scores[n])_k, the maximum taken off first.

    scores, targets and probabilities (·, K), losses (·,).
    """
    size = size_of(zero)
    for n in range(count):
        row = size * n * K
        largest = number_at(scores + row, zero)
        for k in range(1, K):
            score = number_at(scores + row + size * k, zero)
            if not score <= largest:  # so written, what is not a number stays
                largest = score
        total = zero
        for k in range(K):
            power = np.exp(number_at(scores + row + size * k, zero) - largest)
            put(power, probabilities + row + size * k, zero)
            total += power
        loss, logarithm = zero, np.log(total)
        for k in range(K):
            target = number_at(targets + row + size * k, zero)
            loss += target * (logarithm - (number_at(scores + row + size * k, zero) - largest))
            put(number_at(probabilities + row + size * k, zero) / total, probabilities + row + size * k, zero)
        put(loss, losses + size * n, zero)


@kernel("gradient")
def gradient(zero, count, probabilities, targets, weights, gradient, K):
    """The gradient of Σ_n w_n · losses[n] for the scores: w_n · (p · Σ_k t_k - t)."""
    size = size_of(zero)
    for n in range(count):
        row, certain, weight = size * n * K, zero, number_at(weights + size * n, zero)
        for k in range(K):
            certain += number_at(targets + row + size * k, zero)
        for k in range(K):
            target = number_at(targets + row + size * k, zero)
            difference = number_at(probabilities + row + size * k, zero) * certain - target
            put(difference * weight, gradient + row + size * k, zero)
