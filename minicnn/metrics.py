"""Metrics: numbers that are reported during and after training.

A metric is asked for by name (`metrics=["accuracy"]`), as an object, or as a function of y_true and y_pred that gives a
number for every sample.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from . import activations, initializers, losses
from .absent import refuse, without
from .checks import NUMBER, POSITIVE, SHARE, Kind, check, check_begun, is_number, numbers, or_none, whole
from .losses import binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy
from .numbers import Numbers, as_numbers
from .registered import Configured, class_of, description, known, made, new_name, snake_case

globals().update(losses.BY_NAME)  # which are metrics too


def labels_of(y: Any) -> np.ndarray:
    """Class labels (N,) from labels (N,) or (N, 1), or from one-hot rows, scores or probabilities (N, K)."""
    y = np.asarray(y)
    return y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> np.ndarray:
    """The share of K predictions that lie on the right side of `threshold`: (N, …, K) to (N, …), and (N,) to (N,)."""
    y_pred = np.asarray(y_pred)
    right = np.asarray(y_true).reshape(y_pred.shape) == (y_pred > threshold)
    return right.mean(axis=-1) if right.ndim > 1 else right.astype(float)


def accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """1.0 where the most likely class is the true one, else 0.0: predictions (N, …, K) to (N, …).

    The targets are one-hot, in the same shape, or labels (N, …) or (N, …, 1). Where the model has one output only, that is a
    probability, and 0.5 parts the two classes.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_pred.ndim > 1 and y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    predicted = y_pred.argmax(axis=-1) if y_pred.ndim > 1 else y_pred  # (N, …)
    one_hot = y_true.ndim == y_pred.ndim > 1 and y_true.shape[-1] > 1
    true = y_true.argmax(axis=-1) if one_hot else y_true.reshape(predicted.shape)
    return (true == predicted).astype(float)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> np.ndarray:
    """1.0 where fewer than k classes are more likely than the true one, else 0.0: predictions (N, …, K) to (N, …)."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    one_hot = y_true.ndim == y_pred.ndim and y_true.shape[-1] > 1
    labels = y_true.argmax(axis=-1) if one_hot else y_true.reshape(y_pred.shape[:-1]).astype(int)  # (N, …)
    true = np.take_along_axis(y_pred, labels[..., None], axis=-1)  # (N, …, 1)
    return ((y_pred > true).sum(axis=-1) < k).astype(float)


def _called(name: str, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same function under another name, which the logs show."""

    @wraps(function)
    def same(*arguments: Any, **options: Any) -> np.ndarray:
        return function(*arguments, **options)

    same.__name__ = same.__qualname__ = name
    return same


categorical_accuracy = _called("categorical_accuracy", accuracy)
sparse_categorical_accuracy = _called("sparse_categorical_accuracy", accuracy)
sparse_top_k_categorical_accuracy = _called("sparse_top_k_categorical_accuracy", top_k_categorical_accuracy)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> np.ndarray:
    """Σ_k t_k p_k / (|t| |p|), which the loss of this name is the negative of: predictions (N, …, K) to (N, …)."""
    return -losses.cosine_similarity(y_true, y_pred, axis)


