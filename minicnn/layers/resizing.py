"""Layers that bring images to another size, and what is in them to one shape: Resizing, …, MomentNormalization."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ..checks import NUMBER, POSITIVE, SIZE, check
from ..ops.reference import Array
from .augmentation import values
from .base import Layer, OfImages, Shape, channels_last
from .convolution import pair
from .reshaping import Cropping2D

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]


def line_weights(length: int, size: int, interpolation: str, antialias: bool = False) -> np.ndarray:
    """What each of `size` places takes of a line of `length` pixels, (size, length); each row has the sum 1.

    Pixels and places divide the same line evenly. "nearest" takes the pixel that the middle of a place is in, "bilinear" the
    two around it, the nearer the more; with `antialias`, where there are fewer places than pixels, all those that are nearer
    than the next place.
    """
    if interpolation == "nearest":
        taken = (2 * np.arange(size) + 1) * length // (2 * size)
        return 1.0 * (taken[:, None] == np.arange(length))
    middle = (np.arange(size) + 0.5) * length / size - 0.5
    reach = max(length / size, 1.0) if antialias else 1.0
    weights = np.maximum(0.0, 1 - abs(middle[:, None] - np.arange(length)) / reach)
    return weights / weights.sum(axis=1, keepdims=True)


def taps(weights: np.ndarray) -> Pair:
    """The places of all numbers in each row that are not 0, and these, (rows, T); zeros where there are fewer than T."""
    T = max(1, (weights != 0).sum(axis=1).max())  # 1 where all lies outside x
    places = np.argsort(weights == 0, axis=1, kind="stable")[:, :T]
    return places, np.take_along_axis(weights, places, axis=1)


class _Resampled(OfImages):
    """y[n,i,j,c] = Σ_kl rows[i,k] · x[n,k,l,c] · columns[j,l]

    x (N, H, W, C)   rows (OH, H)   columns (OW, W)   y (N, OH, OW, C). Subclasses give the weights.
    """

    fill = 0.0  # what lies outside x where rows have a smaller sum than 1

    def __init__(self, interpolation: str, data_format: str | None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        self.interpolation = str(interpolation).lower()
        if self.interpolation not in ("bilinear", "nearest"):
            raise ValueError(f"layer {self.name}: interpolation must be 'bilinear' or 'nearest', not {interpolation!r}")

    def weights_for(self, H: int, W: int) -> Pair:
        """The rows and columns for images of this size."""
        raise TypeError(f"layer {self.name} does not define weights_for(H, W)")

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        rows, columns = self.weights_for(*self.input_shape[1:3])
        self.there, self.back = (taps(rows), taps(columns)), (taps(rows.T), taps(columns.T))
        self.outside = self.fill * (1 - rows.sum(axis=1)[:, None] * columns.sum(axis=1))[..., None]  # (OH, OW, 1)

    def _resized(self, x: Array, tables: Sequence[Pair]) -> Array:
        constant = self.ops.constant
        rows, columns = ((constant(places, np.int64), constant(weights, x.dtype)) for places, weights in tables)
        return self.ops.resize(x, rows, columns)

    def forward(self, x: Array, training: bool = False) -> Array:
        y = self._resized(self.check_input(x), self.there)
        return y + self.ops.constant(self.outside, y.dtype) if self.fill else y

    def backward(self, dy: Array) -> Array:
        return self._resized(dy, self.back)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"interpolation": self.interpolation}


class UpSampling2D(_Resampled):
    """Each pixel as `size` pixels, (rows, columns) or one number for both: repeated, or interpolated

    x (N, H, W, C)   y (N, H · rows, W · columns, C). ValueError for an interpolation other than "nearest" and "bilinear".
    """

    shaping = ("size",)

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **options: Any,
    ) -> None:
        super().__init__(interpolation, data_format, **options)
        self.size = pair(self, size, "size")

    def weights_for(self, H: int, W: int) -> Pair:
        rows, columns = self.size
        return line_weights(H, H * rows, self.interpolation), line_weights(W, W * columns, self.interpolation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, H, W, C = input_shape
        return N, H * self.size[0], W * self.size[1], C

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"size": self.size}


class Resizing(_Resampled):
    """Images of the size (height, width), interpolated

    x (N, H, W, C)   y (N, height, width, C). With `crop_to_aspect_ratio` y is the largest part of x, in its middle, that has
    the ratio of height to width; with `pad_to_aspect_ratio` it is all of x, with `fill_value` on two sides. With `antialias`
    a smaller image is made of all pixels of x. Gradients go through. ValueError for an interpolation other than "bilinear"
    and "nearest", a fill_mode other than "constant", and for both ratios at once.
    """

    shaping = "height", "width"

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(interpolation, data_format, **options)
        check(f"layer {self.name}", SIZE, height=height, width=width)
        check(f"layer {self.name}", NUMBER, fill_value=fill_value)
        if fill_mode != "constant":
            raise ValueError(f"layer {self.name}: fill_mode must be 'constant', not {fill_mode!r}")
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(f"layer {self.name}: images are cropped or padded to the aspect ratio, not both")
        self.height, self.width, self.antialias = int(height), int(width), bool(antialias)
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)
        self.fill_mode, self.fill_value = fill_mode, float(fill_value)
        self.fill = self.fill_value if pad_to_aspect_ratio else 0.0

    def weights_for(self, H: int, W: int) -> Pair:
        height, width = self.height, self.width
        found = []
        for length, size, fit in (H, height, int(W * height / width)), (W, width, int(H * width / height)):
            part = length  # that becomes y; `fit` goes with the other side
            if self.crop_to_aspect_ratio:
                part = max(min(length, fit), 1)
            elif self.pad_to_aspect_ratio:
                part += 2 * max((fit - length) // 2, 0)
            weights, first = line_weights(part, size, self.interpolation, self.antialias), (length - part) // 2
            around = (0, 0), (first, length - part - first)
            found.append(weights[:, -first : length - first] if first < 0 else np.pad(weights, around))
        return found[0], found[1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.height, self.width, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        names = "height", "width", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "fill_mode", "fill_value", "antialias"
        return super().get_config() | {name: getattr(self, name) for name in names}


class CenterCrop(OfImages):
    """The middle of images, of the size (height, width); what is too small is resized, as by `crop_to_aspect_ratio`

    x (N, H, W, C)   y (N, height, width, C)
    """

    shaping = "height", "width"

    def __init__(self, height: int, width: int, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        check(f"layer {self.name}", SIZE, height=height, width=width)
        self.height, self.width = int(height), int(width)

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        _, H, W, _ = self.input_shape
        over = H - self.height, W - self.width
        self.inner: Layer = (
            Cropping2D([(n // 2, n - n // 2) for n in over], name=self.name)
            if min(over) >= 0
            else Resizing(self.height, self.width, crop_to_aspect_ratio=True, name=self.name)
        )
        self.inner.build(self.input_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.inner.to(self.ops).forward(self.check_input(x))

    def backward(self, dy: Array) -> Array:
        return self.inner.backward(dy)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.height, self.width, input_shape[3]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"height": self.height, "width": self.width}


class MomentNormalization(OfImages):
    """Digits upright and equally wide: each image is slanted back, and resized from side to side, about its centre of mass

    x, y (N, H, W, C). A pixel's mass is the sum of its channels, so what is black is 0. Of the rows i and columns j of the
    mass of an image let c be the means and v the (co)variances. The slant is a = v_ij / v_ii, in columns per row; without
    it the standard deviation of the columns is √(v_jj - a v_ij), and the factor that makes it `width` pixels is kept
    between the two `factors`: y[i, j] = x[i, c_j + a (i - c_i) + (j - c_j) / factor], interpolated, 0 outside. An image
    without mass stays as it is. (R. G. Casey, "Moment normalization of handprinted characters", IBM Journal of Research
    and Development 14, 1970; heights are left alone.)

    How y changes with x is not calculated, so nothing before the layer can be trained. ValueError for a width that is no
    positive number, and factors that are not two of those, the lower one first.
    """

    def __init__(self, width: float = 4.5, factors: Sequence[float] = (0.6, 2.0), **options: Any) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", POSITIVE, width=width)
        self.width, self.factors = float(width), values(factors, f"layer {self.name}: factors")
        if not self.factors[0] > 0:
            raise ValueError(f"layer {self.name}: factors must be positive numbers, not {factors!r}")

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        return self.ops.affine(x, self.ops.moment_maps(x, self.width, self.factors))[0]

    def backward(self, dy: Array) -> Array:
        raise ValueError(
            f"layer {self.name}: the derivative of moments is not calculated, so no layer before it can be trained"
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"width": self.width, "factors": self.factors}
