"""Where images and labels come from: Kaggle's CSV files, the IDX files of MNIST and Fashion-MNIST, or our own drawing.

Images are uint8 (N, 28, 28, 1), white ink on black, and labels int64 (N,); whatever is wrong with a file is said in one
`DataError`.
"""

from minicnn.data.distorted import distort
from minicnn.data.files import DataError, check_writable
from minicnn.data.idx import read_idx
from minicnn.data.kaggle import read_kaggle, write_submission
from minicnn.data.mnist import load_fashion_mnist, load_mnist
from minicnn.data.synthetic import synthetic_digits

__all__ = [
    "DataError",
    "check_writable",
    "distort",
    "load_fashion_mnist",
    "load_mnist",
    "read_idx",
    "read_kaggle",
    "synthetic_digits",
    "write_submission",
]
