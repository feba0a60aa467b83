"""Losses: what training minimises. Each gives its value and its gradient for the model's output in one call.

Errors and divergences of predictions p (N, …, K) from targets t in the same shape, hinges, and the cross-entropies: of class
probabilities, for labels (sparse) and for one-hot rows, and of single probabilities (binary). Where the scores before a
softmax ("logits") are known, cross-entropy is computed from these: the gradient is then p - y, and no logarithm of zero
can occur.
"""

from collections.abc import Callable, Mapping
from copy import copy
from math import log, prod
from typing import Any

import numpy as np

from .absent import refuse, without
from .checks import FROM_ZERO, NUMBER, POSITIVE, SHARE, check, is_number
from .derivatives import Traced, UnknownDerivative, derivative, device_of
from .numbers import as_numbers
from .ops import Ops, get_ops
from .ops.reference import Array
from .registered import Configured, class_of, description, known, made, snake_case

TARGETS, PREDICTIONS = object(), object()  # what a function of yours is asked with: which loss it is


class Loss(Configured):
    """Base of all losses. One of your own defines `call`; or `terms`, with the gradient by hand; or `value_and_gradient`.

    `reduction` is "sum_over_batch_size", the mean over the batch, or "sum"; or None, with which a call gives every term, and
    nothing can be trained.
    """

    def __init_subclass__(cls) -> None:
        if "__call__" in vars(cls):
            raise TypeError(f"loss class {cls.__name__}: expected call(y_true, y_pred), got __call__")
        if "call" in vars(cls):  # which gets what the model gives, not the scores before a softmax
            cls.fuses_softmax = False

    name = "loss"
    dtype = "float32"  # which a `call` of your own may ask for
    from_logits = False  # whether predictions are scores, which the loss brings between 0 and 1 itself
    fuses_softmax = False  # whether it takes the scores before a model's last softmax

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in ("sum_over_batch_size", "sum", "none", None):
            raise ValueError(f"reduction must be 'sum_over_batch_size', 'sum' or None, not {reduction!r}")
        self.reduction, self.name = reduction, name or type(self).name

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The losses, calculated with NumPy or functions of `backend` and `ops`: of each sample, of more, or one number.

        They are calculated on the CPU, also for a model on a GPU, whose predictions are copied. Their derivative is that of
        `minicnn.derivatives`; ValueError in training where that does not know it. That of a loss here gives those of each
        sample (N, …), for a `call` of yours that changes them.
        """
        loss, kind = copy(self), next(cls for cls in type(self).__mro__ if getattr(cls, "call", None) is Loss.call)
        if kind is Loss:
            raise TypeError(f"{type(self).__name__} does not define call(y_true, y_pred)")
        loss.__class__, loss.reduction = kind, None
        return loss(y_true, y_pred)

    @property
    def calls(self) -> bool:
        """Whether there is a `call`, and no `terms`."""
        return type(self).call is not Loss.call

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        """For targets and predictions (N, …, K): losses (N, …), means over the last axis, and their gradient (N, …, K)."""
        raise TypeError(f"{type(self).__name__} does not define terms(targets, y_pred, xp)")

    def value_and_gradient(
        self,
        y_true: Any,
        y_pred: Array,
        sample_weight: Any = None,
        *,
        from_logits: bool | None = None,
        ops: Ops | None = None,
    ) -> tuple[float, Array]:
        """The loss, a number, and its gradient for `y_pred` (N, …): Σ_n w_n · loss_n / N, where w_n is 1 unless given."""
        losses, gradient = self._terms(y_true, y_pred, sample_weight, from_logits, ops or get_ops("cpu"))
        return float(losses.sum()), gradient

    def _terms(
        self, y_true: Any, y_pred: Array, sample_weight: Any, from_logits: bool | None, ops: Ops
    ) -> tuple[Array, Array]:
        """What the loss is the sum of (N, …), and the gradient of that sum."""
        if self.calls:
            return self._terms_of_call(y_true, y_pred, sample_weight, ops)
        targets = ops.array(self.targets_of(y_true, y_pred.shape), y_pred.dtype)
        weights = ops.array(self.weights(sample_weight, tuple(y_pred.shape[:-1])), y_pred.dtype)
        return self.weighted(targets, weights, y_pred, from_logits, ops)

    def _terms_of_call(self, y_true: Any, y_pred: Array, sample_weight: Any, ops: Ops) -> tuple[Array, Array]:
        host = get_ops("cpu")  # where a function of any kind finds what it expects
        try:
            losses, back = derivative(lambda p: self._weighted_call(y_true, p, sample_weight, host), ops.numpy(y_pred))
        except UnknownDerivative as error:
            raise ValueError(
                f"the loss {self.name!r} is a function without a gradient ({error}): make a subclass of Loss whose `terms` "
                "gives both"
            ) from None
        except Exception as error:
            raise ValueError(
                f"the loss {self.name!r} fails for targets of shape {np.shape(y_true)} and predictions of shape "
                f"{tuple(y_pred.shape)}: {error}"
            ) from error
        return losses, ops.array(back(1.0)[0])

    def _weighted_call(self, y_true: Any, y_pred: Traced, sample_weight: Any, ops: Ops) -> Any:
        """What `call` gives, times what each counts. A single loss counts for every sample, as in Keras."""
        losses = self.call(ops.array(self.targets_of(y_true, y_pred.shape), y_pred.dtype), y_pred)
        if np.ndim(losses):
            weights: Any = self.weights(sample_weight, np.shape(losses))
        else:
            counted = np.sum if self.reduction == "sum" else np.mean
            weights = counted(1.0 if sample_weight is None else sample_weight)
        return losses * ops.array(weights, y_pred.dtype) if isinstance(losses, Traced) else losses

    def weighted(
        self, targets: Array, weights: Array, y_pred: Array, from_logits: bool | None, ops: Ops
    ) -> tuple[Array, Array]:
        """Losses times weights (N, …), and the gradient of their sum: of what `targets_of` and `weights` give, on the device."""
        losses, gradient = self.terms(targets, y_pred, ops.xp)
        return losses * weights, gradient * weights[..., None]

    def targets_of(self, y_true: Any, shape: tuple[Any, ...]) -> np.ndarray:
        """The targets in the shape of the predictions, or in any for `call`; ValueError where they do not fit."""
        y_true = np.asarray(y_true)
        if y_true.ndim == len(shape) - 1 and shape[-1] == 1:
            y_true = y_true[..., None]
        if self.calls and y_true.ndim and shape[0] in (None, len(y_true)):
            return y_true
        if y_true.shape[1:] != tuple(shape[1:]) or shape[0] not in (None, len(y_true)):
            raise ValueError(f"{self.name}: predictions of shape {tuple(shape)} but targets of shape {y_true.shape}")
        return y_true

    def weights(self, sample_weight: Any, shape: tuple[int, ...], batches: int = 1) -> np.ndarray:
        """What each term counts, in their shape (N, …), where N are the samples of so many batches of equal size."""
        terms = max(1, prod(shape) // batches) if self.reduction == "sum_over_batch_size" else 1
        found = np.empty(shape)
        if sample_weight is None:
            found[...] = 1 / terms
            return found
        weight = np.asarray(sample_weight, float)
        if weight.size == shape[0]:
            weight = weight.reshape(-1, *[1] * (len(shape) - 1))
        elif weight.shape != shape:
            raise ValueError(f"{self.name}: expected a weight per sample, {shape[0]} numbers, got shape {weight.shape}")
        found[...] = weight / terms
        return found

    def __call__(self, y_true: Any, y_pred: Array, sample_weight: Any = None) -> Any:
        """The loss of predictions (N, …, K): a number, or (N, …) without a reduction."""
        if y_true is TARGETS and y_pred is PREDICTIONS and sample_weight is None:
            return self
        if isinstance(y_pred, Traced):
            return self._traced(y_true, y_pred, sample_weight)
        y_pred = np.asarray(y_pred)
        y_pred = y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float32)
        if self.reduction in ("none", None):
            return as_numbers(self._terms(y_true, y_pred, sample_weight, None, get_ops("cpu"))[0])
        return as_numbers(self.value_and_gradient(y_true, y_pred, sample_weight)[0])

    def _traced(self, y_true: Any, y_pred: Traced, sample_weight: Any = None) -> Traced:
        """`__call__`, with its derivative."""
        if isinstance(y_true, Traced):
            raise UnknownDerivative(f"{self.name} has a derivative for its second argument, the predictions, alone")
        if self.calls:
            losses = self._weighted_call(y_true, y_pred, sample_weight, device_of(y_pred))
            return losses if self.reduction in ("none", None) else np.sum(losses)
        losses, gradient = self._terms(y_true, y_pred.array, sample_weight, None, device_of(y_pred))
        if self.reduction in ("none", None):
            return Traced(losses, (y_pred, lambda dy: dy[..., None] * gradient))
        return Traced(losses.sum(), (y_pred, lambda dy: dy * gradient))

    def __array__(self, *_: Any, **options: Any) -> Any:
        """TypeError: NumPy would take a loss for one number, whose sum is itself, in a function that `handed_on` asks."""
        raise TypeError(f"the loss {self.name} is no array")

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction, "name": self.name}


class _Mean(Loss):
    """Its arguments come in another order, as in Keras."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)


