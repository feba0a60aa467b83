"""Derivatives of functions of one's own, such as losses, activations and penalties, which need not have a `backward`.

A `Traced` array notes what is calculated with it: each operation of NumPy that has a row in the tables below, and each
function of `minicnn.activations` and `minicnn.losses`. `pull` then goes back from the result, by the chain rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .ops import Ops, get_ops
from .ops.reference import Array


class UnknownDerivative(TypeError):
    """What is calculated with a `Traced` array has no derivative here."""


class Traced(NDArrayOperatorsMixin):
    """The numbers `value`, and how they came: for each array they were made of, what turns their gradient into its own.

    UnknownDerivative for an operation without a row in the tables.
    """

    __array_priority__ = 1

    def __init__(self, value: Array, *sources: "tuple[Any, Callable[[Array], Array]]") -> None:
        self.value = value
        self.sources = [(source, back) for source, back in sources if isinstance(source, Traced)]

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: np.transpose(self))

    def __len__(self) -> int:
        return len(self.value)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise UnknownDerivative("a derivative is not known of functions that make a plain array of their argument")

    def __bool__(self) -> bool:
        raise UnknownDerivative("a derivative needs where instead of if")

    def __getitem__(self, key: Any) -> "Traced":
        def back(dy: Array) -> Array:
            dx = np.zeros_like(self.value)
            np.add.at(dx, key, dy)
            return dx

        return Traced(self.value[key], (self, back))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            raise UnknownDerivative(f"the derivative of np.{ufunc.__name__} is not known with out, where or {method}")
        values = [_value(one) for one in inputs]
        if ufunc in FLAT:
            return ufunc(*values)
        if ufunc not in RULES:
            raise UnknownDerivative(f"the derivative of np.{ufunc.__name__} is not known here")
        y = ufunc(*values)
        rules = RULES[ufunc]
        return Traced(
            y, *((one, _of(rule, y, values, k)) for k, (one, rule) in enumerate(zip(inputs, rules, strict=True)))
        )

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function in FLAT:
            return function(*map(_value, arguments), **options)
        if function not in FUNCTIONS:
            raise UnknownDerivative(f"the derivative of np.{function.__name__} is not known here")
        return FUNCTIONS[function](*arguments, **options)

    def astype(self, dtype: Any, **_: Any) -> "Traced":
        return Traced(self.value.astype(dtype), (self, lambda dy: dy.astype(self.dtype)))

    def reshape(self, *shape: Any) -> "Traced":
        return _reshape(self, shape[0] if len(shape) == 1 else shape)

    def sum(self, *arguments: Any, **options: Any) -> "Traced":
        return _sum(self, *arguments, **options)

    def mean(self, *arguments: Any, **options: Any) -> "Traced":
        return _mean(self, *arguments, **options)

    def max(self, *arguments: Any, **options: Any) -> "Traced":
        return _extreme(np.max)(self, *arguments, **options)

    def min(self, *arguments: Any, **options: Any) -> "Traced":
        return _extreme(np.min)(self, *arguments, **options)

    def clip(self, *arguments: Any, **options: Any) -> "Traced":
        return _clip(self, *arguments, **options)


def _value(x: Any) -> Any:
    if hasattr(x, "assign_add"):  # a parameter, whose own gradient would be lost
        raise UnknownDerivative(f"it uses {x.name}, which is of another layer or in no attribute")
    return x.value if isinstance(x, Traced) else x


def device_of(x: Traced) -> Ops:
    """The operations of the device whose array this is."""
    return get_ops("gpu" if hasattr(x.value, "__cuda_array_interface__") else "cpu")


def _fitted(dx: Array, shape: Sequence[int]) -> Array:
    """The gradient of an array of this shape, which was repeated along axes where dx is larger."""
    dx = dx.sum(axis=tuple(range(dx.ndim - len(shape))))
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and dx.shape[axis] != 1)
    return dx.sum(axis=axes, keepdims=True) if axes else dx


def _of(rule: Callable[..., Array], y: Array, values: Sequence[Any], k: int) -> Callable[[Array], Array]:
    return lambda dy: _fitted(rule(dy, y, *values), np.shape(values[k]))


def _matmul_left(dy: Array, y: Array, a: Array, b: Array) -> Array:
    return dy @ np.swapaxes(b, -1, -2)


def _matmul_right(dy: Array, y: Array, a: Array, b: Array) -> Array:
    return np.swapaxes(a, -1, -2) @ dy


RULES: dict[Any, tuple[Callable[..., Array], ...]] = {  # for y = ufunc(a, b): the gradients of a and b, given that of y
    np.add: (lambda dy, y, a, b: dy, lambda dy, y, a, b: dy),
    np.subtract: (lambda dy, y, a, b: dy, lambda dy, y, a, b: -dy),
    np.multiply: (lambda dy, y, a, b: dy * b, lambda dy, y, a, b: dy * a),
    np.divide: (lambda dy, y, a, b: dy / b, lambda dy, y, a, b: -dy * y / b),
    np.power: (
        lambda dy, y, a, b: dy * np.where(b == 0, 0, b * np.power(a, np.where(b == 0, 1, b - 1))),
        lambda dy, y, a, b: dy * y * np.log(np.where(a > 0, a, 1)),
    ),
    np.maximum: (lambda dy, y, a, b: dy * _share(a, y, b), lambda dy, y, a, b: dy * _share(b, y, a)),
    np.minimum: (lambda dy, y, a, b: dy * _share(a, y, b), lambda dy, y, a, b: dy * _share(b, y, a)),
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
    np.log2: (lambda dy, y, a: dy / (a * np.log(2.0)),),
    np.log10: (lambda dy, y, a: dy / (a * np.log(10.0)),),
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
    np.ndim, np.size, np.zeros_like, np.ones_like, np.full_like, np.round,
}  # fmt: skip


def _share(a: Array, y: Array, b: Array) -> Array:
    """1 where the larger (or smaller) y of a and b is a, and one half where it is both."""
    return np.where(a == b, 0.5, a == y)


def _wide(dy: Array, x: Array, axis: Any, keepdims: bool) -> Array:
    """The gradient dy of what was summed along axes, repeated along them."""
    if axis is not None and not keepdims:
        dy = np.expand_dims(dy, axis)
    return np.broadcast_to(dy, x.shape)


def _sum(x: Traced, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Traced:
    y = x.value.sum(axis=axis, dtype=dtype, keepdims=keepdims)
    return Traced(y, (x, lambda dy: _wide(dy, x, axis, keepdims)))


def _mean(x: Traced, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> Traced:
    y = x.value.mean(axis=axis, dtype=dtype, keepdims=keepdims)
    return Traced(y, (x, lambda dy: _wide(dy, x, axis, keepdims) * (max(1, y.size) / x.size)))


def _extreme(function: Any) -> Callable[..., Traced]:
    def of(x: Traced, axis: Any = None, out: None = None, keepdims: bool = False) -> Traced:
        most = function(x.value, axis=axis, keepdims=True)
        at = x.value == most  # several share the gradient
        share = at / at.sum(axis=axis, keepdims=True)
        y = most if keepdims else np.squeeze(most, axis)
        return Traced(y, (x, lambda dy: _wide(dy, x, axis, keepdims) * share))

    return of


def _spread(function: Any, root: bool) -> Callable[..., Traced]:
    def of(
        x: Traced, axis: Any = None, dtype: Any = None, out: None = None, ddof: int = 0, keepdims: bool = False
    ) -> Any:
        deviation = x - _mean(x, axis, keepdims=True)
        count = x.size / np.mean(x.value, axis=axis).size - ddof
        found = _sum(deviation * deviation, axis, keepdims=keepdims) / count
        return np.sqrt(found) if root else found

    return of


def _clip(x: Any, a_min: Any = None, a_max: Any = None, out: None = None, **named: Any) -> Traced:
    low, high = named.get("min", a_min), named.get("max", a_max)
    y = np.clip(_value(x), _value(low), _value(high))
    return Traced(y, (x, lambda dy: dy * (y == _value(x))))


def _where(condition: Any, x: Any, y: Any) -> Traced:
    chosen = _value(condition) != 0
    left, right = _value(x), _value(y)
    return Traced(
        np.where(chosen, left, right),
        (x, lambda dy: _fitted(np.where(chosen, dy, 0), np.shape(left))),
        (y, lambda dy: _fitted(np.where(chosen, 0, dy), np.shape(right))),
    )


def _reshape(x: Traced, shape: Any = None, order: str = "C", **named: Any) -> Traced:
    return Traced(x.value.reshape(named.get("newshape", shape)), (x, lambda dy: dy.reshape(x.shape)))


def _moved(function: Any) -> Callable[..., Traced]:
    """For what only gives the numbers another shape, in the same order."""

    def of(x: Traced, *arguments: Any, **options: Any) -> Traced:
        return Traced(function(x.value, *arguments, **options), (x, lambda dy: dy.reshape(x.shape)))

    return of


def _transpose(x: Traced, axes: Any = None) -> Traced:
    back = None if axes is None else np.argsort(axes)
    return Traced(np.transpose(x.value, axes), (x, lambda dy: np.transpose(dy, back)))


def _concatenate(arrays: Sequence[Any], axis: int = 0, **_: Any) -> Traced:
    values = [_value(one) for one in arrays]
    ends = np.cumsum([np.shape(one)[axis] for one in values])[:-1]
    return Traced(
        np.concatenate(values, axis),
        *((one, lambda dy, k=k: np.split(dy, ends, axis)[k]) for k, one in enumerate(arrays)),
    )


def _norm(x: Traced, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2, "euclidean", "fro") or (ord == 2 and axis is None and x.ndim > 1):
        raise UnknownDerivative(f"the derivative of a norm of order {ord} is not known here")
    return np.sqrt(_sum(x * x, axis, keepdims=keepdims))


def _broadcast_to(x: Traced, shape: Any, **_: Any) -> Traced:
    return Traced(np.broadcast_to(x.value, shape), (x, lambda dy: _fitted(dy, x.shape)))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _sum, np.mean: _mean, np.max: _extreme(np.max), np.min: _extreme(np.min), np.amax: _extreme(np.max),
    np.amin: _extreme(np.min), np.var: _spread(np.var, False), np.std: _spread(np.std, True), np.clip: _clip,
    np.where: _where, np.reshape: _reshape, np.ravel: _moved(np.ravel), np.expand_dims: _moved(np.expand_dims),
    np.squeeze: _moved(np.squeeze), np.transpose: _transpose, np.concatenate: _concatenate, np.linalg.norm: _norm,
    np.broadcast_to: _broadcast_to, np.dot: lambda a, b, out=None: np.matmul(a, b),
}  # fmt: skip


def pull(y: Any, dy: Array, *starts: Traced) -> list[Array]:
    """The gradients for arrays, given the one for y, which was calculated from them: zeros where it does not depend on one."""
    order: list[Traced] = []
    waiting: list[tuple[Any, bool]] = [(y, False)] if isinstance(y, Traced) else []
    seen: set[int] = set()
    while waiting:  # each array after all that it was made of
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting += [(node, True), *((source, False) for source, _ in node.sources)]
    gradients: dict[int, Array] = {id(y): np.asarray(dy, y.dtype) if isinstance(dy, float | int) else dy}
    for node in reversed(order):
        gradient = gradients.get(id(node))
        for source, back in node.sources:
            part = back(gradient)
            gradients[id(source)] = gradients[id(source)] + part if id(source) in gradients else part
    found = [(x, gradients.get(id(x)) if order else None) for x in starts]
    return [np.zeros_like(x.value) if dx is None else dx.astype(x.dtype).reshape(x.shape) for x, dx in found]


def derivative(function: Callable[[Any], Any], x: Array) -> tuple[Any, Callable[[Any], Array]]:
    """y = function(x), and what turns the gradient for y into the one for x; UnknownDerivative if there is none."""
    start = Traced(x)
    with np.errstate(all="ignore"):
        y = function(start)
    if not isinstance(y, Traced):
        raise UnknownDerivative("what it returns does not follow from its argument")

    def back(dy: Any) -> Array:
        with np.errstate(all="ignore"):
            return pull(y, dy, start)[0]

    return y.value, back
