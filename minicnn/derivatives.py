"""Derivatives of functions of one's own, such as losses, activations and penalties, which need not have a `backward`.

A `Traced` array notes what is calculated with it: each operation of NumPy that has a row in the tables below, and each
function of `minicnn.activations` and `minicnn.losses`. `derivative` then goes back from the result, by the chain rule.
"""

import inspect
import math
import threading
from collections.abc import Callable, Sequence
from functools import cache
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .ops import Ops, get_ops
from .ops.reference import Array


class UnknownDerivative(TypeError, AttributeError):
    """What is calculated with a `Traced` array has no derivative here."""


class Traced(NDArrayOperatorsMixin):
    """The numbers `array`, and how they came: for each array they were made of, what turns their gradient into its own.

    That may still have the axes along which its numbers were repeated: `_pull` sums over these. `x += 1` is x = x + 1.
    UnknownDerivative for an operation without a row in the tables.
    """

    __array_priority__ = 1

    def __init__(self, array: Array, *sources: "tuple[Any, Callable[[Array], Array]]") -> None:
        self.array = array
        self.sources = [(source, back) for source, back in sources if isinstance(source, Traced)]

    shape = property(lambda self: self.array.shape)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    dtype = property(lambda self: self.array.dtype)
    T = property(lambda self: np.transpose(self))
    value = data = property(lambda self: self)  # as a parameter has them

    def __len__(self) -> int:
        return len(self.array)

    def __getattr__(self, name: str) -> Any:
        raise UnknownDerivative(f"the derivative of an array's {name} is not known here")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise UnknownDerivative("a derivative is not known of functions that make a plain array of their argument")

    def __float__(self) -> Any:
        raise UnknownDerivative("a derivative is not known of functions that make a plain number of their argument")

    __int__ = __index__ = __complex__ = __float__

    def __format__(self, spec: str) -> str:
        return self.__float__() if spec else repr(self)

    def __bool__(self) -> bool:
        raise UnknownDerivative("a derivative needs where instead of if")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise UnknownDerivative("a derivative needs where instead of numbers that are replaced")

    def __getitem__(self, key: Any) -> "Traced":
        return _taken(lambda x: x[key])(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            how = ", ".join(options) or method
            raise UnknownDerivative(f"the derivative of np.{ufunc.__name__} is not known with {how}")
        values = _values(*inputs)
        if ufunc in FLAT:
            return ufunc(*values)
        if ufunc not in RULES:
            raise UnknownDerivative(f"the derivative of np.{ufunc.__name__} is not known here")
        y = ufunc(*values)
        backs = (lambda dy, rule=rule: rule(dy, y, *values) for rule in RULES[ufunc])
        return Traced(y, *zip(inputs, backs, strict=True))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function in FLAT:
            return function(*map(_value, arguments), **options)
        if function not in FUNCTIONS:
            raise UnknownDerivative(f"the derivative of np.{function.__name__} is not known here")
        try:
            _signature(FUNCTIONS[function]).bind(*arguments, **options)
        except TypeError:
            given = ", ".join(options) or f"{len(arguments)} arguments"
            raise UnknownDerivative(f"the derivative of np.{function.__name__} is not known with {given}") from None
        return FUNCTIONS[function](*arguments, **options)

    def astype(self, dtype: Any, **_: Any) -> Any:
        found = self.array.astype(dtype)
        return Traced(found, (self, lambda dy: dy)) if found.dtype.kind == "f" else found

    def reshape(self, *shape: Any) -> "Traced":
        return _reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)


def _method(function: Any) -> Callable[..., Any]:
    return lambda self, *arguments, **options: function(self, *arguments, **options)


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    setattr(Traced, f"__i{_name}__", getattr(Traced, f"__{_name}__"))
for _name in (
    "sum", "mean", "max", "min", "var", "std", "clip", "ravel", "squeeze", "swapaxes", "repeat", "take", "dot",
):  # fmt: skip
    setattr(Traced, _name, _method(getattr(np, _name)))
setattr(Traced, "flatten", _method(np.ravel))  # noqa: B010

_signature = cache(inspect.signature)
_calls = threading.local()  # whether a function is being traced on this thread


def tracing() -> bool:
    """Whether a function is called whose derivative is to be found: that for an array it reads itself would be lost."""
    return getattr(_calls, "tracing", False)


def _value(x: Any) -> Any:
    if isinstance(x, Traced):
        return x.array
    return np.asarray(x) if isinstance(x, list | tuple) or hasattr(x, "assign_add") else x  # which a parameter has


