"""A training step on a GPU as one CUDA graph, which is captured once and then replayed without any Python in it.

All that differs from step to step is looked up on the device, by a counter: the samples to gather from the data set
there, the row of a table with the optimizer's settings, the key of the random numbers, and the row in which losses and
scores are kept until the host reads those of many steps at once.
"""

import warnings
import weakref
from collections.abc import Callable
from inspect import signature
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from . import engine, losses
from .layers import Lambda, RandomElasticTransform, RandomGaussianBlur
from .layers.base import RandomLayer
from .layers.parameter import Parameter
from .losses import SparseCategoricalCrossentropy
from .ops import Ops
from .ops.gpu_kernels import address
from .ops.gpu_optimizers import MOST_SETTINGS
from .ops.reference import Array
from .regularizers import L1, L1L2, L2

if TYPE_CHECKING:
    from .sequential import Sequential

MOST = 512  # steps at once
SCORES = 2**26  # bytes of the scores of steps at once, at most, unless one alone has more
AHEAD = 32  # steps whose settings are computed while the device is at work on the ones before
WAITING = RandomElasticTransform, RandomGaussianBlur  # layers that look at a number of the device in every step


class Slot:
    """Stands in for a parameter's gradient while a step runs, and keeps the array that is assigned to it."""

    value: Array

    def __setitem__(self, everything: Any, value: Array) -> None:
        self.value = value


