"""The one place where a device is chosen: `get_ops("cpu")`, `get_ops("gpu")` or `get_ops("reference")`."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from ..absent import without
from .reference import Ops

DEVICES = ("cpu", "gpu", "reference")


@cache
def get_ops(device: str = "cpu") -> Ops:
    """The operations of a device. Raises ValueError for an unknown name and RuntimeError where there is no usable GPU."""
    if device == "cpu":
        from .cpu import CpuOps

        return CpuOps()
    if device == "gpu":
        from .gpu import GpuOps

        return GpuOps()
    if device == "reference":
        return Ops()
    raise ValueError(f"unknown device {device!r}; expected one of {', '.join(DEVICES)}")


def set_precision(precision: str) -> None:
    """How float32 is convolved, "fast" or "exact".

    On the CPU "fast" takes Winograd's algorithm where that is quicker, "exact" never does. Where K channels are added up,
    the results of "fast" differ from the definition by up to 3e-6 · √K of their largest number (2e-5 for 32 channels),
    those of "exact" by up to 6e-6.

    On a GPU "fast" multiplies on tensor cores, also in dense layers, with the factors rounded to TF32: a result differs
    from the definition by up to 2⁻¹⁰ of the sum of its products' absolute values. "exact" rounds as float32 does.
    """
    if precision not in ("fast", "exact"):
        raise ValueError(f"precision must be 'fast' or 'exact', not {precision!r}")
    Ops.precision = get_ops("cpu").precision = precision


_missing, _ = without(__name__, "ops.", {"the layer Resizing, called on images, resizes them": "image"})


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


def __getattr__(name: str) -> Any:
    """What metrics take from `keras.ops`: the function of this name of NumPy, or of `minicnn.activations`."""
    from .. import activations

    if name in _KERAS:
        return _KERAS[name]
    if name in activations.NAMES:
        return getattr(activations, name)
    function = getattr(np, name, None)
    return function if callable(function) and not isinstance(function, type) else _missing(name)


__all__ = ["DEVICES", "Ops", "get_ops", "set_precision"]
