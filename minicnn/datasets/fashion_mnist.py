"""Fashion-MNIST as `keras.datasets.fashion_mnist` gives it."""

import numpy as np

from ..data import load_fashion_mnist
from .mnist import Digits


def load_data() -> tuple[Digits, Digits]:
    """(x_train, y_train), (x_test, y_test): images uint8 (N, 28, 28), classes 0 to 9 uint8 (N,).

    The files are those of `minicnn.data.load_fashion_mnist`, downloaded if they are not there; ConnectionError if that
    fails.
    """
    (train, classes), (test, test_classes) = load_fashion_mnist()
    return (train[..., 0], classes.astype(np.uint8)), (test[..., 0], test_classes.astype(np.uint8))
