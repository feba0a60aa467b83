"""Activations: elementwise functions (and softmax) between the linear layers, as layers of their own and by name."""

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from .. import activations
from ..checks import NUMBER, check, is_whole
from ..derivatives import derivative
from ..ops import Ops
from ..ops.reference import ELEMENTWISE, Array
from ..registered import class_of, description, known, name_of_function
from .base import Layer
from .function import Lambda
from .normalization import Rescaling
from .parameter import Parameter
from .reshaping import Input
from .symbolic import Probe, Tensor


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
        given = {"max_value": max_value, "negative_slope": negative_slope, "threshold": threshold}
        check(f"layer {self.name}", NUMBER, **{setting: value for setting, value in given.items() if value is not None})
        for setting, value in given.items():
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
        if "alpha" in options:
            warnings.warn("LeakyReLU: alpha is called negative_slope today", stacklevel=2)
            negative_slope = options.pop("alpha")
        super().__init__(**options)
        check(f"layer {self.name}", NUMBER, negative_slope=negative_slope)
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
        check(f"layer {self.name}", NUMBER, alpha=alpha)
        self.alpha = alpha

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.elu(self.as_float(x), self.alpha)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.elu_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha}


class PReLU(Layer):
    """y = x where positive, α x elsewhere, α being trained (He et al., 2015)

    x, y (N, …)   alpha the shape of one sample, but 1 for the `shared_axes`: [1, 2] gives each channel of an image one α.
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._keep_settings(alpha=(alpha_initializer, alpha_regularizer, alpha_constraint))
        axes = [] if shared_axes is None else list(shared_axes) if np.iterable(shared_axes) else [shared_axes]
        if not all(isinstance(axis, Integral) for axis in axes):
            raise ValueError(
                f"layer {self.name}: shared_axes must be a number of an axis, or some, not {shared_axes!r}"
            )
        self.shared_axes = [int(axis) for axis in axes]

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        shape = list(self.input_shape[1:])
        for axis in self.shared_axes:
            if not 1 <= axis <= len(shape):
                raise ValueError(
                    f"layer {self.name}: shared_axes must be from 1 to {len(shape)} for an input of shape {self.input_shape}, not {axis}"
                )
            shape[axis - 1] = 1
        self.alpha = self._add_named(shape, "alpha")

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.prelu(self.check_input(x), self.alpha.data)
        return y

    def backward(self, dy: Array) -> Array:
        dx, self.alpha.gradient = self.ops.prelu_backward(dy, self.saved)
        return dx

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._settings_config("alpha") | {"shared_axes": self.shared_axes or None}


class Elementwise(Layer):
    """y = f(x) for a function without settings, by its name in `ops.reference.ELEMENTWISE`"""

    def __init__(self, function: str, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.activate(self.as_float(x), self.function)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.activate_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"function": self.function}


class Softmax(Layer):
    """y = eˣ / Σ eˣ along one axis, or several

    As the last layer before a cross-entropy it is fused into the loss: training then takes the scores before it, and
    their gradient is p - y.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis: Any = tuple(axis) if np.iterable(axis) else axis

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        rank = len(self.input_shape)
        words = f"from {-rank} to {rank - 1}, or several such, for an input of shape {self.input_shape}"
        kind = words, lambda axis: all(is_whole(one) and one in range(-rank, rank) for one in np.atleast_1d(axis))
        check(f"layer {self.name}", kind, axis=self.axis)

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.softmax(self.as_float(x), self.axis)
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.softmax_backward(dy, self.saved)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"axis": self.axis}


class LogSoftmax(Layer):
    """y = x - log Σ eˣ along the last axis"""

    def forward(self, x: Array, training: bool = False) -> Array:
        y, self.saved = self.ops.log_softmax(self.as_float(x))
        return y

    def backward(self, dy: Array) -> Array:
        return self.ops.log_softmax_backward(dy, self.saved)


def _elementwise(function: str) -> Callable[..., Layer]:
    return lambda name: Elementwise(function, name=name)


BY_NAME: dict[str, Callable[..., Layer]] = {
    "linear": Linear,
    "relu": ReLU,
    "relu6": lambda name: ReLU(6.0, name=name),
    "leaky_relu": lambda name: LeakyReLU(0.2, name=name),
    "elu": ELU,
    **{function: _elementwise(function) for function in ELEMENTWISE},
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}
SYNONYMS = {"swish": "silu", "hard_swish": "hard_silu"}


def name_of(activation: Any) -> str:
    """The name of `activation`, a name or a function of `minicnn.activations`; "" for a layer, for another function, or what
    `serialize` made of these. ValueError for others.
    """
    if type(activation) is Softmax and activation.axis == -1:
        return "softmax"
    if isinstance(activation, Layer | dict):
        return ""
    name = "linear" if activation is None else activation
    if callable(activation):
        name = getattr(activation, "__name__", "")
        if getattr(activations, name, None) is not activation:
            return ""
    name = SYNONYMS.get(name, name) if isinstance(name, str) else ""
    if name not in BY_NAME:
        raise ValueError(f"unknown activation {activation!r}; expected one of {', '.join(BY_NAME)}")
    return str(name)


def handed_on(function: Callable[[Any], Any]) -> Any:
    """What a function gives its argument to, as lambda x: relu(x, negative_slope=0.1) does: a name, a function of
    `minicnn.activations` or a layer; the function itself if it does something else."""
    if getattr(activations, getattr(function, "__name__", ""), None) is function:
        return function
    start = Input((1,), name="probe")
    start.build()
    probe = Probe(start)
    try:
        found = function(probe)
    except Exception:
        return function
    if found is probe:
        return "linear"
    if not (isinstance(found, Tensor) and found.source is probe) or isinstance(found.layer, Rescaling):
        return function
    layer = found.layer
    plain = BY_NAME[layer.name](name=layer.name) if layer.name in BY_NAME else None
    same = type(plain) is type(layer) and plain.get_config() == layer.get_config()
    return layer.name if same else layer


