"""What a layer is: settings, parameters, and a forward with its backward.

A layer computes nothing itself; it asks the operations (`self.ops`) of the device its model is on.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import initializers
from ..ops import Ops, get_ops
from ..ops.reference import Array, Key
from ..seeding import new_seed

Shape: TypeAlias = tuple[Any, ...]  # sizes; that of the batch, in front, is None where it does not matter
_instances: Counter[str] = Counter()


class Parameter:
    """A trained tensor (or, not trainable, a state such as a moving average) with its gradient.

    Assigning `value` or `gradient` writes into the existing memory, which a model shares between all of its parameters.
    What is computed from parameters and kept is computed anew when `writes` has changed, and always for a parameter that
    is `shared`: whose array was handed out, so that anybody may write to it at any time.
    """

    writes = 0  # to any parameter, so far

    def __init__(self, name: str, value: Array, trainable: bool = True) -> None:
        self.name, self.trainable, self.shared = name, trainable, False
        self._value = value
        self._gradient: Array = np.zeros_like(value) if trainable else None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._value.shape)

    @property
    def value(self) -> Array:
        self.shared = True
        return self._value

    @value.setter
    def value(self, value: Array) -> None:
        if tuple(value.shape) != self.shape:
            raise ValueError(f"{self.name}: expected values of shape {self.shape}, got {tuple(value.shape)}")
        self._value[...] = value
        Parameter.writes += 1

    @property
    def data(self) -> Array:
        """The values, for those who only read them now."""
        return self._value

    @property
    def gradient(self) -> Array:
        return self._gradient

    @gradient.setter
    def gradient(self, gradient: Array) -> None:
        self._gradient[...] = gradient

    def bind(self, value: Array, gradient: Array | None) -> None:
        """Moves the parameter into other memory (a part of a model's flat buffer, or of another device)."""
        self._value, self._gradient = value, gradient
        Parameter.writes += 1

    def __repr__(self) -> str:
        return f"<Parameter {self.name} {self.shape} {self._value.dtype}>"


class Layer:
    """Base of all layers. A layer of your own defines `forward` and `backward`, and `build` if it has parameters:

        class Scale(Layer):
            def build(self, input_shape):
                super().build(input_shape)
                self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

            def forward(self, x, training=False):
                self.x = x
                return x * self.factor.value

            def backward(self, dy):
                self.factor.gradient = (dy * self.x).sum(axis=tuple(range(dy.ndim - 1)))
                return dy * self.factor.value

    Neither may change the arrays it is given. `compute_output_shape` is needed where the output has another shape than
    the input. `input_rank` is the number of axes of the input, the batch included, where only one will do.
    """

    input_rank: int | None = None

    def __init__(self, name: str | None = None, dtype: str = "float32", trainable: bool = True) -> None:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        if name is None:
            count = _instances[kind]
            _instances[kind] += 1
            name = f"{kind}_{count}" if count else kind
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"layer {name}: dtype must be float32 or float64, not {dtype!r}")
        self.name, self.dtype, self.trainable = name, np.dtype(dtype), trainable
        self.parameters: list[Parameter] = []
        self.built = False
        self.ops: Ops = get_ops("cpu")
        self.input_shape: Shape = ()
        self.output_shape: Shape = ()

    # ------------------------------------------------------------------ to define in a layer

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the parameters for inputs of this shape; the batch axis comes first and is usually None."""
        self.input_shape = self.check_input_shape(input_shape)
        self.output_shape = self.compute_output_shape(self.input_shape)
        self.parameters = []
        self.built = True

    def forward(self, x: Array, training: bool = False) -> Array:
        """y of x; what `backward` needs is kept until the next forward."""
        raise TypeError(f"layer {self.name} does not define forward(x, training)")

    def backward(self, dy: Array) -> Array:
        """The gradient for the last x, given the one for its y; the parameters' gradients are overwritten."""
        raise TypeError(f"layer {self.name} does not define backward(dy)")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of one sample."""
        return 0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in types that JSON has."""
        return {"name": self.name, "dtype": self.dtype.name, "trainable": self.trainable}

    # ------------------------------------------------------------------ given

    def __call__(self, x: Array, training: bool = False) -> Array:
        """`forward`, after building the layer for x if that has not happened."""
        if not self.built:
            self.build((None, *x.shape[1:]))
        return self.forward(x, training=training)

    def add_weight(
        self, shape: Sequence[int], initializer: Any = "glorot_uniform", trainable: bool = True, name: str = "weight"
    ) -> Parameter:
        """A new parameter of this layer, started by an initializer or its name."""
        value = np.ascontiguousarray(initializers.get(initializer)(tuple(shape)), self.dtype)
        parameter = Parameter(f"{self.name}/{name}", self.ops.array(value), trainable)
        self.parameters.append(parameter)
        return parameter

    def check_input_shape(self, shape: Sequence[int | None]) -> Shape:
        """`shape` with the batch axis in front; raises ValueError for an input that cannot fit."""
        shape = tuple(shape)
        if self.input_rank is not None and len(shape) == self.input_rank - 1:
            shape = (None, *shape)  # the batch axis was left out
        if self.input_rank is not None and len(shape) != self.input_rank:
            axes = {2: "(batch, features)", 4: "(batch, height, width, channels)"}[self.input_rank]
            raise ValueError(f"layer {self.name}: expected an input of shape {axes}, received {shape}")
        if any(size is None or size < 1 for size in shape[1:]):
            raise ValueError(
                f"layer {self.name}: every axis but the batch must have a size of 1 or more, received {shape}"
            )
        return shape

    def check_input(self, x: Array) -> Array:
        """x, as floats, if the layer was built for its shape; else ValueError."""
        if not self.built:
            raise ValueError(
                f"layer {self.name} has not been built: call build(input_shape), or the layer itself, first"
            )
        if tuple(x.shape[1:]) != self.input_shape[1:]:
            raise ValueError(
                f"layer {self.name}: expected an input of shape {self.input_shape}, received {tuple(x.shape)}"
            )
        return self.as_float(x)

    def as_float(self, x: Array) -> Array:
        """x itself if it holds floats, else in the layer's number type."""
        x = self.ops.xp.asarray(x)
        return x if x.dtype.kind == "f" else x.astype(self.dtype)

    def to(self, device: str | Ops) -> "Layer":
        """Moves the layer and its parameters to a device: "cpu", "gpu" or "reference"."""
        left, self.ops = self.ops, device if isinstance(device, Ops) else get_ops(device)
        for parameter in self.parameters:
            _convert(parameter, left, self.ops, parameter.data.dtype)
        return self

    def astype(self, dtype: str) -> "Layer":
        """Changes the type of the parameters, and so of all arithmetic, to "float32" or "float64"."""
        self.dtype = np.dtype(dtype)
        for parameter in self.parameters:
            _convert(parameter, self.ops, self.ops, self.dtype)
        return self

    @property
    def trainable_parameters(self) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.trainable and self.trainable]

    def count_params(self) -> int:
        return sum(int(np.prod(parameter.shape)) for parameter in self.parameters)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all parameters, in Keras' order."""
        return [np.array(self.ops.numpy(parameter.data)) for parameter in self.parameters]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        if len(weights) != len(self.parameters):
            raise ValueError(f"layer {self.name}: expected {len(self.parameters)} arrays, got {len(weights)}")
        for parameter, value in zip(self.parameters, weights, strict=True):
            parameter.value = self.ops.array(value, parameter.data.dtype)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Layer":
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def _convert(parameter: Parameter, left: Ops, entered: Ops, dtype: Any) -> None:
    """Moves a parameter from one device to another and to a number type."""
    gradient = None if parameter.gradient is None else entered.array(left.numpy(parameter.gradient), dtype)
    parameter.bind(entered.array(left.numpy(parameter.data), dtype), gradient)


