"""Pooling: each channel of a window, or of the whole image, becomes one number."""

from collections.abc import Sequence
from typing import Any

from ..ops.reference import Array
from .base import Layer, Shape, channels_last
from .convolution import padding_name, pair, window_outputs, window_pads


class _Pooling2D(Layer):
    """Base of both: ValueError for sizes that are no positive integers, and for an input smaller than the window."""

    input_rank = 4
    shaping = "pool_size", "strides", "padding"

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        self.pool_size = pair(self, pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else pair(self, strides, "strides")
        self.padding = padding_name(self, padding)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.pads = window_pads(self.input_shape[1:3], self.pool_size, self.strides, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (
            input_shape[0],
            *window_outputs(self, input_shape, self.pool_size, self.strides, self.padding),
            input_shape[3],
        )

    def get_config(self) -> dict[str, Any]:
        config = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return super().get_config() | config


class MaxPooling2D(_Pooling2D):
    """y[n,i,j,c] = max_ab x[n, i·s+a, j·s+b, c], a and b within `pool_size`, s the strides, by default as large

    x (N, H, W, C)   y (N, OH, OW, C)   Padding never wins.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.max_pool2d(self.check_input(x), self.pool_size, self.strides, self.pads)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.max_pool2d_backward(dy, self.saved)


class AveragePooling2D(_Pooling2D):
    """y[n,i,j,c] = mean_ab x[n, i·s+a, j·s+b, c], over the pixels inside the image; else as `MaxPooling2D`

    x (N, H, W, C)   y (N, OH, OW, C)
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.avg_pool2d(self.check_input(x), self.pool_size, self.strides, self.pads)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.avg_pool2d_backward(dy, self.saved)


class _GlobalPooling2D(Layer):
    input_rank = 4
    shaping = ("keepdims",)

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        self.keepdims = keepdims

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], 1, 1, input_shape[3]) if self.keepdims else (input_shape[0], input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"keepdims": self.keepdims}


class GlobalAveragePooling2D(_GlobalPooling2D):
    """y[n,c] = mean_ij x[n,i,j,c]

    x (N, H, W, C)   y (N, C), or (N, 1, 1, C) with keepdims (Lin, Chen and Yan, "Network in network", 2013)
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.global_avg_pool2d(self.check_input(x))
        return y.reshape(len(x), *self.output_shape[1:])

    def backward(self, dy: Array) -> Array:
        return self.ops.global_avg_pool2d_backward(dy.reshape(len(dy), -1), self.saved)


class GlobalMaxPooling2D(_GlobalPooling2D):
    """y[n,c] = max_ij x[n,i,j,c]

    x (N, H, W, C)   y (N, C), or (N, 1, 1, C) with keepdims
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.global_max_pool2d(self.check_input(x))
        return y.reshape(len(x), *self.output_shape[1:])

    def backward(self, dy: Array) -> Array:
        return self.ops.global_max_pool2d_backward(dy.reshape(len(dy), -1), self.saved)
