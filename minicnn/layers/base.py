"""What a layer is: settings, parameters, and a forward with its backward.

What is worth a kernel a layer asks of the operations (`self.ops`) of the device its model is on.
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .. import constraints, initializers, regularizers
from ..absent import by_name, today
from ..checks import ARRAY, BATCH_SIZES, LIST, SIZES, WEIGHT_SHAPE, WHOLE, check, check_begun, or_none
from ..derivatives import Traced, UnknownDerivative
from ..numbers import as_numbers
from ..ops import Ops, get_ops
from ..ops.reference import Array, Key
from ..registered import new_name
from ..seeding import new_seed
from . import calculation
from .parameter import Parameter, Weighted
from .symbolic import Shape as Shape
from .symbolic import Symbol, Tensor

SETTINGS = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}  # of a parameter
RENAMED = {  # arguments of Keras 1 and 2, and what they are called today
    "nb_filter": "filters", "nb_row": "kernel_size", "nb_col": "kernel_size", "border_mode": "padding", "subsample": "strides",
    "atrous_rate": "dilation_rate", "dim_ordering": "data_format", "output_dim": "units", "bias": "use_bias", "p": "rate",
    "init": "kernel_initializer", "W_regularizer": "kernel_regularizer", "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint", "b_constraint": "bias_constraint", "sigma": "stddev",
    "batch_input_shape": "batch_shape",
}  # fmt: skip
LACKED = by_name({  # methods of Keras' layers, behind what there is in their place
    "Keras 3 has dropped it, use output": "get_output_at get_output_shape_at",
    "Keras 3 has dropped it, use input": "get_input_at get_input_shape_at",
    "a penalty for what comes out of a layer is its argument activity_regularizer": "add_loss",
    "metrics are given to compile": "add_metric",
    "today it is add_weight(name=…, shape=…)": "add_variable",
})  # fmt: skip


def channels_last(layer: "Layer", data_format: str | None) -> None:
    """ValueError, naming the layer, for any other layout of images."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"layer {layer.name}: there is one layout, channels_last (batch, height, width, channels), not {data_format!r};"
            " images with the channels first are turned by x.transpose(0, 2, 3, 1)"
        )
    layer.data_format = "channels_last"


_calls = threading.local()  # whether the layer whose `forward` runs now, on this thread, works as in training


def enclosing() -> bool | None:
    """Whether the layer or model that is making a call works as in training; None where there is none."""
    return getattr(_calls, "training", None)


def apply(layer: "Layer", x: Array, training: bool) -> Array:
    """`layer.forward`: layers that it calls itself do as it does, unless it tells them. A penalized output is kept."""
    before, _calls.training = enclosing(), training
    try:
        y = layer.forward(x, training=training)
    finally:
        _calls.training = before
    if layer.activity_regularizer is not None:
        layer.activity = y
    return y


T = TypeVar("T")