def _values(*given: Any) -> list[Any]:
    """What is calculated with: where one array is on a device, those of the host are copied there."""
    values = [_value(one) for one in given]
    if any(map(on_device, values)):
        values = [get_ops("gpu").array(one) if isinstance(one, np.ndarray) else one for one in values]
    return values


def on_device(x: Any) -> bool:
    """Whether NumPy cannot make an array of its own of x."""
    return hasattr(x, "__cuda_array_interface__")


def device_of(x: Traced) -> Ops:
    """The operations of the device whose array this is."""
    return get_ops("gpu" if on_device(x.array) else "cpu")


def _fitted(dx: Array, x: Traced) -> Array:
    """The gradient of x, which was repeated along axes where dx is larger."""
    if dx.shape != x.shape:
        dx = dx.sum(axis=tuple(range(dx.ndim - x.ndim)))
        axes = tuple(axis for axis, size in enumerate(x.shape) if size == 1 and dx.shape[axis] != 1)
        dx = dx.sum(axis=axes, keepdims=True)
    return dx.astype(x.dtype, copy=False)


def _matrices(dy: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """What y = a @ b is of, with one more axis for each of a and b that is a vector."""
    if b.ndim == 1:
        dy, b = dy[..., None], b[:, None]
    if a.ndim == 1:
        dy, a = dy[..., None, :], a[None]
    return dy, a, b


def _matmul_left(dy: Array, y: Array, a: Array, b: Array) -> Array:
    dy, a, b = _matrices(dy, a, b)
    return dy @ np.swapaxes(b, -1, -2)


def _matmul_right(dy: Array, y: Array, a: Array, b: Array) -> Array:
    dy, a, matrix = _matrices(dy, a, b)
    found = np.swapaxes(a, -1, -2) @ dy
    return found[..., 0] if b.ndim == 1 else found


RULES: dict[Any, tuple[Callable[..., Array], ...]] = {  # for y = ufunc(a, b): the gradients of a and b, given that of y
    np.add: (lambda dy, y, a, b: dy, lambda dy, y, a, b: dy),
    np.subtract: (lambda dy, y, a, b: dy, lambda dy, y, a, b: -dy),
    np.multiply: (lambda dy, y, a, b: dy * b, lambda dy, y, a, b: dy * a),
    np.divide: (lambda dy, y, a, b: dy / b, lambda dy, y, a, b: -dy * y / b),
    np.power: (
        lambda dy, y, a, b: dy * b * np.power(a, b - 1 + (b == 0)),
        lambda dy, y, a, b: dy * y * np.log(np.where(a > 0, a, 1)),
    ),
    np.maximum: (lambda dy, y, a, b: _share(dy, y, a, b), lambda dy, y, a, b: _share(dy, y, b, a)),
    np.minimum: (lambda dy, y, a, b: _share(dy, y, a, b), lambda dy, y, a, b: _share(dy, y, b, a)),
    np.logaddexp: (lambda dy, y, a, b: dy * np.exp(a - y), lambda dy, y, a, b: dy * np.exp(b - y)),
    np.matmul: (_matmul_left, _matmul_right),
    np.negative: (lambda dy, y, a: -dy,),
    np.positive: (lambda dy, y, a: dy,),
    np.absolute: (lambda dy, y, a: dy * np.sign(a),),
    np.square: (lambda dy, y, a: 2 * dy * a,),
    np.sqrt: (lambda dy, y, a: dy / (2 * y),),
    np.reciprocal: (lambda dy, y, a: -dy * y * y,),
    np.exp: (lambda dy, y, a: dy * y,),
    np.expm1: (lambda dy, y, a: dy * (y + 1),),
    np.log: (lambda dy, y, a: dy / a,),
    np.log1p: (lambda dy, y, a: dy / (1 + a),),
    np.log2: (lambda dy, y, a: dy / (a * math.log(2)),),
    np.log10: (lambda dy, y, a: dy / (a * math.log(10)),),
    np.sin: (lambda dy, y, a: dy * np.cos(a),),
    np.cos: (lambda dy, y, a: -dy * np.sin(a),),
    np.tanh: (lambda dy, y, a: dy * (1 - y * y),),
    np.cosh: (lambda dy, y, a: dy * np.sinh(a),),
    np.sinh: (lambda dy, y, a: dy * np.cosh(a),),
    np.arctan: (lambda dy, y, a: dy / (1 + a * a),),
}
FLAT = {  # what gives truth values or steps, along which nothing is to be learned
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, np.isnan, np.isfinite, np.isinf, np.sign,
    np.floor, np.ceil, np.rint, np.trunc, np.logical_and, np.logical_or, np.logical_not, np.argmax, np.argmin, np.shape,
    np.ndim, np.size, np.zeros_like, np.ones_like, np.round,
}  # fmt: skip


def _share(dy: Array, y: Array, a: Array, b: Array) -> Array:
    """dy where the larger (or smaller) y of a and b is a, and half of it where it is both."""
    return np.where(a == b, dy / 2, np.where(a == y, dy, 0))


def _wide(dy: Array, x: Array, axis: Any, keepdims: bool) -> Array:
    """The gradient dy of what was summed along axes, repeated along them."""
    if axis is not None and not keepdims:
        dy = np.expand_dims(dy, axis)
    return np.broadcast_to(dy, x.shape)


def _sum(x: Traced, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Traced:
    y = x.array.sum(axis=axis, dtype=dtype, keepdims=keepdims)
    return Traced(y, (x, lambda dy: _wide(dy, x, axis, keepdims)))


def _mean(x: Traced, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Traced:
    y = x.array.mean(axis=axis, dtype=dtype, keepdims=keepdims)
    return Traced(y, (x, lambda dy: _wide(dy, x, axis, keepdims) / (x.size / max(1, y.size))))


def _extreme(function: Any) -> Callable[..., Traced]:
    def of(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Traced:
        most = function(x.array, axis=axis, keepdims=True)
        at = x.array == most  # several share the gradient
        share = at / at.sum(axis=axis, keepdims=True)
        y = most if keepdims else np.squeeze(most, axis)
        return Traced(y, (x, lambda dy: _wide(dy, x, axis, keepdims) * share))

    return of


def _var(x: Traced, axis: Any = None, dtype: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Traced:
    deviation = x - _mean(x, axis, dtype, keepdims=True)
    total = _sum(deviation * deviation, axis, keepdims=keepdims)
    return total / (x.size / max(1, total.size) - ddof)


def _std(x: Traced, axis: Any = None, dtype: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return np.sqrt(_var(x, axis, dtype, ddof=ddof, keepdims=keepdims))


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _where(condition: Any, x: Any, y: Any) -> Traced:
    chosen, *values = _values(condition, x, y)
    chosen = chosen != 0
    found = np.where(chosen, *values)
    return Traced(found, (x, lambda dy: np.where(chosen, dy, 0)), (y, lambda dy: np.where(chosen, 0, dy)))


def _reshape(x: Traced, shape: Any) -> Traced:
    return Traced(x.array.reshape(shape), (x, lambda dy: dy.reshape(x.shape)))


def _taken(function: Any) -> Callable[..., Traced]:
    """For what takes numbers of its argument, each once, several times or not at all, and puts them in other places."""

    def of(x: Traced, *arguments: Any, **options: Any) -> Traced:
        numbers = device_of(x).xp.arange(x.size).reshape(x.shape)
        places = function(numbers, *arguments, **options).ravel()  # of x, in the order of y
        return Traced(
            function(x.array, *arguments, **options),
            (x, lambda dy: np.bincount(places, dy.ravel(), x.size).reshape(x.shape)),
        )

    return of


def _concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Traced:
    if axis is None:
        arrays, axis = [np.ravel(one) for one in arrays], 0
    values = _values(*arrays)
    y = np.concatenate(values, axis)
    ends = np.cumsum([np.shape(one)[axis] for one in values])[:-1].tolist()
    return Traced(y, *((one, lambda dy, k=k: np.split(dy, ends, axis)[k]) for k, one in enumerate(arrays)))


def _stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    return np.concatenate([np.expand_dims(one, axis) for one in arrays], axis)


def _dot(a: Any, b: Any) -> Any:
    if np.ndim(b) > 2:
        raise UnknownDerivative("the derivative of np.dot is not known for more than two axes: matmul has one")
    return np.matmul(a, b) if np.ndim(a) and np.ndim(b) else a * b


def _einsum(subscripts: str, *arrays: Any) -> Traced:
    sources, arrow, result = subscripts.replace(" ", "").partition("->")
    letters = sources.split(",")
    if not arrow or "." in subscripts or any(len(set(one)) < len(one) for one in letters):
        raise UnknownDerivative(
            "the derivative of np.einsum is known where -> names what is left, each array has a letter once, and there are no dots"
        )
    values = _values(*arrays)

    def pulled(place: int) -> Callable[[Array], Array]:
        mine, shape = letters[place], values[place].shape
        others, rest = letters[:place] + letters[place + 1 :], values[:place] + values[place + 1 :]
        kept = "".join(letter for letter in mine if letter in "".join([result, *others]))  # others are added up alone
        wide = tuple(size if letter in kept else 1 for letter, size in zip(mine, shape, strict=True))
        equation = ",".join([result, *others]) + "->" + kept
        return lambda dy: np.broadcast_to(np.einsum(equation, dy, *rest).reshape(wide), shape)

    return Traced(np.einsum(subscripts, *values), *((one, pulled(place)) for place, one in enumerate(arrays)))


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Traced:
    pair = (range(-axes, 0), range(axes)) if isinstance(axes, int) else axes
    left, right = ascii_letters[: np.ndim(a)], list(ascii_letters[np.ndim(a) : np.ndim(a) + np.ndim(b)])
    summed = list(zip(*(np.atleast_1d(one).tolist() for one in pair), strict=True))
    for first, second in summed:
        right[second] = left[first]
    result = "".join(letter for letter in (*left, *right) if letter not in {left[first] for first, _ in summed})
    return _einsum(f"{left},{''.join(right)}->{result}", a, b)


def _split(x: Traced, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    return [np.take(x, part, axis) for part in np.split(np.arange(x.shape[axis]), indices_or_sections)]


def _norm(x: Traced, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    axes = x.ndim if axis is None else np.size(axis)
    if not (ord is None or (ord == 2 and axes == 1) or (ord in ("fro", "euclidean") and axes == 2)):
        raise UnknownDerivative(f"the derivative of a norm of order {ord} is not known here")
    return np.sqrt(_sum(x * x, axis, keepdims=keepdims))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _sum, np.mean: _mean, np.max: _extreme(np.max), np.min: _extreme(np.min), np.var: _var, np.std: _std,
    np.amax: _extreme(np.max), np.amin: _extreme(np.min),
    np.clip: _clip, np.where: _where, np.concatenate: _concatenate, np.stack: _stack, np.dot: _dot, np.linalg.norm: _norm,
    np.reshape: _reshape, np.ravel: lambda x: _reshape(x, -1),
    np.expand_dims: lambda x, axis: _reshape(x, np.expand_dims(x.array, axis).shape),
    np.squeeze: lambda x, axis=None: _reshape(x, np.squeeze(x.array, axis).shape),
    np.einsum: _einsum, np.tensordot: _tensordot, np.split: _split,
    np.broadcast_to: lambda x, shape: Traced(np.broadcast_to(x.array, shape), (x, lambda dy: dy)),
    np.full_like: lambda x, fill_value, dtype=None: np.ones_like(x, dtype) * fill_value,
} | {
    function: _taken(function)
    for function in (np.transpose, np.swapaxes, np.moveaxis, np.flip, np.roll, np.repeat, np.tile, np.take)
}  # fmt: skip


def has_derivative(name: str) -> bool:
    """Whether a function of NumPy of this name has one."""
    function = None if name.startswith("_") else getattr(np, name, getattr(np.linalg, name, None))
    return function in RULES or function in FUNCTIONS


def _pull(y: Traced, dy: Any, starts: Sequence[Traced]) -> list[Array]:
    """The gradients for arrays, given the one for y, which was calculated from them: zeros where it does not depend on one."""
    order: list[Traced] = []
    waiting = [(y, False)]
    seen: set[int] = set()
    while waiting:  # each array after all that it was made of
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting += [(node, True), *((source, False) for source, _ in node.sources)]
    gradients: dict[int, Array] = {id(y): np.ones_like(y.array) * dy}
    for node in reversed(order):
        for source, back in node.sources:
            part = _fitted(back(gradients[id(node)]), source)
            gradients[id(source)] = gradients[id(source)] + part if id(source) in gradients else part
    return [gradients[id(x)] if id(x) in gradients else np.zeros_like(x.array) for x in starts]


def derivative(function: Callable[..., Any], *arrays: Array) -> tuple[Any, Callable[[Any], list[Array]]]:
    """y = function(*arrays), and what turns the gradient for y into those for each; UnknownDerivative if there is none."""
    starts = [Traced(x) for x in arrays]
    before, _calls.tracing = tracing(), True
    try:
        with np.errstate(all="ignore"):
            y = function(*starts)
    finally:
        _calls.tracing = before
    if not isinstance(y, Traced):
        raise UnknownDerivative("what it returns does not follow from its argument")

    def back(dy: Any) -> list[Array]:
        with np.errstate(all="ignore"):
            return _pull(y, dy, starts)

    return y.array, back