class MeanSquaredError(_Mean):
    """(p - t)², the mean over the last axis and the batch."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        difference = y_pred - targets
        return (difference**2).mean(axis=-1), 2 * difference / y_pred.shape[-1]


class MeanAbsoluteError(_Mean):
    """|p - t|, the mean over the last axis and the batch."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        difference = y_pred - targets
        return xp.abs(difference).mean(axis=-1), xp.sign(difference) / y_pred.shape[-1]


class MeanAbsolutePercentageError(_Mean):
    """100 |p - t| / |t|, the mean over the last axis and the batch; |t| is at least 1e-7."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        difference, share = y_pred - targets, 100 / xp.maximum(xp.abs(targets), 1e-7)
        return (xp.abs(difference) * share).mean(axis=-1), xp.sign(difference) * share / y_pred.shape[-1]


class MeanSquaredLogarithmicError(_Mean):
    """(log(1 + p) - log(1 + t))², the mean over the last axis and the batch; p and t are raised to at least 1e-7."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        p = xp.maximum(y_pred, 1e-7)
        difference = xp.log1p(p) - xp.log1p(xp.maximum(targets, 1e-7))
        return (difference**2).mean(axis=-1), xp.where(p == y_pred, 2 * difference / (1 + p), 0) / y_pred.shape[-1]


