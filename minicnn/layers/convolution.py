"""The two-dimensional convolution layer."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..ops.reference import Array, Pads, Pair, positions
from .activation import ActivatedLayer
from .base import Layer, Shape, channels_last


def pair(layer: Layer, value: int | Sequence[int], name: str) -> Pair:
    """(height, width) from one number for both or a pair of them, each 1 or more; else ValueError."""
    both = tuple(value) if np.iterable(value) else (value, value)
    if len(both) != 2 or not all(isinstance(v, Integral) and v >= 1 for v in both):
        raise ValueError(f"layer {layer.name}: {name} must be a positive integer or a pair of them, not {value!r}")
    return int(both[0]), int(both[1])


def padding_name(layer: Layer, padding: str) -> str:
    if str(padding).lower() not in ("valid", "same"):
        raise ValueError(f"layer {layer.name}: padding must be 'valid' or 'same', not {padding!r}")
    return padding.lower()


def window_pads(image: Sequence[int], size: Pair, strides: Pair, padding: str, dilation: Pair = (1, 1)) -> Pads:
    """The zeros to add around an image (height, width); "same" adds the fewest that give ⌈length / stride⌉ outputs.

    Where their number is odd, there is one more below, or on the right.
    """
    pads = []
    for length, k, s, d in zip(image, size, strides, dilation, strict=True):
        total = 0 if padding == "valid" else max(0, (-(-length // s) - 1) * s + (k - 1) * d + 1 - length)
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def window_outputs(
    layer: Layer, shape: Shape, size: Pair, strides: Pair, padding: str, dilation: Pair = (1, 1)
) -> Pair:
    """(OH, OW), the number of positions of a window in an image; ValueError where there is none."""
    pads = window_pads(shape[1:3], size, strides, padding, dilation)
    height, width = positions(shape[1:3], pads, size, strides, dilation)
    if height < 1 or width < 1:
        reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
        raise ValueError(
            f"layer {layer.name}: a window of {reach[0]}×{reach[1]} does not fit into an input of shape {shape}; use padding='same'"
        )
    return height, width


class Conv2D(ActivatedLayer):
    """y[n,i,j,f] = Σ_abc x[n, i·s+a·d, j·s+b·d, c] · kernel[a,b,c,f] + bias[f], s the strides and d the dilation rate

    x (N, H, W, C)   kernel (KH, KW, C, F), of `kernel_size` (KH, KW) and F `filters`   bias (F,)   y (N, OH, OW, F)

    `padding` "same" puts so many zeros around x that OH = ⌈H / s⌉, "valid" none; `activation` is applied to y. Arguments and
    defaults are those of Keras 3; `groups` other than 1 is not offered, and strides cannot be combined with dilation.
    ValueError for these, for sizes that are no positive integers, and for an input smaller than the window.
    """

    input_rank = 4

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        groups: int = 1,
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
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, **options,
        )  # fmt: skip
        channels_last(self, data_format)
        if not isinstance(filters, int | np.integer) or filters < 1:
            raise ValueError(f"layer {self.name}: filters must be a positive integer, not {filters!r}")
        if groups != 1:
            raise ValueError(f"layer {self.name}: all channels are convolved together: groups must be 1, not {groups}")
        self.filters = int(filters)
        self.kernel_size = pair(self, kernel_size, "kernel_size")
        self.strides = pair(self, strides, "strides")
        self.dilation_rate = pair(self, dilation_rate, "dilation_rate")
        self.padding = padding_name(self, padding)
        if self.strides != (1, 1) and self.dilation_rate != (1, 1):
            raise ValueError(
                f"layer {self.name}: strides {self.strides} and dilation_rate {self.dilation_rate} cannot both differ from 1"
            )

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        channels = self.input_shape[3]
        self.pads = window_pads(self.input_shape[1:3], self.kernel_size, self.strides, self.padding, self.dilation_rate)
        self.add_weights((*self.kernel_size, channels, self.filters))

    def linear(self, x: Array) -> Array:
        convolve = self.ops.conv2d_relu if self.fused_relu else self.ops.conv2d
        bias = None if self.bias is None else self.bias.data
        y, self.saved = convolve(
            self.check_input(x), self.kernel.data, bias, self.strides, self.pads, self.dilation_rate
        )
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        backward = self.ops.conv2d_relu_backward if self.fused_relu else self.ops.conv2d_backward
        dx, self.kernel.gradient, dbias = backward(dy, self.kernel.data, self.saved, input_gradient)
        if self.bias is not None:
            self.bias.gradient = dbias
        return dx

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (
            input_shape[0],
            *window_outputs(self, input_shape, self.kernel_size, self.strides, self.padding, self.dilation_rate),
            self.filters,
        )

    def multiply_adds(self) -> int:
        N, OH, OW, F = self.output_shape
        KH, KW, C, F = self.kernel.shape
        return OH * OW * KH * KW * C * F

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
        }
