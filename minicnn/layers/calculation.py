"""Layers of your own whose `call` calculates: which classes these are, and the `forward` and `backward` they get."""

import dis
import inspect
from collections.abc import Callable, Iterable, Sequence
from types import CellType
from typing import TYPE_CHECKING, Any

from ..derivatives import Traced, UnknownDerivative, derivative, has_derivative
from ..ops.reference import Array
from .parameter import Parameter, Weighted
from .symbolic import Shape

if TYPE_CHECKING:
    from .base import Layer


def _codes(code: Any) -> list[Any]:
    """The code of a function, and of those within it."""
    return [code, *(inner for one in code.co_consts if hasattr(one, "co_names") for inner in _codes(one))]


def _enclosed(function: Any) -> dict[str, Any]:
    """The variables of enclosing functions that a function uses, as far as they have a value yet."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}


def _reached(functions: Iterable[Any]) -> tuple[list[Any], set[str], list[Any]]:
    """The code of functions and of those of their modules that they call, the names in it, and what these mean outside of it."""
    codes, names, things = list[Any](), set[str](), list[Any]()
    waiting = [*filter(inspect.isfunction, functions)]
    while waiting:
        function = waiting.pop()
        if function.__code__ not in codes:
            codes += _codes(function.__code__)
            found = {name for code in _codes(function.__code__) for name in code.co_names}
            around = function.__globals__ | _enclosed(function)
            outside = [around[name] for name in (found | set(function.__code__.co_freevars)) & set(around)]
            names, things = names | found, things + outside
            waiting += [one for one in outside if inspect.isfunction(one) and one.__module__ == function.__module__]
    return codes, names, things


def _has_operators(code: Any) -> bool:
    """Whether it adds, multiplies or the like; [] is none of these."""
    operations = (one.opname for one in dis.get_instructions(code) if one.argrepr != "[]")
    return any(one.startswith(("BINARY_", "INPLACE_")) and not one.endswith(("SUBSCR", "SLICE")) for one in operations)


def calculates(names: dict[str, Any]) -> bool:
    """Whether a class with a `call`, made from `Layer`, is a layer that calculates, and not some layers in a row.

    It adds weights, or names no layers, and has no `__init__` or `build` that could be given some, or a `call` with operators
    or functions that have a derivative.
    """
    from .. import layers

    codes, used, things = _reached(names.values())
    if "add_weight" in used:
        return True
    if any(name[0].isupper() and name in layers.__all__ for name in used):
        return False
    if any(isinstance(one, Weighted) or isinstance(one, type) and issubclass(one, Weighted) for one in things):
        return False
    attributes = {one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "STORE_ATTR"}
    codes, called, _ = _reached([names["call"]])
    derived = any(map(has_derivative, called - attributes))  # self.norm(x) is a layer of this name
    return not {"__init__", "build"} & set(names) or derived or any(map(_has_operators, codes))


def _own(layer: "Layer") -> dict[int, Parameter]:
    """The parameters that are attributes of a layer, each once."""
    return {id(one): one for one in vars(layer).values() if isinstance(one, Parameter)}


def _calculation(self: "Layer", x: Array, training: bool) -> tuple[Array, Callable[[Any], list[Array]]]:
    """What a `call` that calculates makes of x, and what gives the gradients of x and of the layer's own parameters.

    Without parameters that may be a ValueError: the layer can stand where nothing before it is trained.
    """
    held = [one for value in vars(self).values() for one in (value if isinstance(value, list | tuple) else [value])]
    others = [one for one in held if isinstance(one, Weighted)]
    if others:
        raise ValueError(
            f"layer {self.name}: the derivative of its call is not known, as it has the layer {others[0].name}: define "  # type: ignore[attr-defined]
            "forward(x, training) and backward(dy), or put the layers one behind the other"
        )
    own = _own(self)
    options = {"training": training} if "training" in inspect.signature(self.call).parameters else {}

    def calculated(start: Traced, *traced: Traced) -> Any:
        by_id = dict(zip(own, traced, strict=True))
        twin = object.__new__(type(self))  # other threads calculate with the layer itself
        vars(twin).update({name: by_id.get(id(one), one) for name, one in vars(self).items()})
        return twin.call(start, **options)

    try:
        lost = [one for one in self.parameters if id(one) not in own]
        if lost:
            raise UnknownDerivative(f"its weight {lost[0].name} is no attribute of the layer")
        return derivative(calculated, x, *(one.data for one in own.values()))
    except UnknownDerivative as error:
        unknown = f"layer {self.name}: the derivative of its call is not known ({error})"
        if self.parameters:
            raise ValueError(f"{unknown}: define forward(x, training) and backward(dy)") from None
    except Exception as error:
        raise _failed(self, x, error) from error

    def refuse(dy: Array) -> list[Array]:
        raise ValueError(
            f"{unknown}, so no layer before it can be trained: define forward(x, training) and backward(dy)"
        )

    try:
        return self.call(x.copy(), **options), refuse
    except Exception as error:
        raise _failed(self, x, error) from error


def _failed(layer: "Layer", x: Array, error: Exception) -> ValueError:
    return ValueError(f"layer {layer.name}: its call fails for an input of shape {tuple(x.shape)}: {error}")


def forward(self: "Layer", x: Array, training: bool = False) -> Array:
    """`forward` of a class whose `call` calculates."""
    x = self.check_input(x)
    y, self._back = _calculation(self, x, training)
    return self.ops.array(y, x.dtype)


def backward(self: "Layer", dy: Array) -> Array:
    dx, *gradients = self._back(dy)
    for parameter, gradient in zip(_own(self).values(), gradients, strict=True):
        if parameter.trainable:
            parameter.gradient = gradient
    return dx


def build_around(own: Callable[[Any, Any], None]) -> Callable[[Any, Sequence[int | None]], None]:
    """`build` of such a class, around its own, which makes the weights that are not made yet."""

    def build(self: "Layer", input_shape: Sequence[int | None]) -> None:
        if self._building:  # by the build of a class that is made from this one
            own(self, input_shape)
            return
        self.input_shape = self.check_input_shape(input_shape)
        if not self.built:
            self._building = True
            try:
                own(self, self.input_shape)
            finally:
                self._building = False
        self.built = True
        self.output_shape = tuple(self.compute_output_shape(self.input_shape))

    return build


def compute_output_shape(self: "Layer", input_shape: Shape) -> Shape:
    shape = _calculation(self, self.ops.zeros((2, *input_shape[1:]), self.dtype), False)[0].shape
    return of_batch(self, "its call", input_shape, shape)


def of_batch(layer: "Layer", what: str, input_shape: Shape, shape: tuple[int, ...]) -> Shape:
    """The shape of the output, from that for two samples; ValueError where it does not begin with these."""
    if shape[:1] != (2,):
        raise ValueError(
            f"layer {layer.name}: {what} must keep the batch axis, but gives shape {shape} for {(2, *input_shape[1:])}"
        )
    return input_shape[0], *shape[1:]
