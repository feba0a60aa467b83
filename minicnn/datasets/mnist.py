"""MNIST as `keras.datasets.mnist` gives it."""

import os
import zipfile
from pathlib import Path

import numpy as np

from ..data import load_mnist
from ..data.files import DataError, reason

Digits = tuple[np.ndarray, np.ndarray]


def load_data(path: str | None = None) -> tuple[Digits, Digits]:
    """(x_train, y_train), (x_test, y_test): images uint8 (N, 28, 28), labels uint8 (N,).

    `path` is a file of Keras, by default `mnist.npz`, in the folder `datasets` of `$KERAS_HOME` or `~/.keras`: if it is
    there, it is read. Else the files are those of `minicnn.data.load_mnist`, kept in the folder `path` if that is one,
    and downloaded if they are not there; ConnectionError if that fails, DataError for a file that is not what it should be.
    """
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")
    file = Path(home, "datasets", path or "mnist.npz")
    if file.is_file():
        return _read(file)
    (train, labels), (test, test_labels) = load_mnist(None if path in (None, "mnist.npz") else path)
    return (train[..., 0], labels.astype(np.uint8)), (test[..., 0], test_labels.astype(np.uint8))


def _read(file: Path) -> tuple[Digits, Digits]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            parts = [(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: expected the arrays x_train, y_train, x_test and y_test ({reason(error)})") from error
    for part, (x, y) in zip(("train", "test"), parts, strict=True):
        if x.shape[1:] != (28, 28) or x.dtype != np.uint8 or y.shape != x.shape[:1]:
            raise DataError(
                f"{file}: expected x_{part} uint8 (N, 28, 28) and y_{part} (N,), got {x.dtype} {x.shape} and {y.shape}"
            )
    (x_train, y_train), (x_test, y_test) = parts
    return (x_train, y_train.astype(np.uint8)), (x_test, y_test.astype(np.uint8))
