"""The model: a chain of layers that is built, trained, used for predictions and saved as one.

All trainable parameters lie in one flat buffer, of which the layers hold views, and so do their gradients: an optimizer
step is one call.
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np

from . import captured, engine, keras_format, losses, optimizers, saving, training
from .absent import by_name, refuse_arguments
from .batches import as_batch, checked, numbers, weights_of
from .callbacks import Callback, History, format_logs, say
from .checks import ARRAY, BATCH_SIZES, LIST, PATH, WHOLE, Kind, check, check_begun, or_none
from .data.files import DataError
from .layers.activation import ActivatedLayer, Activation, Softmax
from .layers.base import (
    Layer,
    RandomLayer,
    Shape,
    apply,
    enclosing,
)
from .layers.parameter import Parameter, Weighted
from .layers.reshaping import Input
from .layers.symbolic import Tensor
from .numbers import as_numbers
from .ops import Ops, get_ops
from .ops.reference import UNIT, Array
from .registered import new_name
from .seeding import new_seed

OVERRIDDEN = "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "make_train_function"
TAKEN = "forward", "backward", "chain", "ops", "parameters", "inputs", "outputs"  # of which some are not Keras' as well
LACKED = by_name({  # methods that scripts call, behind what there is in their place
    "the model itself is called, model(x) or model(x, training=True)": "call",
    "a layer with weights of its own defines forward(x, training) and backward(dy)": "add_weight add_variable",
    "a penalty for weights or outputs is a Regularizer, a loss of your own a Loss with `terms`": "add_loss",
    "metrics are given to compile": "add_metric",
    "save writes files that Keras reads, and exports": "export",
    "numbers are float32 and nothing is quantized": "quantize",
    "a model has its gradients inside; train_on_batch makes one step": "stateless_call",
})  # fmt: skip
UNKNOWN_INPUT = (
    "the model does not know the shape of its input: put an Input first, or call build((None, height, width, channels))"
)
LAYERS: Kind = "a list of layers", lambda layers: layers is None or np.iterable(layers)


class Sequential(Weighted):
    """Layers one after the other: `compile` says how they are trained, `fit` trains them, and `predict` asks them.

    With an `Input` first, every layer is built when it is added, and one that does not fit its input is reported at
    once; otherwise the model is built when it first sees data. Of a model that is added, this one gets the layers
    themselves: what either learns, both have learnt.
    """

    _made_of_tensors = False  # whether it is Keras' Functional
    _may_call = False  # whether a class of your own may define call

    def __init__(
        self,
        layers: "Iterable[Layer | Sequential] | None" = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if dtype not in (None, "float32"):
            raise ValueError(f"a model begins in float32, not {dtype!r}: model.astype('float64') changes its type")
        self.name = new_name(type(self).__name__) if name is None else name
        self._layers: list[Layer] = []
        self._added: list[tuple[Layer | Sequential, int]] = []  # what was added, and how many layers it brought
        self._waiting: list[tuple[Layer | Sequential, bool | None]] = []  # for the shape of its input, to be `_add`ed
        self._tensors: list[Tensor] = []  # what comes out of the layers, as far as their inputs are known
        self._modes: list[bool | None] = []  # of each layer: whether it works as in training whatever the model does
        self.ops: Ops = get_ops("cpu")
        self.seed = new_seed()
        self.history: History | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self._means = training.RunningMeans()
        self.stop_training = False
        self.initial_epoch = self.initial_step = 0  # where `fit` begins
        self._flat: tuple[Array, Array] | None = None
        self._views: list[tuple[Parameter, Array]] = []
        self._engine = engine.Engine()
        self.run_eagerly = False
        self._trainable = trainable
        check(type(self).__name__, LAYERS, layers=layers)
        for layer in layers or []:
            self.add(layer)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in OVERRIDDEN:
            if name in vars(cls):
                raise TypeError(
                    f"model class {cls.__name__}: a {name} of your own is not called here; train_on_batch makes one step, "
                    "a Loss or a Callback of your own does the rest"
                )
        if _is_ours(cls):
            return
        for name in TAKEN:
            if name in vars(cls):
                raise TypeError(f"model class {cls.__name__}: a model has {name} already, give yours another name")
        if "call" in vars(cls) and not cls._may_call:
            raise TypeError(f"model class {cls.__name__}: a call of your own belongs to a Model, not to a Sequential")

    @property
    def layers(self) -> "list[Any]":
        """The layers, and models, that were added; without the `Input`, as in Keras."""
        return [layer for layer, _ in [*self._added, *self._waiting] if not isinstance(layer, Input)]

    @property
    def chain(self) -> list[Layer]:
        """The same with the layers of added models in their places."""
        return [layer for layer in self._layers if not isinstance(layer, Input)]

    @property
    def _members(self) -> "list[tuple[Layer | Sequential, bool | None]]":
        """The layers, `Input` included, and models of which a description consists, each with the mode of its call.

        In the place of a model that has changed since it was added, stands here for the second time or is of a class of your
        own are its layers.
        """
        pairs, place = list(zip(self._layers, self._modes, strict=True)), 0
        found: list[tuple[Layer | Sequential, bool | None]] = []
        for added, number in self._added:
            brought = pairs[place : place + number]
            modes: list[bool | None] = []
            if number and isinstance(added, Sequential) and _is_ours(type(added)):
                modes = [mode for mode in (None, True, False) if added._brings(mode, first=not place) == brought]
            found += [(added, modes[0])] if modes else brought
            place += number
        return found

    def _brings(self, mode: bool | None, first: bool) -> list[tuple[Layer, bool | None]]:
        """The layers that another model gets of this one, and their modes in a call with this mode; its `Input` if it comes first."""
        return [
            (layer, mode if own is None else own)
            for layer, own in zip(self._layers, self._modes, strict=True)
            if first or not isinstance(layer, Input)
        ]

    # ------------------------------------------------------------------ building

    def add(self, layer: "Layer | Sequential") -> None:
        """Puts a layer behind the others, or all layers of a model; TypeError for anything else, ValueError if it does not fit."""
        self._add(layer)

    def _add(self, layer: "Layer | Sequential", mode: bool | None = None) -> None:
        """`add`; with a `mode` the layer or model works as in training, or does not, whatever this model does.

        What comes after a model whose layers are not known before the shape of its input is waits with it for `build`.
        """
        known = self._layers[-1].output_shape if self._layers and self._layers[-1].built else None
        if self._waiting or (isinstance(layer, Sequential) and layer._waits() and known is None):
            if not isinstance(layer, Layer | Sequential):
                raise TypeError(f"a model is made of layers, not of {layer!r}")
            self._waiting.append((layer, mode))
            return
        if not isinstance(layer, Sequential):
            self._append(layer, mode)
            return
        layer._needs_one_output("added")
        if layer._waits():
            layer.build(known)
        inner = layer._brings(mode, first=not self._layers)
        added = self._added[:]
        with self._unchanged_if_it_fails():
            for one, its_mode in inner:
                self._append(one, its_mode)
        self._added = [*added, (layer, len(inner))]

    def _waits(self) -> bool:
        """Whether some layers are not known before the shape of the input is."""
        return bool(self._waiting) or (not self._layers and getattr(self, "call", None) is not None)

    def _append(self, layer: Layer, mode: bool | None = None) -> None:
        """`_add` for one layer."""
        if not isinstance(layer, Layer):
            raise TypeError(f"a model is made of layers, not of {layer!r}")
        if layer.built and any(layer is other for other in self._layers):
            layer = layer._copy_for_chain()
        taken = {other.name for other in self._layers}
        layer.make_way(taken)
        layer.named_by_itself = False
        if layer.name in taken:
            raise ValueError(f"two layers of a model cannot both be named {layer.name!r}")
        if isinstance(layer, Input):
            if self._layers:
                raise ValueError("an Input can only be the first layer of a model")
            layer.build()
        elif self._layers and self._layers[-1].built:
            _build(layer, self._layers[-1].output_shape)
        elif not self._layers and layer.given_shape is not None:
            _build(layer, layer.given_shape)
        if not self._trainable:
            layer.trainable = False
        self._layers.append(layer.to(self.ops))
        self._modes.append(mode)
        self._added.append((layer, 1))
        self._flat = None
        self._link()

    def _link(self) -> None:
        """Chains the layers whose input shape is known by tensors; a layer of another chain keeps its place there as well."""
        linked = len(self._tensors)
        for layer, mode in zip(self._layers[linked:], self._modes[linked:], strict=True):
            if not layer.built:
                break
            source = self._tensors[-1] if self._tensors else None
            if source is None and not isinstance(layer, Input):
                start = Input(batch_shape=layer.input_shape, name=f"{layer.name}_input")
                start.build()
                source = Tensor(start)
            self._tensors.append(Tensor(layer, source, mode))
            layer._tensor = layer._tensor or self._tensors[-1]
        if self._tensors:
            (self._tensors[0].source or self._tensors[0]).owner = ref(self)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Builds all layers for inputs of this shape, batch first; ValueError if that has happened for another shape."""
        check(f"model {self.name}", or_none(BATCH_SIZES), input_shape=input_shape)
        if self._waiting:
            self._add_waiting(input_shape)
        if not self._layers:
            raise ValueError("a model without layers cannot be built: add some")
        first = self._layers[0]
        if not first.built and input_shape is None:
            raise ValueError(UNKNOWN_INPUT)
        anew = input_shape is not None and first.is_new_to(input_shape)
        shape: Sequence[int | None] = input_shape if anew else first.input_shape  # type: ignore[assignment]
        if input_shape is not None and tuple(input_shape)[1:] != tuple(shape)[1:]:
            raise ValueError(f"layer {first.name}: expected an input of shape {shape}, received {tuple(input_shape)}")
        if self._flat is None:  # layers may be new, or have been built as parts of other models
            for layer in self._layers:
                new = not layer.built
                if not isinstance(layer, Input):
                    _build(layer, shape)
                if new:
                    layer.to(self.ops)
                shape = layer.output_shape
            self._link()
        if not self._is_gathered():
            self._flat = self._gather()

    def _add_waiting(self, input_shape: Sequence[int | None] | None) -> None:
        """Adds what waits for the shape of its input, behind layers that are built now."""
        if input_shape is None:
            raise ValueError(UNKNOWN_INPUT)
        shape = input_shape
        with self._unchanged_if_it_fails():
            waiting, self._waiting = self._waiting, []
            for layer in self._layers:
                _build(layer, shape)
                shape = layer.to(self.ops).output_shape
            self._link()
            for added, mode in waiting:
                if not self._layers and isinstance(added, Sequential):
                    added.build(shape)
                self._add(added, mode)

    @contextmanager
    def _unchanged_if_it_fails(self) -> Iterator[None]:
        """Takes off again what was added before an error."""
        before = self._layers[:], self._modes[:], self._added[:], self._waiting[:]
        try:
            yield
        except (TypeError, ValueError):
            self._layers, self._modes, self._added, self._waiting = before
            del self._tensors[len(self._layers) :]
            raise

    def _is_gathered(self) -> bool:
        """Whether exactly the trainable parameters lie in the flat buffer: not after freezing, copying or sharing some."""
        parameters = self.trainable_parameters
        return (
            self._flat is not None
            and len(parameters) == len(self._views)
            and all(p is q and p.data is view for p, (q, view) in zip(parameters, self._views, strict=True))
        )

    def _gather(self) -> tuple[Array, Array]:
        """Moves all trainable parameters into one buffer and their gradients into another."""
        parameters = self.trainable_parameters
        if self.optimizer is not None and self._views and [p for p, _ in self._views] != parameters:
            self.optimizer.state = {}  # its moments are those of other parameters
        starts = np.cumsum([0, *(-(-prod(p.shape) // UNIT) * UNIT for p in parameters)])
        dtype = parameters[0].data.dtype if parameters else np.dtype("float32")
        values, gradients = self.ops.zeros((int(starts[-1]),), dtype), self.ops.zeros((int(starts[-1]),), dtype)
        spans = [
            (p, slice(int(start), int(start) + prod(p.shape))) for p, start in zip(parameters, starts, strict=False)
        ]
        if self.optimizer is not None:
            self.optimizer.spans = spans
        for parameter, part in spans:
            values[part] = parameter.data.reshape(-1)
            parameter.bind(values[part].reshape(parameter.shape), gradients[part].reshape(parameter.shape))
        self._views = [(parameter, parameter.data) for parameter in parameters]
        return values, gradients

    def __getstate__(self) -> dict[str, Any]:
        """A copy has memory of its own, which is gathered when it is first used."""
        return self.__dict__ | {"_flat": None, "_tensors": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._layers and isinstance(self._layers[0], Input):  # else another one that it is in links its layers
            self._link()

    def to(self, device: str | Ops) -> "Sequential":
        """Moves the model to a device: "cpu", "gpu" or "reference".

        On a GPU a training step is captured once and then replayed as one CUDA graph; where that is not possible it is done
        layer by layer, and a warning says why. `fit` copies x to the GPU when it begins: changes of x meanwhile are not seen.
        """
        left, self.ops = self.ops, device if isinstance(device, Ops) else get_ops(device)
        self._engine = captured.engine_of(self.ops)
        for layer in self._layers:
            layer.to(self.ops)
        self._flat = None
        if self.optimizer is not None:
            state = {name: self.ops.array(left.numpy(moment)) for name, moment in self.optimizer.state.items()}
            self.optimizer.ops, self.optimizer.state = self.ops, state
        return self

    def astype(self, dtype: str) -> "Sequential":
        """Changes the type of all arithmetic to "float32" or "float64"; moments of the optimizer start anew."""
        self._needs_layers()
        for layer in self._layers:
            layer.astype(dtype)
        self._flat = None
        if self.optimizer is not None:
            self.optimizer.state = {}
        return self

    @property
    def parameters(self) -> list[Parameter]:
        return [parameter for layer in self._layers for parameter in layer.parameters]

    @property
    def trainable_parameters(self) -> list[Parameter]:
        return [parameter for layer in self._layers for parameter in layer.trainable_parameters]

    @property
    def trainable(self) -> bool:
        """Whether any layer is trained; what is assigned goes to all layers, also later ones and those of models within this one."""
        return any(layer.trainable for layer in self.chain) if self.chain else self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self._trainable = trainable
        for layer in self._layers:
            layer.trainable = trainable
        for part, _ in [*self._added, *self._waiting]:
            part.trainable = trainable

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        self.build()
        return self._layers[0].input_shape

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        self.build()
        return self._layers[-1].output_shape

    @property
    def input(self) -> Tensor:
        """What goes in, and `output` what comes out, as `Tensor`s: for `Model(model.input, layer.output)`."""
        self.build()
        return self._tensors[0].source or self._tensors[0]

    @property
    def output(self) -> Tensor:
        self.build()
        return self._tensors[-1]

    @property
    def inputs(self) -> list[Tensor]:
        return [self.input]

    @property
    def outputs(self) -> list[Tensor]:
        return [self.output]

    @property
    def compiled(self) -> bool:
        return self.optimizer is not None

    @property
    def losses(self) -> list[float]:
        """What the regularizers of last outputs and of trained parameters add to the loss."""
        return [loss for layer in self._layers for loss in layer.losses]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """What shape comes out for inputs of this shape, batch first; of several outputs a list."""
        if not self._layers or self._waiting:
            self.build(input_shape)
        shape: Shape = tuple(input_shape)
        for layer in self._layers:
            shape = layer.compute_output_shape(shape)
        return shape

    @property
    def built(self) -> bool:
        """Whether all shapes are known; what a class of your own assigns changes nothing."""
        return bool(self._layers) and not self._waiting and all(layer.built for layer in self._layers)

    @built.setter
    def built(self, built: bool) -> None: ...

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer (or the model that was added) of this name, or of this place; ValueError if there is none."""
        if (name is None) == (index is None):
            raise ValueError("get_layer needs either a name or an index")
        check("get_layer", or_none(WHOLE), index=index)
        found = self.layers
        if name is not None:
            found = [layer for layer in [*self.layers, *self._layers] if layer.name == name]
        if name is None and index is not None:
            found = found[index : index + 1 or None]
        if not found:
            names = ", ".join(layer.name for layer in self.layers)
            raise ValueError(f"the model has no layer {index if name is None else name!r}; it has {names}")
        return found[0]

    def pop(self) -> Any:
        """Takes the last layer, or added model, off the model, and returns it."""
        if not self.layers:
            raise ValueError("the model has no layer that could be taken off")
        if self._waiting:
            return self._waiting.pop()[0]
        last, brought = self._added.pop()
        kept = len(self._layers) - brought
        for layer, tensor in zip(self._layers[kept:], self._tensors[kept:], strict=False):
            layer._tensor = None if layer._tensor is tensor else layer._tensor
        self._flat = None
        del self._layers[kept:], self._modes[kept:], self._tensors[kept:]
        return last

    def count_params(self) -> int:
        """The numbers in the parameters of all layers, trained or not."""
        self.build()
        return sum(layer.count_params() for layer in self._layers)

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Prints a line per layer: the shape of its output for one image, parameters, and this image's multiply-adds and memory.

        A layer named otherwise than after its class has the class beside its name. What is not known before the model has
        seen data is a question mark. All settings but `print_fn`, which may take the place of `print`, are there for Keras'
        sake: the table is as wide as it must be.
        """
        known = bool(self._layers) and self._layers[0].built and not self._waiting
        if known:
            self.build()
        print_fn = print_fn or say
        rows = [("layer", "output", "parameters", "multiply-adds", "memory")]
        memory = 0
        for layer in [*self._layers, *(waiting for waiting, _ in self._waiting)]:
            kind = type(layer).__name__
            plain = layer.name.replace("_", "").startswith(kind.lower())  # the name says what it is
            label = layer.name if plain else f"{layer.name} ({kind})"
            facts = ("?",) * 4
            if known and isinstance(layer, Layer):
                bytes_ = prod(n for n in layer.output_shape[1:] if n is not None) * layer.dtype.itemsize
                memory += bytes_
                facts = (
                    " × ".join(str(n) for n in layer.output_shape[1:]) or "1",
                    f"{layer.count_params():,}",
                    f"{layer.multiply_adds():,}",
                    f"{bytes_ / 1024:,.1f} KiB" if bytes_ < 2**20 else f"{bytes_ / 2**20:,.1f} MiB",
                )
            rows.append((label if len(label) <= 25 else label[:24] + "…", *facts))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join((str.ljust if c < 2 else str.rjust)(cell, widths[c]) for c, cell in enumerate(row))
            for row in rows
        ]
        trained = sum(prod(parameter.shape) for parameter in self.trainable_parameters)
        rule = "-" * len(lines[0])
        print_fn("\n".join([f"Model: {self.name}", rule, lines[0], rule, *lines[1:], rule]))
        if not known:
            print_fn(
                "not built: the shapes are known when it has seen data, or after build((None, height, width, channels))"
            )
            return
        size = self._layers[0].dtype.itemsize
        print_fn(
            f"parameters: {self.count_params():,} ({trained:,} trainable), {self.count_params() * size / 2**20:.2f} MiB"
        )
        print_fn(
            f"one image: {sum(layer.multiply_adds() for layer in self._layers):,} multiply-adds, {memory / 2**10:,.1f} KiB of activations"
        )

    # ------------------------------------------------------------------ forward and backward

    def as_input(self, x: Any) -> Array:
        """A batch on the model's device, in its number type."""
        dtype = self._layers[0].dtype
        x = self.ops.array(x) if getattr(x, "dtype", None) == np.uint8 else x  # which go to the device as bytes
        return self.ops.array(x, dtype)

    @property
    def ends_with_softmax(self) -> bool:
        """Whether the last layer is a softmax which the loss takes over."""
        last = self._layers[-1]
        if last.activity_regularizer is not None:  # of what comes out
            return False
        if self.loss is not None and not getattr(self.loss, "fuses_softmax", False):
            return False
        return (isinstance(last, Softmax) and last.axis == -1) or getattr(last, "activation_name", "") == "softmax"

    def forward(self, x: Array, training: bool | None = False, scores: bool = False) -> Array:
        """The output for a batch; with `scores`, what a final softmax would have received.

        Where `training` is None every layer does what it does by itself.
        """
        self.build((None, *x.shape[1:]))
        for number, layer in enumerate(self._layers[:-1]):
            x = apply(layer, x, self._works_as_in_training(number, training))
        last = self._layers[-1]
        if not (scores and self.ends_with_softmax):
            return apply(last, x, self._works_as_in_training(-1, training))
        return last.linear(x) if isinstance(last, ActivatedLayer) else x

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """`forward`; for an `Input` or a `Tensor`, the `Tensor` that the last layer gives for it. ValueError for several."""
        inputs = x if isinstance(x, list | tuple) else [x]
        tensors = [one for one in [*inputs, training] if isinstance(one, Tensor | Layer)]
        if len(tensors) > 1:
            raise ValueError(
                f"model {self.name}: a model is one chain of layers here, with one input, not {len(tensors)}"
            )
        x = tensors[0] if tensors else x
        if not isinstance(x, Tensor | Layer):
            x = as_batch(self, x)
            x = numbers(x, "samples") if isinstance(x, list | tuple) else x
            check(f"model {self.name}", ARRAY, x=x)
            if self._layers and getattr(x, "dtype", None) == np.float64:
                x = self.as_input(x)  # of images that were divided by a number
            return as_numbers(self.forward(x, enclosing() if training is None else bool(training)))
        if not self._layers or self._waiting:
            self.build(x.shape if isinstance(x, Tensor) else x.given_shape)
        for layer, mode in zip(self._layers, self._modes, strict=True):
            if not isinstance(layer, Input):
                x = layer(x, training=training if mode is None else mode)
                x.model = self
        return x

    def _works_as_in_training(self, number: int, training: bool | None) -> bool:
        """Whether a layer does where the model does, does not, or nobody says (None)."""
        mode = training if self._modes[number] is None else self._modes[number]
        return self._layers[number].works_as_in_training if mode is None else mode

    def backward(self, dy: Array, scores: bool = False, input_gradient: bool = True) -> Array | None:
        """The gradient for the last input, given that for its output (or scores).

        The gradients of the parameters are overwritten. Without `input_gradient` it ends at the first layer that has
        parameters, and returns None.
        """
        skip_softmax = scores and self.ends_with_softmax
        trainable = [number for number, layer in enumerate(self._layers) if layer.trainable_parameters]
        first = 0 if input_gradient else min(trainable, default=len(self._layers))
        for number in reversed(range(first, len(self._layers))):
            layer = self._layers[number]
            dy = layer.with_activity(dy)
            if not isinstance(layer, ActivatedLayer):
                if not (skip_softmax and number == len(self._layers) - 1 and isinstance(layer, Softmax | Activation)):
                    dy = layer.backward(dy)
                continue
            if not (skip_softmax and number == len(self._layers) - 1):
                dy = layer.activate.backward(dy)
            dy = layer.linear_backward(dy, input_gradient or number > first)
        return dy if input_gradient else None

    # ------------------------------------------------------------------ training

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Chooses how to train: an optimizer, a loss and metrics, as objects or by name.

        `metrics` count all samples alike, `weighted_metrics` by the weights that the loss counts them with.
        With `run_eagerly` every layer is called on its own, with the same numbers, so that a debugger sees it. The last
        three are there for Keras' sake: all kernels are compiled, and how many steps are done at once `fit` decides.
        """
        loss_weights = list(loss_weights.values()) if isinstance(loss_weights, dict) else loss_weights
        if loss_weights and loss_weights not in ([1], 1):
            given = loss_weights if isinstance(loss_weights, list | tuple) else [loss_weights]
            words = all(isinstance(one, str) for one in given)
            hint = "; metrics are given by name, metrics=…" if words else ""
            raise ValueError(f"compile cannot take loss_weights: a model has one output{hint}")
        self._needs_one_output("trained")
        self.run_eagerly = run_eagerly
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(_of_one_output(loss, "loss"))
        if getattr(self.loss, "reduction", "") in ("none", None):
            raise ValueError(
                f"compile: the loss {self.loss.name} needs a reduction, 'sum_over_batch_size' or 'sum', to be one number"  # type: ignore[union-attr]
            )
        if self.loss is not None and self.loss.from_logits and self._layers and self.ends_with_softmax:
            warnings.warn(
                f"the loss {self.loss.name} expects scores (from_logits=True), and gets those before the last softmax",
                stacklevel=2,
            )
        self._means = training.RunningMeans(_list_of_metrics(metrics), _list_of_metrics(weighted_metrics))
        self._flat = None

    def check_compiled(self) -> None:
        """ValueError for a model that has no optimizer or no loss."""
        for what in ("optimizer", "loss"):
            if getattr(self, what) is None:
                raise ValueError(f"the model has no {what}: call compile(optimizer, loss) first")

    def loss_of(self, y_true: Any, scores: Array, sample_weight: Any = None) -> tuple[float, Array]:
        """The compiled loss of scores (see `forward`) and its gradient."""
        if self.loss is None:
            raise ValueError("the model has no loss: call compile(optimizer, loss) first")
        from_logits = self.loss.from_logits or self.ends_with_softmax
        return self.loss.value_and_gradient(y_true, scores, sample_weight, from_logits=from_logits, ops=self.ops)

    def gradients_of_batch(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[float, Array]:
        """(loss, scores) of a batch in training; its gradients are in the parameters afterwards."""
        scores = self.forward(self.as_input(x), training=True, scores=True)
        loss, dscores = self.loss_of(y, scores, sample_weight)
        self.backward(dscores, scores=True, input_gradient=False)
        return loss + self.penalty(gradients=True), scores

    def penalty(self, gradients: bool = False) -> float:
        """What the regularizers of all trained parameters, and of the last outputs, add to the loss.

        With `gradients`, those of the parameters' regularizers are added to the parameters' own.
        """
        regularized = [parameter for parameter in self.trainable_parameters if parameter.regularizer is not None]
        found = [p.regularizer.penalize(self.ops, p.data, p.gradient if gradients else None) for p in regularized]  # type: ignore[union-attr]
        found += [loss for layer in self._layers for loss in layer.activity_losses]
        return sum(found) if found else 0

    def train_step(
        self, x: np.ndarray, y: Any, sample_weight: Any = None, rows: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """One step of the optimizer on a batch; returns the loss and the scores from before it.

        The batch is x, or with `rows` those samples of x; y and sample_weight are of the batch.
        """
        losses, scores = self.train_steps(x, y, sample_weight, rows, len(x if rows is None else rows))
        return losses[0], scores

    def train_steps(
        self, x: np.ndarray, y: Any, sample_weight: Any, rows: np.ndarray | None, batch_size: int
    ) -> tuple[list[float], np.ndarray]:
        """`train_step` for batch after batch of `batch_size` samples, all or those `rows` of x; returns all losses and scores.

        The engine does several steps without Python in between.
        """
        with self._engine.lock:
            run = self._run(x, batch_size, "train")
            losses, scores = [], []
            constrained = [(p, p.constraint) for p, _ in self._views if p.constraint is not None]
            samples = len(x if rows is None else rows)
            most = batch_size * (1 if run is None or constrained else run.most)
            for first in range(0, samples, most):
                part = slice(first, first + most)
                of_part = [
                    values if values is None or samples <= most else values[part] for values in (rows, y, sample_weight)
                ]
                batches = x if rows is not None else x[part]
                if run is None:
                    loss, found = self._step_by_layers(batches, *of_part)
                    losses.append(loss)
                    scores.append(found)
                else:
                    losses += run(batches, *of_part).tolist()
                    scores.append(run.result.copy())
                for parameter, constraint in constrained:
                    value = constraint(parameter.data)
                    check(parameter.name, ARRAY, **{"what its constraint makes of it": value})
                    parameter.value = value
                if run is not None:
                    self._engine.own_writes()
        return losses, scores[0] if len(scores) == 1 else np.concatenate(scores)

    def _step_by_layers(
        self, x: np.ndarray, rows: np.ndarray | None, y: Any, sample_weight: Any
    ) -> tuple[float, np.ndarray]:
        assert self.optimizer is not None and self._flat is not None
        for layer in self._layers:
            if isinstance(layer, RandomLayer):
                layer.step = self.optimizer.iterations
        loss, scores = self.gradients_of_batch(x if rows is None else x[rows], y, sample_weight)
        self.optimizer.update(*self._flat)
        return loss, self.ops.numpy(scores)

    def _run(self, x: np.ndarray, images: int, kind: str) -> "engine.Run | None":
        """What does this for batches like x on tapes, after all checks; None where it goes layer by layer."""
        run = self._engine.unchanged_run(self, images, kind)
        if run is None or run.shape != x.shape[1:]:
            if kind == "train":
                self.check_compiled()
            self.build((None, *x.shape[1:]))
            if kind == "train":
                assert self.optimizer is not None and self._flat is not None
                self.optimizer.prepare(self._flat[0], self.ops)
            run = self._engine.run(self, images, kind)
        return run

    def __getattr__(self, name: str) -> Any:
        """Says what a method that Keras has dropped is called today."""
        check_begun(self, "_layers", name)
        today = {
            "fit_generator": "fit", "evaluate_generator": "evaluate", "predict_generator": "predict",
            "predict_proba": "predict", "predict_classes": "predict(x).argmax(axis=-1)", "to_yaml": "to_json",
            "_make_predict_function": "make_predict_function",
        }.get(name)  # fmt: skip
        if today:
            raise AttributeError(f"a model has no attribute {name!r}: Keras 3 has dropped it, use {today}")
        if name in LACKED:
            raise AttributeError(f"a model has no attribute {name!r}: {LACKED[name]}")
        return object.__getattribute__(self, name)  # raises what a property did

    def scores_of(self, x: np.ndarray, y: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        """The loss and the scores of a batch, without training."""
        with self._engine.lock:
            run = self._run(x, len(x), "evaluate")
            if run is not None:
                return float(run(x, None, y, sample_weight)[0]) + self.penalty(), run.result.copy()
        scores = self.forward(self.as_input(x), scores=True)
        return self.loss_of(y, scores, sample_weight)[0] + self.penalty(), self.ops.numpy(scores)

    def outputs_of(self, x: np.ndarray) -> np.ndarray:
        """The output for a batch."""
        with self._engine.lock:
            run = self._engine.unchanged_run(self, len(x), "predict")
            if run is None or run.shape != x.shape[1:]:
                x = as_batch(self, x)
                run = self._run(x, len(x), "predict")
            if run is None:
                return self.ops.numpy(self.forward(self.as_input(x)))
            run(x, None)
            return run.result.copy()

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss and the metrics as objects, which hold what the last epoch or evaluation has found."""
        return list(self._means.all.values()) if self.compiled else []

    def reset_metrics(self) -> None:
        """Has all metrics forget what they hold; each epoch and evaluation begins so anyway."""
        for metric in self._means.all.values():
            metric.reset_state()

    @property
    def metrics_names(self) -> list[str]:
        """Of the numbers that `evaluate` returns."""
        return list(self._means.all)

    def check_targets(self, y: Any) -> None:
        """Raises ValueError for targets that do not fit the loss and the output."""
        if self.loss is not None and hasattr(self.loss, "targets_of"):
            self.loss.targets_of(y, (None, *self.output_shape[1:]))

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
        **dropped: Any,
    ) -> Any:
        """One step on one batch; returns the loss, [loss, metrics …] if there are metrics, or a dictionary of them."""
        refuse_arguments("train_on_batch", dropped)
        x, y, sample_weight = checked(self, x, y, sample_weight)
        weights = weights_of(y, sample_weight, class_weight)
        loss, scores = self.train_step(x, y, weights)
        return self._report(loss, y, scores, weights, return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False, **dropped: Any
    ) -> Any:
        """The same without training."""
        refuse_arguments("test_on_batch", dropped)
        x, y, sample_weight = checked(self, x, y, sample_weight)
        loss, scores = self.scores_of(x, y, sample_weight)
        return self._report(loss, y, scores, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The output for one batch."""
        return np.array(self.outputs_of(checked(self, x)[0]))

    def _report(self, loss: float, y: Any, scores: np.ndarray, sample_weight: Any, return_dict: bool) -> Any:
        with self._means.counting() as means:
            means.add(self, [loss], y, scores, sample_weight)
            logs = means.logs() | {"loss": loss}
        return training.in_order(logs) if return_dict else list(logs.values()) if len(logs) > 1 else loss

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | Iterable[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
        **dropped: Any,
    ) -> History:
        """Trains for `epochs` passes over x (N, …) and y, and returns the history of loss and metrics.

        A batch has 32 samples unless told. x may also give batches (x, y) or (x, y, sample_weight): an iterator such as
        `ImageDataGenerator.flow`, or a sequence of them. `steps_per_epoch` ends an epoch after so many batches, which hold
        all samples of an array unless `batch_size` is given too; so do those of `validation_steps`.
        `validation_split` keeps the last share of the samples, before shuffling, for validation; `validation_data` is
        (x, y), (x, y, sample_weight) or something that gives batches, and looked at after every `validation_freq`-th
        epoch, or after those that `validation_freq` lists, 1 being the first. `verbose`: 1 a progress bar, 2 a line per
        epoch, 0 nothing; "auto" is 1 on a terminal, else 2. ValueError for data that do not fit the model, each other or
        the batch.
        """
        refuse_arguments("fit", dropped)
        return training.fit(
            self, x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle, class_weight, sample_weight,
            initial_epoch, steps_per_epoch, validation_steps, validation_batch_size, validation_freq,
        )  # fmt: skip

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        return_dict: bool = False,
        **dropped: Any,
    ) -> Any:
        """[loss, metrics …] over all samples (the loss alone if there are no metrics), or a dictionary of them.

        x is an array, or gives batches as for `fit`. The numbers are also printed, in one line, unless `verbose` is 0.
        """
        refuse_arguments("evaluate", dropped)
        logs = training.evaluate(self, x, y, sample_weight, batch_size, steps, callbacks, verbose)
        if verbose:
            say(f"evaluation: {format_logs(training.in_order(logs))}")
        if return_dict:
            return training.in_order(logs)
        return list(logs.values()) if len(logs) > 1 else logs["loss"]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        **dropped: Any,
    ) -> Any:
        """The output for all samples, as a NumPy array; of several outputs a list of arrays, of outputs by name a dictionary.

        Nothing is printed, whatever `verbose` says.
        """
        refuse_arguments("predict", dropped)
        return self._named(training.predict(self, x, batch_size, steps, callbacks, verbose))

    def make_predict_function(self, force: bool = False) -> None:
        """There for Keras' sake, and for programs that serve requests: nothing is to be made before `predict` is called."""

    # ------------------------------------------------------------------ weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all parameters, layer by layer, in Keras' order."""
        return [weight for layer in self._layers for weight in layer.get_weights()]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Sets all parameters, in the order and shapes of `get_weights`; ValueError for another number or shape."""
        check(f"model {self.name}", LIST, weights=weights)
        expected = len(self.parameters)
        if len(weights) != expected:
            raise ValueError(f"expected {expected} arrays, one per parameter, got {len(weights)}")
        rest = iter(weights)
        for layer in self._layers:
            layer.set_weights([next(rest) for _ in layer.parameters])

    def save(
        self,
        filepath: str | Path,
        overwrite: bool = True,
        include_optimizer: bool = True,
        save_format: str | None = None,
        zipped: bool | None = None,
    ) -> None:
        """Writes weights, architecture, optimizer and its state into one file, for `load_model`.

        Models within this one come back as models; those of a class of your own, or changed since they were added, as layers.
        Named `….keras` it is in Keras 3's own format, which `keras.models.load_model` reads (this needs h5py), else in
        that of safetensors. Without `include_optimizer` it is as if the model had not been compiled; `save_format` and
        `zipped` are there for Keras' sake, as the name says it. DataError where the file cannot be written, or is there and
        is not to be written over, and ValueError for what Keras does not have.
        """
        self._needs_one_output("saved")
        self.build()
        _check_overwrite(filepath, overwrite)
        if save_format is not None:
            warnings.warn("save_format says nothing: the end of the name does, .keras or any other", stacklevel=2)
        compiled = self.optimizer, self.loss, self._means
        try:
            if not include_optimizer:
                self.optimizer, self.loss, self._means = None, None, training.RunningMeans()
            saving.write_model(self, filepath)
        finally:
            self.optimizer, self.loss, self._means = compiled

    def save_weights(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Writes the weights alone; named `….weights.h5` in Keras 3's own format, with the state of the optimizer."""
        self.build()
        _check_overwrite(filepath, overwrite)
        saving.write_weights(self, filepath)

    def load_weights(self, filepath: str | Path, skip_mismatch: bool = False, **dropped: Any) -> None:
        """Takes over the weights of a file that `save_weights` or `save` wrote, or Keras 3, layer by layer.

        In Keras' formats the layers of each class are matched in their order, else all layers that have parameters. A
        `.weights.h5` or `.keras` file also sets the optimizer, if that was built or has made a step. ValueError where shapes
        differ; with `skip_mismatch` such layers keep their weights, and a warning names them.
        """
        refuse_arguments("load_weights", dropped)
        self.build()
        saving.read_weights(self, filepath, skip_mismatch)

    def get_config(self) -> dict[str, Any]:
        """Name, layers and input shape as Keras writes them, for `from_config`.

        Of a class whose own `get_config` asks for it, what a constructor passes on: the name.
        """
        if type(self).get_config is not Sequential.get_config:
            return {"name": self.name}
        self._needs_one_output("described")
        self._needs_layers()
        config: dict[str, Any] = keras_format.config_of(self)["config"]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> "Sequential":
        """A new model, not compiled, of the layers that `get_config` described.

        A class with a `get_config` of its own is called with what that has returned.
        """
        if cls.get_config is not Sequential.get_config:
            return cls(**config)
        kind = "Functional" if "input_layers" in config else "Sequential"
        return keras_format.model_of({"class_name": kind, "config": config}, custom_objects)

    def to_json(self, **options: Any) -> str:
        """The layers and what was compiled, as Keras writes them; `keras.models.model_from_json` reads it.

        The options are those of `json.dumps`.
        """
        self._needs_one_output("described")
        self._needs_layers()
        return json.dumps(keras_format.config_of(self), **options)

    def _needs_layers(self) -> None:
        if self._waits():
            raise ValueError(UNKNOWN_INPUT)

    def _needs_one_output(self, action: str) -> None:
        """ValueError for a model of several outputs; a `Sequential` has one."""

    def _named(self, outputs: Any) -> Any:
        """The outputs as they were asked for: by name, or as they are."""
        return outputs


def _is_ours(kind: type) -> bool:
    """Whether a class of models is `Sequential` or `Model`, and not of your own."""
    return kind.__module__.startswith(f"{__package__}.")


def _build(layer: Layer, shape: Sequence[int | None]) -> None:
    """Builds a layer, unless it brings its parameters along; ValueError if those are for other inputs."""
    if layer.is_new_to(shape):
        layer.build(shape)
    elif layer.check_input_shape(shape)[1:] != layer.input_shape[1:]:
        raise ValueError(
            f"layer {layer.name}: already built for inputs of shape {layer.input_shape}, received {tuple(shape)}"
        )


def _of_one_output(given: Any, what: str) -> Any:
    """A setting of `compile` for the only output: itself, or out of a list or a dictionary of one."""
    if isinstance(given, dict) and "config" not in given:
        given = list(given.values())
    if not isinstance(given, list | tuple):
        return given
    if len(given) != 1:
        raise ValueError(f"compile: expected one {what}, as a model has one output, got {len(given)}")
    return given[0]


def _list_of_metrics(given: Any) -> list[Any]:
    """Metrics as `compile` takes them: one, several, or those of the only output in a list or a dictionary."""
    if isinstance(given, dict) or (isinstance(given, list) and any(isinstance(one, list) for one in given)):
        given = _of_one_output(given, "list of metrics")
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple | set) else [given]


def _check_overwrite(path: str | Path, overwrite: bool) -> None:
    check("", PATH, filepath=path)
    if not overwrite and Path(path).exists():
        raise DataError(f"{path}: there is a file of this name, which is not to be written over")
