"""CIFAR-100 as `keras.datasets.cifar100` gives it."""

from ..data import load_cifar100
from .mnist import Digits


def load_data(label_mode: str = "fine") -> tuple[Digits, Digits]:
    """(x_train, y_train), (x_test, y_test): images uint8 (N, 32, 32, 3), classes int64 (N, 1).

    They are 0 to 99, or 0 to 19 for the `label_mode` "coarse". The archive is that of `minicnn.data.load_cifar100`, downloaded
    if it is not there; ConnectionError if that fails.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"label_mode must be 'fine' or 'coarse', not {label_mode!r}")
    (train, classes), (test, test_classes) = load_cifar100(coarse=label_mode == "coarse")
    return (train, classes[:, None]), (test, test_classes[:, None])
