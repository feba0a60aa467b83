"""Pictures as arrays, and arrays as pictures, by Pillow: load_img, img_to_array, array_to_img, save_img, as in Keras."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..absent import refuse_arguments
from ..data.files import DataError

MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
DEEP = "I", "I;16", "I;16B"  # gray with more than 8 bits, which stays so
FILTERS = "nearest", "bilinear", "bicubic", "lanczos", "hamming", "box"


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: Sequence[int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
    **dropped: Any,
) -> Any:
    """The picture in a file, as one of Pillow's: "grayscale", "rgb" or "rgba", resized to `target_size` (height, width).

    `interpolation` is one of Pillow's filters, "nearest" to "lanczos". With `keep_aspect_ratio` what is too much of a side
    is cut off both of its ends before. ValueError for other words, DataError for a file that holds no picture.
    """
    if dropped.pop("grayscale", False):
        raise TypeError("load_img has no argument 'grayscale': Keras 3 has dropped it, use color_mode='grayscale'")
    refuse_arguments("load_img", dropped)
    for name, given, known in (("color_mode", color_mode, MODES), ("interpolation", interpolation, FILTERS)):
        if given not in known:
            raise ValueError(f"load_img: {name} must be one of {', '.join(known)}, not {given!r}")
    pillow = _pillow()
    try:
        with pillow.open(path) as opened:
            opened.load()
            picture = opened
    except (OSError, SyntaxError) as error:  # with which Pillow reports files that are none of its formats, or damaged
        raise DataError(f"{path}: expected a picture that Pillow reads: {error}") from error
    if not (color_mode == "grayscale" and picture.mode in DEEP):
        picture = picture.convert(MODES[color_mode])
    if target_size is None:
        return picture
    height, width = target_size[:2]
    box = _middle(picture.size, width, height) if keep_aspect_ratio else None
    return picture.resize((width, height), getattr(pillow.Resampling, interpolation.upper()), box)


def _middle(size: tuple[int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """The largest part in the middle of a picture (W, H) whose sides are as `width` to `height`: left, top, right, bottom."""
    W, H = size
    w, h = min(W, H * width // height), min(H, W * height // width)
    left, top = (W - w) // 2, (H - h) // 2
    return left, top, left + w, top + h


def img_to_array(img: Any, data_format: str | None = None, dtype: str | None = None) -> np.ndarray:
    """A picture of Pillow, or an array (H, W) or (H, W, C), as an array (H, W, C) of float32 unless told."""
    _channels_last(data_format)
    x = np.asarray(img, dtype or "float32")
    if x.ndim not in (2, 3):
        raise ValueError(f"img_to_array: expected an array (H, W) or (H, W, C), got shape {x.shape}")
    return x if x.ndim == 3 else x[..., None]


def array_to_img(x: Any, data_format: str | None = None, scale: bool = True, dtype: str | None = None) -> Any:
    """An array (H, W, C) of 1, 3 or 4 channels as a picture of Pillow; with `scale` its numbers are spread over 0 to 255."""
    _channels_last(data_format)
    x = np.array(x, dtype or "float32")
    if x.ndim != 3 or x.shape[2] not in MODE_OF_CHANNELS:
        raise ValueError(f"array_to_img: expected an array (H, W, C) of 1, 3 or 4 channels, got shape {x.shape}")
    if scale:
        x -= x.min()
        x /= x.max() or 1
        x *= 255
    channels = x.shape[2]
    if channels == 1 and x.max() > 255:
        return _pillow().fromarray(x[..., 0].astype("int32"))
    return _pillow().fromarray(x.astype("uint8").reshape(x.shape if channels > 1 else x.shape[:2]))


def save_img(
    path: str | Path,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **options: Any,
) -> None:
    """Writes an array (H, W, C) as a picture, in the format that the name of the file ends with, or `file_format`.

    The options are those of Pillow's `save`. DataError where the file cannot be written.
    """
    picture = array_to_img(x, data_format, scale)
    if picture.mode == "RGBA" and (file_format or Path(path).suffix[1:]).lower() in ("jpg", "jpeg"):
        picture = picture.convert("RGB")
    try:
        picture.save(path, format=file_format, **options)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the picture cannot be written: {error}") from error


def _channels_last(data_format: str | None) -> None:
    if data_format not in (None, "channels_last"):
        raise ValueError(f"images are channels_last here, (H, W, C), not {data_format!r}")


def _pillow() -> Any:
    """The module `PIL.Image`."""
    try:
        return import_module("PIL.Image")
    except ImportError as error:
        raise ImportError("pictures need the package pillow: pip install pillow") from error
