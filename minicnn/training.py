"""The training loop, and its relatives without training: fit, evaluate, predict.

An epoch is one pass over the data: over arrays in shuffled batches, where the order is a function of the model's seed and
of the number of steps trained before; or over the batches that a generator gives.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import activations
from . import metrics as all_metrics
from .callbacks import Callback, History, ProgressBar
from .seeding import generator

if TYPE_CHECKING:
    from .sequential import Sequential

PAUSE = 0.05  # seconds for which steps are done without looking at the progress bar, or at Ctrl-C
INFERENCE = 256  # samples of a batch that is not trained on, unless told
Batch = tuple[Any, Any, Any, Any]  # x, y, sample weights, and which rows of x, or None for all


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
    return dict(sorted(logs.items()))


# ---------------------------------------------------------------------- where batches come from


class Feed(Protocol):
    """What `fit` takes batches from."""

    @property
    def steps(self) -> int | None:
        """Of an epoch, where that is known."""

    @property
    def samples(self) -> int | None: ...

    def begin(self, model: "Sequential", epoch: int = 0, done: int = 0) -> None:
        """Begins epoch number `epoch` of this training, of which `done` batches have been trained already."""

    def take(self, number: int, most: int) -> tuple[Batch, int] | None:
        """Batch `number` and full ones after it, at most `most` in all, and how many these are; None when there is none left."""

    def end(self) -> None:
        """Ends an epoch."""


class Arrays:
    """All samples in memory, pass after pass, with `shuffle` in another order in each.

    An epoch is one pass, or so many steps: then the next epoch goes on where it has ended.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        batch_size: int,
        shuffle: bool,
        steps: int | None,
    ) -> None:
        self.x = x[:]  # an array of its own: by it a device knows what it has a copy of
        self.y, self.weights, self.batch_size, self.shuffle = y, weights, batch_size, shuffle
        self.whole, self.batches = len(x) // batch_size, -(-len(x) // batch_size)
        self.steps = self.batches if steps is None else min(self.batches, steps)
        self.samples = min(len(x), self.steps * batch_size)
        self.passes: Passes | None = None

    def begin(self, model: "Sequential", epoch: int = 0, done: int = 0) -> None:
        if self.passes is None:
            place = (epoch * self.steps + done) % self.batches
            self.passes = Passes(model, len(self.x), self.shuffle, place)

    def take(self, number: int, most: int) -> tuple[Batch, int]:
        assert self.passes is not None
        order, place = self.passes.order, self.passes.place
        together = max(1, min(most, self.whole - place, self.steps - number))  # the last batch may be a smaller one
        rows = order[place * self.batch_size : (place + together) * self.batch_size]
        self.passes.place = (place + together) % self.batches
        return (self.x, self.y[rows], None if self.weights is None else self.weights[rows], rows), together

    def end(self) -> None: ...


class Passes:
    """The order of `count` things in one pass after another; `place` is the next batch of this pass.

    With `shuffle` an order is a function of the steps trained before the pass; so it is found again for a training that
    goes on at a `place` other than 0.
    """

    def __init__(self, model: "Sequential", count: int, shuffle: bool, place: int) -> None:
        self.model, self.count, self.shuffle, self.place = model, count, shuffle, place
        self._order = self._drawn() if place else np.arange(0)

    @property
    def order(self) -> np.ndarray:
        """Of the pass that `place` is in; asked for once per batch, since it is drawn where a pass begins."""
        if self.place == 0:
            self._order = self._drawn()
        return self._order

    def _drawn(self) -> np.ndarray:
        if not self.shuffle or self.model.optimizer is None:
            return np.arange(self.count)
        before = max(0, self.model.optimizer.iterations - self.place)
        return generator(self.model.seed, before).permutation(self.count)


