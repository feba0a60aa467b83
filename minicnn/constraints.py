"""Constraints: what weights are brought back to after every step of an optimizer; with the formulas and defaults of Keras 3.

A layer takes one as an object or by name: Dense(10, kernel_constraint=MaxNorm(3)). `axis` says along which axes a norm is
taken: 0 for the columns of a dense layer's kernel, (0, 1, 2) for the filters of a convolution's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .absent import without
from .checks import NUMBER, check
from .ops.reference import Array
from .registered import Configured, described, description, name_of_function

Axes = int | Sequence[int]
CLASSES: dict[str, type["Constraint"]] = {}  # by name; those of your own too, from when they are defined on
TINY = 1e-7  # keeps a norm of 0 from dividing


class Constraint(Configured):
    """Base class. One of your own defines `__call__(w)`, which returns what the weights become, in array code.

    The arguments of its constructor, if any, are what `get_config` returns.
    """

    def __init_subclass__(cls) -> None:
        CLASSES[cls.__name__] = cls

    def __call__(self, w: Array) -> Array:
        raise TypeError(f"constraint {type(self).__name__} does not define __call__(w), what the weights w become")


class MinMaxNorm(Constraint):
    """w · n' / n for the norms n = √Σw² along `axis`, with n' = rate · clip(n, min_value, max_value) + (1 - rate) · n"""

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0) -> None:
        check("MinMaxNorm", NUMBER, min_value=min_value, max_value=max_value, rate=rate)
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Array) -> Array:
        w, norms = _with_norms(w, self.axis)
        wanted = self.rate * norms.clip(self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (wanted / (TINY + norms))


class MaxNorm(Constraint):
    """w · min(n, max_value) / n for the norms n = √Σw² along `axis` (Srivastava et al., "Dropout", 2014)"""

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        check("MaxNorm", NUMBER, max_value=max_value)
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Array) -> Array:
        w, norms = _with_norms(w, self.axis)
        return w * (norms.clip(0, self.max_value) / (TINY + norms))


class UnitNorm(Constraint):
    """w / √Σw² along `axis`"""

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = axis

    def __call__(self, w: Array) -> Array:
        w, norms = _with_norms(w, self.axis)
        return w / (TINY + norms)


class NonNeg(Constraint):
    """max(w, 0)"""

    def __call__(self, w: Array) -> Array:
        return w * (w >= 0)


def _with_norms(w: Array, axis: Axes) -> tuple[Array, Array]:
    """The weights, as floats, and their norms."""
    w = w if hasattr(w, "dtype") else np.asarray(w)
    w = w if w.dtype.kind == "f" else w.astype(np.float32)
    try:
        squares = (w * w).sum(axis=tuple(axis) if np.iterable(axis) else axis, keepdims=True)
    except (IndexError, TypeError):  # the former: NumPy's AxisError
        raise ValueError(f"constraint: weights of shape {w.shape} have no axis {axis!r}") from None
    return w, squares ** w.dtype.type(0.5)


BY_NAME: dict[str, type[Constraint]] = {
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
}


def get(identifier: Any) -> Constraint | None:
    """A constraint from its name or class, from what `serialize` returned, or itself; None for None.

    A function of the weights is one too; after it was saved it is looked for by its name, among `custom_objects`.
    """
    if isinstance(identifier, dict):
        return described("constraint", Constraint, CLASSES, identifier)
    if identifier is None or (callable(identifier) and not isinstance(identifier, type)):
        return identifier
    found = (BY_NAME | CLASSES).get(identifier) if isinstance(identifier, str) else identifier
    if not (isinstance(found, type) and issubclass(found, Constraint)):
        found = None
    if found is None:
        raise ValueError(
            f"unknown constraint {identifier!r}; expected one of {', '.join(BY_NAME)} or an object of a subclass of Constraint"
        )
    return found()


def serialize(constraint: Constraint | None) -> dict[str, Any] | None:
    """What `get` makes the same constraint of, in types that JSON has."""
    if constraint is None:
        return None
    if not isinstance(constraint, Constraint):
        return {"class_name": name_of_function(constraint, "a constraint"), "config": {}}
    config = {
        name: list(value) if isinstance(value, tuple | np.ndarray) else value
        for name, value in constraint.get_config().items()
    }
    return description(constraint) | {"config": config}


max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm  # as Keras spells them too
deserialize = get
__getattr__, _absent = without(__name__, "constraint ", {"it is called max_norm today": "maxnorm nonneg unitnorm"})
__all__ = [
    "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "deserialize", "get", "max_norm", "min_max_norm", "non_neg",
    "serialize", "unit_norm", *_absent,
]  # fmt: skip
