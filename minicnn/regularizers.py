"""Regularizers: penalties for large weights, which are added to the loss; with the formulas and defaults of Keras 3.

A layer takes one as an object or by name: Conv2D(32, 3, kernel_regularizer=L2(1e-4)). The loss that `fit` and `evaluate`
report and train on holds the penalties of all trained parameters, and those for what layers with an `activity_regularizer`
give, divided by the number of samples in the batch.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .absent import without
from .checks import FINITE, check
from .derivatives import UnknownDerivative, derivative
from .ops import Ops
from .ops.reference import Array
from .registered import Configured, described, description, name_of_function

CLASSES: dict[str, type["Regularizer"]] = {}  # by name; those of your own too, from when they are defined on


class Regularizer(Configured):
    """Base class. One of your own defines the penalty, and may define its gradient, which else `minicnn.derivatives` finds:

        class Cubes(Regularizer):
            def __call__(self, x):
                return 0.01 * (abs(x) ** 3).sum()

            def gradient(self, x):
                return 0.03 * x * abs(x)

    The arguments of its constructor, if any, are what `get_config` returns. A saved model finds the class by its name: it
    must have been defined before `load_model`.
    """

    def __init_subclass__(cls) -> None:
        if "__call__" in vars(cls) and "gradient" not in vars(cls) and cls.gradient is not Regularizer.gradient:
            raise TypeError(f"regularizer {cls.__name__}: expected gradient(x) beside its own __call__(x)")
        CLASSES[cls.__name__] = cls

    def __call__(self, x: Array) -> Any:
        """The penalty for the weights x, a number."""
        raise TypeError(f"regularizer {type(self).__name__} does not define __call__(x), the penalty for the weights x")

    def gradient(self, x: Array) -> Array:
        """The gradient of the penalty, in the shape of x; ValueError where it is not known."""
        try:
            return derivative(self, x)[1](1.0)[0]
        except UnknownDerivative as error:
            raise ValueError(
                f"the regularizer {self._name} has no gradient ({error}): make a subclass of Regularizer whose `gradient` gives it"
            ) from None

    @property
    def _name(self) -> str:
        return type(self).__name__

    def penalize(self, ops: Ops, w: Array, g: Array | None = None) -> float:
        """The penalty for w; with g, its gradient is added to that."""
        if g is not None:
            g += self.gradient(w)
        return float(self(w))


class FunctionRegularizer(Regularizer):
    """A function as a regularizer: function(x) is the penalty for the weights x."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, x: Array) -> Any:
        return self.function(x)

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


class L1L2(Regularizer):
    """l1 Σ|w| + l2 Σw²"""

    l1 = l2 = 0.0

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = _factor("l1", l1), _factor("l2", l2)

    def __call__(self, x: Array) -> Any:
        return self.l1 * abs(x).sum() + self.l2 * (x * x).sum()

    def gradient(self, x: Array) -> Array:
        return self.l1 * np.sign(x) + 2 * self.l2 * x

    def penalize(self, ops: Ops, w: Array, g: Array | None = None) -> float:
        kind = type(self)
        own = kind.__call__ is not L1L2.__call__ or kind.gradient is not L1L2.gradient
        return super().penalize(ops, w, g) if own else ops.penalize(w, g, self.l1, self.l2)


class L1(L1L2):
    """l1 Σ|w|"""

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor("l1", l1)


class L2(L1L2):
    """l2 Σw²"""

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor("l2", l2)


class OrthogonalRegularizer(Regularizer):
    """factor · the mean of |cosine| over all pairs of different rows (or columns) of a matrix: 0 if they are orthogonal"""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode must be 'rows' or 'columns', not {mode!r}")
        self.factor, self.mode = _factor("factor", factor), mode

    def _cosines(self, x: Array) -> tuple[Array, Array, Array, int]:
        """Unit rows, their lengths, the cosines of different ones, and how many pairs there are."""
        if x.ndim != 2:
            raise ValueError(
                f"OrthogonalRegularizer: expected weights of two axes, received an array of shape {x.shape}"
            )
        rows = x if self.mode == "rows" else x.T  # (R, K)
        lengths = np.maximum((rows * rows).sum(axis=1, keepdims=True) ** 0.5, 1e-7)  # (R, 1); rows may be zero
        units = rows / lengths
        cosines = units @ units.T  # (R, R)
        cosines.reshape(-1)[:: len(rows) + 1] = 0  # those of each row with itself
        return units, lengths, cosines, math.comb(len(rows), 2) or 1

    def __call__(self, x: Array) -> Any:
        _, _, cosines, pairs = self._cosines(x)
        return self.factor * 0.5 * abs(cosines).sum() / pairs

    def gradient(self, x: Array) -> Array:
        units, lengths, cosines, pairs = self._cosines(x)
        dunits = self.factor / pairs * np.sign(cosines) @ units  # (R, K)
        # units = rows / |rows|: what lies along a row does not turn it
        drows = (dunits - units * (dunits * units).sum(axis=1, keepdims=True)) / lengths
        return drows if self.mode == "rows" else drows.T


BY_NAME: dict[str, type[Regularizer]] = {
    "l1": L1,
    "l2": L2,
    "l1_l2": L1L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
}


def _factor(name: str, value: float) -> float:
    check("", FINITE, **{f"the factor {name} of a regularizer": value})
    return float(value)


def get(identifier: Any) -> Regularizer | None:
    """A regularizer from its name ("l1", "l2", …) or class, from what `serialize` returned, or itself; None for None."""
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        return get(described("regularizer", Regularizer, CLASSES, identifier))
    found = (BY_NAME | CLASSES).get(identifier) if isinstance(identifier, str) else identifier
    if isinstance(found, type) and issubclass(found, Regularizer):
        found = found()
    if callable(found) and not isinstance(found, Regularizer | type):
        return FunctionRegularizer(found)
    if not isinstance(found, Regularizer):
        raise ValueError(
            f"unknown regularizer {identifier!r}; expected one of {', '.join(BY_NAME)} or an object of a subclass of Regularizer"
        )
    return found


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """What `get` makes the same regularizer of, in types that JSON has."""
    if regularizer is None:
        return None
    if isinstance(regularizer, FunctionRegularizer):
        return {"class_name": name_of_function(regularizer.function, "a regularizer"), "config": {}}
    return description(regularizer)


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer  # as Keras spells them too
deserialize = get
__getattr__, _absent = without(__name__, "regularizer ", {
    "Keras 3 has dropped it, use l1_l2": "l1l2",
    "Keras 3 has dropped it, give the layer an activity_regularizer": "activity_l1 activity_l2 activity_l1l2",
})  # fmt: skip
__all__ = [
    "L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer", "deserialize", "get", "l1", "l1_l2", "l2",
    "orthogonal_regularizer", "serialize", *_absent,
]  # fmt: skip
