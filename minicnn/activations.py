"""Activations as functions of NumPy arrays, with the names and arguments of Keras 3.

`Dense(10, activation=minicnn.activations.relu)` is the same as `activation="relu"`.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

import numpy as np

from .absent import without
from .derivatives import Traced, device_of, on_device
from .numbers import as_numbers
from .ops import get_ops
from .ops.reference import ELEMENTWISE, Array

_OPS = get_ops("reference")
Function = Callable[..., Any]


def _floats(x: Any) -> Array:
    x = x if isinstance(x, Traced) or on_device(x) else np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def _or_layer(make: Function) -> Callable[[Function], Function]:
    """Makes a function, called with a `Tensor`, return the output of the layer `make(layers, *settings)`.

    Called with a `Traced` array, it has that layer's derivative.

    Where `make` returns None there is no such layer, and the function itself is called and raises.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def either(x: Any, *arguments: Any, **options: Any) -> Any:
            from . import layers

            layer = None
            if isinstance(x, layers.symbolic.Symbol | Traced):
                given = signature(function).bind(x, *arguments, **options)
                given.apply_defaults()
                name = function.__name__ if isinstance(x, layers.symbolic.Probe) else None
                layer = make(layers, *given.args[1:], name=name)
            if layer is not None and isinstance(x, Traced):
                layer.to(device_of(x)).build(x.shape)
                return Traced(layer.forward(x.array), (x, layer.backward))
            return as_numbers(function(x, *arguments, **options)) if layer is None else layer(x)

        return either

    return decorate


def _elementwise(name: str) -> Function:
    def function(x: Any) -> Array:
        return _OPS.activate(_floats(x), name)[0]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of every number; the formula is in `minicnn.ops.reference.ELEMENTWISE`."
    return _or_layer(lambda layers, **options: layers.Activation(name, **options))(function)


sigmoid, tanh, selu = _elementwise("sigmoid"), _elementwise("tanh"), _elementwise("selu")
silu, softplus, softsign = _elementwise("silu"), _elementwise("softplus"), _elementwise("softsign")
hard_sigmoid, hard_silu = _elementwise("hard_sigmoid"), _elementwise("hard_silu")
mish, exponential = _elementwise("mish"), _elementwise("exponential")
swish, hard_swish = silu, hard_silu


def linear(x: Array) -> Array:
    """x itself."""
    return x


@_or_layer(lambda layers, slope, most, threshold, **options: layers.ReLU(most, slope, threshold, **options))
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Array:
    """x above the threshold, cut off at max_value; below it negative_slope · (x - threshold)."""
    return _OPS.relu(_floats(x), negative_slope, max_value, threshold)[0]


def relu6(x: Any) -> Array:
    """x between 0 and 6, else the nearer of the two."""
    return relu(x, max_value=6.0)


@_or_layer(lambda layers, slope, **options: layers.LeakyReLU(slope, **options))
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Array:
    """x where positive, negative_slope · x elsewhere (Maas et al., 2013)."""
    return relu(x, negative_slope)


@_or_layer(lambda layers, alpha, **options: layers.ELU(alpha, **options))
def elu(x: Any, alpha: float = 1.0) -> Array:
    """x where positive, α (eˣ - 1) elsewhere (Clevert et al., 2015)."""
    return _OPS.elu(_floats(x), alpha)[0]


@_or_layer(lambda layers, approximate, **options: None if approximate else layers.Activation("gelu", **options))
def gelu(x: Any, approximate: bool = False) -> Array:
    """x times the probability that a normal number is below x (Hendrycks and Gimpel, 2016).

    `approximate` takes tanh(√(2/π) (x + 0.044715 x³)) for the error function.
    """
    x = _floats(x)
    if approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3)))
    return _OPS.activate(x, "gelu")[0]


@_or_layer(lambda layers, axis, **options: layers.Softmax(axis, **options))
def softmax(x: Any, axis: int = -1) -> Array:
    """eˣ / Σ eˣ along one axis."""
    return _OPS.softmax(_floats(x), axis)[0]


@_or_layer(lambda layers, axis, **options: layers.Activation("log_softmax", **options) if axis == -1 else None)
def log_softmax(x: Any, axis: int = -1) -> Array:
    """x - log Σ eˣ along one axis."""
    return _OPS.log_softmax(_floats(x), axis)[0]


def get(identifier: Any) -> Callable[..., Array]:
    """A function from its name, or itself; `linear` for None."""
    if identifier is None:
        return linear
    if callable(identifier):
        return identifier
    if identifier in NAMES:
        return globals()[identifier]
    raise ValueError(f"unknown activation {identifier!r}; expected one of {', '.join(NAMES)}")


NAMES = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", *ELEMENTWISE, "softmax", "log_softmax"),
    *("swish", "hard_swish"),  # other names for silu and hard_silu
)


def serialize(activation: Callable[..., Any]) -> str:
    """The name of an activation, for `get`; ValueError for one of your own."""
    name = getattr(activation, "__name__", repr(activation))
    if name not in NAMES:
        raise ValueError(f"the activation {name} is not one of minicnn.activations")
    return name


deserialize = get
__getattr__, _absent = without(__name__, "activation ", {
    "pass a function that calculates": """
        celu glu hard_shrink hard_tanh log_sigmoid soft_shrink sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink
        threshold""",
})  # fmt: skip

__all__ = [*NAMES, "deserialize", "get", "serialize", *_absent]