class Stream:
    """Batches (x, y) or (x, y, weights) from a generator or another iterator, or by number from a sequence."""

    samples: int | None = None

    def __init__(self, source: Any, steps: int | None, class_weight: Mapping[int, float] | None, shuffle: bool) -> None:
        self.source, self.class_weight, self.shuffle = source, class_weight, shuffle
        self.indexed = not hasattr(source, "__next__") and hasattr(source, "__getitem__")
        self.cut = steps is not None  # into epochs of so many steps
        self.steps = len(source) if steps is None and hasattr(source, "__len__") else steps
        self.passes: Passes | None = None
        self.repeats = not hasattr(source, "__next__")  # can be gone through again
        self.iterator: Iterator[Any] | None = None

    def begin(self, model: "Sequential", epoch: int = 0, done: int = 0) -> None:
        self.model = model
        if self.indexed:
            if hasattr(self.source, "on_epoch_begin"):
                self.source.on_epoch_begin()
            batches = len(self.source)
            if batches == 0:
                raise ValueError(
                    f"expected at least one batch, but the length of this {type(self.source).__name__} is 0"
                )
            if not self.cut:
                self.steps = batches
            assert self.steps is not None
            if self.passes is None or self.passes.count != batches or not self.cut:
                place = (epoch * self.steps + done) % batches
                self.passes = Passes(model, batches, self.shuffle, place if self.cut else done)
            return
        if self.iterator is None:
            self.iterator = iter(self.source)
        for _ in range(done):
            next(self.iterator, None)

    def next(self, number: int) -> Any:
        """Batch `number` of the epoch as the source gives it, or None when there is none left."""
        if self.indexed:
            assert self.passes is not None
            found = self.source[int(self.passes.order[self.passes.place])]
            self.passes.place = (self.passes.place + 1) % self.passes.count
            return found
        assert self.iterator is not None
        found = next(self.iterator, None)
        if found is None and self.steps is not None and self.repeats:
            self.iterator = iter(self.source)
            found = next(self.iterator, None)
        if found is None and self.steps is not None:
            raise ValueError(
                f"the generator has ended after {number} batches of this epoch; expected {self.steps} in every epoch"
            )
        return found

    def take(self, number: int, most: int) -> tuple[Batch, int] | None:
        found = self.next(number)
        if found is None:
            return None
        if not isinstance(found, tuple | list) or len(found) not in (2, 3):
            raise ValueError("a generator must give (x, y) or (x, y, sample_weight) for every batch")
        x, y, weight = checked(self.model, *found)
        assert y is not None
        return (x, y, weights_of(y, weight, self.class_weight), None), 1

    def end(self) -> None:
        if self.indexed and hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()
        if self.repeats and self.steps is None:
            self.iterator = None


def is_stream(x: Any) -> bool:
    """Whether x gives batches, and is not itself data."""
    if isinstance(x, Mapping | list | tuple):
        return False
    if hasattr(x, "__next__"):
        return True
    if hasattr(x, "__array__"):
        return False
    return hasattr(x, "__len__") if hasattr(x, "__getitem__") else hasattr(x, "__iter__")


