"""Metrics: what people look at during and after training."""

from collections.abc import Callable
from typing import Any

import numpy as np


def labels_of(y: Any) -> np.ndarray:
    """Class labels (N,) from labels (N,) or (N, 1), or from one-hot rows, scores or probabilities (N, K)."""
    y = np.asarray(y)
    return y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)


def accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """1.0 for every sample whose most likely class is the true one, else 0.0; shape (N,)."""
    return (labels_of(y_true) == labels_of(y_pred)).astype(float)


def confusion_matrix(y_true: Any, y_pred: Any, classes: int) -> np.ndarray:
    """How often (row) a class was taken for (column) a class; shape (classes, classes)."""
    pairs = labels_of(y_true).astype(int) * classes + labels_of(y_pred).astype(int)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


BY_NAME: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "accuracy": accuracy,
    "acc": accuracy,
    "categorical_accuracy": accuracy,
    "sparse_categorical_accuracy": accuracy,
}


def get(name: str) -> Callable[[Any, Any], np.ndarray]:
    if str(name).lower() not in BY_NAME:
        raise ValueError(f"unknown metric {name!r}; expected one of {', '.join(BY_NAME)}")
    return BY_NAME[name.lower()]
