"""The training loop, and its relatives without training: fit, evaluate, predict.

An epoch is one pass over the data in shuffled batches. The order of the samples is a function of the model's
seed and of the number of steps trained before.
"""

import sys
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import metrics as all_metrics
from .callbacks import Callback, History, ProgressBar

if TYPE_CHECKING:
    from .models import Sequential


PAUSE = 0.05  # seconds for which steps are done without looking at the progress bar, or at Ctrl-C


class RunningMeans:
    """Means over the samples seen so far of the loss and of each metric."""

    def __init__(self, model: "Sequential") -> None:
        self.metrics = {name: all_metrics.get(name) for name in model.metrics}
        self.sums = dict.fromkeys(["loss", *self.metrics], 0.0)
        self.samples = 0

    def add(self, losses: list[float], y_true: np.ndarray, y_pred: np.ndarray) -> None:
        """Adds one or more batches of equal size."""
        samples = len(y_pred) // len(losses)
        self.samples += len(y_pred)
        for loss in losses:
            self.sums["loss"] += loss * samples
        for name, metric in self.metrics.items():
            for value in metric(y_true, y_pred).reshape(len(losses), samples).sum(axis=1).tolist():
                self.sums[name] += value

    def logs(self, prefix: str = "") -> dict[str, float]:
        return {prefix + name: total / self.samples for name, total in self.sums.items()}


