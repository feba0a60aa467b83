"""What a layer trains: a tensor with its gradient, in memory that the model chooses."""

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import constraints, regularizers
from ..derivatives import UnknownDerivative, tracing
from ..ops.reference import Array


class Parameter:
    """A trained tensor (or, not trainable, a state such as a moving average) with its gradient.

    Assigning `value` or `gradient` writes into the existing memory, which a model shares between all of its parameters.
    What is computed from parameters and kept is computed again when `writes` has changed. For a parameter that is `shared`
    this happens every time: `value` has handed out its array, which may be written to without `writes` changing.
    """

    writes = 0  # to any parameter, so far
    handed_out = False  # whether any is shared

    def __init__(
        self,
        name: str,
        value: Array,
        trainable: bool = True,
        regularizer: regularizers.Regularizer | None = None,
        constraint: constraints.Constraint | None = None,
    ) -> None:
        self.name, self.trainable, self.shared = name, trainable, False
        self.regularizer, self.constraint = regularizer, constraint
        self._value = value
        self._gradient: Array = np.zeros_like(value) if trainable else None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._value.shape)

    @property
    def dtype(self) -> str:
        return self._value.dtype.name

    @property
    def path(self) -> str:
        """The name as Keras calls it; it begins with that of the layer: dense/kernel."""
        return self.name

    @property
    def value(self) -> Array:
        """The array itself, which may be written to: so from then on each prediction reads it anew; `data` avoids that.

        What is assigned is copied into it; ValueError for another shape.
        """
        self.shared = Parameter.handed_out = True
        return self._value

    @value.setter
    def value(self, value: Array) -> None:
        value = value if hasattr(value, "shape") else np.asarray(value)
        if tuple(value.shape) != self.shape:
            raise ValueError(f"{self.name}: expected values of shape {self.shape}, got {tuple(value.shape)}")
        if hasattr(self._value, "set") and not hasattr(value, "set"):  # to CuPy's array one of the host
            self._value.set(value.astype(self._value.dtype))
        else:
            self._value[...] = value
        Parameter.writes += 1

    @property
    def data(self) -> Array:
        """The values, for those who only read them now."""
        return self._value

    @property
    def gradient(self) -> Array:
        """Of the loss, in the shape of the values; what is assigned is copied into it. None where nothing is trained."""
        return self._gradient

    @gradient.setter
    def gradient(self, gradient: Array) -> None:
        if np.shape(gradient) != self.shape:
            raise ValueError(
                f"{self.name}: expected a gradient of shape {self.shape}, got {'none' if gradient is None else np.shape(gradient)}"
            )
        self._gradient[...] = gradient

    def bind(self, value: Array, gradient: Array | None) -> None:
        """Moves the parameter into other memory (a part of a model's flat buffer, or of another device)."""
        self._value, self._gradient = value, gradient
        Parameter.writes += 1

    def assign(self, value: Any) -> None:
        """Keras' way to set `value`."""
        self.value = np.asarray(value)

    def assign_add(self, value: Any) -> None:
        self.assign(self.numpy() + np.asarray(value))

    def assign_sub(self, value: Any) -> None:
        self.assign(self.numpy() - np.asarray(value))

    def numpy(self) -> np.ndarray:
        """A copy of the values in the memory of the CPU: what calculations with the parameter itself are done with."""
        return np.array(self._value.get() if hasattr(self._value, "get") else self._value)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values, for a calculation; UnknownDerivative in one that is traced, where their gradient would be lost."""
        if self.trainable and tracing():
            raise UnknownDerivative(f"it uses {self.name}, which is of another layer or in no attribute")
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return True  # it is there, whatever its length

    def __repr__(self) -> str:
        return f"<Parameter {self.name} {self.shape} {self._value.dtype}>"


def _calculating(name: str) -> Callable[..., Any]:
    def calculate(parameter: Parameter, *other: Any) -> Any:
        numbers = [np.asarray(one) if isinstance(one, Parameter) else one for one in other]
        return getattr(operator, name)(np.asarray(parameter), *numbers)

    return calculate


def _reflected(name: str) -> Callable[..., Any]:
    return lambda parameter, other: getattr(operator, name)(other, np.asarray(parameter))


def _refuse_in_place(parameter: Parameter, other: Any) -> Any:
    raise TypeError(f"{parameter.name}: a parameter is changed by assign, assign_add or assign_sub")


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    setattr(Parameter, f"__{_name}__", _calculating(_name))
    setattr(Parameter, f"__r{_name}__", _reflected(_name))
    setattr(Parameter, f"__i{_name}__", _refuse_in_place)
for _name in ("neg", "abs"):
    setattr(Parameter, f"__{_name}__", _calculating(_name))


class Weighted:
    """What has parameters, under the names that Keras gives them: a layer or a model."""

    if TYPE_CHECKING:

        @property
        def parameters(self) -> list[Parameter]: ...
        @property
        def trainable_parameters(self) -> list[Parameter]: ...

    @property
    def weights(self) -> list[Parameter]:
        """All parameters."""
        return self.parameters

    @property
    def trainable_weights(self) -> list[Parameter]:
        return self.trainable_parameters

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        trained = {id(parameter) for parameter in self.trainable_parameters}
        return [parameter for parameter in self.parameters if id(parameter) not in trained]

    variables, trainable_variables, non_trainable_variables = weights, trainable_weights, non_trainable_weights
