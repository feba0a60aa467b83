"""Activations: elementwise functions (and softmax) between the linear layers, as layers of their own and by name."""

from collections.abc import Callable
from typing import Any

from ..ops.reference import Array
from .base import Layer


class Linear(Layer):
    """y = x"""

    def forward(self, x: Array, training: bool = False) -> Array:
        return x

    def backward(self, dy: Array) -> Array:
        return dy


class ReLU(Layer):
    """y = min(x, max_value) above the threshold, negative_slope · (x - threshold) below it; with the defaults max(x, 0)"""

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        for setting, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is not None and value < 0:
                raise ValueError(f"layer {self.name}: {setting} must not be negative, not {value}")
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.relu(self.as_float(x), self.negative_slope, self.max_value, self.threshold)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.relu_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        config = {"max_value": self.max_value, "negative_slope": self.negative_slope, "threshold": self.threshold}
        return super().get_config() | config


class LeakyReLU(Layer):
    """y = x where positive, negative_slope · x elsewhere (Maas et al., 2013)"""

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.negative_slope = negative_slope

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.relu(self.as_float(x), self.negative_slope)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.relu_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"negative_slope": self.negative_slope}


class ELU(Layer):
    """y = x where positive, α (eˣ - 1) elsewhere (Clevert et al., 2015)"""

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.elu(self.as_float(x), self.alpha)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.elu_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha}


class Sigmoid(Layer):
    """y = 1 / (1 + e⁻ˣ)"""

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.sigmoid(self.as_float(x))
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.sigmoid_backward(dy, self.saved)


class Tanh(Layer):
    """y = tanh(x)"""

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.tanh(self.as_float(x))
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.tanh_backward(dy, self.saved)


class Softmax(Layer):
    """y = eˣ / Σ eˣ along one axis

    As the last layer before a cross-entropy it is fused into the loss: training then takes the scores before it, and
    their gradient is p - y.
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.softmax(self.as_float(x), self.axis)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.softmax_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"axis": self.axis}


BY_NAME: dict[str, Callable[..., Layer]] = {
    "linear": Linear,
    "relu": ReLU,
    "relu6": lambda name: ReLU(6.0, name=name),
    "leaky_relu": lambda name: LeakyReLU(0.2, name=name),
    "elu": ELU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softmax": Softmax,
}


def name_of(activation: str | Layer | None) -> str:
    """The name under which `activation` is saved; ValueError for one that is not known."""
    name = "linear" if activation is None else activation
    if isinstance(name, Layer):
        raise ValueError(f"activation takes a name; add the layer {name.name} to the model after this one instead")
    if name not in BY_NAME:
        raise ValueError(f"unknown activation {activation!r}; expected one of {', '.join(BY_NAME)}")
    return name


def get(activation: str) -> Layer:
    """The layer that computes a named activation."""
    name = name_of(activation)
    return BY_NAME[name](name=name)


class Activation(Layer):
    """An activation by name, such as Activation("relu")."""

    def __init__(self, activation: str, **options: Any) -> None:
        super().__init__(**options)
        self.activation_name = name_of(activation)
        self.activation = get(activation)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.activation.forward(x, training)

    def backward(self, dy: Array) -> Array:
        return self.activation.backward(dy)

    def to(self, device: Any) -> Layer:
        self.activation.to(device)
        return super().to(device)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"activation": self.activation_name}
