"""Layers that set the range of numbers: normalisation of batches and of samples, and fixed shifts and scales of raw pixels."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import COUNT, FROM_ZERO, NUMBER, NUMBERS, SHARE, check, is_number, or_none
from ..ops.reference import Array
from .base import Layer, Shape
from .parameter import Parameter


def _axes(layer: Layer, given: Any) -> tuple[int, ...]:
    """The axes that a setting names, one or several, as numbers from 1 on, in order; ValueError for others."""
    rank, axes = len(layer.input_shape), list(given) if np.iterable(given) else [given]
    if not all(is_number(axis) and axis in range(-rank, rank) and axis % rank for axis in axes):
        raise ValueError(
            f"layer {layer.name}: axis must be from 1 to {rank - 1} for an input of shape {layer.input_shape}, not {given}"
        )
    return tuple(sorted({int(axis) % rank for axis in axes}))


class BatchNormalization(Layer):
    """y = γ (x - mean) / √(variance + ε) + β for every channel (Ioffe and Szegedy, 2015)

    x (…, C)   gamma, beta, moving_mean, moving_variance (C,)   y (…, C)

    In training the statistics are those of the batch, and the moving averages follow them: moving = momentum · moving +
    (1 - momentum) · batch. Otherwise the moving averages are used. If `axis` is not the last, its places are the channels:
    it is moved to the end and back.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", NUMBER, axis=axis, momentum=momentum, epsilon=epsilon)
        check(f"layer {self.name}", SHARE, momentum=momentum)
        check(f"layer {self.name}", FROM_ZERO, epsilon=epsilon)
        self.axis, self.momentum, self.epsilon, self.center, self.scale = axis, momentum, epsilon, center, scale
        self._keep_settings(
            beta=(beta_initializer, beta_regularizer, beta_constraint),
            gamma=(gamma_initializer, gamma_regularizer, gamma_constraint),
            moving_mean=(moving_mean_initializer,), moving_variance=(moving_variance_initializer,),
        )  # fmt: skip

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        (self.place,) = _axes(self, self.axis)
        self.of_channels = self.place == len(self.input_shape) - 1
        channels = (self.input_shape[self.place],)
        self.gamma = self._add_named(channels, "gamma") if self.scale else None
        self.beta = self._add_named(channels, "beta") if self.center else None
        self.moving_mean = self._add_named(channels, "moving_mean", trainable=False)
        self.moving_variance = self._add_named(channels, "moving_variance", trainable=False)

    def _moved(self, x: Array, source: int, target: int) -> Array:
        return x if self.of_channels else self.ops.xp.ascontiguousarray(self.ops.xp.moveaxis(x, source, target))

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._moved(self.check_input(x), self.place, -1)
        like = self.moving_mean.data
        gamma = self.ops.xp.ones_like(like) if self.gamma is None else self.gamma.data
        beta = self.ops.xp.zeros_like(like) if self.beta is None else self.beta.data
        self.used_batch = training and self.trainable  # as in Keras, a frozen layer keeps its statistics
        if self.used_batch:
            averages = self.moving_mean.data, self.moving_variance.data
            y, self.saved = self.ops.batch_norm_with_averages(x, gamma, beta, self.epsilon, *averages, self.momentum)
            Parameter.writes += 1
        else:
            y, self.saved = self.ops.normalize(
                x, gamma, beta, self.moving_mean.data, self.moving_variance.data, self.epsilon
            )
        return self._moved(y, -1, self.place)

    def backward(self, dy: Array) -> Array:
        backward = self.ops.batch_norm_backward if self.used_batch else self.ops.normalize_backward
        dx, dgamma, dbeta = backward(self._moved(dy, self.place, -1), self.saved)
        if self.gamma is not None:
            self.gamma.gradient = dgamma
        if self.beta is not None:
            self.beta.gradient = dbeta
        return self._moved(dx, -1, self.place)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("axis", "momentum", "epsilon", "center", "scale")}
        settings = self._settings_config("gamma", "beta", "moving_mean", "moving_variance")
        return super().get_config() | own | settings


