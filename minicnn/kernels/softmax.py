"""Softmax and cross-entropy in one pass over the rows of the scores."""

from typing import Any

import numpy as np

from .jit import kernel


@kernel
def softmax_cross_entropy(logits: Any, targets: Any, losses: Any, probabilities: Any) -> None:
    """losses[n] = -Σ_k t_k log softmax(logits[n])_k, the maximum taken off first."""
    N, K = logits.shape
    for n in range(N):
        largest = logits[n, 0]
        for k in range(1, K):
            largest = max(largest, logits[n, k])
        total = logits.dtype.type(0)
        for k in range(K):
            probabilities[n, k] = np.exp(logits[n, k] - largest)
            total += probabilities[n, k]
        loss = logits.dtype.type(0)
        for k in range(K):
            loss += targets[n, k] * (np.log(total) - (logits[n, k] - largest))
            probabilities[n, k] /= total
        losses[n] = loss