class LogCosh(_Mean):
    """log cosh(p - t), the mean over the last axis and the batch."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        difference = y_pred - targets
        size = xp.abs(difference)  # log cosh d = |d| + log(1 + e^(-2|d|)) - log 2, which does not overflow
        return (size + xp.log1p(xp.exp(-2 * size)) - log(2)).mean(axis=-1), xp.tanh(difference) / y_pred.shape[-1]


class Huber(Loss):
    """d² / 2 where d = |p - t| is at most `delta` δ, else δ d - δ² / 2; the mean over the last axis and the batch.

    Huber, "Robust estimation of a location parameter" (1964).
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name or "huber_loss", reduction, dtype)
        check("", POSITIVE, delta=delta)
        self.delta = float(delta)

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        difference = y_pred - targets
        clipped = xp.clip(difference, -self.delta, self.delta)
        return (clipped * (difference - clipped / 2)).mean(axis=-1), clipped / y_pred.shape[-1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"delta": self.delta}


class Poisson(_Mean):
    """p - t log(p + 1e-7), the mean over the last axis and the batch."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        p = y_pred + 1e-7
        return (y_pred - targets * xp.log(p)).mean(axis=-1), (1 - targets / p) / y_pred.shape[-1]


class KLDivergence(_Mean):
    """Σ_k t_k log(t_k / p_k), the mean over the batch; t and p are kept within [1e-7, 1]."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        t, p = _kept(targets, xp, 1), _kept(y_pred, xp, 1)
        return (t * xp.log(t / p)).sum(axis=-1), xp.where(p == y_pred, -t / p, 0)