def get(activation: Any) -> Layer:
    """A new layer that computes an activation: by name, as a function, like a layer, or from what `serialize` made."""
    if isinstance(activation, Layer):
        kind, config = type(activation), activation.get_config()
        if kind not in AS_OBJECTS:
            raise ValueError(
                f"activation takes one of the layers {', '.join(cls.__name__ for cls in AS_OBJECTS)}; add the layer "
                f"{activation.name} to the model after this one instead"
            )
        return kind.from_config(config)
    if isinstance(activation, dict) and class_of(activation) == "function":
        function = known().get(activation["config"])
        if not callable(function):
            raise ValueError(f"unknown activation {activation['config']!r}; pass its function in custom_objects")
        return get(function)
    if isinstance(activation, dict):
        found = [cls for cls in AS_OBJECTS if cls.__name__ == class_of(activation)]
        if not found:
            raise ValueError(f"unknown activation layer {activation['class_name']}")
        return found[0].from_config(activation["config"])
    name = name_of(activation)
    return BY_NAME[name](name=name) if name else _of_function(activation)


def _of_function(function: Callable[[Any], Any]) -> Layer:
    """A layer that calculates an activation of yours; ValueError where its derivative is not known."""
    try:
        derivative(function, np.ones((2, 2), np.float32))
    except Exception as error:
        raise ValueError(
            f"activation takes a name or a function of minicnn.activations, not {function!r}, whose derivative is not"
            f" known ({error}): write a Layer with forward and backward for it"
        ) from error
    return Lambda(function, name=getattr(function, "__name__", "activation"))


def serialize(activation: Any) -> Any:
    """What `get` makes the activation of again, in types that JSON has."""
    if isinstance(activation, Layer):
        return description(activation)
    if callable(activation) and not name_of(activation):
        return {"class_name": "function", "config": name_of_function(activation, "an activation")}
    return name_of(activation)


class WithActivation(Layer):
    """A layer with an `activation`: a name, a function of `minicnn.activations`, or an activation layer, which is copied.

    Or a function of yours that hands its argument to one of these, lambda x: activations.relu(x, negative_slope=0.1), or
    that calculates, lambda x: x * activations.sigmoid(x), as far as `minicnn.derivatives` goes; or the name under which
    `utils.get_custom_objects` has such a function or layer.
    Another one may be assigned at any time. `activate` is the layer that computes it, `Linear` where it is fused.
    """

    fuses_relu = False
    activate: Layer

    @property
    def activation(self) -> Any:
        """The function of `minicnn.activations`, or yours, or the layer."""
        if isinstance(self.activate, Lambda):
            return self.activate.function
        return getattr(activations, self.activation_name) if self.activation_name else self.activate

    @activation.setter
    def activation(self, activation: Any) -> None:
        if isinstance(activation, str) and activation not in activations.NAMES:
            activation = known().get(activation, activation)
        if callable(activation) and not isinstance(activation, Layer):
            activation = handed_on(activation)
        if isinstance(activation, Activation):
            activation = activation.activation
        self.activation_name = name_of(activation)
        self.fused_relu = self.fuses_relu and self.activation_name == "relu"
        self.activate = get("linear" if self.fused_relu else activation).to(self.ops)
        if self.built:
            self.activate.build(self.output_shape)
        Parameter.writes += 1

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.activate.build(self.output_shape)

    def to(self, device: str | Ops) -> Layer:
        self.activate.to(device)
        return super().to(device)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"activation": serialize(self.activation)}


class ActivatedLayer(WithActivation):
    """A layer y = activation(linear(x)); the two parts stay apart, so that a loss can take the scores before a softmax.

    Subclasses define `linear`, of a kernel and perhaps a bias, and `linear_backward`. ReLU is fused into them: they ask the
    device for an operation that ends with it.
    """

    fuses_relu = True

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        settings: dict[str, tuple[Any, Any, Any]],
        **options: Any,
    ) -> None:
        """`settings` has the initializer, the regularizer and the constraint of each parameter."""
        super().__init__(**options)
        self.use_bias, self._settings = use_bias, tuple(settings)
        self._keep_settings(**settings)
        self.activation = activation

    @property
    def bias_data(self) -> Array | None:
        return None if self.bias is None else self.bias.data

    def linear(self, x: Array) -> Array:
        raise TypeError(f"layer {self.name} does not define linear(x)")

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        raise TypeError(f"layer {self.name} does not define linear_backward(dy)")

    def keep_gradients(self, dx: Array, dkernel: Array, dbias: Array) -> Array:
        """Those of the kernel and, where there is one, of the bias; dx is handed back."""
        self.kernel.gradient = dkernel
        if self.bias is not None:
            self.bias.gradient = dbias
        return dx

    def add_weights(self, shape: Sequence[int]) -> None:
        """The kernel, of this shape, and the bias."""
        self.kernel = self._add_named(shape, "kernel")
        self.bias = self._add_named(shape[-1:], "bias") if self.use_bias else None

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.activate.forward(self.linear(x), training)

    def backward(self, dy: Array) -> Array:
        return self.linear_backward(self.activate.backward(dy))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"use_bias": self.use_bias} | self._settings_config(*self._settings)


class Activation(WithActivation):
    """An activation by name, such as Activation("relu")."""

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activation

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.activate.forward(x, training)

    def backward(self, dy: Array) -> Array:
        return self.activate.backward(dy)


AS_OBJECTS = ReLU, LeakyReLU, ELU, Softmax
