"""MNIST as `keras.datasets.mnist` gives it."""

import numpy as np

from ..data import load_mnist


def load_data(path: str | None = None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(x_train, y_train), (x_test, y_test): images uint8 (N, 28, 28), labels uint8 (N,).

    The files are kept in the folder `path`, by default where `minicnn.data.load_mnist` keeps them, and downloaded if
    they are not there; ConnectionError if that fails.
    """
    (train, labels), (test, test_labels) = load_mnist(None if path in (None, "mnist.npz") else path)
    return (train[..., 0], labels.astype(np.uint8)), (test[..., 0], test_labels.astype(np.uint8))