def confusion_matrix(y_true: Any, y_pred: Any, classes: int | None = None) -> np.ndarray:
    """How often a class (row) was taken for each (column), (classes, classes), by default up to the largest label."""
    found = [labels_of(y).astype(int) for y in (y_true, y_pred)]
    if len(found[0]) != len(found[1]):
        raise ValueError(
            f"confusion_matrix: expected as many predictions as labels, {len(found[0])}, got {len(found[1])}"
        )
    classes = classes or 1 + max(int(labels.max(initial=-1)) for labels in found)
    pairs = found[0] * classes + found[1]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confidence_interval(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of the shares that `right` of `total` independent answers are compatible with, at this level.

    The score interval, all p with (right / total - p)² ≤ z² · p (1 - p) / total, z being the normal quantile of
    (1 + level) / 2; Wilson, "Probable inference, the law of succession, and statistical inference" (1927). ValueError for
    no answers at all, for `right` that is not between 0 and `total`, and for a level that is not between 0 and 1.
    """
    if not (total >= 1 and 0 <= right <= total):
        raise ValueError(f"expected right between 0 and total, and total from 1 on, got {right} of {total}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = right / total, z * z / total
    centre, half = share + weight / 2, sqrt(weight * (share * (1 - share) + weight / 4))
    low, high = (centre - half) / (1 + weight), (centre + half) / (1 + weight)
    return low if right else 0.0, high if right < total else 1.0


def calibration(y_true: Any, y_pred: Any, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples, their mean confidence and their accuracy, each (bins,), in bins of equal width; 0 where a bin is empty.

    The confidence in a sample is the largest of its probabilities (N, K), and bin b holds those in (b / bins,
    (b + 1) / bins]. ValueError for fewer than one bin, and for numbers that are no probabilities.
    """
    y_pred = np.asarray(y_pred, float)
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins}")
    if y_pred.ndim != 2 or not ((y_pred > -1e-6) & (y_pred < 1 + 1e-6)).all():
        raise ValueError("expected probabilities from 0 to 1 of shape (batch, classes), got other numbers or shapes")
    confidence, right = y_pred.max(axis=1, initial=0.0), accuracy(labels_of(y_true), y_pred.argmax(axis=1))
    place = np.searchsorted(np.arange(1, bins) / bins, confidence)  # (N,)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, values, minlength=bins) for values in (confidence, right)]
    return count, sums[0] / np.maximum(1, count), sums[1] / np.maximum(1, count)


def expected_calibration_error(y_true: Any, y_pred: Any, bins: int = 15) -> float:
    """Σ_b |accuracy_b - confidence_b| · samples_b / N over the bins of `calibration`; 0 for no samples.

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).
    """
    count, confidence, right = calibration(y_true, y_pred, bins)
    return float((np.abs(right - confidence) * count).sum() / max(1, count.sum()))


class Variable(Numbers):
    """Numbers that a metric keeps; Keras' methods beside NumPy's."""

    def assign(self, value: Any) -> None:
        self[...] = value

    def assign_add(self, value: Any) -> None:
        self[...] += value

    value = property(lambda self: self)


def plain(value: Any) -> Any:
    """A float, or an array of several numbers."""
    if isinstance(value, float):
        return float(value)
    return float(np.reshape(value, ())) if np.size(value) == 1 else np.asarray(value)


