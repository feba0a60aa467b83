"""A layer made of a function."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..ops.reference import Array
from .base import Layer, Shape


class Lambda(Layer):
    """y = function(x, **arguments), such as Lambda(lambda x: (x - mean) / deviation)

    The function gets a copy of x (N, …), an array of NumPy or, on a GPU, of CuPy, and `training` if it has an argument of
    that name. `output_shape` is the shape of y without the batch axis; by default what comes out for two samples of zeros.
    As the derivative is not known, nothing before the layer can be trained. A file keeps the name of the function:
    `load_model` needs it in `custom_objects`.
    """

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
        self.given_output_shape = (
            output_shape if callable(output_shape) or output_shape is None else tuple(output_shape)
        )
        try:
            self.takes_training = "training" in inspect.signature(function).parameters
        except ValueError:  # it is not written in Python
            self.takes_training = False

    def _apply(self, x: Array, training: bool) -> Array:
        return self.function(x, **self.arguments, **({"training": training} if self.takes_training else {}))

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        return self.ops.array(self._apply(x.copy(), training), x.dtype)

    def backward(self, dy: Array) -> Array:
        raise ValueError(
            f"layer {self.name}: the derivative of a Lambda is not known, so no layer before it can be trained: put it "
            "first, or write a Layer with forward and backward"
        )

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
        if shape[:1] != (2,):
            raise ValueError(
                f"layer {self.name}: the function must keep the batch axis, but gives shape {shape} for {x.shape}"
            )
        return input_shape[0], *shape[1:]

    def _copy_for_chain(self) -> Layer:
        return Lambda(self.function, self.given_output_shape, arguments=self.arguments, dtype=self.dtype.name)

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
