"""CIFAR-10 as `keras.datasets.cifar10` gives it."""

import numpy as np

from ..data import load_cifar10
from .mnist import Digits


def load_data() -> tuple[Digits, Digits]:
    """(x_train, y_train), (x_test, y_test): images uint8 (N, 32, 32, 3), classes 0 to 9 uint8 (N, 1).

    The archive is that of `minicnn.data.load_cifar10`, downloaded if it is not there; ConnectionError if that fails.
    """
    (train, classes), (test, test_classes) = load_cifar10()
    return (train, classes[:, None].astype(np.uint8)), (test, test_classes[:, None].astype(np.uint8))