def _answering(result: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A method whose numbers answer to `.numpy()`."""

    @wraps(result)
    def answering(metric: Any) -> Any:
        return as_numbers(result(metric))

    return answering


class Metric(Configured):
    """Base of all metrics. One of your own defines `update_state` and `result`, and `reset_state`.

    It keeps its numbers as it likes; those of `add_variable`, and metrics that it is made of, it need not reset itself.
    """

    def __init_subclass__(cls) -> None:
        if "result" in vars(cls):
            cls.result = _answering(cls.result)  # type: ignore[assignment, method-assign]

    of_scores = False  # whether scores serve as well as the probabilities that a last softmax makes of them
    dtype = "float32"  # of what `add_variable` keeps unless told

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or new_name(type(self).__name__)

    def add_variable(
        self, shape: Sequence[int] = (), initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Variable:
        """Numbers of this shape, which `reset_state` sets to what the initializer gives."""
        start = np.array(initializers.get(initializer or "zeros")(tuple(shape), dtype=dtype or self.dtype))
        variable = start.copy().view(Variable)
        self.__dict__.setdefault("_starts", []).append((variable, start))
        return variable

    add_weight = add_variable

    @property
    def _inner(self) -> list["Metric"]:
        """The metrics that are attributes of this one, also in lists and dictionaries."""
        found: list[Any] = []
        for value in vars(self).values():
            held = list(value.values()) if isinstance(value, dict) else value
            found += held if isinstance(held, list | tuple) else [held]
        return [one for one in found if isinstance(one, Metric)]

    @property
    def variables(self) -> list[Variable]:
        """What `add_variable` gave, here and in the metrics that this one is made of; those of this module need none."""
        own = [variable for variable, _ in vars(self).get("_starts", [])]
        return own + [variable for metric in self._inner for variable in metric.variables]

    def reset_state(self) -> None:
        """Forgets all batches."""
        starts, inner = vars(self).get("_starts", []), self._inner
        if not (starts or inner):
            raise TypeError(f"{type(self).__name__} does not define reset_state()")
        for variable, start in starts:
            variable.assign(start)
        for metric in inner:
            metric.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes in a batch."""
        raise TypeError(f"{type(self).__name__} does not define update_state(y_true, y_pred, sample_weight)")

    def result(self) -> Any:
        """The metric over all batches since `reset_state`: a number, or an array of several."""
        raise TypeError(f"{type(self).__name__} does not define result()")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """`update_state`, and the result so far."""
        self.update_state(*arguments, **options)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class MeanMetric(Metric):
    """The mean over all samples of `values(y_true, y_pred)` (N,): by default of the function it is made of."""

    def __init__(
        self, fn: Callable[..., Any] | None = None, name: str | None = None, dtype: Any = None, **options: Any
    ) -> None:
        own = getattr(fn, "__name__", getattr(fn, "name", ""))  # of a function, or of a loss
        super().__init__(dtype, name or own.strip("<>"))  # as Keras calls a lambda
        self.fn, self.options, self.of_scores = fn, options, fn in OF_SCORES
        self.reset_state()

    def values(self, y_true: Any, y_pred: Any) -> np.ndarray:
        assert self.fn is not None
        return np.asarray(self.fn(y_true, y_pred, **self.options), float)

    def reset_state(self) -> None:
        self.total, self.weight = 0.0, 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, batches: int = 1) -> None:
        """Takes in a batch, or `batches` of equal size, whose sums are taken one by one.

        A function may also give one number for a batch: then all batches count alike.
        """
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        values = self.values(y_true, y_pred)
        if values.ndim == 0:
            parts = zip(np.split(y_true, batches), np.split(y_pred, batches), strict=True)
            self.total += sum(float(self.values(*part)) for part in parts) if batches > 1 else float(values)
            self.weight += batches
            return
        weights = np.ones(len(y_pred)) if sample_weight is None else np.asarray(sample_weight, float)
        weights = weights.reshape(len(y_pred), -1)  # (N, 1), or (N, …) of a sample's places
        values = (values.reshape(len(y_pred), -1) * weights).mean(axis=1)
        for total, weight in zip(np.split(values, batches), np.split(weights.mean(axis=1), batches), strict=True):
            self.total += float(total.sum())
            self.weight += float(weight.sum())

    def result(self) -> float:
        return self.total / self.weight if self.weight else 0.0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.options


class Sum(Metric):
    """The sum of the numbers that `update_state` is given: of loops of your own, not of `compile`."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(dtype, name or snake_case(type(self).__name__))
        self.reset_state()

    def reset_state(self) -> None:
        self.total, self.weight = 0.0, 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Takes in numbers (N, …), each with the weight of its sample."""
        values = np.asarray(values, float)
        weights = np.ones(values.shape) if sample_weight is None else np.asarray(sample_weight, float)
        weights = weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
        self.total += float((values * weights).sum())
        self.weight += float(np.broadcast_to(weights, values.shape).sum())

    def result(self) -> float:
        return self.total


class Mean(Sum):
    """The mean of the numbers that `update_state` is given: of loops of your own, not of `compile`."""

    def result(self) -> float:
        return self.total / self.weight if self.weight else 0.0


def _equal(y_true: Any, y_pred: Any) -> np.ndarray:
    if np.size(y_true) != np.size(y_pred):
        raise ValueError(
            f"metric Accuracy(): it compares labels with labels, and received targets of shape {np.shape(y_true)} and predictions "
            f"of shape {np.shape(y_pred)}; metrics=['accuracy'] compares with the largest of these"
        )
    return np.asarray(np.asarray(y_true).reshape(np.shape(y_pred)) == y_pred, float)


