"""CIFAR-10 and CIFAR-100: small colour photographs of things, in ten and in a hundred classes."""

import tarfile
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .download import Source, fetch
from .files import PathLike

Photographs: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

MIRRORS = "https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"
CIFAR_10 = Source(
    "cifar",
    MIRRORS,
    {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
)
CIFAR_100 = Source(
    "cifar",
    MIRRORS,
    {"cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
)


def load_cifar10(cache: PathLike | None = None) -> tuple[Photographs, Photographs]:
    """50,000 training and 10,000 test images of ten kinds of things: (train_images, train_labels), (test_images, test_labels).

    Images are uint8 (N, 32, 32, 3), labels int64 (N,). Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny
    Images", 2009. The archive of 162 MB is kept in the folder `cifar` in that of `load_mnist`, whose errors are raised.
    """
    train = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
    return _load(CIFAR_10, cache, train, "cifar-10-batches-bin/test_batch.bin", of=(0, 1))


def load_cifar100(cache: PathLike | None = None, coarse: bool = False) -> tuple[Photographs, Photographs]:
    """The same for a hundred kinds of things, or, `coarse`, for the twenty that these belong to."""
    label = 0 if coarse else 1
    return _load(CIFAR_100, cache, ["cifar-100-binary/train.bin"], "cifar-100-binary/test.bin", of=(label, 2))


def _load(
    source: Source, cache: PathLike | None, train: Sequence[str], test: str, of: tuple[int, int]
) -> tuple[Photographs, Photographs]:
    """What the archive's files hold; of each image's so many labels, `of` says which one is wanted."""
    (name,) = source.sha256
    label, labels = of
    parts = []
    with tarfile.open(fetch(source, name, cache), "r:gz") as archive:
        for names in (train, [test]):
            content = b"".join(file.read() for one in names if (file := archive.extractfile(one)))
            rows = np.frombuffer(content, np.uint8).reshape(-1, labels + 3 * 32 * 32)  # labels, then red, green, blue
            images = rows[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            parts.append((np.ascontiguousarray(images), rows[:, label].astype(np.int64)))
    return parts[0], parts[1]
