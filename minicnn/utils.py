"""What scripts for Keras take from `keras.utils`."""

from typing import Any

import numpy as np

from .seeding import set_random_seed

__all__ = ["set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Labels (…) as rows of zeros with a one: float64 (…, num_classes), by default as many classes as there are labels.

    ValueError for a label that is not a whole number from 0 to num_classes - 1.
    """
    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    found = labels.astype(np.int64)
    classes = int(found.max(initial=-1)) + 1 if num_classes is None else num_classes
    wrong = np.argwhere((found != labels) | (found < 0) | (found >= classes))
    if wrong.size:
        place = tuple(wrong[0].tolist())
        raise ValueError(f"label {place}: expected a whole number from 0 to {classes - 1}, got {labels[place]}")
    return np.eye(classes)[found]


def __getattr__(name: str) -> Any:
    if name == "np_utils":
        raise AttributeError("minicnn.utils has no np_utils: Keras 3 has dropped it, use minicnn.utils.to_categorical")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
