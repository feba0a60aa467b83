"""A layer made of a function."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import SIZES, check
from ..derivatives import derivative
from ..ops import Ops
from ..ops.reference import Array
from .base import Layer, Shape
from .calculation import of_batch
from .reshaping import Input
from .symbolic import Probe, Tensor


class Lambda(Layer):
    """y = function(x, **arguments), such as Lambda(lambda x: (x - mean) / deviation)

    The function gets a copy of x (N, …), an array of NumPy or, on a GPU, of CuPy, and `training` if it has an argument of
    that name. `output_shape` is the shape of y without the batch axis; by default what comes out for two samples of zeros.
    A function that does nothing but add numbers, multiply by them, and call functions of `minicnn.activations` or layers
    without parameters is these layers, and has their derivative; any other that calculates with NumPy or functions of
    `backend` and `ops` has one as far as `minicnn.derivatives` goes. Where it is not known, nothing before the layer can be
    trained. A file keeps the name of the function: `load_model` needs it in `custom_objects`.
    """

    inner: list[Layer] | None = None  # layers that do the same as the function, if there are some
    unknown = ""  # why the function has no derivative of its own, if it has none

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: None = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.refuse(mask=mask)
        if not callable(function):
            raise ValueError(f"layer {self.name}: unknown function {function!r}; pass it in custom_objects")
        self.function, self.arguments = function, dict(arguments or {})
        given = callable(output_shape) or output_shape is None
        if not given:
            check(f"layer {self.name}", SIZES, output_shape=output_shape)
        self.given_output_shape = output_shape if given else tuple(output_shape)
        try:
            self.takes_training = "training" in inspect.signature(function).parameters
        except ValueError:  # it is not written in Python
            self.takes_training = False

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.inner = None if self.takes_training else self._as_layers()
        self.unknown = "" if self.inner is not None else self._without_derivative()

    def to(self, device: str | Ops) -> Layer:
        for layer in self.inner or []:
            layer.to(device)
        return super().to(device)

    def _as_layers(self) -> list[Layer] | None:
        chains = []
        for _ in range(2):  # numbers that the function draws at random differ
            start = Input(self.input_shape[1:], name="probe")
            start.build()
            try:
                found = self._apply(Probe(start), False)
            except Exception:
                return None
            if not (isinstance(found, Tensor) and found.chain[0] is start) or any(
                one.parameters for one in found.chain
            ):
                return None
            chains.append(found.chain[1:])
        first, second = ([one.get_config() | {"name": "", "kind": type(one)} for one in chain] for chain in chains)
        return chains[0] if first == second else None

    def _without_derivative(self) -> str:
        zeros = self.ops.zeros((2, *self.input_shape[1:]), self.dtype)
        try:
            for training in (False, True):
                derivative(lambda x, training=training: self._apply(x, training), zeros)
        except Exception as error:
            return str(error) or type(error).__name__
        return ""

    def _apply(self, x: Any, training: bool) -> Any:
        return self.function(x, **self.arguments, **({"training": training} if self.takes_training else {}))

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        if self.unknown:
            return self.ops.array(self._apply(x.copy(), training), x.dtype)
        if self.inner is None:
            y, self._back = derivative(lambda start: self._apply(start, training), x)
            return self.ops.array(y, x.dtype)
        for layer in self.inner:
            x = layer.forward(x, training)
        return x

    def backward(self, dy: Array) -> Array:
        if self.unknown:
            raise ValueError(
                f"layer {self.name}: the derivative of a Lambda is not known, so no layer before it can be trained: put it "
                f"first, or write a Layer with forward and backward ({self.unknown})"
            )
        if self.inner is None:
            return self._back(dy)[0]
        for layer in reversed(self.inner):
            dy = layer.backward(dy)
        return dy

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if callable(self.given_output_shape):
            return tuple(self.given_output_shape(input_shape))
        if self.given_output_shape is not None:
            return input_shape[0], *self.given_output_shape
        x = self.ops.zeros((2, *input_shape[1:]), self.dtype)
        try:
            with np.errstate(all="ignore"):
                shape = np.shape(self._apply(x, False))
        except Exception as error:
            raise ValueError(
                f"layer {self.name}: the function fails for zeros of shape {x.shape} ({error}); if it does not for "
                "others, give output_shape"
            ) from error
        return of_batch(self, "the function", input_shape, shape)

    def _copy_for_chain(self) -> Layer:
        kept: Any = {name: getattr(self, name) for name in ("arguments", "dtype", "trainable", "activity_regularizer")}
        return Lambda(self.function, self.given_output_shape, **kept)

    def get_config(self) -> dict[str, Any]:
        name = getattr(self.function, "__name__", "")
        if not name.isidentifier():
            raise ValueError(
                f"layer {self.name}: a lambda has no name under which it could be saved: write its function with def, "
                "and give that to load_model in custom_objects, or save the weights alone"
            )
        arguments = {
            key: value.tolist() if hasattr(value, "tolist") else value for key, value in self.arguments.items()
        }
        shape = self.given_output_shape if not callable(self.given_output_shape) else self.output_shape[1:]
        return super().get_config() | {"function": name, "output_shape": shape, "arguments": arguments}