class Accuracy(MeanMetric):
    """The mean of y_true == y_pred over all samples; the name "accuracy" asks for `accuracy` instead."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(_equal, name or "accuracy", dtype)


class BinaryAccuracy(MeanMetric):
    """The mean of `binary_accuracy` over all samples."""

    def __init__(self, name: str | None = None, dtype: Any = None, threshold: float = 0.5) -> None:
        check("BinaryAccuracy", NUMBER, threshold=threshold)
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(MeanMetric):
    """The mean of `categorical_accuracy` over all samples."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetric):
    """The mean of `sparse_categorical_accuracy` over all samples."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetric):
    """The mean of `top_k_categorical_accuracy` over all samples."""

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        check("TopKCategoricalAccuracy", NUMBER, k=k)
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetric):
    """The mean of `sparse_top_k_categorical_accuracy` over all samples."""

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        check("SparseTopKCategoricalAccuracy", NUMBER, k=k)
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k)


def _mean_of(name: str, loss: Callable[..., np.ndarray]) -> type[MeanMetric]:
    """The class of this name: the mean over all samples of a loss without settings."""

    class Found(MeanMetric):
        __doc__ = f"The mean of `{loss.__name__}` over all samples."

        def __init__(self, name: str | None = None, dtype: Any = None) -> None:
            super().__init__(loss, name, dtype)

    Found.__name__ = Found.__qualname__ = name
    return Found


MeanSquaredError = _mean_of("MeanSquaredError", losses.mean_squared_error)
MeanAbsoluteError = _mean_of("MeanAbsoluteError", losses.mean_absolute_error)
MeanAbsolutePercentageError = _mean_of("MeanAbsolutePercentageError", losses.mean_absolute_percentage_error)
MeanSquaredLogarithmicError = _mean_of("MeanSquaredLogarithmicError", losses.mean_squared_logarithmic_error)
LogCoshError = _mean_of("LogCoshError", _called("logcosh", losses.log_cosh))
KLDivergence = _mean_of("KLDivergence", losses.kl_divergence)
Poisson = _mean_of("Poisson", losses.poisson)
Hinge = _mean_of("Hinge", losses.hinge)
SquaredHinge = _mean_of("SquaredHinge", losses.squared_hinge)
CategoricalHinge = _mean_of("CategoricalHinge", losses.categorical_hinge)


class RootMeanSquaredError(MeanMetric):
    """The root of the mean of `mean_squared_error` over all samples."""

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name or "root_mean_squared_error", dtype)

    def result(self) -> float:
        return sqrt(super().result())


class CosineSimilarity(MeanMetric):
    """The mean of `cosine_similarity` over all samples."""

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)


class BinaryCrossentropy(MeanMetric):
    """The mean of `binary_crossentropy` over all samples."""

    def __init__(
        self, name: str | None = None, dtype: Any = None, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        check("BinaryCrossentropy", SHARE, label_smoothing=label_smoothing)
        super().__init__(binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing)


class CategoricalCrossentropy(MeanMetric):
    """The mean of `categorical_crossentropy` over all samples."""

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        check("CategoricalCrossentropy", SHARE, label_smoothing=label_smoothing)
        super().__init__(
            categorical_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis
        )


class SparseCategoricalCrossentropy(MeanMetric):
    """The mean of `sparse_categorical_crossentropy` over all samples."""

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy, name, dtype, from_logits=from_logits, ignore_class=ignore_class, axis=axis
        )


def _alike(metric: Metric, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(targets shaped like the predictions, predictions, a weight for each of these); ValueError unless they fit."""
    y_true, y_pred = np.asarray(y_true, np.float32), np.asarray(y_pred, np.float32)
    if y_true.size != y_pred.size:
        raise ValueError(
            f"metric {metric.name}: expected targets of the shape of the predictions, {y_pred.shape}, received "
            f"{y_true.shape}; utils.to_categorical makes them of labels"
        )
    weight = np.ones(len(y_pred)) if sample_weight is None else np.asarray(sample_weight, float)
    if weight.size == len(y_pred):
        weight = weight.reshape(-1)
    weights = np.broadcast_to(weight.reshape(*weight.shape, *[1] * (y_pred.ndim - weight.ndim)), y_pred.shape)
    return y_true.reshape(y_pred.shape), y_pred, weights