class LayerNormalization(Layer):
    """y = γ (x - mean) / √(variance + ε) + β, of the numbers of each sample along `axis` (Ba, Kiros and Hinton, 2016)

    x, y (N, …)   gamma, beta: a number for each place along `axis`, which is one axis or several
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", FROM_ZERO, epsilon=epsilon)
        self.axis, self.epsilon, self.center, self.scale = axis, epsilon, center, scale
        self._keep_settings(
            beta=(beta_initializer, beta_regularizer, beta_constraint),
            gamma=(gamma_initializer, gamma_regularizer, gamma_constraint),
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        axes, given = _axes(self, self.axis), self.axis if np.iterable(self.axis) else [self.axis]
        shape = [self.input_shape[axis] for axis in sorted(given)]  # in Keras -1 comes before 1, in the shape alone
        self._lay_out(self.input_shape[1:], axes, axes, shape)

    def _lay_out(self, view: Shape, axes: tuple[int, ...], own: tuple[int, ...], shape: Sequence[int]) -> None:
        """Statistics are taken along `axes` of samples seen as `view`; gamma and beta, of a `shape`, belong to the axes `own`."""
        self.view, self.axes = view, axes
        self.rest = tuple(axis for axis in range(len(view) + 1) if axis not in own)
        self.spread = [1 if axis in self.rest else n for axis, n in enumerate((1, *view))]  # to go with all of x
        self.gamma = self._add_named(shape, "gamma") if self.scale else None
        self.beta = self._add_named(shape, "beta") if self.center else None

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        seen = x.reshape(len(x), *self.view)
        centred = seen - seen.mean(axis=self.axes, keepdims=True)
        self.deviation = self.ops.xp.sqrt(
            (centred * centred).mean(axis=self.axes, keepdims=True) + x.dtype.type(self.epsilon)
        )
        self.normed = y = centred / self.deviation
        y = y if self.gamma is None else y * self.gamma.data.reshape(self.spread)
        return (y if self.beta is None else y + self.beta.data.reshape(self.spread)).reshape(x.shape)

    def backward(self, dy: Array) -> Array:
        normed, given = self.normed, dy.shape
        dy = dy.reshape(normed.shape)
        if self.beta is not None:
            self.beta.gradient = dy.sum(axis=self.rest).reshape(self.beta.shape)
        if self.gamma is not None:
            self.gamma.gradient = (dy * normed).sum(axis=self.rest).reshape(self.gamma.shape)
            dy = dy * self.gamma.data.reshape(self.spread)
        along = (dy * normed).mean(axis=self.axes, keepdims=True)  # by way of the variance; the mean takes Σ dy / n
        return ((dy - dy.mean(axis=self.axes, keepdims=True) - normed * along) / self.deviation).reshape(given)

    def get_config(self) -> dict[str, Any]:
        own = {"axis": list(self.axis) if np.iterable(self.axis) else self.axis}
        own |= {name: getattr(self, name) for name in ("epsilon", "center", "scale")}
        return super().get_config() | own | self._settings_config("beta") | self._settings_config("gamma")


class GroupNormalization(LayerNormalization):
    """y = γ (x - mean) / √(variance + ε) + β, of the numbers of each sample in each group of channels (Wu and He, 2018)

    x, y (N, …)   gamma, beta: a number for each channel, a place along `axis`. There are `groups` groups of channels that
    follow each other; -1: as many as channels ("instance normalization"). ValueError for groups that are not alike.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        self.groups = groups
        kind = "a whole number from 1 on, or -1", lambda groups: groups == -1 or COUNT[1](groups)
        check(f"layer {self.name}", kind, groups=groups)

    def build(self, input_shape: Sequence[int | None]) -> None:
        Layer.build(self, input_shape)
        place, *others = _axes(self, self.axis)
        channels = self.input_shape[place]
        groups = channels if self.groups == -1 else self.groups
        if others or channels % groups:
            raise ValueError(
                f"layer {self.name}: the {channels} channels of an input of shape {self.input_shape}, along the axis "
                f"{self.axis}, cannot be put into {groups} groups of one size"
            )
        view = *self.input_shape[1:place], groups, channels // groups, *self.input_shape[place + 1 :]
        axes = tuple(axis for axis in range(1, len(view) + 1) if axis != place)
        self._lay_out(view, axes, (place, place + 1), [channels])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"groups": self.groups}


