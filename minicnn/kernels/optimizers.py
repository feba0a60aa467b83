"""Optimizer kernels over a flat buffer of parameters; parameters and moments change in place."""

from typing import Any

import numpy as np

from .jit import kernel


@kernel
def sgd(w: Any, g: Any, velocity: Any, learning_rate: float, momentum: float, nesterov: bool) -> None:
    for k in range(w.size):
        velocity[k] = momentum * velocity[k] - learning_rate * g[k]
        w[k] += momentum * velocity[k] - learning_rate * g[k] if nesterov else velocity[k]


@kernel
def adam(w: Any, g: Any, m: Any, v: Any, rate: float, rest_1: float, rest_2: float, epsilon: float) -> None:
    """`rate` carries the bias correction; rest_1 = 1 - β₁ and rest_2 = 1 - β₂."""
    for k in range(w.size):
        m[k] += rest_1 * (g[k] - m[k])
        v[k] += rest_2 * (g[k] * g[k] - v[k])
        w[k] -= rate * m[k] / (np.sqrt(v[k]) + epsilon)
