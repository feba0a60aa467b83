"""The model of layers that were called on tensors, perhaps by a `call` of your own: a chain as well, with outputs along it."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from .absent import refuse_arguments
from .batches import checked
from .chain import UNKNOWN_INPUT, Chain
from .layers.base import Layer, Overridable, RandomLayer
from .layers.reshaping import Input
from .layers.symbolic import Tensor
from .ops import Ops
from .ops.reference import Array
from .registered import new_name
from .sequential import Sequential


class _ModelKind(type):
    """Has every model be a `Model`, as in Keras, where that is the base of `Sequential`."""

    def __instancecheck__(cls, thing: Any) -> bool:
        return super().__instancecheck__(thing) or cls is Model and isinstance(thing, Sequential)

    def __subclasscheck__(cls, kind: type) -> bool:
        return super().__subclasscheck__(kind) or cls is Model and issubclass(kind, Sequential)


class Model(Sequential, metaclass=_ModelKind):
    """The chain of layers that leads from an `Input` to an output: `Model(x, Dense(10)(Flatten()(x)))` for x = Input(…).

    With what comes out of a layer in the place of x, the model has the layers behind that one, and an `Input` of its own:
    `Model(layer.output, model.output)`, a decoder for instance.

    With a list of outputs, places along the chain, `predict` and calls return a list: what each place gives; with a
    dictionary, a dictionary. Such a model shows what layers see, and cannot be trained or saved. ValueError unless every
    output is made from that input, on the way to the last of them.

    A class of your own may define `call(x)` or `call(x, training)` instead, which puts layers one behind the other, and
    is called with a tensor when the model first sees the shape of its data; before that its `build(input_shape)`, if it has
    one, may make layers:

        class Small(Model):
            def __init__(self):
                super().__init__()
                self.flatten, self.last = Flatten(), Dense(10, activation="softmax")

            def call(self, x):
                return self.last(self.flatten(x))
    """

    _may_call = True
    _making = False  # whether a build of a class of your own is running

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "build" in vars(cls):
            cls.build = _before_the_rest(vars(cls)["build"])  # type: ignore[method-assign]

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        **dropped: Any,
    ) -> None:
        refuse_arguments(type(self).__name__, dropped)
        self._ends: list[int] = []  # of several outputs, or of some by name: how many layers precede each,
        self._parts: dict[int, Sequential] = {}  # by that number the layers since the output before,
        self._keys: list[str] = []  # and the names
        name = new_name("functional") if name is None and type(self) is Model else name
        if getattr(self, "call", None) is not None and inputs is None and outputs is None:
            super().__init__(name=name, trainable=trainable, dtype=dtype)
            return
        if inputs is None or outputs is None:
            raise ValueError("expected Model(inputs, outputs), or a class of your own with call(x)")
        keys = list(outputs) if isinstance(outputs, dict) else []
        outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
        inputs = list(inputs.values()) if isinstance(inputs, dict) else inputs
        inputs, outputs = (list(given) if isinstance(given, list | tuple) else [given] for given in (inputs, outputs))
        while len(inputs) == 1 and isinstance(inputs[0], list | tuple):  # as in Model([model.inputs], …)
            inputs = list(inputs[0])
        if len(inputs) != 1 or not outputs:
            raise ValueError(
                f"a model is one chain of layers here, with one input, not {len(inputs)}, and at least one output"
            )
        if not isinstance(inputs[0], Tensor | Input):
            raise ValueError(
                f"a model begins at an Input, or behind a layer that was called on one, not at {inputs[0]!r}"
            )
        start = inputs[0].layer if isinstance(inputs[0], Tensor) else inputs[0]
        ways = [_way(start, _in_the_whole(inputs[0], output)) for output in outputs]
        chains = [[tensor.layer for tensor in way] for way in ways]
        longest = max(chains, key=len)
        if any(chain != longest[: len(chain)] for chain in chains):
            raise ValueError(
                "a model is one chain of layers here: its outputs must lie on the way to the farthest of them"
            )
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        if not isinstance(start, Input):  # the layers behind one of another model
            start = Input(start.output_shape[1:], dtype=start.dtype.name)
        path = [Tensor(start), *max(ways, key=len)]
        for tensor in path:
            self._append(tensor.layer, tensor.mode)
        self._made_of_tensors, self._added = True, _added(path)
        if len(chains) > 1 or keys:
            self._ends, self._keys = [len(chain) for chain in chains], keys
            for first, end in pairwise(sorted({0, *self._ends})):
                part = self._parts[end] = Sequential(name=f"{self.name}_{end}")
                for tensor in path[first + 1 if first else 0 : end + 1]:
                    part._append(tensor.layer, tensor.mode)

    @property
    def layers(self) -> list[Any]:
        """The layers, and models, that were called; the `Input` is the first of those of a model made of tensors, as in Keras."""
        return [layer for layer, _ in self._added] if self._made_of_tensors else super().layers

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Builds all layers for inputs of this shape, batch first, those of `call` in the order it uses them."""
        if self._waits() and getattr(self, "call", None) is not None:
            if input_shape is None:
                raise ValueError(UNKNOWN_INPUT)
            if self._making:
                return
            output, asked = (self._called(input_shape, training) for training in (True, False))
            lasting = [
                [type(layer) for layer in found.chain if not isinstance(layer, RandomLayer)]
                for found in (output, asked)
            ]
            if lasting[0] != lasting[1]:
                raise ValueError("call(x, training) may leave out nothing but random layers when it does not train")
            _settle_modes(output.path, asked.path)
            try:
                for tensor in output.path:
                    self._append(tensor.layer, tensor.mode)
            except (TypeError, ValueError):
                self._layers, self._modes, self._added, self._tensors = [], [], [], []
                raise
            self._added = _added(output.path)
        super().build(input_shape)

    def _called(self, input_shape: Sequence[int | None], training: bool) -> Tensor:
        """What `call` makes of the tensor of an `Input`, layer by layer."""
        start = Input(tuple(input_shape[1:]))  # type: ignore[arg-type]
        start.build()
        takes = "training" in inspect.signature(self.call).parameters
        output: Tensor = self.call(Tensor(start), **({"training": training} if takes else {}))
        _way(start, output)  # says if it was not made from the input
        return output

    @property
    def output(self) -> Any:
        self.build()
        return [self._tensors[end] for end in self._ends] if self._ends else super().output

    @Overridable
    def outputs(self) -> list[Tensor]:
        return self.output if self._ends else [self.output]

    @Overridable
    def output_shape(self) -> Any:
        return [tensor.shape for tensor in self.output] if self._ends else self.output.shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Any:
        if not self._ends:
            return super().compute_output_shape(input_shape)
        return self._at_ends(tuple(input_shape), Sequential.compute_output_shape)

    def to(self, device: str | Ops) -> "Model":
        super().to(device)
        for part in self._parts.values():
            part.to(device)
        return self

    def forward(self, x: Array, training: bool | None = False, scores: bool = False) -> Any:
        if not self._ends:
            return super().forward(x, training, scores)
        return self._at_ends(x, lambda part, x: part.forward(x, training))

    def outputs_of(self, x: np.ndarray) -> Any:
        if not self._ends:
            return super().outputs_of(x)
        return self._at_ends(np.array(x, self._layers[0].dtype), Sequential.outputs_of)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        if not (self._ends and isinstance(x, Tensor | Layer)):
            return self._named(super().__call__(x, training))
        return self._named(self._at_ends(x, lambda part, x: Sequential.__call__(part, x, training)))

    def predict_on_batch(self, x: Any) -> Any:
        if not self._ends:
            return super().predict_on_batch(x)
        return self._named([np.array(output) for output in self.outputs_of(checked(self, x)[0])])

    def _needs_one_output(self, action: str) -> None:
        if self._ends:
            raise ValueError(
                f"a model of several outputs, or of outputs by name, is asked what they give, and not {action}"
            )

    def _named(self, outputs: Any) -> Any:
        return dict(zip(self._keys, outputs, strict=True)) if self._keys else outputs

    def _at_ends(self, x: Any, ask: Callable[[Sequential, Any], Any]) -> list[Any]:
        """The value of each output: `ask` applies every part of the chain to the output of the one before."""
        found = {0: x}
        for end, part in self._parts.items():
            x = found[end] = ask(part, x)
        return [found[end] for end in self._ends]