THRESHOLDS: Kind = "from 0 to 1", lambda given: all(0 <= one <= 1 for one in np.atleast_1d(given))


class _ThresholdMetric(Metric):
    """Sums the weights of true and of false targets per column: all, and those predicted above each of T thresholds."""

    thresholds: np.ndarray  # (T,)

    def reset_state(self) -> None:
        self.above = np.zeros((2, len(self.thresholds), 1))  # (true or false, T, L)
        self.totals = np.zeros((2, 1))  # (true or false, L)

    def _count(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray) -> None:
        """Adds arrays (M, L)."""
        T, L = len(self.thresholds), y_pred.shape[1]
        order = np.argsort(self.thresholds)
        below = np.searchsorted(self.thresholds[order].astype(np.float32), y_pred)  # how many thresholds, (M, L)
        places = (below + (T + 1) * np.arange(L)).reshape(-1)
        both = np.stack([y_true != 0, y_true == 0]) * weights  # (2, M, L)
        found = [np.bincount(places, one.reshape(-1), L * (T + 1)).reshape(L, T + 1) for one in both]
        from_bin = np.flip(np.flip(np.stack(found), -1).cumsum(axis=-1), -1)  # predictions in that bin or a later one
        above = from_bin[..., 1:]  # those above each threshold, (2, L, T)
        self.above = self.above + above.transpose(0, 2, 1)[:, np.argsort(order)]
        self.totals = self.totals + both.sum(axis=1)


class _OneThresholdMetric(_ThresholdMetric):
    """What precision and recall have in common: thresholds, the `top_k` classes of a sample, one class alone."""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self.given, self.top_k, self.class_id = thresholds, top_k, class_id
        default = 0.5 if top_k is None else FILTERED
        check(f"metric {self.name}", or_none(NUMBER), top_k=top_k)
        if thresholds is not None:
            check(f"metric {self.name}", THRESHOLDS, thresholds=thresholds)
        self.thresholds = np.array(default if thresholds is None else thresholds, float).reshape(-1)
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weights = _alike(self, y_true, y_pred, sample_weight)
        if self.top_k is not None:
            ranks = np.argsort(np.argsort(-y_pred, axis=-1, kind="stable"), axis=-1)
            y_pred = np.where(ranks < self.top_k, y_pred, np.float32(FILTERED))
        if self.class_id is not None:
            if y_pred.ndim < 2 or not 0 <= self.class_id < y_pred.shape[-1]:
                raise ValueError(
                    f"metric {self.name}: there is no class {self.class_id} in predictions of shape {y_pred.shape}"
                )
            y_true, y_pred, weights = (values[..., self.class_id] for values in (y_true, y_pred, weights))
        self._count(*(values.reshape(-1, 1) for values in (y_true, y_pred, weights)))

    def get_config(self) -> dict[str, Any]:
        thresholds = self.given if self.given is None or np.ndim(self.given) == 0 else list(self.given)
        return super().get_config() | {"thresholds": thresholds, "top_k": self.top_k, "class_id": self.class_id}


FILTERED = -1e10  # takes the place of predictions that are not among the `top_k`


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where that is 0 / 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole != 0)


class Precision(_OneThresholdMetric):
    """Of all predictions above a threshold, the share that is true: TP / (TP + FP), a number per threshold

    Targets (N, K) or (N,) of 0 and 1, predictions of the same shape. With `top_k` those of the k likeliest classes count, without
    a threshold; with `class_id` those of one class. 0 where there are none.
    """

    def result(self) -> Any:
        return plain(_share(self.above[0], self.above.sum(axis=0))[:, 0])


class Recall(_OneThresholdMetric):
    """Of all that is true, the share that is predicted, with a number above a threshold: TP / (TP + FN); else as `Precision`."""

    def result(self) -> Any:
        return plain(_share(self.above[0], self.totals[0])[:, 0])


