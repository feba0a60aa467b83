"""MNIST and Fashion-MNIST: the files that are downloaded once, and the arrays in them."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .download import Source, fetch
from .files import PathLike
from .idx import read_idx

Digits: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

MNIST = Source(
    "",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_MNIST = Source(
    "fashion-mnist",
    (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)


def load_mnist(cache: PathLike | None = None) -> tuple[Digits, Digits]:
    """The 60,000 training and 10,000 test digits: (train_images, train_labels), (test_images, test_labels).

    Images are uint8 (N, 28, 28, 1), labels int64 (N,). Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database".

    The files are looked for in the folder `cache`, by default `minicnn` in `$XDG_CACHE_HOME` or `~/.cache`; those
    missing or damaged are downloaded into it. Raises ConnectionError if a file is needed and no mirror gives it,
    DataError if the folder cannot be written.
    """
    return _load(MNIST, cache)


def load_fashion_mnist(cache: PathLike | None = None) -> tuple[Digits, Digits]:
    """60,000 and 10,000 pictures of clothes in ten classes, in all as `load_mnist` gives digits.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017. The files are kept in the folder `fashion-mnist` in that of MNIST's.
    """
    return _load(FASHION_MNIST, cache)


def _load(source: Source, cache: PathLike | None) -> tuple[Digits, Digits]:
    train_images, train_labels, test_images, test_labels = (
        read_idx(fetch(source, name, cache)) for name in source.sha256
    )
    return (
        (train_images[..., np.newaxis], train_labels.astype(np.int64)),  # (60000, 28, 28, 1), (60000,)
        (test_images[..., np.newaxis], test_labels.astype(np.int64)),  # (10000, 28, 28, 1), (10000,)
    )