class CosineSimilarity(Loss):
    """-Σ_k t_k p_k / (|t| |p|), the mean over the batch: -1 for the same direction; lengths are at least 1e-7."""

    def __init__(
        self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)
        _check_axis(axis)

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        true, length = (xp.sqrt((v**2).sum(axis=-1, keepdims=True)) for v in (targets, y_pred))  # (N, …, 1)
        t, p = targets / xp.maximum(true, 1e-7), y_pred / xp.maximum(length, 1e-7)
        cosine = (t * p).sum(axis=-1, keepdims=True)
        return -cosine[..., 0], (xp.where(length > 1e-7, cosine * p, 0) - t) / xp.maximum(length, 1e-7)


def _signs(targets: Array, xp: Any) -> Array:
    """-1 and 1 of targets that are all 0 or 1; others as they are."""
    return xp.where(xp.all((targets == 0) | (targets == 1)), 2 * targets - 1, targets)


class Hinge(_Mean):
    """max(1 - t p, 0), the mean over the last axis and the batch; t is -1 or 1, or 0 or 1 if no other occurs in a batch."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        t = _signs(targets, xp)
        missing = xp.maximum(1 - t * y_pred, 0)
        return missing.mean(axis=-1), xp.where(missing > 0, -t, 0) / y_pred.shape[-1]


class SquaredHinge(_Mean):
    """max(1 - t p, 0)², the mean over the last axis and the batch; t as of `Hinge`."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        t = _signs(targets, xp)
        missing = xp.maximum(1 - t * y_pred, 0)
        return (missing**2).mean(axis=-1), -2 * t * missing / y_pred.shape[-1]


class CategoricalHinge(_Mean):
    """max(max_k (1 - t_k) p_k - Σ_k t_k p_k + 1, 0), the mean over the batch, for one-hot targets."""

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        others = (1 - targets) * y_pred
        largest = others.max(axis=-1, keepdims=True)  # (N, …, 1)
        missing = xp.maximum(largest - (targets * y_pred).sum(axis=-1, keepdims=True) + 1, 0)
        at = (others == largest).astype(y_pred.dtype)  # several classes share the gradient
        slope = (1 - targets) * at / at.sum(axis=-1, keepdims=True) - targets
        return missing[..., 0], xp.where(missing > 0, slope, 0)


def _kept(p: Array, xp: Any, high: float = 1 - 1e-7) -> Array:
    """Probabilities within [1e-7, high], as in Keras."""
    return xp.clip(p, p.dtype.type(1e-7), p.dtype.type(high))


def _sigmoid(scores: Array, xp: Any) -> Array:
    small = xp.exp(-xp.abs(scores))
    return xp.where(scores >= 0, 1 / (1 + small), small / (1 + small))


def _check_axis(axis: int) -> None:
    if axis != -1:
        raise ValueError(f"only the last axis, -1, can hold the classes, not axis {axis}")


