"""Random changes of images in training, which teach a network that a digit moved, turned, bent, blurred or partly hidden
is the same digit.

What is drawn is a function of seed, step and image. Motions draw one affine map per image, and perhaps a field of
displacements, and interpolate once, bilinearly. Without training, y = x.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import NUMBER, NUMBERS, POSITIVE, check, is_number, or_none
from ..ops.reference import FILL_MODES, Array, Key
from .base import OfImages, RandomLayer, channels_last
from .convolution import pair

Factor = float | Sequence[float]
Limits = tuple[float, float]


def _is_range(limits: Any) -> bool:
    """Whether these are a lower and an upper number."""
    numbers = list(limits) if np.iterable(limits) else [limits]
    return len(numbers) == 2 and all(is_number(number) for number in numbers) and numbers[0] <= numbers[1]


def bounds(factor: Factor, name: str) -> Limits:
    """(lower, upper) from one number for both sides of 0, or from a pair."""
    both: Any = (-factor, factor) if is_number(factor) else factor  # type: ignore[operator]
    if not _is_range(both):
        raise ValueError(f"{name} must be a number from 0 on or a pair (lower, upper), not {factor!r}")
    return float(both[0]), float(both[1])


def shares(factor: Factor, name: str) -> Limits:
    """(lower, upper) within [0, 1] from one number, the upper one, or from a pair."""
    both: Any = (0.0, factor) if is_number(factor) else factor
    if not (_is_range(both) and both[0] >= 0 and both[1] <= 1):
        raise ValueError(f"{name} must be a number from 0 to 1 or a pair (lower, upper) of such, not {factor!r}")
    return float(both[0]), float(both[1])


def both_ways(factor: Any, name: str) -> tuple[Limits, Limits]:
    """The bounds for height and width from one number, or from a pair for (height, width) of numbers or pairs."""
    height, width = factor if hasattr(factor, "__len__") and len(factor) == 2 else (factor, factor)
    return bounds(height, f"{name} (height)"), bounds(width, f"{name} (width)")


def values(limits: Sequence[float], name: str) -> Limits:
    """A range (lowest, highest)."""
    if not _is_range(limits):
        raise ValueError(f"{name} must be a pair (lowest, highest), not {limits!r}")
    return float(limits[0]), float(limits[1])


def smoothing(length: int, sigma: float, size: int) -> np.ndarray:
    """The weights of the distances 0 to length - 1 in a Gaussian of `size` pixels, an odd number, whose sum is 1."""
    distance = np.arange(max(length, size // 2 + 1))
    weights = np.exp(-0.5 * (distance / sigma) ** 2) * (distance <= size // 2)
    found: np.ndarray = weights / (2 * weights.sum() - weights[0])
    return found[:length]


def second(key: Key) -> Key:
    """The key of the second kind of numbers that a layer draws in one forward."""
    return key[0], key[1], 1


class _Augmentation(OfImages, RandomLayer):
    """y = `augmented(x)` in training, else x: (N, H, W, C). Called by itself on an array, it changes it, as in Keras."""

    works_as_in_training = True
    settings: tuple[str, ...] = ()  # which `get_config` writes

    def __init__(self, seed: int | None, data_format: str | None, **options: Any) -> None:
        super().__init__(seed, **options)
        channels_last(self, data_format)

    def augmented(self, x: Array) -> Array:
        raise TypeError(f"layer {self.name} does not define augmented(x)")

    def augmented_backward(self, dy: Array) -> Array:
        return dy

    def forward(self, x: Array, training: bool = False) -> Array:
        self.augmenting = training
        return self.augmented(self.check_input(x)) if training else x

    def backward(self, dy: Array) -> Array:
        return self.augmented_backward(dy) if self.augmenting else dy

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {name: getattr(self, name) for name in self.settings}

    def ranges(self, read: Callable[[Any, str], Any], *settings: str) -> list[Any]:
        """What `read`, which is `bounds` or one of its like, makes of these settings; its errors name layer and setting."""
        return [read(getattr(self, name), f"layer {self.name}: {name}") for name in settings]

    def uniform(self, key: Key, samples: int, limits: Sequence[Limits]) -> list[Array]:
        """A uniform number per image for each (lower, upper): a list of arrays (samples,)."""
        bits = self.ops.random_bits(key, samples * len(limits)).reshape(samples, -1)
        return [low + (high - low) * (bits[:, k] / 2**32) for k, (low, high) in enumerate(limits)]

    def smoothing(self, sigmas: Sequence[float], sizes: Sequence[int], drawn: bool = True) -> list[Array]:
        """The weights of `smoothing` for rows and for columns; drawn: whether they are others in every step."""
        place = self.ops.array if drawn else self.ops.constant
        return [
            place(smoothing(length, sigma, size), self.dtype)
            for length, sigma, size in zip(self.input_shape[1:3], sigmas, sizes, strict=True)
        ]


# ---------------------------------------------------------------------- motions


class _RandomAffine(_Augmentation):
    """Subclasses give the map from each pixel of y to a point of x, as matrices (N, 2, 3)."""

    # one number per image is drawn for each of the `settings`, unless `limits` says otherwise
    turned: tuple[int, ...] = ()  # places in `limits()` of turn, shifts (down, right), zooms and shears; -1: none
    elastic: Any = None  # not None where displacements are added

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        seed: int | None,
        fill_value: float,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        if fill_mode not in FILL_MODES:
            known = f"{', '.join(FILL_MODES[:-1])} or {FILL_MODES[-1]}"
            raise ValueError(f"layer {self.name}: fill_mode must be {known}, not {fill_mode!r}")
        if interpolation != "bilinear":
            raise ValueError(f"layer {self.name}: interpolation must be 'bilinear', not {interpolation!r}")
        check(f"layer {self.name}", NUMBER, fill_value=fill_value)
        self.fill_mode, self.fill_value = fill_mode, fill_value

    def limits(self) -> list[Limits]:
        return self.ranges(bounds, *self.settings)

    def draw(self, samples: int) -> list[Array]:
        """A uniform number per image for each of `limits()`: a list of arrays (samples,)."""
        self.key = self.next_key()
        return self.uniform(self.key, samples, self.limits())

    def about_the_centre(self, rows: Sequence[Sequence[Array]], moved: Sequence[Any] = (0.0, 0.0)) -> Array:
        """Matrices (N, 2, 3) of the linear maps with these 2×2 entries, each (N,), about the centre of the image.

        They map the point that lies `moved` pixels, down and to the right, from the centre to the centre.
        """
        _, H, W, _ = self.input_shape
        centre = (H - 1) / 2, (W - 1) / 2
        return self.ops.xp.stack(
            [
                self.ops.xp.stack([a, b, c - a * (centre[0] + moved[0]) - b * (centre[1] + moved[1])], axis=1)
                for (a, b), c in zip(rows, centre, strict=True)
            ],
            axis=1,
        )

    def identities(self, samples: int, dtype: Any) -> Array:
        """Matrices (N, 2, 3) that leave every pixel where it is."""
        matrices = self.ops.zeros((samples, 2, 3), dtype)
        matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0
        return matrices

    def matrices(self, samples: int) -> Array:
        raise TypeError(f"layer {self.name} does not define matrices(samples)")

    def maps(self, samples: int) -> Array:
        """`matrices`, made by the device in one go where it can."""
        if not (self.turned and hasattr(self.ops, "random_maps") and type(self).__module__ == __name__):
            return self.matrices(samples)
        limits, self.key = self.limits(), self.next_key()
        table = [(number, *(limits[number] if number >= 0 else (0.0, 0.0))) for number in self.turned]
        return self.ops.random_maps(table, samples, len(limits), self.input_shape[1:3], self.key)

    def displacements(self, samples: int) -> tuple[Array, Array, Array, Key]:
        """The arguments of `Ops.random_field` that go with the last `matrices`."""
        alpha, sigma = self.elastic
        rows, columns, strength, key = self.smoothed(1.0, alpha, sigma, drawn=False)
        return rows, columns, self.ops.constant(np.full(samples, strength), "float64"), key

    def smoothed(self, chosen: Any, alpha: float, sigma: float, drawn: bool = True) -> tuple[Array, Array, Any, Key]:
        """Displacements alpha · G(sigma · u) with a Gaussian G of standard deviation sigma and u of variance 1, as Keras'.

        On average over pixels that are not near an edge √mean(d²) = alpha / √(4 π), or 0.28 alpha pixels in each
        direction; alpha of Simard et al. is 1.7 sigma times this one. `chosen` (N,) is 0 for images that stay.
        """
        rows, columns = self.smoothing([max(sigma, 1e-6)] * 2, [int(6 * sigma) | 1] * 2, drawn)
        return rows, columns, chosen * (math.sqrt(3) * alpha * sigma), second(self.key)

    def augmented(self, x: Array) -> Array:
        matrices = self.maps(len(x))
        field = None if self.elastic is None else self.ops.random_field(*self.displacements(len(x)))
        y, self.saved = self.ops.affine(x, matrices, self.fill_mode, self.fill_value, field)
        return y

    def augmented_backward(self, dy: Array) -> Array:
        return self.ops.affine_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"fill_mode": self.fill_mode, "fill_value": self.fill_value}


class RandomAffine(_RandomAffine):
    """Shears, resizes, turns and moves each image, in this order and about its centre, and bends it, in one interpolation.

    As several layers in a row this would be several interpolations, and each of them blurs. Of every range a number is
    drawn per image, uniformly: `rotation` in shares of a full turn (positive: counter-clockwise), `translation` in shares
    of the height and width (down, to the right), `zoom` as in `RandomZoom` (0.1: content 10 % smaller), `shear` in pixels
    that x is read further down per pixel to the right, and further to the right per pixel down. A number r means from -r
    to r; the last three may be pairs for (height, width), else both are drawn apart from one range. Any number may be a
    pair (lower, upper), for those three within the pair for (height, width).

    `elastic` = (alpha, sigma) adds smooth random displacements (Simard, Steinkraus and Platt, "Best practices for
    convolutional neural networks applied to visual document analysis", 2003): of 0.28 alpha pixels (root of the mean
    square) in each direction, smoothed by a Gaussian of sigma pixels. Theirs for 28×28 digits, 34 and 4, are (4.9, 4) here.

    x, y (N, H, W, C). ValueError for settings that are no such ranges.
    """

    settings = ("rotation", "translation", "zoom", "shear", "elastic")
    turned = 0, 1, 2, 3, 4, 5, 6

    def __init__(
        self,
        rotation: Factor = 0.0,
        translation: Any = 0.0,
        zoom: Any = 0.0,
        shear: Any = 0.0,
        elastic: Sequence[float] | None = None,
        fill_mode: str = "constant",
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, **options)
        self.rotation, self.translation, self.zoom = rotation, translation, zoom
        self.shear, self.elastic = shear, elastic
        self.limits()
        words = "a pair (alpha, sigma) of positive numbers"
        kind = words, lambda pair: np.shape(pair) == (2,) and pair[0] >= 0 and pair[1] > 0
        check(f"layer {self.name}", or_none(kind), elastic=elastic)

    def limits(self) -> list[Limits]:
        pairs = self.ranges(both_ways, "translation", "zoom", "shear")
        return [*self.ranges(bounds, "rotation"), *(limits for both in pairs for limits in both)]

    def matrices(self, samples: int) -> Array:
        turn, down, right, higher, wider, tilt, slant = self.draw(samples)
        _, H, W, _ = self.input_shape
        cos, sin = self.ops.xp.cos(2 * math.pi * turn), self.ops.xp.sin(2 * math.pi * turn)
        # from y to x: turned, then resized, then sheared
        rows = [[(1 + higher) * cos, (1 + higher) * sin], [-(1 + wider) * sin, (1 + wider) * cos]]
        rows = [[a + tilt * b for a, b in zip(*rows, strict=True)], [slant * a + b for a, b in zip(*rows, strict=True)]]
        return self.about_the_centre(rows, (down * H, right * W))


class RandomTranslation(_RandomAffine):
    """Moves each image by a random share of its height (positive: down) and of its width (positive: to the right).

    x, y (N, H, W, C). ValueError for factors that are neither a number nor a pair (lower, upper).
    """

    settings = ("height_factor", "width_factor")
    turned = -1, 0, 1, -1, -1, -1, -1

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
        matrices = self.identities(samples, down.dtype)
        matrices[:, 0, 2], matrices[:, 1, 2] = -down * H, -right * W
        return matrices


class RandomRotation(_RandomAffine):
    """Turns each image about its centre by a random share of a full turn (positive: counter-clockwise).

    x, y (N, H, W, C). ValueError for a factor that is neither a number nor a pair (lower, upper).
    """

    settings = ("factor",)
    turned = 0, -1, -1, -1, -1, -1, -1

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
    """Resizes each image about its centre: a factor of 0.1 makes its content 10 % smaller, of -0.1 larger.

    With `width_factor` the two directions are drawn apart, else both follow `height_factor`.

    x, y (N, H, W, C). ValueError for factors that are neither a number nor a pair (lower, upper).
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
        self.settings = ("height_factor",) if width_factor is None else ("height_factor", "width_factor")
        self.turned = -1, -1, -1, 0, len(self.settings) - 1, -1, -1
        self.limits()

    def matrices(self, samples: int) -> Array:
        zooms = self.draw(samples)
        zero = self.ops.xp.zeros_like(zooms[0])
        return self.about_the_centre([[1 + zooms[0], zero], [zero, 1 + zooms[-1]]])