class Overridable(Generic[T]):
    """A property that a layer or model of your own may replace by assigning to it: `self.input_shape = input_shape`."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function, self.__doc__ = function, function.__doc__

    def __get__(self, thing: Any, kind: type | None = None) -> T:
        return self if thing is None else self.function(thing)  # type: ignore[return-value]


class _LayerKind(type):
    """Makes a class with a `call` that is made from `Layer` itself a `Model`: it puts layers one behind the other."""

    def __new__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any], **options: Any) -> Any:
        if (
            bases == (Weighted,)
            or Layer not in bases
            or "call" not in names
            or "forward" in names
            or calculation.calculates(names)
        ):
            return super().__new__(cls, name, bases, names, **options)
        from ..functional import Model

        kind: Any = type(Model)
        return kind(name, tuple(Model if base is Layer else base for base in bases), names, **options)


class Layer(Weighted, metaclass=_LayerKind):
    """Base of all layers. A layer of your own defines `forward` and `backward`, and `build` if it has parameters:

        class Scale(Layer):
            def build(self, input_shape):
                super().build(input_shape)
                self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

            def forward(self, x, training=False):
                self.x = x
                return x * self.factor.value

            def backward(self, dy):
                self.factor.gradient = (dy * self.x).sum(axis=tuple(range(dy.ndim - 1)))
                return dy * self.factor.value

    Neither may change the arrays it is given. `compute_output_shape` is needed where the output has another shape than
    the input. `input_rank` is the number of axes of the input, the batch included, where only one will do, and
    `works_as_in_training` whether a call on an array that does not say `training` means it.

    A class with a `call` that puts other layers one behind the other is a `Model`, also if it is made from `Layer`. One whose
    `call` calculates with its input and its weights (see `calculation.calculates`) needs no `forward` and `backward`: it
    has the derivative that `minicnn.derivatives` finds. Its weights are attributes, and what `call` assigns is not kept.

    The first layer of a model may say the shape of its input: `input_shape` without the batch axis, `batch_shape` with it,
    or `input_dim`, the length of samples with one axis. Batches may be of any size, whatever `batch_size` says. An
    `activity_regularizer` is a penalty for what comes out, which the loss of a model holds, divided by the samples of the
    batch. An unknown argument is a ValueError, which gives today's name for one of Keras 1 or 2.
    """

    input_rank: int | None = None
    works_as_in_training = False
    data_format: str  # of layers that take images: "channels_last"
    named_by_itself = False  # and may have another name yet
    activity_regularizer: regularizers.Regularizer | None = None
    activity: Array = None  # the last output, where there is a penalty for it
    shaping: tuple[str, ...] = ()  # settings on which the shape of the output hangs, which a built layer keeps
    _back: Any = None  # of the last output, where `call` calculates, or a function: what pulls a gradient back
    _building = False  # by a `build` of your own, which may call this one

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "call" in vars(cls) and "forward" not in vars(cls) and cls.forward is Layer.forward:
            cls.forward, cls.backward = calculation.forward, calculation.backward  # type: ignore[method-assign]
            cls.build = calculation.build_around(cls.build)  # type: ignore[assignment,method-assign]
            if "compute_output_shape" not in vars(cls):
                cls.compute_output_shape = calculation.compute_output_shape  # type: ignore[method-assign]
        elif cls.forward is calculation.forward:
            if "build" in vars(cls):
                cls.build = calculation.build_around(cls.build)  # type: ignore[assignment,method-assign]
        elif "call" in vars(cls):
            if cls.forward is Layer.forward or "forward" in vars(cls):
                raise TypeError(
                    f"layer class {cls.__name__}: expected forward(x, training) and backward(dy), got call: gradients are "
                    "written by hand here"
                )
            cls.forward = _forward_of_call  # type: ignore[method-assign]
        own = vars(cls).get("build")
        if own and not own.__module__.startswith("minicnn.") and cls.forward is not calculation.forward:
            cls.build = _whole_build(own)  # type: ignore[assignment,method-assign]
        for name in ("convolution_op", "transform_images", "get_random_transformation"):
            if name in vars(cls):
                raise TypeError(
                    f"layer class {cls.__name__}: expected forward and backward, got {name}, which nobody calls"
                )

    def __new__(cls, *arguments: Any, **options: Any) -> "Layer":
        known = inspect.signature(cls.__init__).parameters
        for name in options:
            renamed = RENAMED.get(name)
            if name not in known and (renamed in known or renamed in ("input_shape", "batch_shape")):
                which = f"layer {options['name']}" if "name" in options else f"a {cls.__name__}"
                raise ValueError(f"{which} has no argument {name}; it is called {renamed} today")
        return super().__new__(cls)

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = "float32",
        trainable: bool = True,
        *,
        input_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        self.named_by_itself = name is None
        name = new_name(type(self).__name__) if name is None else name
        if unknown:
            raise ValueError(
                f"layer {name}: a {type(self).__name__} has no argument {min(unknown)}{today(min(unknown))}"
            )
        self.name, self.trainable, self.batch_size = name, trainable, batch_size
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.given_shape: Shape | None = None  # of the input, by the one who made the layer
        if input_dim is not None:
            self.given_shape = None, input_dim
        for argument, given in (("input_shape", input_shape), ("batch_shape", batch_shape)):
            if given is not None:
                check(f"layer {name}", SIZES, **{argument: given})
                self.given_shape = (None, *given[int(argument == "batch_shape") :])
        self.dtype = self.number_type("float32" if dtype is None else dtype)
        self.parameters: list[Parameter] = []
        self.built = False
        self.ops: Ops = get_ops("cpu")
        self.input_shape: Shape = ()
        self.output_shape: Shape = ()
        self._called: tuple[Any, Any] = None, None  # x and y of `call`
        self._tensor: Tensor | None = None  # what comes out, where it was first put behind another layer

    def __setattr__(self, name: str, value: Any) -> None:
        """ValueError where a setting is changed that the memory of a built layer was laid out for."""
        if name in self.shaping and self.__dict__.get("built"):
            raise ValueError(
                f"layer {self.name}: {name} says what shape comes out, and cannot become {value!r} once the layer is built; "
                "make a new one"
            )
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # which is to find what is no attribute

        def __getattr__(self, name: str) -> Any:
            """Says what there is in the place of what Keras has, or had."""
            check_begun(self, "parameters", name)
            if name in LACKED:
                raise AttributeError(f"layer {self.name}: there is no {name}: {LACKED[name]}")
            return object.__getattribute__(self, name)  # raises what a property did

    # ------------------------------------------------------------------ to define in a layer

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the parameters for inputs of this shape; the batch axis comes first and is usually None."""
        if self._building:
            return
        self.input_shape = self.check_input_shape(input_shape)
        self.output_shape = self.compute_output_shape(self.input_shape)
        if self.built:  # anew
            self.parameters = []
        self.built = True

    def forward(self, x: Array, training: bool = False) -> Array:
        """y of x; what `backward` needs is kept until the next forward."""
        raise TypeError(f"layer {self.name} does not define forward(x, training)")

    def backward(self, dy: Array) -> Array:
        """The gradient for the last x, given the one for its y; the parameters' gradients are overwritten."""
        raise TypeError(f"layer {self.name} does not define backward(dy)")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of one sample."""
        return 0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in types that JSON has."""
        config = {"name": self.name, "dtype": self.dtype.name, "trainable": self.trainable}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    # ------------------------------------------------------------------ given

    def call(self, x: Array, training: bool = False) -> Array:
        """`forward`, under Keras' name. A class made from a layer may define it to say how that one works:

            class AlwaysDropout(Dropout):
                def call(self, inputs):
                    return super().call(inputs, training=True)

        It returns what its `super().call` made of its input, whose `backward` is used: TypeError for anything else.
        """
        forwards = [vars(kind)["forward"] for kind in type(self).__mro__ if "forward" in vars(kind)]
        y = next(forward for forward in forwards if forward is not _forward_of_call)(self, x, training=bool(training))
        if type(self).forward is _forward_of_call:
            self._called = x, y
        return y

    def __call__(self, x: Array, training: bool | None = None) -> Array:
        """`forward`, after building the layer for x if that has not happened; for an `Input` or a `Tensor`, a `Tensor`.

        Without `training`, an array is treated as the layer or model that makes the call treats its own, if one does, else
        as `works_as_in_training` says. With `training` True or False for a tensor, the layer works as in training there, or
        does not, whatever the model does. (Keras 3 says so too, but lets `fit` and `predict` override it.)
        """
        several = isinstance(x, list | tuple) and any(isinstance(one, Tensor | Layer) for one in x)
        if several or isinstance(training, Tensor | Layer | np.ndarray):  # which Keras' call(a, b) would take
            raise ValueError(
                f"layer {self.name}: a model is one chain of layers here, and no layer takes several inputs"
            )
        if isinstance(x, Layer):  # an Input
            if not isinstance(x, Symbol):
                raise ValueError(
                    f"layer {self.name}: is called on what comes out of a layer, not on the layer {x.name} itself"
                )
            if not x.built:
                x.build(())
            x = Tensor(x)
        if isinstance(x, Tensor):
            layer = self._copy_for_chain() if self in x.chain else self
            if not layer.built:
                layer.make_way({other.name for other in x.chain})
            if layer.is_new_to(x.shape):
                layer.build(x.shape)
            tensor = type(x)(layer, x, None if training is None else bool(training))
            layer._tensor = layer._tensor or tensor
            return tensor
        if isinstance(x, Traced):
            raise UnknownDerivative(f"it calls the layer {self.name}")
        if isinstance(x, list | tuple):
            x = np.asarray(x, self.dtype)
        check(f"layer {self.name}", ARRAY, x=x)
        if self.is_new_to(x.shape):
            self.build((None, *x.shape[1:]))
        training = enclosing() if training is None else bool(training)
        return as_numbers(apply(self, x, self.works_as_in_training if training is None else training))

    def is_new_to(self, shape: Sequence[int | None]) -> bool:
        """Whether it is to be built for inputs of this shape: it is not, or for another, has no parameters and is in no chain.

        A `build` of your own runs once: it may make what is not to be lost.
        """
        loose = not self.parameters and self._tensor is None and type(self).build.__module__.startswith("minicnn.")
        return not self.built or loose and self.input_shape[1:] != tuple(shape[1:])

    def make_way(self, taken: set[str]) -> None:
        """Takes another name than those taken, if it named itself, has no parameters yet and stands in no chain."""
        if self.named_by_itself and not self.built and self.name in taken:
            self.name = next(name for number in count(1) if (name := f"{self.name}_{number}") not in taken)

    def _copy_for_chain(self) -> "Layer":
        """A layer like this one for a second place in a chain; ValueError if both would have the same parameters."""
        if self.parameters:
            raise ValueError(f"layer {self.name}: is called twice in one chain, where what has parameters stands once")
        kind = type(self)
        own = next(one for one in kind.__mro__ if {"__init__", "get_config"} & vars(one).keys())
        if "get_config" not in vars(own) and not own.__module__.startswith("minicnn."):
            raise ValueError(
                f"layer {self.name}: a {kind.__name__} can stand in several places of a chain when its get_config says "
                "what it was made with"
            )
        anew = {"name": None, "seed": None} if isinstance(self, RandomLayer) else {"name": None}
        return self.from_config(self.get_config() | anew)

    def __getstate__(self) -> dict[str, Any]:
        """A copy belongs to no chain; a copied model links the copies of its layers again."""
        return self.__dict__ | {"_tensor": None, "activity": None, "_back": None}

    @Overridable
    def input(self) -> Tensor:
        """What goes in, as a `Tensor`, where the layer was first put behind another: see `output`."""
        return self.output.source or self.output

    @Overridable
    def output(self) -> Tensor:
        """What comes out, as a `Tensor`: `Model(model.input, layer.output)` is the model up to here.

        AttributeError before the layer is part of a model whose input is known.
        """
        if not self.built:
            raise AttributeError(f"layer {self.name} has no output yet: the shape of its input is not known")
        return self._tensor or Tensor(self)

    def refuse(self, **options: Any) -> None:
        """ValueError for an option of Keras that is not offered here and is not None."""
        for name, value in options.items():
            if value is not None:
                raise ValueError(f"layer {self.name}: {name} is not offered here: it must be None, not {value!r}")

    def add_weight(
        self,
        shape: Sequence[int],
        initializer: Any = "glorot_uniform",
        trainable: bool = True,
        name: str = "weight",
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Parameter:
        """A new parameter of this layer, started by an initializer (or its name); a name that is taken gets a number.

        A regularizer is a penalty in the model's loss, and a constraint what the weights are brought back to after a step.
        """
        check(f"layer {self.name}", WEIGHT_SHAPE, **{f"the shape of {name}": shape})
        taken = {parameter.name for parameter in self.parameters}
        names = (name, *(f"{name}_{number}" for number in range(1, 1 + len(taken))))
        name = next(free for free in names if f"{self.name}/{free}" not in taken)
        start = initializers.get(initializer)
        try:
            value = np.asarray(start(tuple(shape), dtype=self.dtype.name), self.dtype, order="C")
        except TypeError as error:
            words = f"the initializer of {name} cannot be called as a function of shape and dtype"
            raise ValueError(f"layer {self.name}: {words}: {error}") from error
        if value.shape != tuple(shape):
            raise ValueError(
                f"layer {self.name}: the initializer of {name} was asked for shape {tuple(shape)} and gave {value.shape}"
            )
        settings = regularizers.get(regularizer), constraints.get(constraint)
        parameter = Parameter(f"{self.name}/{name}", self.ops.array(value), trainable, *settings)
        self.parameters.append(parameter)
        return parameter

    def _add_named(self, shape: Sequence[int], name: str, trainable: bool = True, of: str | None = None) -> Parameter:
        """`add_weight` with the layer's settings of this name, or the name `of`: its kernel_initializer, kernel_regularizer, …"""
        settings = {kind: getattr(self, f"{of or name}_{kind}", None) for kind in SETTINGS}
        return self.add_weight(shape, trainable=trainable, name=name, **settings)

    def _keep_settings(self, **settings: tuple[Any, ...]) -> None:
        """Keeps, for `_add_named`, the initializer, regularizer and constraint of the parameters of these names."""
        for name, given in settings.items():
            for (kind, module), setting in zip(SETTINGS.items(), given, strict=False):  # averages only begin somewhere
                setattr(self, f"{name}_{kind}", module.get(setting))

    def _settings_config(self, *names: str) -> dict[str, Any]:
        """Those settings of parameters of these names that the layer has, for `get_config`."""
        found = [(f"{name}_{kind}", module) for kind, module in SETTINGS.items() for name in names]
        return {key: module.serialize(getattr(self, key)) for key, module in found if hasattr(self, key)}

    def check_input_shape(self, shape: Sequence[int | None]) -> Shape:
        """`shape` with the batch axis in front; raises ValueError for an input that cannot fit."""
        check(f"layer {self.name}", BATCH_SIZES, input_shape=shape)
        shape = tuple(shape)
        if self.input_rank is not None and len(shape) == self.input_rank - 1 and None not in shape:
            shape = (None, *shape)  # the batch axis was left out
        if self.input_rank is not None and len(shape) != self.input_rank:
            known = {2: "(batch, features)", 4: "(batch, height, width, channels)"}
            expected = f"shape {known[self.input_rank]}" if self.input_rank in known else f"{self.input_rank} axes"
            gray = ": grey images have one channel, x[..., None]" if (self.input_rank, len(shape)) == (4, 3) else ""
            raise ValueError(f"layer {self.name}: expected an input of {expected}, received {shape}{gray}")
        if None in shape[1:]:
            raise ValueError(
                f"layer {self.name}: a model is built for samples of one size, so every axis but the batch must have one, "
                f"received {shape}"
            )
        if any(size is not None and size < 1 for size in shape[1:]):
            raise ValueError(
                f"layer {self.name}: every axis but the batch must have a size of 1 or more, received {shape}"
            )
        return shape

    def check_input(self, x: Array) -> Array:
        """x, as floats, if the layer was built for its shape; else ValueError."""
        if not self.built:
            raise ValueError(
                f"layer {self.name} has not been built: call build(input_shape), or the layer itself, first"
            )
        if tuple(x.shape[1:]) != self.input_shape[1:]:
            raise ValueError(
                f"layer {self.name}: expected an input of shape {self.input_shape}, received {tuple(x.shape)}"
            )
        return self.as_float(x)

    def as_float(self, x: Array) -> Array:
        """x itself if it holds floats, else in the layer's number type."""
        x = self.ops.xp.asarray(x)
        return x if x.dtype.kind == "f" else x.astype(self.dtype)

    def to(self, device: str | Ops) -> "Layer":
        """Moves the layer and its parameters to a device: "cpu", "gpu" or "reference"."""
        left, self.ops = self.ops, device if isinstance(device, Ops) else get_ops(device)
        for parameter in self.parameters:
            _convert(parameter, left, self.ops, parameter.data.dtype)
        return self

    def number_type(self, dtype: Any) -> np.dtype[Any]:
        """What `dtype` stands for; ValueError if a layer cannot calculate in it."""
        try:
            found = np.dtype(dtype)
        except TypeError:
            found = np.dtype(object)
        if found not in (np.float32, np.float64):
            raise ValueError(f"layer {self.name}: dtype must be float32 or float64, not {dtype!r}")
        return found

    def astype(self, dtype: str) -> "Layer":
        """Changes the type of the parameters, and so of all arithmetic, to "float32" or "float64"; ValueError for another."""
        self.dtype = self.number_type(dtype)
        for parameter in self.parameters:
            _convert(parameter, self.ops, self.ops, self.dtype)
        return self

    @property
    def trainable_parameters(self) -> list[Parameter]:
        """Those that training changes: none while the layer itself is not `trainable`."""
        return [parameter for parameter in self.parameters if parameter.trainable and self.trainable]

    def count_params(self) -> int:
        """The numbers in all parameters, trained or not."""
        return sum(int(np.prod(parameter.shape)) for parameter in self.parameters)

    @property
    def activity_losses(self) -> list[float]:
        """The penalty of the `activity_regularizer` for the last output, divided by its samples, if there are both."""
        if self.activity_regularizer is None or self.activity is None:
            return []
        return [float(self.activity_regularizer.penalize(self.ops, self.activity)) / len(self.activity)]

    def with_activity(self, dy: Array) -> Array:
        """The gradient dy for the last output, and that of its penalty."""
        if self.activity_regularizer is None:
            return dy
        gradient = self.ops.xp.zeros_like(self.activity)
        self.activity_regularizer.penalize(self.ops, self.activity, gradient)
        return dy + gradient / len(dy)

    @property
    def losses(self) -> list[float]:
        """What the regularizers of its last output and of each trained parameter add to the loss."""
        regularized = [parameter for parameter in self.trainable_parameters if parameter.regularizer is not None]
        of_weights = [float(p.regularizer.penalize(self.ops, p.data, None)) for p in regularized]  # type: ignore[union-attr]
        return self.activity_losses + of_weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all parameters, in Keras' order."""
        return [np.array(self.ops.numpy(parameter.data)) for parameter in self.parameters]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Sets all parameters, in the order and shapes of `get_weights`; ValueError for another number or shape."""
        check(f"layer {self.name}", LIST, weights=weights)
        if len(weights) != len(self.parameters):
            raise ValueError(f"layer {self.name}: expected {len(self.parameters)} arrays, got {len(weights)}")
        for parameter, value in zip(self.parameters, weights, strict=True):
            parameter.value = self.ops.array(value, parameter.data.dtype)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Layer":
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def _whole_build(own: Callable[[Any, Any], None]) -> Callable[[Any, Sequence[int | None]], None]:
    """`build` of a class: its own, and that of `Layer` where it calls none, also behind the weights it has made."""

    @wraps(own)
    def build(self: Layer, input_shape: Sequence[int | None]) -> None:
        if self.built:  # anew
            self.parameters, self.built = [], False
        own(self, input_shape)
        if not self.built:
            Layer.build(self, input_shape)

    return build


def _forward_of_call(self: Layer, x: Array, training: bool = False) -> Array:
    """`forward` of a class made from a layer that defines `call`."""
    self._called = None, None
    takes = inspect.signature(self.call).parameters
    y = self.call(x, training=training) if "training" in takes else self.call(x)
    (given, made), self._called = self._called, (None, None)
    if given is not x or made is not y:
        raise TypeError(
            f"layer {self.name}: expected its call to return what super().call(x) makes of its x: gradients are written by "
            "hand here, a layer that calculates defines forward(x, training) and backward(dy)"
        )
    return y


def _convert(parameter: Parameter, left: Ops, entered: Ops, dtype: Any) -> None:
    """Moves a parameter from one device to another and to a number type."""
    gradient = None if parameter.gradient is None else entered.array(left.numpy(parameter.gradient), dtype)
    parameter.bind(entered.array(left.numpy(parameter.data), dtype), gradient)


class OfImages(Layer):
    """A layer of images, x (N, H, W, C). Called by itself on an array, it takes a single one as well, as in Keras."""

    input_rank = 4

    def __call__(self, x: Array, training: bool | None = None) -> Array:
        if not isinstance(x, Symbol) and np.ndim(x) == 3:
            return super().__call__(x[None], training)[0]
        return super().__call__(x, training)


class RandomLayer(Layer):
    """A layer that draws random numbers in training: they are a function of its seed and of `step` alone.

    A model sets `step` to its training step; used alone, the layer counts its own training forwards. Where a step is
    captured, `step` is an array of the device, (1,), which counts there.
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", or_none(WHOLE), seed=seed)
        self.seed = new_seed() if seed is None else int(seed)
        self.step: Any = 0

    def next_key(self) -> Key:
        """What the numbers of this forward are a function of."""
        step = self.step
        if getattr(step, "ndim", 0) == 0:
            self.step = step + 1
        return self.seed, step, 0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}
