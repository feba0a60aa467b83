"""The engine: turns a model into tapes, on which a whole training step runs on all cores without Python in between.

The nodes of the layers (see `nodes`) add their instructions to a tape, forward and then backward; before them comes what
gathers the images of a batch, between them the loss, and behind them the optimizer.

A tape is made for one number of images. The first step with a batch of another size makes another one.
"""

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .absent import without
from .kernels import arrays
from .layers.activation import ActivatedLayer, Activation, Linear, Softmax, WithActivation
from .layers.base import Layer, RandomLayer
from .layers.parameter import Parameter
from .losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from .nodes import (
    RECTIFYING,
    STEPS,
    ActivityNode,
    BatchNormalizationNode,
    ConvolutionNode,
    DenseNode,
    MaxPoolingNode,
    Node,
    ProductNode,
    ReLUNode,
    SameNode,
    ScoresNode,
    node_class,
    settings_of,
)
from .ops import instructions
from .ops.cpu import CpuOps
from .optimizers import Operation, Optimizer
from .regularizers import L1, L1L2, L2
from .tape import GROUPS, Buffer, Each, Steps, Tape, Times
from .threads import forks

if TYPE_CHECKING:
    from .sequential import Sequential

__getattr__, _ = without(__name__, "", {})  # for what scripts take from keras.engine

NO_LOSS = np.zeros(1)
SETTINGS_OF_OPERATION = 8  # at most, of an optimizer's
STAGED = 1 << 16  # bytes of inputs at most, which are copied: to have the tape find them takes longer
INFERENCE_GROUPS = 64  # of a batch that is not trained on: nothing is summed over it, so more workers can share it