class _Counted(_OneThresholdMetric):
    """Targets (N, K) or (N,) of 0 and 1, predictions of the same shape; each counts the weight of its sample."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {"name": config["name"], "thresholds": config["thresholds"]}


class TruePositives(_Counted):
    """How many are true and predicted, with a number above a threshold: a number per threshold"""

    def result(self) -> Any:
        return plain(self.above[0, :, 0])


class FalsePositives(_Counted):
    """How many are predicted and not true, a number per threshold"""

    def result(self) -> Any:
        return plain(self.above[1, :, 0])


class TrueNegatives(_Counted):
    """How many are neither predicted nor true, a number per threshold"""

    def result(self) -> Any:
        return plain(self.totals[1] - self.above[1, :, 0])


class FalseNegatives(_Counted):
    """How many are true and not predicted, a number per threshold"""

    def result(self) -> Any:
        return plain(self.totals[0] - self.above[0, :, 0])


class AUC(_ThresholdMetric):
    """The area under the ROC curve (recall over the share of false predictions) or, `curve="PR"`, of precision over recall

    Targets (N, K) or (N,) of 0 and 1, predictions of the same shape. The curve has a point for each of `num_thresholds`,
    evenly from 0 to 1, or for the given `thresholds`; in between it is a line (for PR as Davis and Goadrich have it, "The
    relationship between precision-recall and ROC curves", 2006), or with `summation_method` "minoring" the lower end of
    each interval, "majoring" the upper one. With `multi_label` it is the mean of the areas of all columns, weighted by
    `label_weights`. With `from_logits` a sigmoid makes probabilities of scores.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(dtype, name)
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        if self.curve not in ("ROC", "PR"):
            raise ValueError(f"metric {self.name}: curve must be ROC or PR, not {curve!r}")
        if self.summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                f"metric {self.name}: summation_method must be interpolation, minoring or majoring, not {summation_method!r}"
            )
        if thresholds is None:
            check(f"metric {self.name}", whole("2 or more", 2), num_thresholds=num_thresholds)
        else:
            kind = "a list of numbers", lambda given: all(map(is_number, given))
            check(f"metric {self.name}", kind, thresholds=thresholds)
        self.given = None if thresholds is None else sorted(map(float, thresholds))
        inner = np.linspace(0, 1, num_thresholds)[1:-1] if self.given is None else self.given
        self.thresholds = np.array([-1e-7, *inner, 1 + 1e-7])
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else np.asarray(label_weights, float)
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weights = _alike(self, y_true, y_pred, sample_weight)
        if self.from_logits:
            y_pred = activations.sigmoid(y_pred)
        y_pred = np.clip(y_pred, 0, 1)
        if self.multi_label:
            if y_pred.ndim != 2 or self.num_labels not in (None, y_pred.shape[1]):
                raise ValueError(
                    f"metric {self.name}: expected predictions of shape (batch, {self.num_labels or 'labels'}), "
                    f"received {y_pred.shape}"
                )
            return self._count(y_true, y_pred, weights)
        if self.label_weights is not None:
            weights = weights * self.label_weights
        return self._count(*(values.reshape(-1, 1) for values in (y_true, y_pred, weights)))

    def result(self) -> Any:
        (tp, fp), (positives, negatives) = self.above, self.totals  # (T, L), (L,)
        recall, precision = _share(tp, positives), _share(tp, tp + fp)
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = _share(self._between(tp, tp + fp), positives)
        else:
            x, y = (_share(fp, negatives), recall) if self.curve == "ROC" else (recall, precision)
            low, high = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
            heights = {"minoring": low, "majoring": high, "interpolation": (low + high) / 2}
            areas = (x[:-1] - x[1:]) * heights[self.summation_method]
        by_label = areas.sum(axis=0)  # (L,)
        weights = np.ones(1) if self.label_weights is None or not self.multi_label else self.label_weights
        return float((by_label * weights).mean() / weights.mean())

    @staticmethod
    def _between(tp: np.ndarray, p: np.ndarray) -> np.ndarray:
        """∫ precision d TP from each threshold to the next, TP and P = TP + FP being lines there.

        With TP = slope · P + rest that is slope · (ΔTP + rest · log(P₁ / P₂)), and slope · ΔTP where P begins at 0.
        """
        steps = tp[:-1] - tp[1:]
        slope = _share(steps, p[:-1] - p[1:])
        rest = tp[1:] - slope * p[1:]
        ratio = np.divide(p[:-1], p[1:], out=np.ones_like(rest), where=(p[:-1] > 0) & (p[1:] > 0))
        area: np.ndarray = slope * (steps + rest * np.log(ratio))
        return area

    def get_config(self) -> dict[str, Any]:
        names = "curve", "summation_method", "multi_label", "num_labels", "from_logits"
        found = super().get_config() | {"num_thresholds": len(self.thresholds)} | {n: getattr(self, n) for n in names}
        found["label_weights"] = None if self.label_weights is None else self.label_weights.tolist()
        return found | ({} if self.given is None else {"thresholds": self.given})