def _before_the_rest(own: Callable[..., Any]) -> Callable[..., None]:
    """`build` for a class of your own: once, its own, which makes layers for a shape of the input, and then the model's."""

    @wraps(own)
    def build(model: Model, input_shape: Sequence[int | None] | None = None) -> None:
        if model._making:  # a class made from it asks
            own(model, input_shape)
            return
        if not model._layers and input_shape is not None:
            model._making = True
            try:
                own(model, tuple(input_shape))
            finally:
                model._making = False
        Model.build(model, input_shape)

    return build


def _in_the_whole(start: Any, output: Any) -> Any:
    """What comes out of a model within the model of which `start` is the input, as that one has it, else `output` itself."""
    whole = start.owner() if isinstance(start, Tensor) else None
    if whole is None or not isinstance(output, Tensor) or output.path[0].layer is start.layer:
        return output
    return next((tensor for tensor in whole._tensors if tensor.layer is output.layer), output)


def _way(start: Layer, output: Any) -> list[Tensor]:
    """The tensors that lead from what comes out of a layer to a tensor, this one included; ValueError if none do."""
    path = output.path if isinstance(output, Tensor) else []
    places = [place for place, tensor in enumerate(path, 1) if tensor.layer is start]
    if not places and output is not start:
        raise ValueError("the output of a Model must be made from its input, layer by layer")
    return path[places[0] :] if places else []


def _added(path: list[Tensor]) -> list[tuple[Layer | Chain, int]]:
    """The layers of these tensors, or the models that were called as such, and how many layers each brought."""
    found: list[tuple[Layer | Chain, int]] = []
    for model, tensors in groupby(path, lambda tensor: tensor.model):
        passed = [tensor.layer for tensor in tensors]
        whole = model is not None and model.chain == passed
        found += [(model, len(passed))] if whole else [(layer, 1) for layer in passed]
    return found


def _settle_modes(trained: list[Tensor], asked: list[Tensor]) -> None:
    """Leaves the tensors that a `call` made in training those modes that it gives to them without training as well.

    What was not made without training are layers that are random.
    """
    own, left = {id(tensor.layer) for tensor in trained}, list(asked)
    for tensor in trained:
        other = left[0] if left else None
        same = other is not None and (
            other.layer is tensor.layer or (type(other.layer) is type(tensor.layer) and id(other.layer) not in own)
        )
        if other is None or not same or other.mode != tensor.mode:
            tensor.mode = None
        if same:
            left.pop(0)


def assembled(
    name: str | None,
    members: Iterable[tuple[Layer | Chain, bool | None]],
    input_shape: Sequence[int | None] | None,
    functional: bool,
) -> Sequential:
    """The model that has these `_members`; a `Model` if it is `functional`. It is built if the shape of its input is known."""
    model = Sequential(name=name)
    for member, mode in members:
        model._add(member, mode)
    if input_shape or (model._layers and model._layers[0].built):
        model.build(input_shape or None)
    if not functional:
        return model
    whole = Model(model.input, model.output, name=model.name)
    whole._added = model._added
    return whole