class Run:
    """A model on a tape for batches of one size: "train", "evaluate" (scores and losses) or "predict"."""

    def __init__(self, model: "Sequential", images: int, kind: str) -> None:
        self.model, self.images, self.kind = model, images, kind
        self.training = kind == "train"
        dtype = model._layers[0].dtype
        assert isinstance(model.ops, CpuOps)
        self.tape = Tape(dtype, GROUPS if self.training else INFERENCE_GROUPS, model.ops.poison)
        self.sources = np.zeros((STEPS, 3), np.int64)
        self.penalties: list[np.ndarray] = []
        self.nodes = self._nodes(model.ops)
        self.first = self._first_trainable()
        for number, node in enumerate(self.nodes):
            node.input_gradient = self.training and number > self.first
            node.prepare()
        if self.training:
            self.tape.barrier()
        else:
            self.tape.split()
        x = self.tape.buffer((images, *model._layers[0].input_shape[1:]))
        size = int(np.prod(x.shape[1:]))
        self.staged = not self.training and x.nbytes <= STAGED
        if self.staged:
            self.tape.keep(x)
        else:
            self.tape.add(arrays.gather, images, source=Steps(self.sources), first=Times(1), x=Each(x), image=size)
        self.x = x
        for node in self.nodes:
            x = node.forward(x)
        self.scores = x
        self.tape.keep(x)
        if self.training:
            self.kept = np.zeros((STEPS, *x.shape), x.dtype)
            instructions.copy(self.tape, x, Steps(self.kept))
        if kind != "predict":
            self._loss()
        if self.training:
            dy = self.gradient
            for number in range(len(self.nodes) - 1, self.first - 1, -1):
                node = self.nodes[number]
                if isinstance(node, ConvolutionNode) and node.algorithm.by_image and number:
                    if type(self._after(number)) is DenseNode:
                        self.tape.barrier()  # else recomputing would run in one phase with the dense layer's gradients
                    recomputed = self.nodes[number - 1].recompute()
                    node.x = node.x if recomputed is None else recomputed
                dy = node.backward(dy)
            for node in self.nodes:
                node.finish()
            self._penalties()
            self._optimizer()
        self.tape.finish()
        self.penalized = [node.layer for node in self.nodes if type(node) is ActivityNode]
        self.hooks = [node for node in self.nodes if type(node).before_step is not Node.before_step]
        self.most = STEPS if self.training and self.tape.unbroken else 1  # steps at once
        self.listed = [layer for layer in model._layers if isinstance(layer, RandomLayer)]
        self.rows, self.shape = np.arange(images), tuple(model._layers[0].input_shape[1:])
        self.parameters = model.parameters
        if self.staged:
            self.inputs, self.outputs = self.tape.array(self.x), self.tape.array(self.scores)
        self.prepared = -1  # `Parameter.writes` when section 0 last ran

    def _nodes(self, ops: CpuOps) -> list[Node]:
        """A node per layer, two for a layer whose activation has its own; a final softmax is left out for the loss."""
        fused = self.kind != "predict" and self.model.ends_with_softmax
        layers: list[tuple[Layer, bool | None]] = []  # each with whether it works as in training; None: for its penalty
        for layer, mode in zip(self.model._layers, self.model._modes, strict=True):
            mode = self.training if mode is None else mode
            layers.append((layer.activate if type(layer) is Activation else layer, mode))
            if issubclass(node_class(layer, self.training), ProductNode):
                layers.append((layer.activate, self.training))  # type: ignore[attr-defined]
            if layer.activity_regularizer is not None and self.kind != "predict":
                layers.append((layer, None))
        if fused and isinstance(layers[-1][0], Softmax | Activation):
            layers.pop()
        nodes: list[Node] = []
        for layer, mode in layers:
            kind = node_class(layer, self.training)
            if mode is None:
                kind = ActivityNode
            elif kind is not node_class(layer, mode):
                kind = Node
            if fused and layer is self.model._layers[-1] and isinstance(layer, ActivatedLayer) and kind is Node:
                kind = ScoresNode
            before = nodes[-1] if nodes else None
            if kind is ReLUNode and type(before) in RECTIFYING and not before.relu:  # type: ignore[union-attr]
                before.relu = True  # type: ignore[union-attr]
                continue
            if type(layer) is Linear:
                continue
            node = kind(
                layer, weakref.proxy(self.tape), ops, bool(mode) if kind is Node else self.training, self.images
            )
            if type(node) is MaxPoolingNode and isinstance(before, ConvolutionNode) and before.relu:
                node.after = before
            if (
                isinstance(node, ConvolutionNode)
                and node.algorithm.by_image
                and isinstance(before, BatchNormalizationNode)
                and nodes[:-1]
            ):
                before.before = nodes[-2]
            nodes.append(node)
        return nodes

    def _after(self, number: int) -> Node | None:
        """The next node that computes something."""
        return next((node for node in self.nodes[number + 1 :] if type(node) is not SameNode), None)

    def _first_trainable(self) -> int:
        """The number of the first node with parameters to train: gradients go back to there."""
        found = [n for n, node in enumerate(self.nodes) if node.layer.trainable_parameters]
        return min(found, default=len(self.nodes))

    def _loss(self) -> None:
        model, scores = self.model, self.scores
        assert model.loss is not None
        self.native_loss = (
            type(model.loss) in (CategoricalCrossentropy, SparseCategoricalCrossentropy)
            and (model.loss.from_logits or model.ends_with_softmax)
            and len(scores.shape) == 2
        )
        if self.native_loss:
            self.targets = np.zeros((STEPS, *scores.shape), self.tape.dtype)
            self.weights, self.losses = np.zeros((2, STEPS, self.images), self.tape.dtype)
            targets, weights, losses = Steps(self.targets), Steps(self.weights), Steps(self.losses)
            probabilities, self.gradient = self.tape.buffer(scores.shape), self.tape.buffer(scores.shape)
            instructions.softmax_cross_entropy(self.tape, scores, targets, losses, probabilities)
            if self.training:
                instructions.softmax_gradient(self.tape, probabilities, targets, weights, self.gradient)
            return
        self.gradient = self.tape.buffer(scores.shape)

        self.loss, self.y, self.sample_weight = 0.0, None, None
        run: Any = weakref.proxy(self)  # what a tape calls must not keep it

        def call() -> None:
            run.loss, gradient = model.loss_of(run.y, run.tape.array(scores), run.sample_weight)
            if np.shape(gradient) != scores.shape:
                name = getattr(model.loss, "name", "")
                raise ValueError(f"loss {name}: its gradient must be of shape {scores.shape}, not {np.shape(gradient)}")
            run.tape.array(run.gradient)[...] = gradient

        self.tape.call(call, scores, self.gradient)

    def _penalties(self) -> None:
        """Adds the gradients of penalties, and finds these themselves: each is the sum of a step's numbers."""
        regularized = [p for p in self.model.trainable_parameters if p.regularizer is not None]
        parts: list[Buffer] = []
        for p in regularized:
            if type(p.regularizer) in (L1, L2, L1L2):
                w, g, factors = p.data.reshape(-1), p.gradient.reshape(-1), p.regularizer
                parts.append(instructions.penalize(self.tape, w, g, factors.l1, factors.l2))  # type: ignore[union-attr]
                self.penalties.append(np.zeros((STEPS, *parts[-1].shape), self.tape.dtype))
        for part, found in zip(parts, self.penalties, strict=True):
            instructions.copy(self.tape, part, Steps(found))
        for p in regularized:
            if type(p.regularizer) not in (L1, L2, L1L2):
                self.penalties.append(np.zeros((1, 1)))
                self.tape.call(partial(_penalize, self.model.ops, p, self.penalties[-1]))

    def _optimizer(self) -> None:
        optimizer, flat = self.model.optimizer, self.model._flat
        assert optimizer is not None and flat is not None
        self.updates: list[tuple[Operation, np.ndarray]] = []  # with their settings, step by step
        if flat[0].size == 0:
            return
        if not optimizer.native:
            self.tape.call(lambda: optimizer.update(*flat))
            return
        for operation in optimizer.operations(*flat):
            settings = np.zeros((STEPS, SETTINGS_OF_OPERATION))
            self.updates.append((operation, settings))
            for call in operation.calls:
                instructions.optimize(self.tape, operation.name, call, Steps(settings))

    def _set_optimizer(self, optimizer: Optimizer, number: int) -> None:
        rate = optimizer.learning_rate
        optimizer.iterations += 1
        for operation, settings in self.updates:
            values = operation.settings(rate)
            settings[number, : len(values)] = values

    def __call__(self, x: np.ndarray, rows: np.ndarray | None, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Runs on the images `rows` of x, or on the first ones if that is None; the scores are in `result`.

        In training these may be the images of up to `most` steps. Returns the loss of each step.
        """
        if self.staged:
            self.inputs[...] = x if rows is None else x[rows]
            self.steps = 1
        else:
            x = self._point(x, rows)  # kept until the run is over
        if self.kind != "predict":
            self.y, self.sample_weight = y, sample_weight
            if self.native_loss:
                self._set_targets(y, sample_weight)
        if self.training:
            self._train()
        else:
            self._infer()
        if self.kind == "predict":
            return NO_LOSS
        steps = self.steps
        losses = (self.losses[:steps] * self.weights[:steps]).sum(axis=1) if self.native_loss else np.array([self.loss])
        if self.penalties or self.penalized and self.training:
            activities = [loss for layer in self.penalized for loss in layer.activity_losses]
            of_weights = [[float(found[step].sum()) for found in self.penalties] for step in range(steps)]
            losses = losses + [sum(found + activities) for found in of_weights]
        return losses

    def _point(self, x: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """Points the tape's gather at the images `rows` of x, or at all; returns the array it reads, which must stay alive."""
        if x.dtype != np.uint8 and x.dtype != self.tape.dtype or not x.flags.c_contiguous:
            x, rows = np.ascontiguousarray(x if rows is None else x[rows], self.tape.dtype), None
        if rows is None:
            self.rows_now = self.rows if len(x) == self.images else np.arange(len(x))
        else:
            self.rows_now = _rows_of(rows, len(x))
        self.steps = steps = len(self.rows_now) // self.images
        starts = self.rows_now.ctypes.data + self.rows_now.itemsize * self.images * np.arange(steps)
        self.sources[:steps, 0], self.sources[:steps, 1] = x.ctypes.data, starts
        self.sources[:steps, 2] = x.dtype == np.uint8
        return x

    def _train(self) -> None:
        """Runs the tape; steps that were not finished, because a layer raised or the user pressed Ctrl-C, do not count."""
        optimizer, flat = self.model.optimizer, self.model._flat
        assert optimizer is not None and flat is not None
        native = optimizer.native or flat[0].size == 0  # others count their steps themselves
        for number in range(self.steps):
            for layer in self.listed:
                layer.step = optimizer.iterations
            for node in self.hooks:
                node.before_step(number)
            if native:
                self._set_optimizer(optimizer, number)
        Parameter.writes += 1
        try:
            self.tape.run(steps=self.steps)
        except BaseException:
            if native and not self.tape.complete:
                optimizer.iterations -= self.steps
            raise

    def _infer(self) -> None:
        """Runs the tape, its first section only where parameters may have changed."""
        shared = Parameter.handed_out and any([parameter.shared for parameter in self.parameters])
        if shared or self.prepared != Parameter.writes:
            for node in self.nodes:
                node.refresh()
            self.prepared = -1
            self.tape.run(0, 1)
            self.prepared = Parameter.writes
        self.tape.run(1)

    def _set_targets(self, y: Any, sample_weight: Any) -> None:
        loss: Any = self.model.loss
        steps, images, classes = self.steps, self.images, self.scores.shape[1]
        self.targets[:steps] = loss.targets_of(y, (steps * images, classes)).reshape(steps, images, classes)
        self.weights[:steps] = loss.weights(sample_weight, (steps * images,), steps).reshape(steps, images)

    @property
    def result(self) -> np.ndarray:
        """The scores, or the prediction, of the last call; overwritten by the next."""
        if self.training:
            return self.kept[: self.steps].reshape(-1, *self.scores.shape[1:])
        return self.outputs if self.staged else self.tape.array(self.scores)


def _rows_of(rows: Any, samples: int) -> np.ndarray:
    """Sample numbers as kernels read them; IndexError for one that there is not."""
    rows = np.asarray(rows)
    if rows.dtype == bool or (rows.size and (rows.min() < 0 or rows.max() >= samples)):
        rows = np.arange(samples)[rows]
    return np.ascontiguousarray(rows, np.int64)


def _settings(model: "Sequential", training: bool) -> list[tuple[Any, str]]:
    """(object, attribute) of all that a tape depends on, in training or not, and that may be changed at any time."""
    activated = [layer for layer in model._layers if isinstance(layer, WithActivation)]
    found: list[tuple[Any, str]] = [(layer, "activate") for layer in activated]
    for layer in [*model._layers, *(layer.activate for layer in activated)]:
        found += [(layer, name) for name in settings_of(layer)]
    if not training:
        return found
    judges = (model, "ends_with_softmax"), (model.optimizer, "parts"), (model.loss, "from_logits")
    found += [(owner, name) for owner, name in judges if hasattr(owner, name)]
    regularized = [parameter.regularizer for parameter in model.parameters if isinstance(parameter.regularizer, L1L2)]
    found += [(regularizer, factor) for regularizer in regularized for factor in ("l1", "l2")]
    found += [(parameter, name) for parameter in model.parameters for name in ("trainable", "regularizer")]
    return found + [(layer, name) for layer in model._layers for name in ("trainable", "activity_regularizer")]


def _penalize(ops: Any, parameter: Parameter, found: np.ndarray) -> None:
    found[0] = parameter.regularizer.penalize(ops, parameter.data, parameter.gradient)  # type: ignore[union-attr]


MOST_RUNS = 32  # that a model keeps


class Engine:
    """The runs of one model, by kind and number of images; who uses one holds the `lock`."""

    def __init__(self) -> None:
        self.forks = -1
        self.runs: dict[tuple[str, int], Run] = {}
        self.state: tuple[Any, ...] = ()
        self.glances: list[list[Any]] = [[], []]  # what `_glance` found: for "predict", and for the other kinds
        self.settings: list[list[tuple[Any, ...]]] = []  # objects and their attributes, as well

    @property
    def lock(self) -> Any:
        """A new one after a fork: a thread that is not there any more may have held the old one."""
        if self.forks != forks():
            self.forks, self._lock = forks(), threading.RLock()
        return self._lock

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # a copy of a model has memory of its own

    def unchanged_run(self, model: "Sequential", images: int, kind: str) -> Run | None:
        """The run that `run` would return, or None if the model may have changed: a cheaper check than `run`'s."""
        training = kind != "predict"
        return self.found((kind, images)) if self.glances[training] == self._glance(model, training) else None

    def found(self, key: tuple[str, int]) -> Any:
        """The run that is kept for a kind and a number of images, or None; where there are many it becomes the youngest."""
        run = self.runs.get(key)
        if run is not None and len(self.runs) > MOST_RUNS // 2:
            self.runs[key] = self.runs.pop(key)
        return run

    def keep(self, key: tuple[str, int], run: Any) -> None:
        """Adds a run; where there are too many, the one goes that was not used for longest: each has memory of its own."""
        if len(self.runs) == MOST_RUNS:
            del self.runs[next(iter(self.runs))]
        self.runs[key] = run

    def own_writes(self) -> None:
        """Says that what has been written to parameters since `unchanged_run` or `run` was the run's own doing."""
        for glance in self.glances:
            glance[0] = Parameter.writes

    def run(self, model: "Sequential", images: int, kind: str) -> Run | None:
        """The run for batches of so many images, made anew if the model has changed; None where layers are called one by one.

        So they are where the user says so, on other devices, in several types of numbers, and to evaluate without a loss.
        """
        on_tape = isinstance(model.ops, CpuOps) and len({layer.dtype for layer in model._layers}) == 1
        if not on_tape or model.run_eagerly or (kind == "evaluate" and model.loss is None):
            return None
        state = self._state(model)
        if state != self.state:
            self.runs.clear()
            self.state = state
            self.kept = model._flat, model.optimizer, model.loss, _moments(model), [p.data for p in model.parameters]
        if (kind, images) not in self.runs:
            from .warmup import Helper  # which builds runs itself

            with Helper(model, kind, images):
                self.keep((kind, images), Run(model, images, kind))
        self.settings = [[*zip(*_settings(model, training), strict=True)] for training in (False, True)]
        self.glances = [self._glance(model, training) for training in (False, True)]
        return self.runs[kind, images]

    def _glance(self, model: "Sequential", training: bool) -> list[Any]:
        """The values that `unchanged_run` compares: the count of all writes to parameters, and the model's other settings."""
        ops: Any = model.ops
        poison = getattr(ops, "poison", False)
        found = [Parameter.writes, model._flat is None, model.run_eagerly, ops, ops.name, ops.precision, poison]
        if training:
            found += [model.optimizer, model.loss]
            found += [] if model.optimizer is None else map(id, model.optimizer.state.values())
        if self.settings and self.settings[training]:
            found += map(getattr, *self.settings[training])
        return found

    @staticmethod
    def _state(model: "Sequential") -> tuple[Any, ...]:
        """What a tape was made from: it is made anew when any of this has changed."""
        assert model._flat is not None
        return (
            id(model._flat[0]), id(model.optimizer), *map(id, _moments(model)), id(model.loss), model.ops.precision, model.ops.poison,  # type: ignore[attr-defined]
            *(id(parameter.data) for parameter in model.parameters), *map(id, model._layers),
            *(getattr(owner, name) for owner, name in _settings(model, True)),
        )  # fmt: skip


def _moments(model: "Sequential") -> list[Any]:
    return [] if model.optimizer is None else list(model.optimizer.state.values())