class FBetaScore(Metric):
    """(1 + β²) · precision · recall / (β² · precision + recall), for each class: (K,)

    Targets (N, K) of 0 and 1, predictions of the same shape. The class with the largest prediction of a sample is
    predicted, or with a `threshold` all classes above it. `average` makes one number of them: "macro" their mean, "weighted" their mean
    weighted by how often each class is true, "micro" that of all predictions together.
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"metric {self.name}: average must be micro, macro, weighted or None, not {average!r}")
        check(f"metric {self.name}", POSITIVE, beta=beta)
        if threshold is not None:
            kind = numbers("above 0 and at most 1", lambda threshold: 0 < threshold <= 1)
            check(f"metric {self.name}", kind, threshold=threshold)
        self.average, self.beta, self.threshold = average, beta, threshold
        self.reset_state()

    def reset_state(self) -> None:
        self.right, self.predicted, self.true = np.zeros((3, 1))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weights = _alike(self, y_true, y_pred, sample_weight)
        if y_pred.ndim != 2:
            raise ValueError(
                f"metric {self.name}: expected predictions of shape (batch, classes), received {y_pred.shape}"
            )
        if self.threshold is None:
            chosen = (y_pred >= y_pred.max(axis=1, keepdims=True)) & (np.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > np.float32(self.threshold)
        sums = [(values * weights).sum(axis=0) for values in (chosen * y_true, chosen, y_true)]
        if self.average == "micro":
            sums = [values.sum(keepdims=True) for values in sums]
        self.right, self.predicted, self.true = self.right + sums[0], self.predicted + sums[1], self.true + sums[2]

    def result(self) -> Any:
        tiny, square = 1e-7, self.beta**2
        precision, recall = self.right / (self.predicted + tiny), self.right / (self.true + tiny)
        score = (1 + square) * precision * recall / (square * precision + recall + tiny)
        if self.average == "weighted":
            return float((score * self.true).sum() / (self.true.sum() + tiny))
        return score if self.average is None else float(score.mean())

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("average", "beta", "threshold")}
        return super().get_config() | own


class F1Score(FBetaScore):
    """2 · precision · recall / (precision + recall), for each class: see `FBetaScore`."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "beta"}


CLASSES: dict[str, type[Metric]] = {
    cls.__name__: cls
    for cls in (
        Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, TopKCategoricalAccuracy,
        SparseTopKCategoricalAccuracy, MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError,
        MeanSquaredLogarithmicError, LogCoshError, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge,
        RootMeanSquaredError, CosineSimilarity, BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy,
        Precision, Recall, TruePositives, FalsePositives, TrueNegatives, FalseNegatives, AUC, FBetaScore, F1Score, Mean, Sum,
    )
}  # fmt: skip
SMALL = {
    snake_case(cls.__name__): cls
    for cls in (
        LogCoshError, RootMeanSquaredError, Precision, Recall, TruePositives, FalsePositives, TrueNegatives, FalseNegatives, AUC,
        FBetaScore, F1Score, Mean, Sum,
    )
}  # fmt: skip
OF_SCORES = (
    *(accuracy, categorical_accuracy, sparse_categorical_accuracy),
    *(top_k_categorical_accuracy, sparse_top_k_categorical_accuracy),
)
BY_NAME: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy,
    "acc": accuracy,
    "binary_accuracy": binary_accuracy,
    **{function.__name__: function for function in OF_SCORES},
    **losses.BY_NAME,
    "cosine_similarity": cosine_similarity,
}