class RandomShear(_RandomAffine):
    """Shears each image: the pixel i down and j to the right comes from (i + y · j, j + x · i), from the upper left corner.

    x is drawn from -x_factor to x_factor, or from a pair (lower, upper), and y likewise; then both, in half of the images,
    with the other sign.

    x, y (N, H, W, C). ValueError for factors that are not between -1 and 1.
    """

    settings = ("x_factor", "y_factor")

    def __init__(
        self,
        x_factor: Factor = 0.0,
        y_factor: Factor = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.x_factor, self.y_factor = x_factor, y_factor
        self.limits()

    def limits(self) -> list[Limits]:
        found = super().limits()
        for name, (low, high) in zip(self.settings, found, strict=True):
            if low < -1 or high > 1:
                raise ValueError(f"layer {self.name}: {name} must lie between -1 and 1, not {getattr(self, name)!r}")
        return [*found, (-1.0, 1.0)]

    def matrices(self, samples: int) -> Array:
        x, y, side = self.draw(samples)
        sign = self.ops.xp.where(side < 0, -1.0, 1.0)
        matrices = self.identities(samples, x.dtype)
        matrices[:, 0, 1], matrices[:, 1, 0] = sign * y, sign * x
        return matrices


class RandomFlip(_RandomAffine):
    """Turns half of the images over: left to right ("horizontal"), upside down ("vertical"), or, as in Keras, both at once.

    x, y (N, H, W, C). ValueError for another mode.
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__("constant", "bilinear", seed, 0.0, data_format, **options)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(
                f"layer {self.name}: mode must be horizontal, vertical or horizontal_and_vertical, not {mode!r}"
            )
        self.mode = mode

    def limits(self) -> list[Limits]:
        return [(0.0, 1.0)]

    def matrices(self, samples: int) -> Array:
        (chance,) = self.draw(samples)
        matrices = self.ops.zeros((samples, 2, 3), chance.dtype)
        for axis, name in enumerate(("vertical", "horizontal")):
            flipped = (chance <= 0.5) * (1.0 if name in self.mode else 0.0)
            matrices[:, axis, axis] = 1 - 2 * flipped
            matrices[:, axis, 2] = (self.input_shape[1 + axis] - 1) * flipped
        return matrices

    def get_config(self) -> dict[str, Any]:
        return RandomLayer.get_config(self) | {"mode": self.mode}


class RandomElasticTransform(_RandomAffine):
    """Bends each image by smooth random displacements (Simard, Steinkraus and Platt, 2003).

    `factor` is the probability that an image is bent, or a pair (lower, upper) from which it is drawn for every image; a
    number f means, as in Keras, a probability drawn from 0 to f. For all images of a batch one s is drawn from `scale`,
    (lower, upper) or 0 to a number; as in Keras, alpha = 0.1 · s · max(H, W) and sigma = 0.05 · s · min(H, W), unless they
    are given: the displacement is alpha times white noise of standard deviation sigma that is smoothed by a Gaussian of
    sigma pixels. It is 0.28 alpha pixels (root of the mean square) in each direction, less at the edges. Interpolated
    numbers lie between those of x, so `value_range` changes nothing.

    x, y (N, H, W, C). ValueError for a factor or scale that is not within [0, 1].
    """

    settings = ("factor", "scale", "value_range")
    elastic = True

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        *,
        alpha: float | None = None,
        sigma: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.factor, self.scale, self.value_range, self.alpha, self.sigma = factor, scale, value_range, alpha, sigma
        self.limits()
        self.ranges(values, "value_range")
        given = {"alpha": alpha, "sigma": sigma}
        check(f"layer {self.name}", POSITIVE, **{name: value for name, value in given.items() if value is not None})

    def limits(self) -> list[Limits]:
        factor, scale = self.ranges(shares, "factor", "scale")
        return [factor, (0.0, 1.0), scale]

    def matrices(self, samples: int) -> Array:
        self.drawn = self.draw(samples)
        return self.identities(samples, "float64")

    def displacements(self, samples: int) -> tuple[Array, Array, Array, Key]:
        _, H, W, _ = self.input_shape
        probability, chance, scale = self.drawn
        s = float(scale[0]) if samples else 0.0  # one for the batch
        alpha = 0.1 * s * max(H, W) if self.alpha is None else self.alpha
        sigma = 0.05 * s * min(H, W) if self.sigma is None else self.sigma
        return self.smoothed((chance < probability) * 1.0, alpha, sigma)

    def get_config(self) -> dict[str, Any]:
        given = {"alpha": self.alpha, "sigma": self.sigma}  # which Keras does not know: only those that are set
        return super().get_config() | {name: value for name, value in given.items() if value is not None}


# ---------------------------------------------------------------------- changes of the pixels themselves


class RandomErasing(_Augmentation):
    """Hides a random rectangle of each image (Zhong et al., "Random erasing data augmentation", 2017).

    `factor` is the probability, drawn for every image from a pair (lower, upper), or from 0 to a number, as in Keras. The
    height and the width of the rectangle are √u of the image's, each with a u drawn from `scale`. Its pixels become
    `fill_value`, a number or one per channel; without one, normal numbers times the upper end of `value_range`. Both are
    kept within `value_range`.

    x, y (N, H, W, C). ValueError for a factor or scale not within [0, 1], and for a fill_value that does not fit.
    """

    settings = ("factor", "scale", "fill_value", "value_range")

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = (0.02, 0.33),
        fill_value: float | Sequence[float] | None = None,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.factor, self.scale, self.fill_value, self.value_range = factor, scale, fill_value, value_range
        self.limits()
        self.ranges(values, "value_range")

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        C = self.input_shape[3]
        if self.fill_value is not None:
            words = f"a number or one for each of {C} channels"
            kind = words, lambda value: NUMBERS[1](value) and np.shape(value) in ((), (C,))
            check(f"layer {self.name}", kind, fill_value=self.fill_value)

    def limits(self) -> list[Limits]:
        factor, scale = self.ranges(shares, "factor", "scale")
        return [factor, scale, scale, *[(0.0, 1.0)] * 3]

    @property
    def fill(self) -> Sequence[float] | None:
        """A number per channel, or None for noise."""
        if self.fill_value is None:
            return None
        return [float(number) for number in np.broadcast_to(self.fill_value, self.input_shape[3])]

    def boxes(self, samples: int) -> tuple[Array, Key]:
        """The rows and columns [from, to) to erase, (samples, 4), and the key of the noise."""
        key = self.next_key()
        probability, high, wide, down, right, chance = self.uniform(key, samples, self.limits())
        found = []
        for length, share, at in zip(self.input_shape[1:3], (high, wide), (down, right), strict=True):
            size = length * self.ops.xp.sqrt(share)
            start = at * (length - size)
            found += [self.ops.xp.ceil(start), self.ops.xp.ceil(start + size)]
        boxes, erased = self.ops.zeros((samples, 4), "int64"), chance < probability
        for side, place in enumerate(found):
            boxes[:, side] = place * erased
        return boxes, second(key)

    def augmented(self, x: Array) -> Array:
        self.erased, key = self.boxes(len(x))
        (limits,) = self.ranges(values, "value_range")
        return self.ops.erase(x, self.erased, self.fill, limits, key)

    def augmented_backward(self, dy: Array) -> Array:
        return self.ops.erase(dy, self.erased, [0.0] * dy.shape[3], (0.0, 0.0), (0, 0, 0))


class RandomGaussianBlur(_Augmentation):
    """Blurs images by a Gaussian of random width; zeros lie outside the image.

    `factor` is the probability, drawn for every image from a pair (lower, upper), or from 0 to a number, as in Keras. For
    the batch two standard deviations are drawn from `sigma`, (lower, upper) or 0 to a number within [0, 1], for the width
    and the height. `kernel_size` pixels are looked at, an odd number or a pair of them for (width, height). A blurred
    number lies between 0 and the largest of x, so images are not clipped to `value_range`.

    x, y (N, H, W, C). ValueError for a factor or sigma that is not within [0, 1], and for an even kernel_size.
    """

    settings = ("factor", "kernel_size", "sigma", "value_range")

    def __init__(
        self,
        factor: Factor = 1.0,
        kernel_size: int | Sequence[int] = 3,
        sigma: Factor = 1.0,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.factor, self.kernel_size, self.sigma, self.value_range = factor, kernel_size, sigma, value_range
        self.limits()
        self.ranges(values, "value_range")
        if any(size < 1 or size % 2 == 0 for size in pair(self, kernel_size, "kernel_size")):
            raise ValueError(
                f"layer {self.name}: kernel_size must be an odd number or two of them, not {kernel_size!r}"
            )

    def limits(self) -> list[Limits]:
        factor, sigma = self.ranges(shares, "factor", "sigma")
        return [factor, (0.0, 1.0), sigma, sigma]

    def blurs(self, samples: int) -> tuple[Array, Array, Array]:
        """The weights of rows and of columns, and whether each image is blurred, (samples,)."""
        probability, chance, *sigmas = self.uniform(self.next_key(), samples, self.limits())
        sizes = pair(self, self.kernel_size, "kernel_size")[::-1]
        rows, columns = self.smoothing([float(s[0]) + 1e-6 if samples else 1.0 for s in sigmas[::-1]], sizes)
        return rows, columns, chance < probability

    def augmented(self, x: Array) -> Array:
        self.saved = self.blurs(len(x))
        return self.ops.blur(x, *self.saved)

    def augmented_backward(self, dy: Array) -> Array:
        return self.ops.blur(dy, *self.saved)


class RandomGaussianNoise(_Augmentation):
    """Adds normal noise to images: its standard deviation is drawn for each, so that some stay nearly clean.

    `factor` is the probability of any, drawn for every image from a pair (lower, upper), or from 0 to a number.
    `stddev` is a pair (lower, upper), or from 0 to a number, in the units of x. `GaussianNoise` adds as much to all.

    x, y (N, H, W, C). ValueError for a factor that is not within [0, 1], and for a negative stddev.
    """

    settings = ("factor", "stddev")

    def __init__(
        self,
        factor: Factor = 1.0,
        stddev: Factor = 0.1,
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.factor, self.stddev = factor, stddev
        self.limits()

    def limits(self) -> list[Limits]:
        spread: Any = (0.0, self.stddev) if is_number(self.stddev) else self.stddev
        if not (_is_range(spread) and spread[0] >= 0):
            raise ValueError(
                f"layer {self.name}: stddev must be a number from 0 on or a pair (lower, upper), not {self.stddev!r}"
            )
        return [*self.ranges(shares, "factor"), (0.0, 1.0), (float(spread[0]), float(spread[1]))]

    def levels(self, samples: int) -> tuple[Array, Key]:
        """The standard deviation of each image, 0 where there is no noise, (samples,), and the key of the noise."""
        key = self.next_key()
        probability, chance, spread = self.uniform(key, samples, self.limits())
        return spread * (chance < probability), second(key)

    def augmented(self, x: Array) -> Array:
        levels, key = self.levels(len(x))
        return self.ops.random_noise(x, levels, key)


class _Recolouring(_Augmentation):
    """y = `changed(x, a number drawn for every image)`, clipped to `value_range`."""

    settings = ("factor", "value_range")

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.factor, self.value_range = factor, value_range
        self.limits()
        self.ranges(values, "value_range")

    def limits(self) -> Limits:
        """Between which the numbers are drawn."""
        raise TypeError(f"layer {self.name} does not define limits()")

    def changed(self, x: Array, drawn: Array) -> Array:
        """y before it is clipped; drawn (N, 1, 1, 1)."""
        raise TypeError(f"layer {self.name} does not define changed(x, drawn)")

    def changed_backward(self, dy: Array) -> Array:
        return dy

    def augmented(self, x: Array) -> Array:
        (drawn,) = self.uniform(self.next_key(), len(x), [self.limits()])
        y = self.changed(x, drawn.astype(x.dtype).reshape(-1, 1, 1, 1))
        lowest, highest = (x.dtype.type(bound) for bound in self.ranges(values, "value_range")[0])
        self.inside = (y >= lowest) & (y <= highest)
        return y.clip(lowest, highest)

    def augmented_backward(self, dy: Array) -> Array:
        return self.changed_backward(dy * self.inside)


class RandomBrightness(_Recolouring):
    """y = x + δ · (highest - lowest), clipped to `value_range`, (lowest, highest)

    δ is drawn for every image between the numbers of `factor`, within [-1, 1], or between -factor and factor.

    x, y (N, H, W, C). ValueError for a factor beyond 1.
    """

    def limits(self) -> Limits:
        (limits,) = self.ranges(bounds, "factor")
        if max(map(abs, limits)) > 1:
            raise ValueError(f"layer {self.name}: factor must lie between -1 and 1, not {self.factor!r}")
        return limits

    def changed(self, x: Array, drawn: Array) -> Array:
        ((lowest, highest),) = self.ranges(values, "value_range")
        return x + drawn * x.dtype.type(highest - lowest)


class RandomContrast(_Recolouring):
    """y = (x - mean) · f + mean, clipped to `value_range`, of every channel of an image and its mean

    f is drawn for every image between 1 - lower and 1 + upper, where `factor` is (lower, upper) or one number for both, as
    Keras' documentation says. (Keras 3.15 itself draws from 1 on where it is one number.)

    x, y (N, H, W, C). ValueError for a factor that is not within [0, 1].
    """

    def limits(self) -> Limits:
        both: Any = [self.factor, self.factor] if is_number(self.factor) else list(np.atleast_1d(self.factor))
        if len(both) != 2 or not all(is_number(one) and 0 <= one <= 1 for one in both):
            raise ValueError(
                f"layer {self.name}: factor must be a number from 0 to 1 or a pair (lower, upper) of such, not {self.factor!r}"
            )
        return 1 - float(both[0]), 1 + float(both[1])

    def changed(self, x: Array, drawn: Array) -> Array:
        self.scale = drawn
        mean = x.mean(axis=(1, 2), keepdims=True)
        return (x - mean) * drawn + mean

    def changed_backward(self, dy: Array) -> Array:
        mean = dy.mean(axis=(1, 2), keepdims=True)
        return (dy - mean) * self.scale + mean
