"""The few questions that scripts ask `keras.backend`."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import ops
from .absent import without
from .config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from .numbers import as_numbers
from .registered import instances


def get_value(x: Any) -> Any:
    """The numbers of a parameter, of what a layer returned, or of a learning rate."""
    return x.numpy() if hasattr(x, "numpy") else np.asarray(x)[()]


eval = get_value  # Keras' other name


def set_value(x: Any, value: Any) -> None:
    """Gives a parameter, or an optimizer's learning rate, another value; TypeError for what has none, such as a number."""
    if not hasattr(x, "assign"):
        raise TypeError(
            f"backend.set_value: expected a parameter or a learning rate, not {x!r}, which is assigned by ="
        )
    x.assign(value)


def batch_get_value(tensors: Iterable[Any]) -> list[Any]:
    """`get_value` of each."""
    return [get_value(one) for one in tensors]


def batch_set_value(tuples: Iterable[tuple[Any, Any]]) -> None:
    """`set_value` of each (parameter, value)."""
    for x, value in tuples:
        set_value(x, value)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> np.ndarray:
    """An array of these numbers, float32 unless `dtype` says otherwise; one number in any `shape`."""
    found = np.array(value, dtype or floatx())
    return as_numbers(found if shape is None else np.array(np.broadcast_to(found, shape)))


def cast_to_floatx(x: Any) -> np.ndarray:
    """x as an array of float32."""
    return np.asarray(x, floatx())


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The shape of an array or a symbolic output, whose batch is None."""
    return tuple(x.shape)


def count_params(p: Any) -> int:
    """How many numbers a parameter has."""
    return int(np.prod(p.shape))


def dtype(x: Any) -> str:
    """The name of the type of an array's, a parameter's or a symbolic output's numbers."""
    return str(x.dtype)


def expand_dims(x: Any, axis: int = -1) -> Any:
    """x with another axis of length 1, at the end unless `axis` says where."""
    return np.expand_dims(x, axis)


def batch_flatten(x: Any) -> Any:
    """x (N, …) as N rows."""
    return np.reshape(x, (len(x), -1))


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x divided by its Euclidean norm along an axis, of all of it by default."""
    return x / np.sqrt(np.maximum(np.sum(x * x, axis=axis, keepdims=True), 1e-12))


def clear_session(free_memory: bool = True) -> None:
    """Has the names of layers and metrics begin anew, at "conv2d"; no other state is kept outside of models."""
    instances.clear()


_without, _ = without(__name__, "backend.", {
    "Keras 3 has dropped it, use image_data_format": "image_dim_ordering",
    "Keras 3 has dropped it, use set_image_data_format": "set_image_dim_ordering",
    "Keras 3 has dropped it, use Model(model.inputs, layer.output).predict": "function",
    "a layer Dropout that is called with training=True drops in predictions too": "dropout",
    "layers are told by the argument training": "learning_phase set_learning_phase in_train_phase in_test_phase",
    "there are no sessions: set_threads and model.to choose what computes": """
        set_session get_session tensorflow_backend tf manual_variable_initialization""",
    "what goes from layer to layer is a NumPy array, or one of its device": """
        variable placeholder is_keras_tensor is_tensor is_sparse""",
    "a layer has its gradient in backward": "gradients",
    "set_random_seed seeds all": "set_random_seed get_uid reset_uids",
})  # fmt: skip


def __getattr__(name: str) -> Any:
    """A function of `minicnn.ops`, as metrics of tf.keras call it (`backend.round`), or what there is in its place."""
    try:
        return _without(name)
    except AttributeError:
        function = {"flatten": "ravel", "pow": "power", "permute_dimensions": "transpose"}.get(name, name)
        if name.startswith("_") or not hasattr(ops, function):
            raise
        return getattr(ops, function)


__all__ = [
    "backend", "batch_flatten", "batch_get_value", "batch_set_value", "cast_to_floatx", "clear_session", "constant",
    "count_params", "dtype", "epsilon", "eval", "expand_dims", "floatx", "get_value", "image_data_format", "int_shape",
    "l2_normalize", "set_epsilon", "set_floatx", "set_image_data_format", "set_value",
]  # fmt: skip