class Run:
    """The training steps of a model for batches of one size. Has the interface of `engine.Run`."""

    def __init__(self, model: Any, images: int, resident: "Resident") -> None:
        self.model, self.images, self.resident = model, images, resident
        self.ops: Any = model.ops
        self.optimizer: Any = model.optimizer
        self.loss: Any = model.loss
        self.flat: Any = model._flat
        self.dtype, self.shape = model._layers[0].dtype, tuple(model._layers[0].input_shape[1:])
        self.random = [layer for layer in model._layers if isinstance(layer, RandomLayer)]
        self.regularized: list[Any] = [p for p in model.trainable_parameters if p.regularizer is not None]
        self.places = {id(parameter): part.start for parameter, part in self.optimizer.spans}
        self.rooms = self._rooms()
        self.update = self.ops.optimizer_step(self.optimizer, *self.flat)

        zeros, dtype = self.ops.zeros, self.dtype
        scores: Any = (images, *model._layers[-1].output_shape[1:])
        terms = scores[:-1]  # the shape of a batch's losses
        self.fused = self.loss.from_logits or model.ends_with_softmax
        self.sparse = type(self.loss) is SparseCategoricalCrossentropy and self.fused
        self.most = most = max(1, min(MOST, SCORES // (prod(scores) * dtype.itemsize)))
        self.targets = zeros((most, *terms), "int32") if self.sparse else zeros((most, *scores), dtype)
        self.unweighted, self.weighted = self.loss.weights(None, terms), False
        self.weights = zeros((most, *terms), dtype)
        self.weights[...] = self.ops.array(self.unweighted, dtype)
        self.table = zeros((most, MOST_SETTINGS), "float64")
        self.order = zeros((most * images,), "int32")
        self.losses, self.scores = zeros((most, *terms), dtype), zeros((most, *scores), dtype)
        self.penalties = [zeros((most, 1), dtype) for _ in self.regularized]
        self.counter = zeros((2,), "int64")  # the row of this step, and its number in all training
        self.row, self.number = self.counter[:1], self.counter[1:]

        self.batches: Array = None  # a copy of what came without `rows`
        self.data: Array = None  # what the graph gathers from
        self.replay: Callable[[], None] | None = None
        self.begun = False
        self.result: Any = None

    def __call__(self, x: Any, rows: np.ndarray | None, y: Any, sample_weight: Any = None) -> np.ndarray:
        """Trains on the images `rows` of x, or on all of them, batch by batch; returns the loss of each step.

        At most `most` batches. The scores are in `result`. Steps that were not started, because something raised or the user
        pressed Ctrl-C, do not count.
        """
        samples = len(x) if rows is None else len(rows)
        steps = samples // self.images
        self._set_targets(np.asarray(y), sample_weight, steps)
        data = self._data(x, rows)
        if data is not self.data:
            self.begun &= self.data is not None and self.data.dtype == data.dtype  # else `gather` is another kernel
            self.data, self.replay = data, None
        order = np.arange(samples) if rows is None else engine._rows_of(rows, len(x))
        self.order[:samples] = self.ops.array(order.astype(np.int32))
        start = done = self.optimizer.iterations
        self.counter[...] = self.ops.array(np.array([0, start]))
        Parameter.writes += 1
        try:
            for first in range(0, steps, AHEAD):
                table = np.zeros((min(AHEAD, steps - first), self.table.shape[1]))
                for settings in table:
                    rate = self.optimizer.learning_rate
                    self.optimizer.iterations += 1
                    settings[:] = self.update.settings(rate)
                self.table[first : first + len(table)] = self.ops.array(table)
                for _ in table:
                    self._start()
                    done += 1
        finally:
            self.optimizer.iterations = done
            for layer in self.random:
                layer.step = done
        self.result = self.ops.numpy(self.scores[:steps]).reshape(-1, *self.scores.shape[2:])
        found: np.ndarray = self.ops.numpy(self.losses[:steps]).reshape(steps, -1).sum(axis=1, dtype=float)
        for penalty in self.penalties:
            found += self.ops.numpy(penalty[:steps, 0])
        return found

    def _rooms(self) -> dict[int, Array]:
        """`KernelOps.rooms` for the layers whose two parameters follow each other without a gap."""
        found, places = {}, self.places
        for layer, names in product(self.model._layers, (("kernel", "bias"), ("gamma", "beta"))):
            pair: list[Any] = [getattr(layer, name, None) for name in names]
            one, other = pair
            first, end = places.get(id(one)), places.get(id(other))
            if first is not None and end is not None and end - first == one.data.size:
                found[address(one.data)] = self.flat[1][first : end + other.data.size]
        return found

    def _start(self) -> None:
        """Starts a step: the first one as it is, so that all kernels are compiled; the second one is captured, then replayed."""
        if not self.begun:
            self._step()
            self.begun = True
            return
        if self.replay is None:
            try:
                self.replay = self.ops.kernels.capture(self._step)
            except MemoryError:
                raise
            except Exception as error:
                warn_once(self.model, f"the step cannot be captured ({error})", "kernel by kernel")
                self.replay = self._step
        self.replay()

    def _step(self) -> None:
        """A step that looks everything up by the counter and does nothing but launch kernels."""
        model, ops, slots = self.model, self.ops, {}
        gradients = [(p, p._gradient) for p in model.parameters if p._gradient is not None]
        try:
            for layer in self.random:
                layer.step = self.number
            for parameter, _ in gradients:
                parameter._gradient = slots[id(parameter)] = Slot()
            with ops.chain(self.rooms):
                x = ops.gather(self.data, self.order, self.row, self.images, self.dtype)
                scores = model.forward(x, training=True, scores=True)
                model.backward(self._loss(scores), scores=True, input_gradient=False)
        finally:
            for parameter, gradient in gradients:
                parameter._gradient = gradient
        elsewhere = [
            (slots[id(p)].value, self.places[id(p)])
            for p, gradient in gradients
            if id(p) in self.places and address(slots[id(p)].value) != address(gradient)
        ]
        ops.collect(elsewhere, self.flat[1])
        for parameter, kept in zip(self.regularized, self.penalties, strict=True):
            factors = parameter.regularizer
            penalty = ops.penalty(parameter.data, parameter.gradient, factors.l1, factors.l2)
            ops.keep(penalty.reshape(1), kept, self.row)
        self.update(table=self.table, step=self.row)
        ops.advance(self.counter)

    def _loss(self, scores: Array) -> Array:
        """The gradient of the loss; losses and scores are kept."""
        ops, loss = self.ops, self.loss
        if self.sparse:
            rows = self.targets, self.weights, loss.label_smoothing, self.losses, self.scores
            return ops.label_cross_entropy(scores, *rows, self.row)
        targets, weights = (ops.take(table, self.row) for table in (self.targets, self.weights))
        losses, gradient = loss.weighted(targets, weights, scores, self.fused, ops)
        for values, kept in ((losses, self.losses), (scores, self.scores)):
            ops.keep(ops.xp.ascontiguousarray(values, self.dtype), kept, self.row)
        return gradient

    def _set_targets(self, y: np.ndarray, sample_weight: Any, steps: int) -> None:
        loss: Any = self.loss
        shape = steps * self.images, *self.scores.shape[2:]
        if len(y) != shape[0]:
            raise ValueError(f"{loss.name}: {shape[0]} predictions but {len(y)} targets")
        targets = loss.labels(y, shape[-1]) if self.sparse else loss.targets_of(y, shape)
        self.targets[:steps] = self.ops.array(targets.reshape(steps, *self.targets.shape[1:]), self.targets.dtype)
        if sample_weight is not None:
            weights = loss.weights(sample_weight, shape[:-1], steps)
            self.weights[:steps] = self.ops.array(weights.reshape(steps, *self.weights.shape[1:]), self.dtype)
        elif self.weighted:
            self.weights[...] = self.ops.array(self.unweighted, self.dtype)
        self.weighted = sample_weight is not None

    def _data(self, x: Any, rows: np.ndarray | None) -> Array:
        """x on the device: with `rows` the resident data set, else a copy that reuses the memory of the last one."""
        if rows is not None:
            return self.resident.copy_of(x, self.ops, self.dtype)
        self.batches = copied(x, self.batches, self.ops, self.dtype)
        return self.batches


def copied(x: Any, into: Array | None, ops: Ops, dtype: Any) -> Array:
    """x on the device, as bytes if it has bytes, in this memory if it fits."""
    dtype = np.uint8 if x.dtype == np.uint8 else dtype
    if into is None or into.shape != x.shape or into.dtype != dtype:
        into = ops.xp.empty(x.shape, dtype)
    into[...] = ops.array(x, dtype)
    return into


class Resident:
    """The data set that lies on the device: that of the last `fit`, or of the one that is under way."""

    def __init__(self) -> None:
        self.source: Callable[[], Any] = lambda: None
        self.data: Array = None

    def copy_of(self, x: np.ndarray, ops: Ops, dtype: Any) -> Array:
        if self.source() is not x or self.data.dtype not in (np.uint8, dtype):
            self.data = copied(x, self.data, ops, dtype)
            self.source = weakref.ref(x)
        return self.data


class Engine(engine.Engine):
    """The runs of one model, by number of images: only for training, and None where a step cannot be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.resident = Resident()
        self.said: set[str] = set()  # warnings

    def run(self, model: "Sequential", images: int, kind: str) -> Any:
        """The run for training on batches of so many images, made anew if the model has changed; else None, which is said once."""
        if kind != "train" or model.run_eagerly:
            return None
        found = problem(model)
        if found:
            warn_once(model, found, "layer by layer")
            return None
        assert model.optimizer is not None
        self.settings = [[], [*zip(*_settings(model), strict=True)]]
        self.glances = [self._glance(model, training) for training in (False, True)]
        made_of = model._flat, model.optimizer, model.loss, *model.optimizer.state.values(), *model._layers
        made_of += tuple(parameter.data for parameter in model.parameters)
        state = *map(id, made_of), *self.glances[True][1:]
        if state != self.state:
            self.runs.clear()
            self.state, self.kept = state, made_of  # so that nothing else gets their ids
        if (kind, images) not in self.runs:
            self.keep((kind, images), Run(model, images, self.resident))
        return self.runs[kind, images]


def engine_of(ops: Ops) -> engine.Engine:
    """The engine for models on a device."""
    return Engine() if hasattr(ops, "kernels") else engine.Engine()


def warn_once(model: "Sequential", problem: str, how: str) -> None:
    """Warns once that a model is trained in another way."""
    engine: Any = model._engine
    if problem not in engine.said:
        engine.said.add(problem)
        warnings.warn(f"model {model.name} is trained {how}, not as one captured step: {problem}", stacklevel=2)


def problem(model: "Sequential") -> str | None:
    """Why a training step of the model cannot be captured."""
    for layer in model._layers:
        kind = type(layer).__name__
        own = isinstance(layer, Lambda) or isinstance(getattr(layer, "activate", None), Lambda)
        if own or not type(layer).__module__.startswith(f"{__package__}.layers."):
            return f"layer {layer.name}, a {kind}, may do anything"
        if layer.activity_regularizer is not None:
            return f"what comes out of layer {layer.name} is penalized by an activity regularizer"
        if isinstance(layer, WAITING):
            return f"layer {layer.name}, a {kind}, waits for the device in every step"
    if len({layer.dtype for layer in model._layers}) > 1:
        return "its layers have different number types"
    if type(model.loss) not in losses.CLASSES.values():
        return f"the loss, a {type(model.loss).__name__}, may do anything"
    if not getattr(model.optimizer, "native", False):
        return f"the optimizer, a {type(model.optimizer).__name__}, may do anything"
    for parameter in model.trainable_parameters:
        if type(parameter.regularizer) not in (L1, L2, L1L2, type(None)):
            return f"the regularizer of {parameter.name}, a {type(parameter.regularizer).__name__}, may do anything"
    return None if model.trainable_parameters else "it has no parameters to train"


def _settings(model: "Sequential") -> list[tuple[Any, str]]:
    """(object, attribute) of all that a captured step depends on and that may be changed at any time."""
    found = engine._settings(model, True)
    for one in (model.loss, *model._layers, *(layer.activate for layer in model._layers if hasattr(layer, "activate"))):
        found += [(one, name) for name in signature(type(one).__init__).parameters if hasattr(one, name)]
    return found