def checked(
    x: Any, y: Any = None, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The three as arrays of equal length; ValueError where they differ or there is nothing."""
    x = np.asarray(x)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"expected at least one sample, got an array of shape {x.shape}")
    y = None if y is None else np.asarray(y)
    sample_weight = None if sample_weight is None else np.asarray(sample_weight)
    for name, values in (("targets", y), ("sample weights", sample_weight)):
        if values is not None and len(values) != len(x):
            raise ValueError(f"{len(x)} samples but {len(values)} {name}")
    return x, y, sample_weight


def positive_integer(name: str, value: Any) -> int:
    """`value`, if it is a whole number from 1 on; else ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, not {value!r}")
    return int(value)


def weights_of(
    y: np.ndarray, sample_weight: np.ndarray | None, class_weight: Mapping[int, float] | None
) -> np.ndarray | None:
    """Sample weights times the weight of each sample's class."""
    if class_weight is None:
        return sample_weight
    labels = all_metrics.labels_of(y)
    missing = sorted({int(label) for label in np.unique(labels)} - set(class_weight))
    if missing:
        raise ValueError(f"class_weight has no weight for class {missing[0]}")
    by_class = np.array([class_weight[int(label)] for label in labels], float)
    return by_class if sample_weight is None else by_class * sample_weight


def batches(samples: int, batch_size: int) -> Iterable[slice]:
    return (slice(first, min(samples, first + batch_size)) for first in range(0, samples, batch_size))


def watches_batches(listener: Callback) -> bool:
    """Whether a callback is to be called after every batch, as one is that has a hook of its own for it."""
    hooks = [
        (getattr(listener, name), getattr(Callback, name)) for name in ("on_train_batch_begin", "on_train_batch_end")
    ]
    own = any(getattr(hook, "__func__", None) is not inherited for hook, inherited in hooks)
    return own and type(listener) is not ProgressBar


def fit(
    model: "Sequential",
    x: Any,
    y: Any,
    batch_size: int | None,
    epochs: int,
    verbose: Any,
    callbacks: Iterable[Callback] | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    initial_epoch: int,
) -> History:
    x, y, sample_weight = checked(x, y, sample_weight)
    if y is None:
        raise ValueError("fit needs targets: fit(x, y)")
    if validation_data is None and validation_split:
        if not 0 < validation_split < 1:
            raise ValueError(f"validation_split must be between 0 and 1, not {validation_split}")
        kept = int(len(x) * (1 - validation_split))
        if not 0 < kept < len(x):
            raise ValueError(f"validation_split={validation_split} of {len(x)} samples leaves no sample on one side")
        validation_data = (x[kept:], y[kept:]) if sample_weight is None else (x[kept:], y[kept:], sample_weight[kept:])
        x, y, sample_weight = x[:kept], y[:kept], None if sample_weight is None else sample_weight[:kept]
    samples = len(x)
    batch_size = positive_integer("batch_size", min(32, samples) if batch_size is None else batch_size)
    if batch_size > samples:
        raise ValueError(
            f"batch_size must be between 1 and the number of training samples, {samples}, not {batch_size}"
        )
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    weights = weights_of(y, sample_weight, class_weight)
    model.build((None, *x.shape[1:]))
    if model.optimizer is None:
        raise ValueError("the model has no optimizer: call compile(optimizer, loss) first")
    if model.loss is None:
        raise ValueError("the model has no loss: call compile(optimizer, loss) first")
    model.loss.one_hot(y, model.output_shape[-1] or 0)  # says which label is wrong, before anything is trained

    history = History()
    listeners = [history, *([ProgressBar()] if verbose else []), *(callbacks or [])]
    steps = -(-samples // batch_size)
    for listener in listeners:
        listener.model, listener.params = (
            model,
            {"epochs": epochs, "steps": steps, "samples": samples, "verbose": verbose},
        )
    model.history, model.stop_training = history, False

    watched, at_once = any(watches_batches(listener) for listener in listeners), 1
    for listener in listeners:
        listener.on_train_begin({})
    for epoch in range(initial_epoch, epochs):
        for listener in listeners:
            listener.on_epoch_begin(epoch, {})
        order = np.arange(samples)
        if shuffle:
            order = np.random.Generator(np.random.Philox(key=[model.seed, model.optimizer.iterations])).permutation(
                samples
            )
        means = RunningMeans(model)
        number = 0
        while number < steps:
            for listener in listeners:
                listener.on_train_batch_begin(number, {})
            together = max(1, min(at_once, samples // batch_size - number))  # batches; the last may be a smaller one
            rows = order[number * batch_size : (number + together) * batch_size]
            targets, start = y[rows], perf_counter()
            losses, scores = model.train_steps(
                x, targets, None if weights is None else weights[rows], rows, min(batch_size, len(rows))
            )
            number += together
            means.add(losses, targets, scores)
            logs = means.logs()
            for listener in listeners:
                listener.on_train_batch_end(number - 1, logs | {"size": len(rows)})
            if not watched:
                at_once = max(1, int(PAUSE * together / (perf_counter() - start)))
        if validation_data is not None:
            x_val, y_val, *weights_val = validation_data
            found = evaluate(model, x_val, y_val, weights_val[0] if weights_val else None, batch_size)
            logs |= {f"val_{name}": value for name, value in found.items()}
        for listener in listeners:
            listener.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    for listener in listeners:
        listener.on_train_end(logs if samples and epochs > initial_epoch else {})
    return history


def evaluate(
    model: "Sequential", x: Any, y: Any, sample_weight: Any = None, batch_size: int | None = None
) -> dict[str, float]:
    x, y, sample_weight = checked(x, y, sample_weight)
    if y is None:
        raise ValueError("evaluate needs targets: evaluate(x, y)")
    means = RunningMeans(model)
    for batch in batches(len(x), 256 if batch_size is None else positive_integer("batch_size", batch_size)):
        loss, scores = model.scores_of(x[batch], y[batch], None if sample_weight is None else sample_weight[batch])
        means.add([loss], y[batch], scores)
    return means.logs()


def predict(model: "Sequential", x: Any, batch_size: int | None = None) -> np.ndarray:
    x, _, _ = checked(x)
    batch_size = 256 if batch_size is None else positive_integer("batch_size", batch_size)
    output = None
    for batch in batches(len(x), batch_size):
        part = model.outputs_of(x[batch])
        if output is None:
            output = np.empty((len(x), *part.shape[1:]), part.dtype)
        output[batch] = part
    assert output is not None
    return output
