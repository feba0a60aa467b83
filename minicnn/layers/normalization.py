"""Layers that set the range of numbers: batch normalisation, and the fixed rescaling of raw pixels."""

from collections.abc import Sequence
from typing import Any

from .. import constraints, initializers, regularizers
from ..ops.reference import Array
from .base import Layer, Parameter


class BatchNormalization(Layer):
    """y = γ (x - mean) / √(variance + ε) + β for every channel (Ioffe and Szegedy, 2015)

    x (…, C)   gamma, beta, moving_mean, moving_variance (C,)   y (…, C)

    In training the statistics are those of the batch, and the moving averages follow them: moving = momentum · moving +
    (1 - momentum) · batch. Otherwise the moving averages are used. Where `axis` is another one than the last, its places take
    the part of the channels, and are moved to the end and back.
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
        self.regularizers = {"gamma": regularizers.get(gamma_regularizer), "beta": regularizers.get(beta_regularizer)}
        self.constraints = {"gamma": constraints.get(gamma_constraint), "beta": constraints.get(beta_constraint)}
        self.axis, self.momentum, self.epsilon, self.center, self.scale = axis, momentum, epsilon, center, scale
        self.initializers = {
            "gamma": initializers.get(gamma_initializer),
            "beta": initializers.get(beta_initializer),
            "moving_mean": initializers.get(moving_mean_initializer),
            "moving_variance": initializers.get(moving_variance_initializer),
        }

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        axes = len(self.input_shape)
        if not (1 <= self.axis < axes or -axes < self.axis <= -1):
            raise ValueError(
                f"layer {self.name}: axis must be from 1 to {axes - 1} for an input of shape {self.input_shape}, not {self.axis}"
            )
        self.of_channels = self.axis in (-1, axes - 1)
        self.gamma = self._weight("gamma") if self.scale else None
        self.beta = self._weight("beta") if self.center else None
        self.moving_mean = self._weight("moving_mean", trainable=False)
        self.moving_variance = self._weight("moving_variance", trainable=False)

    def _weight(self, name: str, trainable: bool = True) -> Parameter:
        settings = self.regularizers.get(name), self.constraints.get(name)
        return self.add_weight((self.input_shape[self.axis],), self.initializers[name], trainable, name, *settings)

    def _moved(self, x: Array, source: int, target: int) -> Array:
        return x if self.of_channels else self.ops.xp.ascontiguousarray(self.ops.xp.moveaxis(x, source, target))

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self._moved(self.check_input(x), self.axis, -1)
        like = self.moving_mean.value
        gamma = self.ops.xp.ones_like(like) if self.gamma is None else self.gamma.value
        beta = self.ops.xp.zeros_like(like) if self.beta is None else self.beta.value
        self.used_batch = training and self.trainable  # as in Keras, a frozen layer keeps its statistics
        if self.used_batch:
            averages = self.moving_mean.data, self.moving_variance.data
            y, self.saved = self.ops.batch_norm_followed(x, gamma, beta, self.epsilon, *averages, self.momentum)
            Parameter.writes += 1
        else:
            y, self.saved = self.ops.normalize(
                x, gamma, beta, self.moving_mean.value, self.moving_variance.value, self.epsilon
            )
        return self._moved(y, -1, self.axis)

    def backward(self, dy: Array) -> Array:
        backward = self.ops.batch_norm_backward if self.used_batch else self.ops.normalize_backward
        dx, dgamma, dbeta = backward(self._moved(dy, self.axis, -1), self.saved)
        if self.gamma is not None:
            self.gamma.gradient = dgamma
        if self.beta is not None:
            self.beta.gradient = dbeta
        return self._moved(dx, -1, self.axis)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("axis", "momentum", "epsilon", "center", "scale")}
        started = {f"{name}_initializer": initializers.serialize(value) for name, value in self.initializers.items()}
        punished = {f"{name}_regularizer": regularizers.serialize(value) for name, value in self.regularizers.items()}
        held = {f"{name}_constraint": constraints.serialize(value) for name, value in self.constraints.items()}
        return super().get_config() | own | started | punished | held


class Rescaling(Layer):
    """y = x · scale + offset, such as Rescaling(1/255) for pixels of 0 to 255"""

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale, self.offset = scale, offset

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.ops.rescale(self.as_float(x), self.scale, self.offset)

    def backward(self, dy: Array) -> Array:
        return self.ops.rescale(dy, self.scale, 0.0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale, "offset": self.offset}
