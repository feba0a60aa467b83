"""Keras' global settings. They are fixed here: each `set_…` accepts what holds anyway, and refuses anything else."""

from typing import Any

from .absent import without


def _only(name: str, allowed: Any, given: Any, why: str) -> None:
    if given != allowed:
        raise ValueError(f"{name} is {allowed!r} here, not {given!r}: {why}")


def floatx() -> str:
    """The number type of layers unless told."""
    return "float32"


def set_floatx(value: str) -> None:
    """Accepts "float32"; ValueError for anything else."""
    _only("floatx", "float32", value, "give layers a dtype, or call model.astype('float64')")


def epsilon() -> float:
    """How near to 0 and 1 probabilities may come in a loss."""
    return 1e-7


def set_epsilon(value: float) -> None:
    """Accepts 1e-7; ValueError for anything else."""
    _only("epsilon", 1e-7, value, "optimizers and BatchNormalization have one of their own")


def image_data_format() -> str:
    """How images lie in memory: always "channels_last", (N, H, W, C)."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Accepts "channels_last"; ValueError for anything else."""
    if data_format != "channels_last":
        raise ValueError(
            f"images are channels_last here, (N, H, W, C), not {data_format!r}: move the axis with numpy.moveaxis(x, 1, -1)"
        )


def enable_unsafe_deserialization() -> None:
    """Does nothing: no file holds code here, what a `Lambda` calls is found by its name."""


def backend() -> str:
    """What computes."""
    return "minicnn"


__getattr__, _absent = without(__name__, "", {
    "numbers are float32, or float64 where a layer is given that dtype": "dtype_policy set_dtype_policy",
    "fit and predict have the argument verbose": """
        disable_interactive_logging enable_interactive_logging is_interactive_logging_enabled""",
    "errors show where they come from": """
        disable_traceback_filtering enable_traceback_filtering is_traceback_filtering_enabled""",
    "no file holds code": "disable_unsafe_deserialization",
    "the layers here are those for the classification of images": """
        enable_flash_attention disable_flash_attention is_flash_attention_enabled""",
    "fit has the arguments epochs and steps_per_epoch": """
        max_epochs set_max_epochs max_steps_per_epoch set_max_steps_per_epoch""",
    "minicnn computes by itself": "set_backend is_nnx_enabled",
})  # fmt: skip

__all__ = [
    "backend", "enable_unsafe_deserialization", "epsilon", "floatx", "image_data_format", "set_epsilon", "set_floatx",
    "set_image_data_format", *_absent,
]  # fmt: skip
