"""Elementwise kernels over flat arrays."""

from typing import Any

from .jit import kernel


@kernel
def relu(x: Any, y: Any) -> None:
    zero = x.dtype.type(0)
    for k in range(x.size):
        y[k] = x[k] if x[k] > zero else zero * x[k]


@kernel
def relu_backward(dy: Any, y: Any, dx: Any) -> None:
    zero = dy.dtype.type(0)
    for k in range(dy.size):
        dx[k] = zero if y[k] <= zero else dy[k]