def checked(
    model: "Sequential", x: Any, y: Any = None, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The three as arrays of equal length, x as the model takes it; ValueError where they differ or there is nothing."""
    x = numbers(as_batch(model, x), "samples")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"expected at least one sample, got an array of shape {x.shape}")
    y = None if y is None else numbers(unwrapped(y, len(x)), "targets")
    sample_weight = None if sample_weight is None else numbers(sample_weight, "sample weights")
    for name, values in (("targets", y), ("sample weights", sample_weight)):
        if values is not None and (values.ndim == 0 or len(values) != len(x)):
            raise ValueError(f"{len(x)} samples but {len(values) if values.ndim else 'a single number as'} {name}")
    return x, y, sample_weight


def numbers(values: Any, what: str) -> np.ndarray:
    """Values as an array of numbers, also those that are written as strings, or are objects: tables have such columns."""
    found = np.asarray(values)
    if found.dtype.kind not in "OSU":
        return found
    try:
        return found.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers: {error}") from None


def as_batch(model: "Sequential", x: Any) -> Any:
    """x as the model takes it: a list of one array is that array, and an axis of length 1 comes or goes at the end, as in Keras.

    ValueError for arrays by name.
    """
    if isinstance(x, Mapping):
        if not (len(x) == 1 and model._layers and model._layers[0].name in x):
            raise ValueError(
                f"a model has one input: expected its array, not a dictionary with {', '.join(map(str, x))}"
            )
        x = x[model._layers[0].name]
    inner = [x[0]] if isinstance(x, list | tuple) and len(x) == 1 else []
    if not (model._layers and model._layers[0].built):
        return inner[0] if inner and np.ndim(inner[0]) > 1 else x
    expected = model._layers[0].input_shape[1:]
    for given in (*inner, x):
        shape = np.shape(given)[1:]
        if shape == expected:
            return given
        if (*shape, 1) == expected:
            return np.asarray(given)[..., None]
        if shape == (*expected, 1):
            return np.asarray(given)[..., 0]
    return x


def unwrapped(y: Any, samples: int) -> Any:
    """The targets, or those in a list of one array, of so many samples; ValueError for a dictionary."""
    if isinstance(y, Mapping):
        raise ValueError(
            f"a model has one output: expected its targets, not a dictionary with {', '.join(map(str, y))}"
        )
    return y[0] if isinstance(y, list | tuple) and len(y) == 1 and np.ndim(y[0]) and len(y[0]) == samples else y


def positive_integer(name: str, value: Any) -> int:
    """`value`, if it is a whole number from 1 on; else ValueError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, not {value!r}")
    return int(value)


def batch_size_for(samples: int, batch_size: int | None, steps: int | None, default: int) -> int:
    """The batch size, if it is given; else that by which `steps` batches hold all samples, or the default."""
    if batch_size is not None:
        return positive_integer("batch_size", batch_size)
    return default if steps is None else -(-samples // steps)


def weights_of(
    y: np.ndarray, sample_weight: np.ndarray | None, class_weight: Mapping[int, float] | None
) -> np.ndarray | None:
    """Sample weights times the weight of each sample's class, which is 1 for a class without."""
    if class_weight is None:
        return sample_weight
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be a dictionary from labels to weights, not {class_weight!r}")
    labels = all_metrics.labels_of(y)
    by_class = np.array([class_weight.get(int(label), 1.0) for label in labels], float)
    return by_class if sample_weight is None else by_class.reshape(-1, *[1] * (sample_weight.ndim - 1)) * sample_weight


def introduced(
    model: "Sequential", callbacks: Callback | Iterable[Callback] | None, *ours: Callback, **params: Any
) -> list[Callback]:
    """The callbacks of the user, one or several, and ours, who know the model and `params` from now on."""
    listeners = [*([callbacks] if isinstance(callbacks, Callback) else callbacks or []), *ours]
    for listener in listeners:
        listener.set_model(model)
        listener.set_params(params)
    return listeners


def tell(listeners: Iterable[Callback], hook: str, *arguments: Any) -> None:
    """Calls a hook of all callbacks, in their order."""
    for listener in listeners:
        getattr(listener, hook)(*arguments)


def fit(
    model: "Sequential",
    x: Any,
    y: Any,
    batch_size: int | None,
    epochs: int,
    verbose: Any,
    callbacks: Callback | Iterable[Callback] | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    initial_epoch: int,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    validation_batch_size: int | None,
    validation_freq: int | list[int],
) -> History:
    """See `Sequential.fit`."""
    feed: Feed
    for name, number in (("epochs", epochs), ("initial_epoch", initial_epoch)):
        if not isinstance(number, Integral):
            raise ValueError(f"{name} must be a whole number, not {number!r}")
    counts = {"steps_per_epoch": steps_per_epoch}
    if validation_data is not None or validation_split:
        counts |= {"validation_steps": validation_steps, "validation_batch_size": validation_batch_size}
    for name, given in counts.items():
        if given is not None:
            positive_integer(name, given)
    for number in validation_freq if isinstance(validation_freq, list) else [validation_freq]:
        positive_integer("validation_freq", number)
    if is_stream(x):
        for name, value in (("y", y), ("sample_weight", sample_weight), ("validation_split", validation_split or None)):
            if value is not None:
                raise ValueError(f"fit cannot take {name} with a generator, whose batches hold everything")
        feed = Stream(x, steps_per_epoch, class_weight, shuffle)
        if feed.steps is None and not feed.repeats and epochs - initial_epoch > 1:
            raise ValueError("a generator without a length needs steps_per_epoch to be trained on for several epochs")
    else:
        x, y, sample_weight = checked(model, x, y, sample_weight)
        if y is None:
            raise ValueError("fit needs targets: fit(x, y)")
        if validation_data is None and validation_split:
            x, y, sample_weight, validation_data = split(x, y, sample_weight, validation_split)
        size = batch_size_for(len(x), batch_size, steps_per_epoch, 32)
        weights = weights_of(y, sample_weight, class_weight)
        feed = Arrays(x, y, weights, min(len(x), size), shuffle, steps_per_epoch)
        if validation_steps is None:  # which say the size of validation batches
            batch_size = 32 if batch_size is None else size
        model.build((None, *x.shape[1:]))
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    model.check_compiled()
    assert model.optimizer is not None
    if isinstance(feed, Arrays):
        model.check_targets(y)  # says which label is wrong, before anything is trained

    history = History()
    bar = ProgressBar() if verbose else None
    listeners = introduced(
        model, callbacks, history, *([bar] if bar else []),
        epochs=epochs, steps=feed.steps, samples=feed.samples, verbose=verbose, validation_freq=validation_freq,
    )  # fmt: skip
    model.history, model.stop_training = history, False
    watched = any(getattr(listener, "watches_batches", True) for listener in listeners)  # of a class of Keras' own, too
    at_once = 1
    logs: dict[str, float] = {}
    model.initial_epoch, model.initial_step = initial_epoch, 0
    tell(listeners, "on_train_begin", {})
    try:
        for epoch in range(model.initial_epoch, epochs):
            tell(listeners, "on_epoch_begin", epoch, {})
            number, model.initial_step = model.initial_step, 0
            feed.begin(model, epoch - initial_epoch, number)
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
                    if model.stop_training and watched:
                        break
                if number == 0:
                    raise ValueError("the generator gave no batch to train on")
                feed.end()
            if validation_data is not None and is_validated(epoch, validation_freq):
                found = validate(
                    model, validation_data, validation_batch_size or batch_size, validation_steps, listeners
                )
                logs |= {f"val_{name}": value for name, value in in_order(found).items()}
            tell(listeners, "on_epoch_end", epoch, dict(logs))
            if model.stop_training:
                break
    finally:
        if bar:
            bar.close()
    model.optimizer.finalize_variable_values(model.trainable_parameters)
    tell(listeners, "on_train_end", logs)
    return history


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


def split(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, share: float) -> tuple[Any, Any, Any, Any]:
    """x, y and weights without the last `share` of the samples, and these as validation data."""
    if not 0 < share < 1:
        raise ValueError(f"validation_split must be between 0 and 1, not {share}")
    kept = int(len(x) * (1 - share))
    if not 0 < kept < len(x):
        raise ValueError(f"validation_split={share} of {len(x)} samples leaves no sample on one side")
    if weights is None:
        return x[:kept], y[:kept], None, (x[kept:], y[kept:])
    return x[:kept], y[:kept], weights[:kept], (x[kept:], y[kept:], weights[kept:])


def validate(
    model: "Sequential", data: Any, batch_size: int | None, steps: int | None, listeners: list[Callback]
) -> dict[str, float]:
    """What `evaluate` says of validation data: a tuple (x, y) or (x, y, weights), or what gives batches."""
    data = data if isinstance(data, tuple | list) else (data, None)
    if len(data) not in (2, 3):
        raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight), not {len(data)} things")
    x, y, sample_weight = (*data, None)[:3]
    return measure(model, feed_to_measure(model, x, y, sample_weight, batch_size, steps), listeners)


def evaluate(
    model: "Sequential",
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int | None,
    steps: int | None,
    callbacks: Callback | Iterable[Callback] | None,
    verbose: Any,
) -> dict[str, float]:
    """See `Sequential.evaluate`."""
    feed = feed_to_measure(model, x, y, sample_weight, batch_size, steps)
    return measure(model, feed, introduced(model, callbacks, epochs=1, steps=feed.steps, verbose=verbose))


def feed_to_measure(
    model: "Sequential", x: Any, y: Any, sample_weight: Any, batch_size: int | None, steps: int | None
) -> Feed:
    """Arrays in their order, or what gives batches."""
    if steps is not None:
        positive_integer("steps", steps)
    if is_stream(x):
        return Stream(x, steps, None, False)
    x, y, sample_weight = checked(model, x, y, sample_weight)
    if y is None:
        raise ValueError("evaluate needs targets: evaluate(x, y)")
    return Arrays(x, y, sample_weight, batch_size_for(len(x), batch_size, steps, INFERENCE), False, steps)


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


def predict(
    model: "Sequential",
    x: Any,
    batch_size: int | None = None,
    steps: int | None = None,
    callbacks: Callback | Iterable[Callback] | None = None,
    verbose: Any = 0,
) -> Any:
    """See `Sequential.predict`."""
    most = INFERENCE if batch_size is None else batch_size
    if (
        type(x) is np.ndarray
        and type(most) is int
        and x.ndim
        and 0 < len(x) <= most
        and steps is None
        and not callbacks
    ):
        return model.outputs_of(x)  # one batch, for which all that follows would take as long as a small network
    if steps is not None:
        positive_integer("steps", steps)
    count, batches = _inputs(model, x, batch_size, steps)
    listeners = introduced(model, callbacks, epochs=1, steps=count, verbose=verbose)
    tell(listeners, "on_predict_begin", {})
    parts: list[Any] = []
    for number, batch in enumerate(batches):
        tell(listeners, "on_predict_batch_begin", number, {})
        parts.append(model.outputs_of(batch))
        tell(listeners, "on_predict_batch_end", number, {"outputs": parts[-1]} if listeners else {})
    tell(listeners, "on_predict_end", {})
    if not parts:
        raise ValueError("there was no batch to predict")
    if isinstance(parts[0], list):  # of several outputs
        return [np.concatenate(of_one) for of_one in zip(*parts, strict=True)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _inputs(
    model: "Sequential", x: Any, batch_size: int | None, steps: int | None
) -> tuple[int | None, Iterator[np.ndarray]]:
    """The batches of one pass over x, at most `steps`, and their number if it is known.

    They are slices of an array, or the first parts of what a source gives.
    """
    if is_stream(x):
        source = Stream(x, None, None, False)
        limits = [limit for limit in (source.steps, steps) if limit is not None]
        return min(limits, default=None), _first_parts(model, source, steps)
    x, _, _ = checked(model, x)
    size = batch_size_for(len(x), batch_size, steps, INFERENCE)
    starts = range(0, len(x), size)[:steps]
    return len(starts), (x[first : first + size] for first in starts)


def _first_parts(model: "Sequential", source: Stream, steps: int | None) -> Iterator[np.ndarray]:
    source.begin(model)
    number = 0
    while number not in (steps, source.steps):
        batch = source.next(number)
        if batch is None:
            break
        yield checked(model, batch[0] if isinstance(batch, tuple | list) else batch)[0]
        number += 1
    source.end()
