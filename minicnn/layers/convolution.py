"""Two-dimensional convolutions: of all channels together, that backwards, of each by itself, and such a one and the first in turn."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import SIZE, check, whole
from ..ops.reference import NO_PADS, Array, Pads, Pair, positions
from .activation import ActivatedLayer
from .base import Layer, Shape, channels_last


def pair(layer: Layer, value: int | Sequence[int], name: str, least: int = 1) -> Pair:
    """(height, width) from one number for both or a pair of them, each 1 or more, or `least`, 0; else ValueError."""
    both = tuple(value) if np.iterable(value) else (value, value)
    words, fits = SIZE if least else whole("an integer from 0 on", 0)
    pairs = f"{words} or a pair of them", lambda _: len(both) == 2 and all(map(fits, both))
    check(f"layer {layer.name}", pairs, **{name: value})
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


class _Convolution(ActivatedLayer):
    """What the convolutions share: their windows, and how many channels come out."""

    input_rank = 4
    shaping = "kernel_size", "strides", "padding", "dilation_rate", "output_padding", "filters", "depth_multiplier"
    filters: int
    depth_multiplier: int

    def __init__(
        self, kernel_size: Any, strides: Any, padding: str, data_format: str | None, dilation_rate: Any, activation: Any,
        use_bias: bool, settings: dict[str, tuple[Any, Any, Any]], counts: dict[str, int], **options: Any,
    ) -> None:  # fmt: skip
        """`counts` are the filters, or the filters of each channel, as attributes of these names."""
        super().__init__(activation, use_bias, settings, **options)
        channels_last(self, data_format)
        check(f"layer {self.name}", SIZE, **counts)
        for name, count in counts.items():
            setattr(self, name, int(count))
        self.counts = tuple(counts)
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
        self.pads = window_pads(self.input_shape[1:3], self.kernel_size, self.strides, self.padding, self.dilation_rate)

    @property
    def window(self) -> tuple[Pair, Pads, Pair]:
        """How it moves over the image."""
        return self.strides, self.pads, self.dilation_rate

    def channels(self, inputs: int) -> int:
        """How many come out."""
        return self.filters

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        outputs = window_outputs(self, input_shape, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        return input_shape[0], *outputs, self.channels(input_shape[3])

    def multiply_adds(self) -> int:
        N, OH, OW, F = self.output_shape
        return OH * OW * sum(prod(parameter.shape) for parameter in self.parameters if parameter is not self.bias)

    def get_config(self) -> dict[str, Any]:
        names = *self.counts, "kernel_size", "strides", "padding", "dilation_rate"
        return super().get_config() | {name: getattr(self, name) for name in names}


class Conv2D(_Convolution):
    """y[n,i,j,f] = Σ_abc x[n, i·s+a·d, j·s+b·d, c] · kernel[a,b,c,f] + bias[f], s the strides and d the dilation rate

    x (N, H, W, C)   kernel (KH, KW, C, F), of `kernel_size` (KH, KW) and F `filters`   bias (F,)   y (N, OH, OW, F)

    `padding` "same" puts so many zeros around x that OH = ⌈H / s⌉, "valid" none; `activation` is applied to y. ValueError
    for `groups` other than 1, for strides together with dilation, for sizes that are no positive integers, and for an input
    smaller than the window.
    """

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
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            {"kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
             "bias": (bias_initializer, bias_regularizer, bias_constraint)},
            {"filters": filters}, activity_regularizer=activity_regularizer, **options,
        )  # fmt: skip
        if groups != 1:
            raise ValueError(f"layer {self.name}: all channels are convolved together: groups must be 1, not {groups}")

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.add_weights((*self.kernel_size, self.input_shape[3], self.filters))

    def linear(self, x: Array) -> Array:
        convolve = self.ops.conv2d_relu if self.fused_relu else self.ops.conv2d
        y, self.saved = convolve(self.check_input(x), self.kernel.data, self.bias_data, *self.window)
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        backward = self.ops.conv2d_relu_backward if self.fused_relu else self.ops.conv2d_backward
        return self.keep_gradients(*backward(dy, self.kernel.data, self.saved, input_gradient))


class Conv2DTranspose(_Convolution):
    """y[n, i·s+a·d, j·s+b·d, f] = Σ x[n,i,j,c] · kernel[a,b,f,c], over all that reaches a pixel, + bias[f]

    A convolution backwards: what `Conv2D` does to the gradient of its output. `strides` s enlarge the image.

    x (N, H, W, C)   kernel (KH, KW, F, C), of `kernel_size` (KH, KW) and F `filters`   bias (F,)   y (N, OH, OW, F)

    A kernel reaches r = (KH - 1) · d + 1 pixels, d the dilation rate. With `padding` "valid" OH = (H - 1) · s + max(r, s),
    with "same" OH = H · s: as many pixels as are too many go on both sides, one more at the end if they are odd, and where
    some lack they are added at the end and get the bias alone. `output_padding` p, less than s, says how many pixels are
    there: OH = (H - 1) · s + p, and + r with "valid", + 1 with "same" if r is odd. ValueError as of `Conv2D`, for another
    `output_padding`, and where no pixel is left.
    """

    fuses_relu = False

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
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
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            {"kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
             "bias": (bias_initializer, bias_regularizer, bias_constraint)},
            {"filters": filters}, activity_regularizer=activity_regularizer, **options,
        )  # fmt: skip
        self.output_padding = None if output_padding is None else pair(self, output_padding, "output_padding", least=0)
        if self.output_padding and any(p >= s for p, s in zip(self.output_padding, self.strides, strict=True)):
            raise ValueError(
                f"layer {self.name}: output_padding {self.output_padding} must be less than strides {self.strides}"
            )

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        (top, bottom, _), (left, right, _) = self._axes(self.input_shape)
        self.pads = (top, max(0, bottom)), (left, max(0, right))
        shape = *self.kernel_size, self.filters, self.input_shape[3]
        self.kernel = self._add_named(shape, "kernel")
        self.bias = self._add_named(self.output_shape[3:], "bias") if self.use_bias else None

    def _axes(self, input_shape: Shape) -> list[tuple[int, int, int]]:
        """Of both axes: the pixels that go before the image and after it (less than 0: that are added), those that stay."""
        found, padded = [], self.output_padding or (None, None)
        window = self.kernel_size, self.strides, self.dilation_rate
        for length, k, s, d, p in zip(input_shape[1:3], *window, padded, strict=True):
            reach, same = (k - 1) * d + 1, self.padding == "same"
            if p is None:
                p = s - reach % 2 if same else max(0, s - reach)
            many = (reach - reach % 2 if same else 0) - p
            before = max(0, many // 2)
            found.append((before, many - before, (length - 1) * s + reach - many))
        return found

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        outputs = tuple(length for *_, length in self._axes(input_shape))
        if min(outputs) < 1:
            raise ValueError(
                f"layer {self.name}: no pixel is left of an input of shape {input_shape}; use a larger output_padding"
            )
        return input_shape[0], *outputs, self.filters

    def multiply_adds(self) -> int:
        return prod(self.input_shape[1:3]) * prod(self.kernel.shape)

    def linear(self, x: Array) -> Array:
        image = self.output_shape[1:3]
        y, self.saved = self.ops.conv2d_transpose(
            self.check_input(x), self.kernel.data, self.bias_data, *self.window, image
        )
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        return self.keep_gradients(
            *self.ops.conv2d_transpose_backward(dy, self.kernel.data, self.saved, input_gradient)
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"output_padding": self.output_padding}


class DepthwiseConv2D(_Convolution):
    """y[n,i,j,c·M+m] = Σ_ab x[n, i·s+a·d, j·s+b·d, c] · kernel[a,b,c,m] + bias[c·M+m]: channels do not meet

    x (N, H, W, C)   kernel (KH, KW, C, M)   bias (C·M,)   y (N, OH, OW, C·M), M the `depth_multiplier`. ValueError as of
    `Conv2D`.
    """

    fuses_relu = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            {"depthwise": (depthwise_initializer, depthwise_regularizer, depthwise_constraint),
             "bias": (bias_initializer, bias_regularizer, bias_constraint)},
            {"depth_multiplier": depth_multiplier}, activity_regularizer=activity_regularizer, **options,
        )  # fmt: skip

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        shape = *self.kernel_size, self.input_shape[3], self.depth_multiplier
        self.kernel = self._add_named(shape, "kernel", of="depthwise")
        self.bias = self._add_named(self.output_shape[3:], "bias") if self.use_bias else None

    def channels(self, inputs: int) -> int:
        return inputs * self.depth_multiplier

    def linear(self, x: Array) -> Array:
        y, self.saved = self.ops.depthwise_conv2d(self.check_input(x), self.kernel.data, self.bias_data, *self.window)
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        return self.keep_gradients(
            *self.ops.depthwise_conv2d_backward(dy, self.kernel.data, self.saved, input_gradient)
        )


class SeparableConv2D(_Convolution):
    """A depthwise convolution without a bias, and one of 1×1 pixels over what comes out (Chollet, "Xception", 2016)

    x (N, H, W, C)   depthwise_kernel (KH, KW, C, M)   pointwise_kernel (1, 1, C·M, F)   bias (F,)   y (N, OH, OW, F)

    M is the `depth_multiplier`. ValueError as of `Conv2D`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            {"depthwise": (depthwise_initializer, depthwise_regularizer, depthwise_constraint),
             "pointwise": (pointwise_initializer, pointwise_regularizer, pointwise_constraint),
             "bias": (bias_initializer, bias_regularizer, bias_constraint)},
            {"filters": filters, "depth_multiplier": depth_multiplier},
            activity_regularizer=activity_regularizer, **options,
        )  # fmt: skip

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        C, M = self.input_shape[3], self.depth_multiplier
        self.depthwise_kernel = self._add_named((*self.kernel_size, C, M), "depthwise_kernel", of="depthwise")
        self.pointwise_kernel = self._add_named((1, 1, C * M, self.filters), "pointwise_kernel", of="pointwise")
        self.bias = self._add_named((self.filters,), "bias") if self.use_bias else None

    def linear(self, x: Array) -> Array:
        between, self.saved_depthwise = self.ops.depthwise_conv2d(
            self.check_input(x), self.depthwise_kernel.data, None, *self.window
        )
        convolve = self.ops.conv2d_relu if self.fused_relu else self.ops.conv2d
        y, self.saved = convolve(between, self.pointwise_kernel.data, self.bias_data, (1, 1), NO_PADS, (1, 1))
        return y

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        backward = self.ops.conv2d_relu_backward if self.fused_relu else self.ops.conv2d_backward
        dbetween, self.pointwise_kernel.gradient, dbias = backward(dy, self.pointwise_kernel.data, self.saved)
        if self.bias is not None:
            self.bias.gradient = dbias
        dx, self.depthwise_kernel.gradient, _ = self.ops.depthwise_conv2d_backward(
            dbetween, self.depthwise_kernel.data, self.saved_depthwise, input_gradient
        )
        return dx
