"""Functions of `keras.ops` that metrics and losses of one's own are written with: `minicnn.ops.sum` is found here."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..absent import without

_missing, _ = without(__package__, "ops.", {"the layer Resizing, called on images, resizes them": "image"})


def _gelu(x: Any, approximate: bool = True) -> Any:
    from ..activations import gelu

    return gelu(x, approximate)  # which is exact by default, in Keras too


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    most = np.max(x, axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):  # -inf, where there is nothing else
        found = most + np.log(np.exp(x - most).sum(axis=axis, keepdims=True))
    return found if keepdims else np.squeeze(found, axis=axis)


def _loss(name: str, target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    from .. import losses

    return getattr(losses, name)(target, output, from_logits=from_logits, axis=axis)


def _binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """Of every number, where `losses.binary_crossentropy` is a mean over the last axis."""
    target, output = (x[..., None] if hasattr(x, "shape") else np.asarray(x)[..., None] for x in (target, output))
    return _loss("binary_crossentropy", target, output, from_logits)


def _tensor(x: Any, dtype: Any = None) -> Any:
    own = hasattr(x, "sources") or hasattr(x, "__cuda_array_interface__")  # it is `Traced`, or on a device
    x = x if own else np.asarray(x)
    return x if dtype is None else x.astype(dtype)


def _reducing(name: str) -> Callable[..., Any]:
    """A function of NumPy that takes an axis, several or a list of some, and `keepdims` next, as in Keras."""
    function = getattr(np, name)

    def reduce(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        return function(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims, **options)

    return reduce


_KERAS: dict[str, Callable[..., Any]] = {
    "binary_crossentropy": _binary_crossentropy,
    "cast": _tensor,
    "convert_to_numpy": np.asarray,
    "convert_to_tensor": _tensor,
    "gelu": _gelu,
    "logsumexp": _logsumexp,
    "norm": np.linalg.norm,
    "one_hot": lambda x, num_classes, dtype="float32": (np.asarray(x)[..., None] == np.arange(num_classes)).astype(
        dtype
    ),
    "categorical_crossentropy": partial(_loss, "categorical_crossentropy"),
    "sparse_categorical_crossentropy": partial(_loss, "sparse_categorical_crossentropy"),
    "stop_gradient": lambda x: getattr(x, "array", x),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    **{name: _reducing(name) for name in ("sum", "mean", "max", "min", "prod", "var", "std", "any", "all")},
}


def find(name: str) -> Any:
    """What metrics take from `keras.ops`: the function of this name of NumPy, or of `minicnn.activations`."""
    from .. import activations

    if name in _KERAS:
        return _KERAS[name]
    if name in activations.NAMES:
        return getattr(activations, name)
    function = getattr(np, name, None)
    return function if callable(function) and not isinstance(function, type) else _missing(name)
