"""The few questions that scripts ask `keras.backend`."""

from typing import Any

from .layers import base


def image_data_format() -> str:
    """How images lie in memory: always "channels_last", (N, H, W, C)."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Accepts "channels_last"; ValueError for anything else."""
    if data_format != "channels_last":
        raise ValueError(
            f"images are channels_last here, (N, H, W, C), not {data_format!r}: move the axis with numpy.moveaxis(x, 1, -1)"
        )


def floatx() -> str:
    """The number type of layers unless told."""
    return "float32"


def epsilon() -> float:
    """How near to 0 and 1 probabilities may come in a loss."""
    return 1e-7


def get_value(x: Any) -> Any:
    """The numbers of a parameter, or the number of a learning rate."""
    return x.numpy()


def set_value(x: Any, value: Any) -> None:
    """Gives a parameter, or an optimizer's learning rate, another value."""
    x.assign(value)


def backend() -> str:
    """What computes."""
    return "minicnn"


def clear_session(free_memory: bool = True) -> None:
    """Has the names of layers begin anew, at "conv2d"; no other state is kept outside of models."""
    base._instances.clear()


def __getattr__(name: str) -> Any:
    if name == "image_dim_ordering":
        raise AttributeError("minicnn.backend has no image_dim_ordering: Keras 3 has dropped it, use image_data_format")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
