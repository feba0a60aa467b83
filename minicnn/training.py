"""The training loop, and its relatives without training: fit, evaluate, predict.

An epoch is one pass over the batches that `batches.py` makes of the data.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from numbers import Integral
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import activations
from . import metrics as all_metrics
from .batches import (
    INFERENCE,
    SEEN,
    Feed,
    checked,
    is_stream,
    positive_integer,
    to_measure,
)
from .callbacks import Callback, ProgressBar, Recorded

if TYPE_CHECKING:
    from .sequential import Sequential

PAUSE = 0.05  # seconds for which steps are done without looking at the progress bar, or at Ctrl-C


class RunningMeans:
    """The loss and the metrics that a model is compiled with: means over the samples seen so far.

    `asked` and `asked_weighted` are metrics as they were given; only the latter mind the weights of samples. ValueError
    for one that is not known.
    """

    def __init__(self, asked: Iterable[Any] = (), asked_weighted: Iterable[Any] = ()) -> None:
        self.asked, self.asked_weighted = list(asked), list(asked_weighted)
        self.loss = all_metrics.Mean("loss")
        self.metrics = all_metrics.tracked(self.asked)
        self.weighted = all_metrics.tracked(self.asked_weighted, self.metrics)
        self.all = {"loss": self.loss} | self.metrics | self.weighted  # by the names under which they are reported
        self.free = [True]  # empty while these are counting

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"free": [True]}

    @contextmanager
    def counting(self) -> Iterator["RunningMeans"]:
        """These, or copies of them where these are counting already, with no samples seen."""
        try:
            self.free.pop()
            means = self
        except IndexError:
            means = deepcopy(self)
        try:
            for metric in means.all.values():
                metric.reset_state()
            yield means
        finally:
            if means is self:
                self.free.append(True)

    def add(
        self,
        model: "Sequential",
        losses: list[float],
        y_true: np.ndarray,
        y_pred: np.ndarray,
        sample_weight: np.ndarray | None = None,
    ) -> None:
        """Adds one or more batches of equal size, given the scores of all."""
        samples = len(y_pred) // len(losses)
        for loss in losses:
            self.loss.total += loss * samples
            self.loss.weight += samples
        probabilities, softmaxed = None, bool(self.metrics or self.weighted) and model.ends_with_softmax
        counted = [(metric, None) for metric in self.metrics.values()]
        for metric, weights in [*counted, *((metric, sample_weight) for metric in self.weighted.values())]:
            found = y_pred
            if softmaxed and not getattr(metric, "of_scores", False):
                probabilities = activations.softmax(y_pred) if probabilities is None else probabilities
                found = probabilities
            arrays = [y_true, found] if weights is None else [y_true, found, weights]
            if getattr(type(metric), "update_state", None) is all_metrics.MeanMetric.update_state:
                metric.update_state(y_true, found, weights, len(losses))
            elif type(metric).__module__ == all_metrics.__name__:
                metric.update_state(*arrays)
            else:  # one of the user's own may count batches
                for part in zip(*(np.split(array, len(losses)) for array in arrays), strict=True):
                    metric.update_state(*part)

    def logs(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, metric in self.all.items():
            result = metric.result()
            named = result if isinstance(result, dict) else {name: result}
            found |= {key: all_metrics.plain(value) for key, value in named.items()}
        return found


def in_order(logs: dict[str, float]) -> dict[str, float]:
    """Numbers sorted by their names, as Keras has them in its history."""
    return Recorded(sorted(logs.items()))


def introduced(
    model: "Sequential", callbacks: Callback | Iterable[Callback] | None, *ours: Callback, **params: Any
) -> list[Callback]:
    """The callbacks of the user, one or several, and ours, who know the model and `params` from now on; TypeError for others."""
    given: Any = callbacks or []
    listeners = [*(given if isinstance(given, Iterable) else [given]), *ours]
    for listener in listeners:
        if isinstance(listener, type) or not hasattr(listener, "set_model"):
            raise TypeError(f"expected callbacks that are objects of a class made from Callback, got {listener!r}")
        listener.set_model(model)
        listener.set_params(params)
    return listeners


def tell(listeners: Iterable[Callback], hook: str, *arguments: Any) -> None:
    """Calls a hook of all callbacks, in their order."""
    for listener in listeners:
        getattr(listener, hook)(*arguments)


def train_epoch(
    model: "Sequential", feed: Feed, epoch: int, first: int, listeners: list[Callback], bar: ProgressBar | None
) -> dict[str, float]:
    """Trains on the batches of an epoch from number `first` on, and returns loss and metrics.

    Several steps are done at once where no callback watches them; the last of them is the one that callbacks hear of.
    """
    watched = any(getattr(listener, "watches_batches", True) for listener in listeners)  # of a class of Keras' own, too
    number, at_once = first, 1
    logs: dict[str, float] = {}
    with model._means.counting() as means:
        while feed.steps is None or number < feed.steps:
            taken = feed.take(number, at_once)
            if taken is None:
                break
            (inputs, targets, weights, rows), together = taken
            tell(listeners, "on_train_batch_begin", number, {})
            start, samples = perf_counter(), len(targets)
            size = samples if together == 1 else samples // together
            losses, scores = model.train_steps(inputs, targets, weights, rows, size)
            number += together
            means.add(model, losses, targets, scores, weights)
            logs = in_order(means.logs())
            if bar:
                bar.add(samples)
            tell(listeners, "on_train_batch_end", number - 1, logs)
            if not model.stop_training:
                check_finite(losses, epoch, number - together)
            if not watched:
                at_once = max(1, int(PAUSE * together / (perf_counter() - start)))
            elif model.stop_training:
                break
    if number == 0:
        raise ValueError("the generator gave no batch to train on")
    feed.end()
    return logs


def check_counts(epochs: int, initial_epoch: int, validation_freq: int | list[int], **counts: int | None) -> None:
    """ValueError for a number of epochs, steps or samples that is none; `counts` may be None."""
    for name, number in (("epochs", epochs), ("initial_epoch", initial_epoch)):
        if not isinstance(number, Integral):
            raise ValueError(f"{name} must be a whole number, not {number!r}")
    for name, given in counts.items():
        if given is not None:
            positive_integer(name, given)
    for number in validation_freq if isinstance(validation_freq, list) else [validation_freq]:
        positive_integer("validation_freq", number)


def check_fitting(model: "Sequential", x: np.ndarray, y: np.ndarray) -> None:
    """Builds the model for samples like x; ValueError where it was built for others, or the targets do not fit its loss."""
    model.build((None, *x.shape[1:]))
    model.check_targets(y)  # says which label is wrong


def check_finite(losses: list[float], epoch: int, first: int) -> None:
    """ValueError for a loss that is not finite; those of the steps of an epoch from number `first` on."""
    for step, loss in enumerate(losses, start=first):
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in epoch {epoch + 1}, step {step + 1}: lower the learning rate, or look for values that "
                "are not finite in the data"
            )


def is_validated(epoch: int, validation_freq: int | list[int]) -> bool:
    """Whether validation data are looked at after this epoch, 0 being the first: after every n-th, or after those listed."""
    if isinstance(validation_freq, list):
        return epoch + 1 in validation_freq
    return (epoch + 1) % validation_freq == 0


def validation_of(model: "Sequential", data: Any, batch_size: int | None, steps: int | None) -> Callable[[], Feed]:
    """What gives the batches of one validation: of a tuple (x, y) or (x, y, weights), or of what gives batches.

    ValueError for arrays that do not fit the model, before anything is trained.
    """
    data = data if isinstance(data, tuple | list) else (data, None)
    if len(data) not in (2, 3):
        raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight), not {len(data)} things")
    x, y, sample_weight = (*data, None)[:3]
    if not is_stream(x):
        x, y, sample_weight = checked(model, x, y, sample_weight)
        if y is None:
            raise ValueError("validation_data needs targets: (x, y)")
        check_fitting(model, x, y)
    default = SEEN if summed(model) else INFERENCE
    return partial(to_measure, model, x, y, sample_weight, batch_size, steps, default)


def summed(model: "Sequential") -> bool:
    """Whether the loss of a batch may not be a mean over its samples: the mean over batches depends on their size then."""
    return getattr(model.loss, "reduction", "") == "sum" or getattr(model.loss, "calls", False)


def measure(model: "Sequential", feed: Feed, listeners: list[Callback]) -> dict[str, float]:
    """Loss and metrics over an epoch of batches."""
    tell(listeners, "on_test_begin", {})
    feed.begin(model)
    with model._means.counting() as means:
        number = 0
        while feed.steps is None or number < feed.steps:
            taken = feed.take(number, 1)
            if taken is None:
                break
            (inputs, targets, weights, rows), _ = taken
            if rows is not None:
                inputs = inputs[rows[0] : rows[-1] + 1]
            tell(listeners, "on_test_batch_begin", number, {})
            loss, scores = model.scores_of(inputs, targets, weights)
            means.add(model, [loss], targets, scores, weights)
            tell(listeners, "on_test_batch_end", number, in_order(means.logs()))
            number += 1
        if number == 0:
            raise ValueError("there was no batch to evaluate")
        feed.end()
        tell(listeners, "on_test_end", in_order(means.logs()))
        return means.logs()
