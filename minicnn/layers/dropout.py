"""Dropout."""

from typing import Any

from ..ops.reference import Array
from .base import RandomLayer


class Dropout(RandomLayer):
    """In training a number is zero with probability `rate`, else divided by 1 - rate; otherwise y = x

    Srivastava et al., "Dropout" (2014).
    """

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        if not 0 <= rate < 1:
            raise ValueError(f"layer {self.name}: rate must be at least 0 and below 1, not {rate}")
        if noise_shape is not None:
            raise ValueError(f"layer {self.name}: noise_shape is not offered; every number is dropped by itself")
        self.rate = rate

    def forward(self, x: Array, training: bool = False) -> Array:
        self.dropping = training and self.rate > 0
        x = self.as_float(x)
        if not self.dropping:
            return x
        y, self.saved = self.ops.dropout(x, self.rate, self.next_key())
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.dropout_backward(dy, self.saved) if self.dropping else dy

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rate": self.rate}