class RandomLayer(Layer):
    """A layer that draws random numbers in training: they are a function of its seed and of `step` alone.

    A model sets `step` to its training step; used alone, the layer counts its own training forwards.
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = new_seed() if seed is None else seed
        self.step = 0

    def next_key(self) -> Key:
        """What the numbers of this forward are a function of."""
        self.step += 1
        return self.seed, self.step - 1, 0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}


class ActivatedLayer(Layer):
    """A layer y = activation(linear(x)); the two parts stay apart, so that a loss can take the scores before a softmax.

    Subclasses define `linear` and `linear_backward`. ReLU is fused into them: they ask the device for an operation that
    ends with it.
    """

    def __init__(self, activation: "str | Layer | None", **options: Any) -> None:
        from . import activation as activations

        super().__init__(**options)
        self.activation_name = activations.name_of(activation)
        self.fused_relu = self.activation_name == "relu"
        self.activation = activations.get("linear" if self.fused_relu else self.activation_name)

    def linear(self, x: Array) -> Array:
        raise TypeError(f"layer {self.name} does not define linear(x)")

    def linear_backward(self, dy: Array, input_gradient: bool = True) -> Array:
        raise TypeError(f"layer {self.name} does not define linear_backward(dy)")

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.activation.build(self.output_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.activation.forward(self.linear(x), training)

    def backward(self, dy: Array) -> Array:
        return self.linear_backward(self.activation.backward(dy))

    def to(self, device: str | Ops) -> Layer:
        self.activation.to(device)
        return super().to(device)
