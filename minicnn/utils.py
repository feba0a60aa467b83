"""What scripts for Keras take from `keras.utils`."""

from typing import Any

import numpy as np

from .absent import absent
from .seeding import set_random_seed

__all__ = ["normalize", "set_random_seed", "to_categorical"]


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """x divided by its norms of this order along an axis, where these are not 0: a copy."""
    norms = np.linalg.norm(x, ord=order, axis=axis, keepdims=True)
    return np.asarray(x / np.where(norms == 0, 1, norms))


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
    if name in ("plot_model", "model_to_dot"):
        return absent(
            f"minicnn has no {name}: model.summary() prints the layers, report.write a page about the trained model"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
