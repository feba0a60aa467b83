"""Where images and labels come from: Kaggle's CSV files, MNIST and its relatives, CIFAR, or our own drawing.

Images are uint8, of digits (N, 28, 28, 1), white ink on black, and labels int64 (N,); whatever is wrong with a file is said
in one `DataError`.
"""

from .cifar import load_cifar10, load_cifar100
from .distorted import distort
from .files import DataError, check_writable
from .idx import read_idx
from .kaggle import read_kaggle, write_submission
from .mnist import load_fashion_mnist, load_mnist
from .synthetic import synthetic_digits

__all__ = [
    "DataError",
    "check_writable",
    "distort",
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_mnist",
    "read_idx",
    "read_kaggle",
    "synthetic_digits",
    "write_submission",
]
