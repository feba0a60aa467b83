"""Layers that disturb the numbers in training, so that a network does not rely on any single one: dropout and noise."""

from typing import Any

from ..checks import FROM_ZERO, check, numbers
from ..ops.reference import Array
from .base import RandomLayer, channels_last


class _Dropping(RandomLayer):
    """In training y is what the device's `operation` makes of x at the rate; otherwise y = x."""

    operation = ""

    def __init__(self, rate: float, seed: int | None, noise_shape: None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        check(f"layer {self.name}", numbers("at least 0 and below 1", lambda rate: 0 <= rate < 1), rate=rate)
        if noise_shape is not None:
            raise ValueError(
                f"layer {self.name}: noise_shape must be None: every number is dropped by itself, not {noise_shape!r};"
                " SpatialDropout2D drops whole channels"
            )
        self.rate = rate

    def forward(self, x: Array, training: bool = False) -> Array:
        self.dropping = training and self.rate > 0
        x = self.check_input(x) if self.input_rank else self.as_float(x)
        if not self.dropping:
            return x
        y, self.saved = getattr(self.ops, self.operation)(x, self.rate, self.next_key())
        return y

    def backward(self, dy: Array) -> Array:
        return getattr(self.ops, f"{self.operation}_backward")(dy, self.saved) if self.dropping else dy

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rate": self.rate}


class Dropout(_Dropping):
    """In training a number is zero with probability `rate`, else divided by 1 - rate; otherwise y = x

    Srivastava et al., "Dropout" (2014). ValueError for a rate that is not from 0 to below 1.
    """

    operation = "dropout"

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, seed, noise_shape, **options)


class SpatialDropout2D(_Dropping):
    """In training a whole channel of an image is zero with probability `rate`, else divided by 1 - rate; otherwise y = x

    x, y (N, H, W, C). Neighbouring pixels of a channel say much the same: dropping single ones takes little away (Tompson
    et al., "Efficient object localization using convolutional networks", 2015). ValueError for a rate that is not from 0
    to below 1.
    """

    operation = "spatial_dropout2d"
    input_rank = 4

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rate, seed, name=name, **options)
        channels_last(self, data_format)


class AlphaDropout(_Dropping):
    """In training a number is -1.758, the least that selu gives, with probability `rate`; y = a x + b keeps mean and variance

    Otherwise y = x. For networks of selu, begun by lecun_normal (Klambauer et al., "Self-normalizing neural networks", 2017).
    ValueError for a rate that is not from 0 to below 1.
    """

    operation = "alpha_dropout"

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, seed, noise_shape, **options)


class GaussianDropout(_Dropping):
    """In training y = x · (1 + √(rate / (1 - rate)) z), z normal numbers of mean 0 and variance 1; otherwise y = x

    Mean and variance of the factors are those of `Dropout` (Srivastava et al., 2014, section 10). ValueError for a rate that
    is not from 0 to below 1.
    """

    operation = "gaussian_dropout"

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, seed, **options)


class GaussianNoise(RandomLayer):
    """In training y = x + stddev · z, z normal numbers of mean 0 and variance 1; otherwise y = x

    ValueError for a negative stddev.
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        check(f"layer {self.name}", FROM_ZERO, stddev=stddev)
        self.stddev = stddev

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.as_float(x)
        return self.ops.gaussian_noise(x, self.stddev, self.next_key()) if training and self.stddev else x

    def backward(self, dy: Array) -> Array:
        return dy

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"stddev": self.stddev}