class UnitNormalization(Layer):
    """y = x / ‖x‖, with the Euclidean norm of the numbers of each sample along `axis`, which is one axis or several

    x, y (N, …)   Where all of these are 0, so are y and the gradient.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = list(axis) if np.iterable(axis) else axis

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.axes = _axes(self, self.axis)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        norm = self.ops.xp.sqrt((x * x).sum(axis=self.axes, keepdims=True))
        self.inverse = self.ops.xp.where(norm > 0, 1 / self.ops.xp.where(norm > 0, norm, 1), 0)
        self.normed = x * self.inverse
        return self.normed

    def backward(self, dy: Array) -> Array:
        along = (dy * self.normed).sum(axis=self.axes, keepdims=True)  # what dy has along y goes
        return (dy - self.normed * along) * self.inverse

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"axis": self.axis}


class Rescaling(Layer):
    """y = x · scale + offset, such as Rescaling(1/255) for pixels of 0 to 255"""

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", NUMBER, scale=scale, offset=offset)
        self.scale, self.offset = scale, offset

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.ops.rescale(self.as_float(x), self.scale, self.offset)

    def backward(self, dy: Array) -> Array:
        return self.ops.rescale(dy, self.scale, 0.0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale, "offset": self.offset}


class Normalization(Layer):
    """y = (x - mean) / max(√variance, 10⁻⁷), of data shown to `adapt`, or given; with `invert` the x of such a y

    x, y (N, …)   mean, variance: a number for each place along `axis`, one or several, over all other axes; None: for all
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if (mean is None) != (variance is None) or np.shape(mean) != np.shape(variance):
            raise ValueError(
                f"layer {self.name}: mean and variance must both be given, in one shape, or neither, not {mean!r} and {variance!r}"
            )
        check(f"layer {self.name}", or_none(NUMBERS), mean=mean, variance=variance)
        self.axis = list(axis) if np.iterable(axis) else axis
        self.given = None if mean is None else (np.asarray(mean, float), np.asarray(variance, float))
        self.invert = invert

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.kept = () if self.axis is None else _axes(self, self.axis)
        shape = tuple(self.input_shape[axis] for axis in self.kept)
        if self.given is None:
            self.mean = self.add_weight(shape, "zeros", False, "mean")
            self.variance = self.add_weight(shape, "ones", False, "variance")
            self.count = self.add_weight((), "zeros", False, "count")  # which Keras keeps, and does not use
            return
        try:
            self.fixed = [np.broadcast_to(one, shape) for one in self.given]
        except ValueError:
            raise ValueError(
                f"layer {self.name}: mean and variance of shape {self.given[0].shape} do not fit the axes {self.axis} of "
                f"an input of shape {self.input_shape}"
            ) from None

    def adapt(self, data: Any) -> None:
        """Takes over mean and variance of an array, or of all batches that an iterable gives: x, or tuples (x, …)."""
        if self.given is not None:
            raise ValueError(f"layer {self.name}: mean and variance were given, and cannot be adapted")
        kind = "an array, or give batches of arrays", lambda data: np.iterable(data) and not isinstance(data, str)
        check(f"layer {self.name}", kind, data=data)
        total, mean, squares = 0, np.zeros(()), np.zeros(())  # squares: Σ (x - mean)²
        for batch in _batches(data):
            if not self.built:
                self.build((None, *batch.shape[1:]))
            self.check_input(batch)
            others = tuple(axis for axis in range(batch.ndim) if axis not in self.kept)
            count = prod(batch.shape[axis] for axis in others)
            total += count
            off = batch.mean(axis=others) - mean
            mean = mean + off * count / total
            squares = squares + (batch.var(axis=others) + off * off * (total - count) / total) * count
        if not total:
            raise ValueError(f"layer {self.name}: adapt needs at least one sample")
        self.mean.assign(mean)
        self.variance.assign(squares / total)

    def coefficients(self) -> tuple[Array, Array, Array]:
        """(centre, scale, shift) of y = (x - centre) · scale + shift, for each channel, or for each number of a sample."""
        xp, rank = self.ops.xp, len(self.input_shape)
        axes = range(1 if set(self.kept) - {rank - 1} else max(1, rank - 1), rank)  # the last: one for each channel
        sizes = tuple(self.input_shape[axis] for axis in axes)
        own = [self.input_shape[axis] if axis in self.kept else 1 for axis in axes]  # the shape of mean and variance
        if self.given is None:
            mean, variance = self.mean.data, self.variance.data
        else:
            mean, variance = (self.ops.constant(one, self.dtype) for one in self.fixed)
        spread = xp.maximum(xp.sqrt(variance), 1e-7)
        mean, spread = (xp.broadcast_to(one.reshape(own), sizes).reshape(-1) for one in (mean, spread))
        zero = xp.zeros_like(mean)
        return (zero, spread, mean) if self.invert else (mean, 1 / spread, zero)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self._scaled(self.check_input(x), *self.coefficients())

    def backward(self, dy: Array) -> Array:
        _, scale, _ = self.coefficients()
        zero = self.ops.xp.zeros_like(scale)
        return self._scaled(dy, zero, scale, zero)

    def _scaled(self, x: Array, centre: Array, scale: Array, shift: Array) -> Array:
        rows, one = x.reshape(-1, scale.size), self.ops.xp.ones_like(scale)
        return self.ops.normalize(rows, scale, shift, centre, one, 0.0)[0].reshape(x.shape)

    def get_config(self) -> dict[str, Any]:
        mean, variance = (None, None) if self.given is None else (one.tolist() for one in self.given)
        return super().get_config() | {"axis": self.axis, "mean": mean, "variance": variance, "invert": self.invert}


def _batches(data: Any) -> Iterator[np.ndarray]:
    """What `adapt` takes, part by part."""
    batches: Iterable[Any] = data
    if hasattr(data, "__array__"):
        array = np.asarray(data)
        batches = (array[first : first + 1024] for first in range(0, len(array), 1024))
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        batches = (data[number] for number in range(len(data)))
    for batch in batches:
        yield np.asarray(batch[0] if isinstance(batch, tuple) else batch, float)
