"""The layers of a model, one after the other: built, called and differentiated as one.

All trainable parameters lie in one flat buffer, of which the layers hold views, and so do their gradients: an optimizer
step is one call.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, TypeVar
from weakref import ref

import numpy as np

from . import losses, optimizers
from .batches import as_batch, numbers
from .callbacks import say
from .checks import ARRAY, BATCH_SIZES, LIST, WHOLE, Kind, check, or_none
from .layers.activation import ActivatedLayer, Activation, Softmax
from .layers.base import Layer, Overridable, Shape, apply, enclosing
from .layers.parameter import Parameter, Weighted
from .layers.reshaping import Input
from .layers.symbolic import Tensor
from .numbers import as_numbers
from .ops import Ops, get_ops
from .ops.reference import UNIT, Array
from .registered import new_name
from .seeding import new_seed

LAYERS: Kind = "a list of layers", lambda layers: layers is None or np.iterable(layers)
C = TypeVar("C", bound="Chain")
UNKNOWN_INPUT = (
    "the model does not know the shape of its input: put an Input first, or call build((None, height, width, channels))"
)


class Chain(Weighted):
    """Base of all models: the layers, which are built, called forward and backward, and described.

    It may have a loss and an optimizer; `Sequential` says what is done with them.
    """

    _made_of_tensors = False  # whether it is Keras' Functional
    _may_call = False  # whether a class of your own may define call

    def __init__(
        self,
        layers: "Iterable[Layer | Chain] | None" = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if dtype not in (None, "float32"):
            raise ValueError(f"a model begins in float32, not {dtype!r}: model.astype('float64') changes its type")
        self.name = new_name(type(self).__name__) if name is None else name
        self._layers: list[Layer] = []
        self._added: list[tuple[Layer | Chain, int]] = []  # what was added, and how many layers it brought
        self._waiting: list[tuple[Layer | Chain, bool | None]] = []  # for the shape of its input, to be `_add`ed
        self._tensors: list[Tensor] = []  # what comes out of the layers, as far as their inputs are known
        self._modes: list[bool | None] = []  # of each layer: whether it works as in training whatever the model does
        self.ops: Ops = get_ops("cpu")
        self.seed = new_seed()
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self._flat: tuple[Array, Array] | None = None
        self._views: list[tuple[Parameter, Array]] = []
        self._trainable = trainable
        check(type(self).__name__, LAYERS, layers=layers)
        for layer in layers or []:
            self.add(layer)

    @property
    def layers(self) -> "list[Any]":
        """The layers, and models, that were added; without the `Input`, as in Keras."""
        return [layer for layer, _ in [*self._added, *self._waiting] if not isinstance(layer, Input)]

    @property
    def chain(self) -> list[Layer]:
        """The same with the layers of added models in their places."""
        return [layer for layer in self._layers if not isinstance(layer, Input)]

    @property
    def _members(self) -> "list[tuple[Layer | Chain, bool | None]]":
        """The layers, `Input` included, and models of which a description consists, each with the mode of its call.

        In the place of a model that has changed since it was added, stands here for the second time or is of a class of your
        own are its layers.
        """
        pairs, place = list(zip(self._layers, self._modes, strict=True)), 0
        found: list[tuple[Layer | Chain, bool | None]] = []
        for added, number in self._added:
            brought = pairs[place : place + number]
            modes: list[bool | None] = []
            if number and isinstance(added, Chain) and is_ours(type(added)):
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

    def add(self, layer: "Layer | Chain") -> None:
        """Puts a layer behind the others, or all layers of a model; TypeError for anything else, ValueError if it does not fit."""
        self._add(layer)

    def _add(self, layer: "Layer | Chain", mode: bool | None = None) -> None:
        """`add`; with a `mode` the layer or model works as in training, or does not, whatever this model does.

        What comes after a model whose layers are not known before the shape of its input is waits with it for `build`.
        """
        known = self._layers[-1].output_shape if self._layers and self._layers[-1].built else None
        if self._waiting or (isinstance(layer, Chain) and layer._waits() and known is None):
            if not isinstance(layer, Layer | Chain):
                raise TypeError(f"a model is made of layers, not of {layer!r}")
            self._waiting.append((layer, mode))
            return
        if not isinstance(layer, Chain):
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
                if not self._layers and isinstance(added, Chain):
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

    def to(self: C, device: str | Ops) -> C:
        """Moves the model to a device: "cpu", "gpu" or "reference"."""
        left, self.ops = self.ops, device if isinstance(device, Ops) else get_ops(device)
        for layer in self._layers:
            layer.to(self.ops)
        self._flat = None
        if self.optimizer is not None:
            state = {name: self.ops.array(left.numpy(moment)) for name, moment in self.optimizer.state.items()}
            self.optimizer.ops, self.optimizer.state = self.ops, state
        return self

    def astype(self: C, dtype: str) -> C:
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

    @Overridable
    def input_shape(self) -> tuple[int | None, ...]:
        self.build()
        return self._layers[0].input_shape

    @Overridable
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

    @Overridable
    def inputs(self) -> list[Tensor]:
        return [self.input]

    @Overridable
    def outputs(self) -> list[Tensor]:
        return [self.output]

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
        ours: Any = next(filter(is_ours, type(last).__mro__))
        if type(last).forward is not ours.forward or type(last).backward is not ours.backward:  # of a class of your own
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
        if isinstance(x, Layer) and not isinstance(x, Input):
            raise ValueError(
                f"model {self.name}: is called on what comes out of a layer, not on the layer {x.name} itself"
            )
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
            if not isinstance(layer, ActivatedLayer) or type(layer).backward is not ActivatedLayer.backward:
                if not (skip_softmax and number == len(self._layers) - 1 and isinstance(layer, Softmax | Activation)):
                    dy = layer.backward(dy)
                continue
            if not (skip_softmax and number == len(self._layers) - 1):
                dy = layer.activate.backward(dy)
            dy = layer.linear_backward(dy, input_gradient or number > first)
        return dy if input_gradient else None

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

    def _needs_layers(self) -> None:
        if self._waits():
            raise ValueError(UNKNOWN_INPUT)

    def _needs_one_output(self, action: str) -> None:
        """ValueError for a model of several outputs; a `Sequential` has one."""


def is_ours(kind: type) -> bool:
    """Whether a class, of models or of layers, is one of minicnn, and not of your own."""
    return kind.__module__.startswith(f"{__package__}.")


def _build(layer: Layer, shape: Sequence[int | None]) -> None:
    """Builds a layer, unless it brings its parameters along; ValueError if those are for other inputs."""
    if layer.is_new_to(shape):
        layer.build(shape)
    elif layer.check_input_shape(shape)[1:] != layer.input_shape[1:]:
        raise ValueError(
            f"layer {layer.name}: already built for inputs of shape {layer.input_shape}, received {tuple(shape)}"
        )
