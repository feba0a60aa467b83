"""Losses: what training makes small. Each gives its value and the gradient for the model's output in one call.

Cross-entropy of class probabilities, for labels (sparse) and for one-hot rows. Given the scores before a softmax
("logits") it is computed from them directly: the gradient is then p - y, and no logarithm of zero can occur.
"""

from typing import Any

import numpy as np

from .ops import Ops, get_ops
from .ops.reference import Array


class _CrossEntropy:
    """-Σ_k t_k log p_k, the mean over the batch.

    With `from_logits` the predictions are scores whose softmax is p; else they are probabilities. `label_smoothing` ε
    moves the targets t towards even odds: t (1 - ε) + ε / K (Szegedy et al., 2015).
    """

    name = ""

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be between 0 and 1, not {label_smoothing}")
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def one_hot(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        """The targets as rows (N, K) of probabilities."""
        raise TypeError(f"{type(self).__name__} does not define one_hot")

    def value_and_gradient(
        self,
        y_true: Any,
        y_pred: Array,
        sample_weight: Any = None,
        *,
        from_logits: bool | None = None,
        ops: Ops | None = None,
    ) -> tuple[float, Array]:
        """The loss and its gradient for `y_pred` (N, K): Σ_n w_n · loss_n / N, the weights w being 1 unless given."""
        ops = ops or get_ops("cpu")
        if y_pred.ndim != 2:
            raise ValueError(f"{self.name} expects predictions of shape (batch, classes), got {tuple(y_pred.shape)}")
        N, K = y_pred.shape
        targets = self.one_hot(np.asarray(y_true), K)
        if len(targets) != N:
            raise ValueError(f"{self.name}: {N} predictions but {len(targets)} targets")
        targets = ops.array(targets * (1 - self.label_smoothing) + self.label_smoothing / K, y_pred.dtype)
        weights = np.ones(N) if sample_weight is None else np.asarray(sample_weight, float).reshape(N)
        weights = ops.array(weights / N, y_pred.dtype)
        if self.from_logits if from_logits is None else from_logits:
            losses, saved = ops.softmax_cross_entropy(y_pred, targets)
            gradient = ops.softmax_cross_entropy_backward(weights, saved)
        else:
            losses, saved = ops.cross_entropy(y_pred, targets)
            gradient = ops.cross_entropy_backward(weights, saved)
        return float((losses * weights).sum()), gradient

    def __call__(self, y_true: Any, y_pred: Array, sample_weight: Any = None) -> float:
        """The loss of predictions (N, K)."""
        return self.value_and_gradient(y_true, np.asarray(y_pred), sample_weight)[0]

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class CategoricalCrossentropy(_CrossEntropy):
    """Cross-entropy for one-hot targets (N, K), or any rows of probabilities."""

    name = "categorical_crossentropy"

    def one_hot(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        if y_true.ndim != 2 or y_true.shape[1] != classes:
            raise ValueError(
                f"{self.name} expects one-hot targets of shape (batch, {classes}), got {y_true.shape}; for labels use sparse_{self.name}"
            )
        return y_true.astype(float)


class SparseCategoricalCrossentropy(_CrossEntropy):
    """Cross-entropy for integer labels (N,) or (N, 1)."""

    name = "sparse_categorical_crossentropy"

    def __init__(self, from_logits: bool = False, *, label_smoothing: float = 0.0) -> None:
        super().__init__(from_logits, label_smoothing)

    def one_hot(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        if y_true.size != len(y_true):
            raise ValueError(
                f"{self.name} expects labels of shape (batch,), got {y_true.shape}; for one-hot targets use categorical_crossentropy"
            )
        labels = y_true.reshape(-1)
        wrong = np.flatnonzero((labels < 0) | (labels >= classes) | (labels != np.floor(labels)))
        if wrong.size:
            raise ValueError(
                f"{self.name}: labels must be integers from 0 to {classes - 1}, but label {wrong[0]} is {labels[wrong[0]]}"
            )
        return np.eye(classes)[labels.astype(int)]


CLASSES = {cls.name: cls for cls in (CategoricalCrossentropy, SparseCategoricalCrossentropy)}
Loss = _CrossEntropy


def get(identifier: Any) -> Loss:
    """A loss from its name or its class's name, from what `serialize` returned, or itself."""
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, dict):
        return CLASSES[identifier["name"]](**identifier["config"])
    names = CLASSES | {cls.__name__: cls for cls in CLASSES.values()}
    if identifier not in names:
        raise ValueError(f"unknown loss {identifier!r}; expected one of {', '.join(CLASSES)}")
    return names[identifier]()


def serialize(loss: Loss) -> dict[str, Any]:
    return {"name": loss.name, "config": loss.get_config()}
