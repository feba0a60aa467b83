"""The few questions that scripts ask `keras.backend`."""

from typing import Any

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
from .registered import instances


def get_value(x: Any) -> Any:
    """The numbers of a parameter, or the number of a learning rate."""
    return x.numpy()


def set_value(x: Any, value: Any) -> None:
    """Gives a parameter, or an optimizer's learning rate, another value."""
    x.assign(value)


def clear_session(free_memory: bool = True) -> None:
    """Has the names of layers and metrics begin anew, at "conv2d"; no other state is kept outside of models."""
    instances.clear()


_without, _ = without(__name__, "backend.", {
    "Keras 3 has dropped it, use image_data_format": "image_dim_ordering",
    "Keras 3 has dropped it, use set_image_data_format": "set_image_dim_ordering",
    "Keras 3 has dropped it, use Model(model.inputs, layer.output).predict": "function",
    "Keras 3 has dropped it, use the method numpy()": "eval batch_get_value",
    "Keras 3 has dropped it, use the method assign(value)": "batch_set_value",
    "Keras 3 has dropped it, use the attribute shape": "int_shape",
    "layers are told by the argument training": "learning_phase set_learning_phase in_train_phase in_test_phase",
    "there are no sessions: set_threads and model.to choose what computes": """
        set_session get_session tensorflow_backend tf manual_variable_initialization""",
    "what goes from layer to layer is a NumPy array, or one of its device": """
        variable placeholder constant is_keras_tensor is_tensor is_sparse""",
    "a layer has its gradient in backward": "gradients stop_gradient",
    "set_random_seed seeds all": "set_random_seed get_uid reset_uids",
})  # fmt: skip


def __getattr__(name: str) -> Any:
    """A function of `minicnn.ops`, as metrics of tf.keras call it (`backend.round`), or what there is in its place."""
    try:
        return _without(name)
    except AttributeError:
        function = {"flatten": "ravel", "pow": "power"}.get(name, name)
        if name.startswith("_") or not hasattr(ops, function):
            raise
        return getattr(ops, function)


__all__ = [
    "backend", "clear_session", "epsilon", "floatx", "get_value", "image_data_format", "set_epsilon", "set_floatx",
    "set_image_data_format", "set_value",
]  # fmt: skip