def get(identifier: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A metric from its name, a function, a loss, what `serialize` returned, or itself: an object with the three methods.

    `custom_objects` has classes and functions of your own by name, beside those that are registered.
    """
    refuse(identifier)
    if isinstance(identifier, dict) and identifier.get("module") == "keras.losses":
        return get(losses.get(identifier, custom_objects))
    if isinstance(identifier, dict):
        kind, config = class_of(identifier), identifier["config"]
        name = config if kind == "function" else kind
        found = known(custom_objects).get(name) or CLASSES.get(name)
        if found is None:
            raise ValueError(f"unknown metric {name}: pass it in custom_objects, or load with compile=False")
        return get(found) if kind == "function" else made(found, config)
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if hasattr(identifier, "update_state"):
        return identifier
    if isinstance(identifier, str) and identifier != "Accuracy" and identifier in CLASSES | SMALL:
        asked = (CLASSES | SMALL)[identifier]()  # which counts, also under another name
        asked.name = identifier
        return asked
    function = identifier if callable(identifier) else BY_NAME.get(str(identifier).lower())
    if function is None:
        raise ValueError(f"unknown metric {identifier!r}; expected one of {', '.join([*BY_NAME, *SMALL])}")
    return MeanMetric(function, name=identifier if isinstance(identifier, str) else None)


def serialize(metric: Any) -> Any:
    """What `get` makes the metric of again, in types that JSON has: for one of your own by its name, in `custom_objects`."""
    if isinstance(metric, str):
        return metric
    name = getattr(metric, "__name__", type(metric).__name__)
    if BY_NAME.get(name) is metric:
        return name
    if isinstance(metric, Metric):
        return description(metric)
    if isinstance(metric, losses.Loss):
        return losses.serialize(metric) | {"module": "keras.losses"}  # some metrics have names of losses
    return {"class_name": "function", "config": name}


def told_apart(given: list[Any]) -> list[Any]:
    """The same metrics; ValueError for two functions of one name, of which a file could name only one."""
    names: dict[str, Any] = {}
    for metric in given:
        name = getattr(metric, "__name__", "")
        if name and names.setdefault(name, metric) is not metric:
            raise ValueError(f"two metrics are named {name!r}, and cannot be saved: give each a name of its own")
    return given


def tracked(given: Iterable[Any], beside: Collection[str] = ()) -> dict[str, Any]:
    """Metrics for `compile` as objects, by the names under which they are reported `beside` others."""
    found: dict[str, Any] = {}
    for identifier in given:
        metric = get(identifier)
        if not hasattr(metric, "name"):
            check_begun(metric, "name", "name")
        if isinstance(metric, Sum) and type(metric).update_state is Sum.update_state:
            raise ValueError(f"metric {metric.name}: a {type(metric).__name__} is of loops of your own, not of compile")
        name = f"weighted_{metric.name}" if metric.name in beside else metric.name
        while name in ("loss", *beside, *found):
            name += "_1"
        found[name] = metric
    return found


deserialize = get
__getattr__, _absent = without(__name__, "metric ", {
    "a metric of your own is a Metric, or a function of y_true and y_pred": """
        IoU BinaryIoU OneHotIoU MeanIoU OneHotMeanIoU R2Score MatthewsCorrelation ConcordanceCorrelation PearsonCorrelation
        PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity SpecificityAtSensitivity MeanRelativeError SumOverBatchSize
        fmeasure matthews_correlation
        concordance_correlation pearson_correlation cosine_proximity""",
    "a function of y_true and y_pred is a metric as it is": "MeanMetricWrapper",
})  # fmt: skip

__all__ = [
    *CLASSES, *losses.BY_NAME, "Metric", "binary_accuracy", "categorical_accuracy", "deserialize", "get", "serialize",
    "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy", "top_k_categorical_accuracy", *_absent,
]  # fmt: skip
