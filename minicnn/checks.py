"""What arguments must be: one sentence for an argument that is not, which says where, what was expected, and what came.

A kind of argument is the words for it and a test, which may fail with an error for values of another type.
"""

import os
from collections.abc import Callable
from math import inf
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

Kind: TypeAlias = tuple[str, Callable[[Any], bool]]


def check(where: str, kind: Kind, **settings: Any) -> None:
    """ValueError, which begins with `where`, for a setting that is not of this kind."""
    words, fits = kind
    for name, value in settings.items():
        try:
            right = fits(value)
        except (TypeError, ValueError, IndexError):
            right = False
        if not right:
            raise ValueError(f"{where}{': ' if where else ''}{name} must be {words}, not {value!r}")


def or_none(kind: Kind) -> Kind:
    """The same, or None."""
    return f"{kind[0]}, or None", lambda value: value is None or kind[1](value)


def is_number(value: Any) -> bool:
    """Whether this is one number, of Python's types or of NumPy's, an array without axes among them."""
    return isinstance(value, Real) or (isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf")


def numbers(words: str, fits: Callable[[Any], bool]) -> Kind:
    """Numbers for which `fits` holds."""
    return words, lambda value: is_number(value) and bool(fits(value))


def is_whole(value: Any) -> bool:
    """Whether this is a whole number, of Python's types or of NumPy's."""
    return isinstance(value, Integral)


def whole(words: str, least: int) -> Kind:
    """Whole numbers of at least this."""
    return words, lambda value: is_whole(value) and value >= least


def _are_sizes(value: Any) -> bool:
    return isinstance(value, tuple | list | np.ndarray) and all(n is None or is_whole(n) for n in value)


NUMBER: Kind = "a number", is_number
FROM_ZERO = numbers("a number from 0 on", lambda value: value >= 0)
FINITE = numbers("a number from 0 on", lambda value: 0 <= value < inf)
POSITIVE = numbers("a positive number", lambda value: value > 0)
ABOVE_ZERO = numbers("above 0", lambda value: value > 0)
SHARE = numbers("between 0 and 1", lambda value: 0 <= value <= 1)
BELOW_ONE = numbers("from 0 to below 1", lambda value: 0 <= value < 1)
NUMBERS: Kind = "a number, or an array of numbers", lambda value: np.asarray(value).dtype.kind in "biuf"
WHOLE: Kind = "a whole number", is_whole
SEED = or_none(whole("a whole number from 0 on", 0))
COUNT = whole("a whole number from 1 on", 1)
SIZE = whole("a positive integer", 1)
SIZES: Kind = "a tuple of sizes, such as (28, 28, 1)", _are_sizes
BATCH_SIZES: Kind = "a tuple of sizes, that of the batch first, such as (None, 28, 28, 1)", _are_sizes
WEIGHT_SHAPE: Kind = "a tuple of whole numbers", lambda value: _are_sizes(value) and all(n >= 0 for n in value)
ARRAY: Kind = "an array", lambda value: hasattr(value, "shape")
LIST: Kind = "a list", lambda value: hasattr(value, "__len__") and not isinstance(value, str)
FUNCTION: Kind = "a function", callable
PATH: Kind = "the name of a file or folder", lambda value: isinstance(value, str | os.PathLike)


def check_begun(thing: Any, sign: str, name: str) -> None:
    """AttributeError for an object without the attribute `sign`: an `__init__` of your own forgot that of its base."""
    if sign not in vars(thing) and not name.startswith("__"):
        raise AttributeError(f"class {type(thing).__name__}: its __init__ must first call super().__init__()")
