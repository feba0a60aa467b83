"""The fully connected layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import initializers
from ..ops.reference import Array
from .base import ActivatedLayer, Layer, Shape


class Dense(ActivatedLayer):
    """y[…,f] = Σ_c x[…,c] · kernel[c,f] + bias[f]

    x (…, C)   kernel (C, F)   bias (F,)   y (…, F)
    """

    def __init__(
        self,
        units: int,
        activation: str | Layer | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(activation, **options)
        if not isinstance(units, int | np.integer) or units < 1:
            raise ValueError(f"layer {self.name}: units must be a positive integer, not {units!r}")
        self.units, self.use_bias = int(units), use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape if len(input_shape) > 1 else (None, *input_shape))
        self.kernel = self.add_weight((self.input_shape[-1], self.units), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.units,), self.bias_initializer, name="bias") if self.use_bias else None

    def linear(self, x: Array) -> Array:
        dense = self.ops.dense_relu if self.fused_relu else self.ops.dense
        y, self.saved = dense(self.check_input(x), self.kernel.value, None if self.bias is None else self.bias.value)
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        backward = self.ops.dense_relu_backward if self.fused_relu else self.ops.dense_backward
        dx, self.kernel.gradient, dbias = backward(dy, self.kernel.value, self.saved, input_gradient)
        if self.bias is not None:
            self.bias.gradient = dbias
        return dx

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return *input_shape[:-1], self.units

    def multiply_adds(self) -> int:
        return int(np.prod(self.output_shape[1:])) * self.kernel.shape[0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "units": self.units,
            "activation": self.activation_name,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
