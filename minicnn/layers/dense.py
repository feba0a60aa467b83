"""The fully connected layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import SIZE, check
from ..ops.reference import Array
from .activation import ActivatedLayer
from .base import Shape


class Dense(ActivatedLayer):
    """y[…,f] = Σ_c x[…,c] · kernel[c,f] + bias[f]

    x (…, C)   kernel (C, F), of F `units`   bias (F,)   y (…, F), to which `activation` is applied. ValueError for `units`
    that are no positive integer.
    """

    shaping = ("units",)

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            activation, use_bias,
            {"kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
             "bias": (bias_initializer, bias_regularizer, bias_constraint)},
            activity_regularizer=activity_regularizer, **options,
        )  # fmt: skip
        check(f"layer {self.name}", SIZE, units=units)
        self.units = int(units)

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape: Any = input_shape
        super().build((None, *shape) if np.shape(shape) == (1,) else shape)
        self.add_weights((self.input_shape[-1], self.units))

    def linear(self, x: Array) -> Array:
        dense = self.ops.dense_relu if self.fused_relu else self.ops.dense
        y, self.saved = dense(self.check_input(x), self.kernel.data, self.bias_data)
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        backward = self.ops.dense_relu_backward if self.fused_relu else self.ops.dense_backward
        return self.keep_gradients(*backward(dy, self.kernel.data, self.saved, input_gradient))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return *input_shape[:-1], self.units

    def multiply_adds(self) -> int:
        return int(np.prod(self.output_shape[1:])) * self.kernel.shape[0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}
