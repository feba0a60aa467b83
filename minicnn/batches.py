"""Where batches come from: arrays in shuffled batches, generators, or sequences; and what must hold of the data in them.

The order of arrays and sequences is a function of the model's seed and of the number of steps trained before.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .checks import COUNT, check
from .metrics import labels_of
from .seeding import generator

if TYPE_CHECKING:
    from .chain import Chain
    from .sequential import Sequential

INFERENCE = 256  # samples of a batch that is not trained on, unless told
SEEN = 32  # the same, where results or a callback show how many there are: as in Keras
Batch = tuple[Any, Any, Any, Any]  # x, y, sample weights, and which rows of x, or None for all


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
    if hasattr(x, "__array__") or hasattr(x, "toarray"):
        return False
    return hasattr(x, "__len__") if hasattr(x, "__getitem__") else hasattr(x, "__iter__")


def checked(
    model: "Sequential", x: Any, y: Any = None, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The three as arrays of equal length, x as the model takes it; ValueError where they differ or there is nothing."""
    x = numbers(as_batch(model, x), "samples")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"expected at least one sample, got an array of shape {x.shape}")
    y = None if y is None else numbers(unwrapped(model, y, len(x)), "targets")
    sample_weight = None if sample_weight is None else numbers(sample_weight, "sample weights")
    for name, values in (("targets", y), ("sample weights", sample_weight)):
        if values is not None and (values.ndim == 0 or len(values) != len(x)):
            raise ValueError(f"{len(x)} samples but {len(values) if values.ndim else 'a single number as'} {name}")
    return x, y, sample_weight


def numbers(values: Any, what: str) -> np.ndarray:
    """Values as an array of numbers, also of a sparse matrix, and those that are strings or objects: tables have such columns."""
    found = as_array(values.toarray() if hasattr(values, "toarray") else values, what)
    if found.dtype.kind not in "OSU":
        return found
    try:
        return found.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers: {error}") from None


def as_array(values: Any, what: str) -> np.ndarray:
    """Values as an array; ValueError for a list of arrays that are not alike."""
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{what} must be one array, or arrays of equal shape in a list") from None


def sample_by_sample(x: np.ndarray, dtype: Any) -> np.ndarray:
    """x as batches are best taken from: sample after sample, and in this number type where that takes no more memory.

    Those of a DataFrame are neither: its arrays go column by column.
    """
    return np.ascontiguousarray(x, dtype if x.dtype.itemsize >= np.dtype(dtype).itemsize else None)


def as_batch(model: "Chain", x: Any) -> Any:
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
        shape = tuple(given.shape if hasattr(given, "shape") else as_array(given, "samples").shape)[1:]
        if shape == expected:
            return given
        if (*shape, 1) == expected:
            return np.asarray(given)[..., None]
        if shape == (*expected, 1):
            return np.asarray(given)[..., 0]
    return x


def unwrapped(model: "Sequential", y: Any, samples: int) -> Any:
    """The targets, those by the name of the output, or those in a list of one array, of so many samples; ValueError for others."""
    if isinstance(y, Mapping):
        # a model that is the last of a model, or its last layer
        names = {layers[-1].name for layers in (model.layers, model._layers) if layers}
        if not (len(y) == 1 and names & set(y)):
            raise ValueError(
                f"a model has one output: expected its targets, not a dictionary with {', '.join(map(str, y))}"
            )
        y = next(iter(y.values()))
    return y[0] if isinstance(y, list | tuple) and len(y) == 1 and np.ndim(y[0]) and len(y[0]) == samples else y


def positive_integer(name: str, value: Any) -> int:
    """`value`, if it is a whole number from 1 on; else ValueError."""
    check("", COUNT, **{name: value})
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
    labels = labels_of(y)
    by_class = np.array([class_weight.get(round(float(label)), 1.0) for label in labels], float)
    return by_class if sample_weight is None else by_class.reshape(-1, *[1] * (sample_weight.ndim - 1)) * sample_weight


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


def to_measure(
    model: "Sequential",
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int | None,
    steps: int | None,
    default: int,
) -> Feed:
    """Arrays in their order, in batches of the default size unless told, or what gives batches."""
    if steps is not None:
        positive_integer("steps", steps)
    if is_stream(x):
        return Stream(x, steps, None, False)
    x, y, sample_weight = checked(model, x, y, sample_weight)
    if y is None:
        raise ValueError("evaluate needs targets: evaluate(x, y)")
    return Arrays(x, y, sample_weight, batch_size_for(len(x), batch_size, steps, default), False, steps)


def to_predict(
    model: "Sequential", x: Any, batch_size: int | None, steps: int | None, default: int
) -> tuple[int | None, Iterator[np.ndarray]]:
    """The batches of one pass over x, at most `steps`, and their number if it is known.

    They are slices of an array, or the first parts of what a source gives.
    """
    if is_stream(x):
        source = Stream(x, None, None, False)
        limits = [limit for limit in (source.steps, steps) if limit is not None]
        return min(limits, default=None), _first_parts(model, source, steps)
    x, _, _ = checked(model, x)
    size = batch_size_for(len(x), batch_size, steps, default)
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