class _OfProbabilities(Loss):
    """Base of the cross-entropies. Smoothing labels: Szegedy et al. (2015)."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        check("", SHARE, label_smoothing=label_smoothing)
        _check_axis(axis)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class BinaryCrossentropy(_OfProbabilities):
    """-(t log p + (1 - t) log(1 - p)), the mean over the last axis and the batch; t and p from 0 to 1.

    With `from_logits` p is the sigmoid of the predictions; else it is kept within [1e-7, 1 - 1e-7], as in Keras.
    `label_smoothing` ε moves the targets: t (1 - ε) + ε / 2.
    """

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        t = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.from_logits:  # log(1 + e^z) - t z, which neither overflows nor loses digits
            losses = xp.maximum(y_pred, 0) - t * y_pred + xp.log1p(xp.exp(-xp.abs(y_pred)))
            return losses.mean(axis=-1), (_sigmoid(y_pred, xp) - t) / y_pred.shape[-1]
        p = _kept(y_pred, xp)
        losses = -(t * xp.log(p) + (1 - t) * xp.log1p(-p))
        return losses.mean(axis=-1), xp.where(p == y_pred, (p - t) / (p * (1 - p)), 0) / y_pred.shape[-1]


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """(1 - q)^γ times the binary cross-entropy, q = t p + (1 - t) (1 - p) being the probability of what is true.

    Thus what is already right counts less, the less the larger `gamma` γ is. With `apply_class_balancing` ones count `alpha`
    and zeros 1 - `alpha`. Else as `BinaryCrossentropy`; p is kept within [1e-7, 1 - 1e-7] with `from_logits` too.
    Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection" (2017).
    """

    def __init__(
        self, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False,
        label_smoothing: float = 0.0, axis: int = -1, reduction: str | None = "sum_over_batch_size",
        name: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        check("", FROM_ZERO, gamma=gamma)
        check("", NUMBER, alpha=alpha)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, float(alpha), float(gamma)

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        t = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        p = _sigmoid(y_pred, xp) if self.from_logits else y_pred
        kept = _kept(p, xp)
        entropy = -(t * xp.log(kept) + (1 - t) * xp.log1p(-kept))
        wrong = t * (1 - p) + (1 - t) * p  # 1 - q
        weight = t * self.alpha + (1 - t) * (1 - self.alpha) if self.apply_class_balancing else 1.0
        focus = weight * wrong**self.gamma
        slope = focus * xp.where(kept == p, (kept - t) / (kept * (1 - kept)), 0)
        slope += weight * self.gamma * xp.maximum(wrong, 1e-7) ** (self.gamma - 1) * (1 - 2 * t) * entropy
        if self.from_logits:
            slope *= p * (1 - p)
        return (focus * entropy).mean(axis=-1), slope / y_pred.shape[-1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {n: getattr(self, n) for n in ("apply_class_balancing", "alpha", "gamma")}


class CategoricalFocalCrossentropy(_OfProbabilities):
    """-Σ_k α_k (1 - p_k)^γ t_k log p_k, the mean over the batch, for one-hot targets t, or any rows of probabilities.

    p are the predictions divided by their sum, or with `from_logits` their softmax, kept within [1e-7, 1 - 1e-7]. `alpha` α
    is a number, or one for each class; `label_smoothing` ε makes t (1 - ε) + ε / K of t. Lin et al. (2017).
    """

    def __init__(
        self, alpha: Any = 0.25, gamma: float = 2.0, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
        reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        check("", FROM_ZERO, gamma=gamma)
        if not all(is_number(one) for one in (alpha if np.iterable(alpha) else [alpha])):
            raise ValueError(f"alpha must be a number, or one for each class, not {alpha!r}")
        self.alpha, self.gamma = np.asarray(alpha, float).tolist(), float(gamma)

    def targets_of(self, y_true: Any, shape: tuple[Any, ...]) -> np.ndarray:
        """The smoothed targets times α."""
        if self.calls:
            return super().targets_of(y_true, shape)
        targets = super().targets_of(y_true, shape) * (1 - self.label_smoothing) + self.label_smoothing / shape[-1]
        if np.shape(self.alpha) not in ((), (1,), shape[-1:]):
            raise ValueError(f"{self.name}: alpha must be one number, or {shape[-1]}, not {self.alpha!r}")
        return targets * np.asarray(self.alpha)

    def terms(self, targets: Array, y_pred: Array, xp: Any) -> tuple[Array, Array]:
        parts = xp.exp(y_pred - y_pred.max(axis=-1, keepdims=True)) if self.from_logits else y_pred
        total = parts.sum(axis=-1, keepdims=True)  # (N, …, 1)
        p = parts / total
        kept = _kept(p, xp)
        logarithm, wrong = xp.log(kept), 1 - kept
        slope = targets * (self.gamma * wrong ** (self.gamma - 1) * logarithm - wrong**self.gamma / kept)
        slope = xp.where(kept == p, slope, 0)
        gradient = (slope - (slope * p).sum(axis=-1, keepdims=True)) / total  # of p = parts / total
        return -(targets * wrong**self.gamma * logarithm).sum(axis=-1), gradient * (parts if self.from_logits else 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha, "gamma": self.gamma}


class _CrossEntropy(_OfProbabilities):
    """Base of both: what the targets are is said by `one_hot`."""

    fuses_softmax = True

    def one_hot(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        """The targets as rows (N, K) of probabilities."""
        raise TypeError(f"{type(self).__name__} does not define one_hot")

    def targets_of(self, y_true: Any, shape: tuple[Any, ...]) -> np.ndarray:
        if self.calls:
            return super().targets_of(y_true, shape)
        if len(shape) != 2:
            raise ValueError(f"{self.name} expects predictions of shape (batch, classes), got {tuple(shape)}")
        targets = self.one_hot(np.asarray(y_true), shape[1])
        if shape[0] not in (None, len(targets)):
            raise ValueError(f"{self.name}: {shape[0]} predictions but {len(targets)} targets")
        return targets * (1 - self.label_smoothing) + self.label_smoothing / shape[1]

    def weighted(
        self, targets: Array, weights: Array, y_pred: Array, from_logits: bool | None, ops: Ops
    ) -> tuple[Array, Array]:
        if self.from_logits if from_logits is None else from_logits:
            losses, saved = ops.softmax_cross_entropy(y_pred, targets)
            gradient = ops.softmax_cross_entropy_backward(weights, saved)
        else:
            losses, saved = ops.cross_entropy(y_pred, targets)
            gradient = ops.cross_entropy_backward(weights, saved)
        return losses * weights, gradient


class CategoricalCrossentropy(_CrossEntropy):
    """-Σ_k t_k log p_k, the mean over the batch, for one-hot targets t (N, K), or any rows of probabilities.

    p are the predictions, or with `from_logits` their softmax; `label_smoothing` ε makes t (1 - ε) + ε / K of t.
    """

    def one_hot(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        if y_true.ndim != 2 or y_true.shape[1] != classes:
            raise ValueError(
                f"{self.name} expects one-hot targets of shape (batch, {classes}), got {y_true.shape}; for labels use sparse_{self.name}"
            )
        return y_true.astype(float)


class SparseCategoricalCrossentropy(_CrossEntropy):
    """-log p[label], the mean over the batch, for integer labels (N,) or (N, 1); else as `CategoricalCrossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
        *,
        label_smoothing: float = 0.0,
    ) -> None:
        if ignore_class is not None:
            raise ValueError("ignore_class cannot be given: leave these samples out, or give them a sample_weight of 0")
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)

    def labels(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        """The labels (N,), integers from 0 to `classes` - 1; ValueError where they are not."""
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
        return labels.astype(int)

    def one_hot(self, y_true: np.ndarray, classes: int) -> np.ndarray:
        found: np.ndarray = np.eye(classes)[self.labels(y_true, classes)]
        return found


CLASSES: dict[str, type[Loss]] = {
    snake_case(cls.__name__): cls
    for cls in (
        CategoricalCrossentropy, SparseCategoricalCrossentropy, BinaryCrossentropy, MeanSquaredError, MeanAbsoluteError,
        MeanAbsolutePercentageError, MeanSquaredLogarithmicError, LogCosh, Huber, Poisson, KLDivergence, CosineSimilarity,
        Hinge, SquaredHinge, CategoricalHinge, BinaryFocalCrossentropy, CategoricalFocalCrossentropy,
    )
}  # fmt: skip
for _name, _class in CLASSES.items():
    _class.name = _name
NAMES = CLASSES | {cls.__name__: cls for cls in CLASSES.values()}
SHORT = {
    "bce": "binary_crossentropy", "kld": "kl_divergence", "mse": "mean_squared_error", "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error", "msle": "mean_squared_logarithmic_error",
}  # fmt: skip
SHORT |= {name.upper(): loss for name, loss in SHORT.items()}
SHORT |= {"logcosh": "log_cosh", "kullback_leibler_divergence": "kl_divergence"}  # of older scripts


def _function(cls: type[Loss]) -> Callable[..., np.ndarray]:
    """The loss of every sample, as a function; `compile` takes it for its class."""

    def losses(y_true: Any, y_pred: Any, *arguments: Any, **options: Any) -> Any:
        loss: Any = cls(*arguments, **options)
        if y_true is TARGETS and y_pred is PREDICTIONS:
            return loss
        if np.ndim(y_true) == 0 and np.ndim(y_pred):
            y_true = np.full(np.shape(y_pred), y_true)
        loss.reduction = None
        return loss(y_true, y_pred)

    losses.__name__ = losses.__qualname__ = cls.name
    losses.__doc__ = f"The loss of `{cls.__name__}` for every sample: predictions (N, …, K) to (N, …)."
    return losses


def handed_on(function: Callable[[Any, Any], Any]) -> Loss | None:
    """The loss that a function gives its arguments to, with settings: binary_crossentropy(y_true, y_pred, from_logits=True)."""
    try:
        found = function(TARGETS, PREDICTIONS)
    except Exception:  # it does something else with them
        return None
    if isinstance(found, Loss) and found.reduction in ("none", None):  # the mean of what the function returns is meant
        found = copy(found)
        found.reduction = "sum_over_batch_size"
    return found if isinstance(found, Loss) else None


class FunctionLoss(Loss):
    """A function as a loss: that of `call`."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__))
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {}


FUNCTIONS = {_function(cls): name for name, cls in CLASSES.items()}
BY_NAME = {name: function for function, name in FUNCTIONS.items()}
BY_NAME |= {short: BY_NAME[name] for short, name in SHORT.items()}
globals().update(BY_NAME)  # mean_squared_error, mse, MSE, …


def get(identifier: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A loss from its name, its class or its class's name, its function, from what `serialize` returned, or itself; or from a
    function of yours, which may give (y_true, y_pred) to one of these, or calculate as `Loss.call` does.

    `custom_objects` has classes of your own by name, beside those that are registered. ValueError for a name that is not known.
    """
    refuse(identifier)
    if isinstance(identifier, Loss) or hasattr(identifier, "value_and_gradient") and not isinstance(identifier, type):
        return identifier
    if isinstance(identifier, dict):
        name = class_of(identifier)
        name = identifier["config"] if name == "function" else name
        cls = known(custom_objects).get(name) or NAMES.get(name)
        if cls is None:
            raise ValueError(f"unknown loss {name}; pass it in custom_objects")
        return made(cls, identifier["config"]) if isinstance(cls, type) else get(cls)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier) and identifier not in FUNCTIONS:
        return handed_on(identifier) or FunctionLoss(identifier)
    name = FUNCTIONS.get(identifier, SHORT.get(identifier, identifier)) if identifier.__hash__ else ""
    if name not in NAMES:
        raise ValueError(f"unknown loss {identifier!r}; expected one of {', '.join(CLASSES)}, or a Loss of your own")
    return NAMES[name]()


def serialize(loss: Loss) -> dict[str, Any]:
    """A loss in types that JSON has, for `get`; ValueError for one of your own without get_config."""
    if not hasattr(loss, "get_config"):
        raise ValueError(f"a loss of the class {type(loss).__name__} cannot be saved: it has no get_config()")
    if isinstance(loss, FunctionLoss):
        return {"class_name": "function", "config": loss.name}
    return description(loss)


deserialize = get
__getattr__, _absent = without(__name__, "loss ", {
    "a loss of your own is a function of y_true and y_pred that calculates, or a Loss with such a `call`": """
        Dice Tversky CTC Circle CategoricalGeneralizedCrossEntropy cosine_proximity dice tversky ctc circle
        categorical_generalized_cross_entropy""",
    "Keras 3 has dropped it, write reduction='sum', 'sum_over_batch_size' or None": "Reduction",
})  # fmt: skip

__all__ = [
    "Loss", *(cls.__name__ for cls in CLASSES.values()), *BY_NAME, "deserialize", "get", "serialize", *_absent,
]  # fmt: skip
