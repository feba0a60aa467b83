"""Random motions of images in training, which teach a network that a digit moved, turned or resized is the same digit.

All three layers draw one affine map per image and apply it with bilinear interpolation; without training, y = x.
"""

import math
from collections.abc import Sequence
from typing import Any

from ..ops.reference import Array
from .base import RandomLayer

Factor = float | Sequence[float]


def bounds(factor: Factor, name: str) -> tuple[float, float]:
    """(lower, upper) from one number for both sides of 0, or from a pair."""
    both = (-factor, factor) if isinstance(factor, int | float) else tuple(factor)
    if len(both) != 2 or not both[0] <= both[1]:
        raise ValueError(f"{name} must be a number from 0 on or a pair (lower, upper), not {factor!r}")
    return float(both[0]), float(both[1])


class _RandomAffine(RandomLayer):
    """x, y (N, H, W, C); subclasses give the map from each pixel of y to a point of x, as matrices (N, 2, 3)."""

    input_rank = 4
    factors: tuple[str, ...] = ()  # the settings of which one number per image is drawn

    def __init__(self, fill_mode: str, interpolation: str, seed: int | None, fill_value: float, **options: Any) -> None:
        super().__init__(seed, **options)
        if fill_mode not in ("constant", "nearest", "reflect", "wrap"):
            raise ValueError(
                f"layer {self.name}: fill_mode must be constant, nearest, reflect or wrap, not {fill_mode!r}"
            )
        if interpolation != "bilinear":
            raise ValueError(f"layer {self.name}: interpolation must be 'bilinear', not {interpolation!r}")
        self.fill_mode, self.fill_value = fill_mode, fill_value

    def limits(self) -> list[tuple[float, float]]:
        return [bounds(getattr(self, name), f"layer {self.name}: {name}") for name in self.factors]

    def draw(self, samples: int) -> list[Array]:
        """A uniform number per image and factor: a list of arrays (samples,)."""
        bits = self.ops.random_bits(self.next_key(), samples * len(self.factors)).reshape(samples, -1)
        return [low + (high - low) * (bits[:, k] / 2**32) for k, (low, high) in enumerate(self.limits())]

    def about_the_centre(self, rows: Sequence[Sequence[Array]]) -> Array:
        """Matrices (N, 2, 3) of the linear maps with these 2×2 entries, each (N,), which leave the centre where it is."""
        _, H, W, _ = self.input_shape
        centre = (H - 1) / 2, (W - 1) / 2
        return self.ops.xp.stack(
            [
                self.ops.xp.stack([a, b, c - a * centre[0] - b * centre[1]], axis=1)
                for (a, b), c in zip(rows, centre, strict=True)
            ],
            axis=1,
        )

    def matrices(self, samples: int) -> Array:
        raise TypeError(f"layer {self.name} does not define matrices(samples)")

    def forward(self, x: Array, training: bool = False) -> Array:
        self.moving = training
        if not training:
            return x
        y, self.saved = self.ops.affine(self.check_input(x), self.matrices(len(x)), self.fill_mode, self.fill_value)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.affine_backward(dy, self.saved) if self.moving else dy

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.factors}
        return super().get_config() | own | {"fill_mode": self.fill_mode, "fill_value": self.fill_value}


class RandomTranslation(_RandomAffine):
    """Moves each image by a random share of its height (positive: down) and of its width (positive: to the right)"""

    factors = ("height_factor", "width_factor")

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, **options)
        self.height_factor, self.width_factor = height_factor, width_factor
        self.limits()

    def matrices(self, samples: int) -> Array:
        _, H, W, _ = self.input_shape
        down, right = self.draw(samples)
        matrices = self.ops.zeros((samples, 2, 3), down.dtype)
        matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0
        matrices[:, 0, 2], matrices[:, 1, 2] = -down * H, -right * W
        return matrices


class RandomRotation(_RandomAffine):
    """Turns each image about its centre by a random share of a full turn (positive: counter-clockwise)"""

    factors = ("factor",)

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, **options)
        self.factor = factor
        self.limits()

    def matrices(self, samples: int) -> Array:
        (turn,) = self.draw(samples)
        cos, sin = self.ops.xp.cos(2 * math.pi * turn), self.ops.xp.sin(2 * math.pi * turn)
        return self.about_the_centre([[cos, sin], [-sin, cos]])


class RandomZoom(_RandomAffine):
    """Resizes each image about its centre: a factor of 0.1 makes its content 10 % smaller, of -0.1 larger

    With `width_factor` the two directions are drawn apart, else both follow `height_factor`.
    """

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, **options)
        self.height_factor, self.width_factor = height_factor, width_factor
        self.factors = ("height_factor",) if width_factor is None else ("height_factor", "width_factor")
        self.limits()

    def matrices(self, samples: int) -> Array:
        zooms = self.draw(samples)
        zero = self.ops.xp.zeros_like(zooms[0])
        return self.about_the_centre([[1 + zooms[0], zero], [zero, 1 + zooms[-1]]])
